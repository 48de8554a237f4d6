//! What the core needs from the world it runs in, so that it owns no executor and a test may own time.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::BoxFuture;

use crate::time::Timestamp;

/// Clock, timer, tasks, blocking work and randomness.
///
/// A shell passes its executor's; a deterministic scheduler passes its own and thereby drives everything.
pub trait Runtime: Send + Sync + 'static {
    /// The wall clock, for deadlines and logs. Leases use the records' own clock.
    fn now(&self) -> Timestamp;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Runs a task that outlives the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs work that blocks, off the threads that poll futures.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>);

    /// Sixteen unpredictable bytes: identities that nobody can guess and that never repeat.
    fn random(&self) -> u128 {
        DRAWN.with_borrow_mut(|drawn| {
            drawn.pop().unwrap_or_else(|| {
                let mut bytes = [[0; 16]; DRAW];
                getrandom::fill(bytes.as_flattened_mut()).expect("the operating system has randomness");
                drawn.extend(bytes[1..].iter().map(|bytes| u128::from_le_bytes(*bytes)));
                u128::from_le_bytes(bytes[0])
            })
        })
    }
}

/// How many random values are asked for at once: a request needs one or two, and asking costs as much as for one.
const DRAW: usize = 32;

thread_local! {
    /// Values that the operating system gave and nobody has had yet.
    static DRAWN: RefCell<Vec<u128>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` off the polling threads and waits for its result.
///
/// # Panics
/// If the work panics or the runtime drops it, as the caller could not go on either way.
pub async fn blocking<T: Send + 'static>(
    runtime: &dyn Runtime,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (send, receive) = oneshot::channel();
    runtime.spawn_blocking(Box::new(move || {
        let _receiver_gone = send.send(work());
    }));
    receive.await.expect("blocking work ran to its end")
}

/// A runtime of plain threads: for examples, small tools and tests of code that needs no executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Threads {
    /// As the shared form that the stores and the service take.
    pub fn shared() -> Arc<dyn Runtime> {
        Arc::new(Threads)
    }
}

impl Runtime for Threads {
    fn now(&self) -> Timestamp {
        Timestamp::system()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (send, receive) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            std::thread::sleep(duration);
            let _receiver_gone = send.send(());
        });
        Box::pin(async move {
            let _sent = receive.await;
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        std::thread::spawn(move || futures_executor::block_on(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        std::thread::spawn(work);
    }
}
