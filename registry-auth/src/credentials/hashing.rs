//! Slow hashes of passwords, a few at a time.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_channel::oneshot;
use registry_core::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

use super::password::{Argon2id, PasswordHashing};

/// How much hashing may take.
#[derive(Clone, Debug)]
pub struct HashingOptions {
    /// Hashes at once. Each takes a processor, and the memory that its parameters say.
    pub threads: NonZeroUsize,
    /// How many more may wait. Who comes after them is sent away.
    pub waiting: usize,
    /// What new hashes are made with.
    pub argon2id: Argon2id,
}

impl Default for HashingOptions {
    /// One thread, which hashes some thirty passwords a second.
    fn default() -> Self {
        HashingOptions {
            threads: NonZeroUsize::MIN,
            waiting: 64,
            argon2id: Argon2id::owasp(),
        }
    }
}

/// Seconds after which who was sent away may come back.
const RETRY_SECONDS: u64 = 2;

type Job = Box<dyn FnOnce(&Argon2id) + Send>;

/// [`PasswordHashing`] on threads of its own, so that a flood of logins takes neither all processors nor more memory than
/// these threads do. On Linux they have the least priority.
pub struct HashingPool {
    jobs: SyncSender<Job>,
    argon2id: Argon2id,
}

impl HashingPool {
    /// Starts the threads, which end with the pool.
    ///
    /// # Errors
    /// [`Internal`](ErrorKind::Internal) if there are no threads.
    pub fn new(options: &HashingOptions) -> Result<Self> {
        let (send, receive) = sync_channel::<Job>(options.waiting);
        let receive = Arc::new(Mutex::new(receive));
        for number in 0..options.threads.get() {
            let (receive, argon2id) = (Arc::clone(&receive), options.argon2id.clone());
            std::thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || work(&receive, &argon2id))
                .map_err(Error::internal)?;
        }
        Ok(HashingPool {
            jobs: send,
            argon2id: options.argon2id.clone(),
        })
    }

    async fn run<T: Send + 'static>(&self, hash: impl FnOnce(&Argon2id) -> T + Send + 'static) -> Result<T> {
        let (send, receive) = oneshot::channel();
        let job: Job = Box::new(move |argon2id| {
            // Who has left in the meantime needs no hash.
            if !send.is_canceled() {
                let _left_meanwhile = send.send(hash(argon2id));
            }
        });
        match self.jobs.try_send(job) {
            Ok(()) => receive
                .await
                .map_err(|_| Error::internal("a password was not hashed")),
            Err(TrySendError::Full(_)) => Err(Error::new(
                ErrorKind::TooManyRequests,
                "too many log in at once; try again",
            )
            .with_detail(serde_json::json!({ "retryAfter": RETRY_SECONDS }))),
            Err(TrySendError::Disconnected(_)) => {
                Err(Error::internal("the threads that hash passwords are gone"))
            }
        }
    }
}

/// The least priority of a thread (setpriority(2)).
#[cfg(target_os = "linux")]
const NICEST: i32 = 19;

/// Lets all other threads go before this one. A hash takes some 30 ms of a processor without a pause, for which a request would wait that
/// becomes ready meanwhile on the same one, a few milliseconds until the scheduler takes turns: with ten logins a second on two
/// processors, the 99th of a hundred pulls took 4.5 times as long, and takes about twice as long so.
fn step_back() {
    // Linux has a priority for each thread, and means the one that asks. Elsewhere it is the process's, whose requests are not to wait.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICEST) {
        tracing::debug!(%error, "passwords are hashed at the priority of requests");
    }
}

fn work(jobs: &Mutex<Receiver<Job>>, argon2id: &Argon2id) {
    step_back();
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(argon2id),
            Err(_pool_is_gone) => return,
        }
    }
}

#[async_trait]
impl PasswordHashing for HashingPool {
    async fn hash(&self, password: &str) -> Result<String> {
        let password = Zeroizing::new(password.to_owned());
        self.run(move |argon2id| argon2id.hash_here(&password)).await?
    }

    async fn verify(&self, password: &str, hash: &str) -> Result<bool> {
        let (password, hash) = (Zeroizing::new(password.to_owned()), hash.to_owned());
        self.run(move |argon2id| argon2id.verify_here(&password, &hash))
            .await?
    }

    fn nobodys(&self) -> String {
        self.argon2id.nobodys()
    }
}

impl fmt::Debug for HashingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashingPool(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;
    use futures_util::future::join_all;

    fn cheap(waiting: usize) -> HashingOptions {
        HashingOptions {
            waiting,
            argon2id: Argon2id::cheap(),
            ..HashingOptions::default()
        }
    }

    #[test]
    fn a_hash_is_of_its_password_alone_and_names_its_parameters() {
        let pool = HashingPool::new(&HashingOptions::default()).unwrap();
        block_on(async {
            let hash = pool.hash("Correct1").await.unwrap();
            assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
            assert!(pool.verify("Correct1", &hash).await.unwrap());
            assert!(!pool.verify("correct1", &hash).await.unwrap());
            assert_ne!(hash, pool.hash("Correct1").await.unwrap());
        });
    }

    #[test]
    fn a_hash_of_other_parameters_is_still_checked() {
        block_on(async {
            let hash = HashingPool::new(&cheap(1)).unwrap().hash("x").await.unwrap();
            let pool = HashingPool::new(&HashingOptions::default()).unwrap();
            assert!(pool.verify("x", &hash).await.unwrap());
            assert_eq!(
                pool.verify("x", "no hash").await.unwrap_err().kind(),
                ErrorKind::Internal
            );
        });
    }

    #[test]
    fn who_comes_when_too_many_wait_is_told_when_to_come_back() {
        let pool = HashingPool::new(&cheap(2)).unwrap();
        // Holds the one thread until all others have come.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (began, begun) = std::sync::mpsc::channel();
        block_on(async {
            let holder = pool.run(move |_| {
                began.send(()).unwrap();
                held.recv().unwrap();
            });
            let mut holder = Box::pin(holder);
            assert!(futures_util::poll!(&mut holder).is_pending());
            begun.recv().unwrap();
            let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(pool.hash("x"))).collect();
            let mut refused = 0;
            for one in &mut waiting {
                if let std::task::Poll::Ready(answer) = futures_util::poll!(one) {
                    let error = answer.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TooManyRequests);
                    assert!(error.detail().unwrap()["retryAfter"].as_u64().is_some());
                    refused += 1;
                }
            }
            assert_eq!(refused, 3);
            release.send(()).unwrap();
            holder.await.unwrap();
            let answered = join_all(waiting.drain(..2)).await;
            assert!(answered.into_iter().all(|hash| hash.is_ok()));
        });
    }
}
