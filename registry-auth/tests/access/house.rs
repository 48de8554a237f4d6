//! A registry's accounts and projects, on a clock that the test owns and records that count what is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_executor::block_on;
use registry_auth::roles::Role;
use registry_auth::secret::Secret;
use registry_auth::{
    Argon2id, Directory, Grantee, NewRobot, NewUser, PasswordHashing, Permission, Settings, Tenants,
};
use registry_core::auth::{Access, Action, Authorizer, Decision, Identity};
use registry_core::runtime::Threads;
use registry_core::{Runtime, Timestamp};
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::Counting;

/// A password that is as good as another.
pub(crate) const PASSWORD: &str = "Harbor12345";

/// A clock that stands until it is moved.
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    pub(crate) fn back(&self, by: Duration) {
        self.0.fetch_sub(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Runtime for Clock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> futures_util::future::BoxFuture<'static, ()> {
        Threads.sleep(duration)
    }

    fn spawn(&self, task: futures_util::future::BoxFuture<'static, ()>) {
        Threads.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        Threads.spawn_blocking(work);
    }
}

/// Hashing that writes down which hashes were verified.
pub(crate) struct Noted {
    inner: Argon2id,
    pub(crate) verified: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl PasswordHashing for Noted {
    async fn hash(&self, password: &str) -> registry_core::Result<String> {
        self.inner.hash(password).await
    }

    async fn verify(&self, password: &str, hash: &str) -> registry_core::Result<bool> {
        self.verified.lock().unwrap().push(hash.to_owned());
        self.inner.verify(password, hash).await
    }

    fn nobodys(&self) -> String {
        self.inner.nobodys()
    }
}

pub(crate) struct House {
    pub(crate) kv: Arc<Counting>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) hashing: Arc<Noted>,
    pub(crate) tenants: Tenants,
}

impl House {
    /// With its first administrator, whose id is 1.
    pub(crate) fn new() -> Self {
        House::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let kv = Arc::new(Counting::new(Arc::new(MemoryKv::new())));
        let clock = Arc::new(Clock(AtomicU64::new(1_800_000_000_000)));
        let house = House::over(kv, clock, settings);
        let given = Some(Secret::new(PASSWORD));
        assert!(
            block_on(house.tenants.accounts.first_start(given))
                .unwrap()
                .is_none()
        );
        house
    }

    /// Another node on the same records.
    pub(crate) fn another(&self) -> House {
        House::over(Arc::clone(&self.kv), Arc::clone(&self.clock), Settings::default())
    }

    fn over(kv: Arc<Counting>, clock: Arc<Clock>, settings: Settings) -> House {
        let hashing = Arc::new(Noted {
            inner: Argon2id::cheap(),
            verified: Default::default(),
        });
        let tenants = Tenants::open(kv.clone(), clock.clone(), hashing.clone(), settings).unwrap();
        House {
            kv,
            clock,
            hashing,
            tenants,
        }
    }

    pub(crate) fn user(&self, name: &str) -> u64 {
        let new = NewUser::new(name, Secret::new(PASSWORD));
        block_on(self.tenants.accounts.create_user(new)).unwrap().id
    }

    /// Of the administrator.
    pub(crate) fn project(&self, name: &str, public: bool) -> u64 {
        let made = self.tenants.projects.create(name, 1, public, Default::default());
        block_on(made).unwrap().id
    }

    pub(crate) fn member(&self, project: u64, user: u64, role: Role, pattern: Option<&str>) -> u64 {
        let pattern = pattern.map(|pattern| pattern.parse().unwrap());
        let who = Grantee::User(user);
        block_on(self.tenants.projects.add_member(project, who, role, pattern))
            .unwrap()
            .id
    }

    /// A robot of the whole registry by `by`, and its secret.
    pub(crate) fn robot(
        &self,
        by: &str,
        name: &str,
        project: &str,
        access: &[(&str, &str)],
    ) -> (u64, Secret) {
        let new = NewRobot {
            permissions: vec![Permission::project(project, access)],
            ..new_robot(name)
        };
        let (row, secret) = block_on(self.tenants.accounts.create_robot(by, new)).unwrap();
        (row.id, secret)
    }

    pub(crate) fn decide(&self, name: &str, repository: &str, action: Action) -> Decision {
        let identity = match name {
            "" => Identity::Anonymous,
            name => Identity::Named(name.into()),
        };
        let access = [Access::Repository(repository.parse().unwrap(), action)];
        block_on(self.tenants.authorizer.authorize(&identity, &access)).unwrap()
    }

    pub(crate) fn may(&self, name: &str, repository: &str, action: Action) -> bool {
        self.decide(name, repository, action) == Decision::Allowed
    }

    pub(crate) fn verifies(&self, name: &str, secret: &str) -> Option<(String, u64)> {
        let verified = block_on(self.tenants.accounts.verify(name, secret)).unwrap();
        verified.map(|verified| (verified.subject.to_string(), verified.stamp))
    }

    pub(crate) fn subject(&self, name: &str) -> Option<u64> {
        block_on(self.tenants.accounts.subject(name)).unwrap()
    }

    /// How often the records were read since the last time.
    pub(crate) fn reads(&self) -> u64 {
        self.kv.take().reads
    }
}

/// A robot without permissions, for ever.
pub(crate) fn new_robot(name: &str) -> NewRobot {
    NewRobot {
        name: name.to_owned(),
        description: String::new(),
        project: None,
        permissions: Vec::new(),
        duration: -1,
    }
}

pub(crate) const PULL: (&str, &str) = ("repository", "pull");
pub(crate) const PUSH: (&str, &str) = ("repository", "push");
