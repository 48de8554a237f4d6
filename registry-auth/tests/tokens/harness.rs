//! A registry's accounts and keys on records in memory, with a clock that stands still.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_executor::block_on;
use futures_util::future::BoxFuture;
use registry_auth::tokens::{KeyOptions, Keys, TokenAuthority, TokenOptions};
use registry_auth::{Directory, Verified};
use registry_core::auth::{Authenticated, Scope};
use registry_core::store::Kv;
use registry_core::{Error, ErrorKind, Result, Runtime, Timestamp};
use registry_storage::clock::ManualClock;
use registry_storage::memory::MemoryKv;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

/// 2026-11-21, in milliseconds.
pub(crate) const NOW: Timestamp = Timestamp(1_795_267_837_000);

/// Time that a test owns: who sleeps is woken when all others have had a turn, and as much later.
pub(crate) struct Still(pub(crate) ManualClock);

impl Runtime for Still {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        Box::pin(async move {
            let mut others_ran = false;
            std::future::poll_fn(|cx| match std::mem::replace(&mut others_ran, true) {
                true => Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            clock.advance(duration);
        })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        std::thread::spawn(move || block_on(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        std::thread::spawn(work);
    }
}

/// Its secret, its stamp, and what the secret opens if not all.
type Account = (String, u64, Option<Arc<Scope>>);

/// Accounts with a secret and a stamp each, and projects with an id each.
#[derive(Default)]
pub(crate) struct Accounts {
    accounts: Mutex<HashMap<String, Account>>,
    projects: Mutex<HashMap<String, u64>>,
    /// How often a secret was compared.
    pub(crate) verified: AtomicUsize,
}

impl Accounts {
    pub(crate) fn account(&self, name: &str, secret: &str, stamp: u64) {
        self.limited(name, secret, stamp, None);
    }

    pub(crate) fn limited(&self, name: &str, secret: &str, stamp: u64, limit: Option<&str>) {
        let limit = limit.map(|limit| Arc::new(limit.parse().unwrap()));
        self.accounts
            .lock()
            .unwrap()
            .insert(name.to_owned(), (secret.to_owned(), stamp, limit));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.accounts.lock().unwrap().remove(name);
    }

    pub(crate) fn set_project(&self, name: &str, id: Option<u64>) {
        let mut projects = self.projects.lock().unwrap();
        match id {
            Some(id) => projects.insert(name.to_owned(), id),
            None => projects.remove(name),
        };
    }
}

#[async_trait]
impl Directory for Accounts {
    async fn verify(&self, name: &str, secret: &str) -> Result<Option<Verified>> {
        self.verified.fetch_add(1, Ordering::SeqCst);
        let accounts = self.accounts.lock().unwrap();
        let known = accounts.get(name).filter(|(right, ..)| right == secret);
        Ok(known.map(|(_, stamp, limit)| Verified {
            subject: name.into(),
            stamp: *stamp,
            limit: limit.clone(),
        }))
    }

    async fn subject(&self, name: &str) -> Result<Option<u64>> {
        Ok(self
            .accounts
            .lock()
            .unwrap()
            .get(name)
            .map(|(_, stamp, _)| *stamp))
    }

    async fn project(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.projects.lock().unwrap().get(name).copied())
    }
}

/// One node, or one of several on the same records.
pub(crate) struct Node {
    pub(crate) clock: ManualClock,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) authority: Arc<TokenAuthority>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::at(NOW);
        let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
        let accounts = Accounts::default();
        accounts.account("alice", "Secret1", 1);
        accounts.set_project("p", Some(7));
        accounts.set_project("q", Some(8));
        Node::on(clock, kv, Arc::new(accounts), KeyOptions::default())
    }

    pub(crate) fn on(
        clock: ManualClock,
        kv: Arc<dyn Kv>,
        accounts: Arc<Accounts>,
        options: KeyOptions,
    ) -> Self {
        let runtime: Arc<dyn Runtime> = Arc::new(Still(clock.clone()));
        let keys = Arc::new(Keys::new(Arc::clone(&kv), Arc::clone(&runtime), options));
        let directory: Arc<dyn Directory> = accounts.clone();
        let authority = TokenAuthority::new(
            Arc::clone(&keys),
            directory,
            Arc::clone(&runtime),
            TokenOptions::default(),
        );
        Node {
            clock,
            kv,
            runtime,
            accounts,
            keys,
            authority: Arc::new(authority),
        }
    }

    /// Another node on the same records and accounts.
    pub(crate) fn another(&self) -> Self {
        Node::on(
            self.clock.clone(),
            Arc::clone(&self.kv),
            Arc::clone(&self.accounts),
            KeyOptions::default(),
        )
    }

    pub(crate) fn holder(&self) -> Verified {
        block_on(self.accounts.verify("alice", "Secret1"))
            .unwrap()
            .unwrap()
    }

    /// A token of alice's for this scope.
    pub(crate) fn token(&self, scope: &str) -> String {
        block_on(
            self.authority
                .issue(Some(&self.holder()), &scope.parse().unwrap()),
        )
        .unwrap()
        .token
    }

    pub(crate) fn check(&self, token: &str) -> Result<Authenticated> {
        block_on(self.authority.check(token))
    }

    /// Refuses the token, and says why.
    pub(crate) fn refuses(&self, token: &str) -> Error {
        let error = self.check(token).expect_err("the token was taken");
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
        error
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The ids and private halves of the keys in the records, as whoever steals these has them.
    pub(crate) fn stolen(&self) -> Vec<(String, Ed25519KeyPair)> {
        let entries = block_on(self.kv.scan("token-key/", None, 100)).unwrap();
        let stolen = entries.into_iter().map(|(name, entry)| {
            let record: Value = serde_json::from_slice(&entry.value).unwrap();
            let private = URL_SAFE_NO_PAD
                .decode(record["private"].as_str().unwrap())
                .unwrap();
            (
                name["token-key/".len()..].to_owned(),
                Ed25519KeyPair::from_pkcs8(&private).unwrap(),
            )
        });
        stolen.collect()
    }
}

pub(crate) fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Header and claims of a token, as they are.
pub(crate) fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

/// The claims of a token of alice's that is good at [`NOW`].
pub(crate) fn claims() -> Value {
    let now = NOW.0 / 1000;
    json!({
        "iss": "berth", "sub": "alice", "aud": "berth", "exp": now + 600, "nbf": now, "iat": now, "jti": "x",
        "access": [{ "type": "repository", "name": "p/a", "actions": ["pull"] }], "stamp": 1, "projects": { "p": 7 },
    })
}
