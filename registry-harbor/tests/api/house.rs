//! A registry with accounts, on a clock that the test owns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use bytes::Bytes;
use futures_executor::block_on;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use registry_auth::roles::Role;
use registry_auth::secret::Secret;
use registry_auth::tokens::{KeyOptions, Keys};
use registry_auth::{
    Argon2id, Directory, Entered, Entrance, EntranceOptions, Grantee, NewUser, Settings, Tenants,
};
use registry_core::http::Service;
use registry_core::runtime::Threads;
use registry_core::store::{Entry, Kv, KvError, Lifetimes, Stamp, Txn};
use registry_core::{LocalRegistry, Options, Registry, Runtime, Timestamp};
use registry_harbor::{About, Api, Component, Health, Operation, Parts};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use serde_json::Value;

use super::document;

/// A password that is as good as another.
pub(crate) const PASSWORD: &str = "Harbor12345";
/// Nobody in particular.
pub(crate) const NOBODY: &str = "";

/// A clock that stands until it is moved, or until somebody waits.
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Runtime for Clock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> futures_util::future::BoxFuture<'static, ()> {
        let clock = Arc::clone(&self.0);
        Box::pin(async move {
            clock.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
        })
    }

    fn spawn(&self, task: futures_util::future::BoxFuture<'static, ()>) {
        Threads.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        Threads.spawn_blocking(work);
    }
}

/// Parts of which one can be broken.
#[derive(Default)]
pub(crate) struct Doctor(pub(crate) AtomicBool);

#[async_trait]
impl Health for Doctor {
    async fn components(&self) -> Vec<Component> {
        let part = |name: &str, healthy| Component {
            name: name.to_owned(),
            healthy,
        };
        vec![
            part("core", true),
            part("storage", !self.0.load(Ordering::SeqCst)),
        ]
    }
}

/// Records that can be broken.
#[derive(Default)]
pub(crate) struct Fragile {
    records: MemoryKv,
    pub(crate) broken: AtomicBool,
}

impl Fragile {
    fn whole(&self) -> Result<&MemoryKv, KvError> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(KvError::TooLarge("the disk at /srv/secret is gone".to_owned())),
            false => Ok(&self.records),
        }
    }
}

#[async_trait]
impl Kv for Fragile {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.whole()?.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        self.whole()?.scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.whole()?.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.whole()?.commit(txn).await
    }
}

/// A reply, as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code and the message of a refusal.
    pub(crate) fn refusal(&self) -> (String, String) {
        let error = &self.json()["errors"][0];
        let text = |key: &str| error[key].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }

    /// Panics unless the status is this one.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The number at the end of the address of what was made.
    #[track_caller]
    pub(crate) fn id(&self) -> u64 {
        assert_eq!(self.status, 201, "{}", self.text);
        let location = self.header("location");
        location.rsplit('/').next().unwrap().parse().unwrap()
    }

    /// The field of each entry of a list.
    #[track_caller]
    pub(crate) fn each(&self, field: &str) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        let list = self.json();
        list.as_array()
            .unwrap()
            .iter()
            .map(|entry| entry[field].clone())
            .collect()
    }
}

pub(crate) struct House {
    pub(crate) clock: Arc<Clock>,
    pub(crate) doctor: Arc<Doctor>,
    pub(crate) accounts: Arc<Fragile>,
    pub(crate) tenants: Tenants,
    pub(crate) entered: Entered,
    pub(crate) api: Api,
}

impl House {
    pub(crate) fn new() -> Self {
        House::with(Settings::default())
    }

    /// With its first administrator, whose id is 1.
    pub(crate) fn with(settings: Settings) -> Self {
        let clock = Arc::new(Clock(Arc::new(AtomicU64::new(1_800_000_000_000))));
        let runtime: Arc<dyn Runtime> = clock.clone();
        let accounts = Arc::new(Fragile::default());
        let kv: Arc<dyn Kv> = accounts.clone();
        let hashing = Arc::new(Argon2id::cheap());
        let tenants = Tenants::open(Arc::clone(&kv), Arc::clone(&runtime), hashing, settings).unwrap();
        block_on(tenants.accounts.first_start(Some(Secret::new(PASSWORD)))).unwrap();
        let bytes = Arc::new(MemoryBytes::new());
        let records = Records::new(
            Arc::new(MemoryKv::new()),
            Arc::clone(&runtime),
            Lifetimes::default(),
        );
        let registry: Arc<dyn Registry> = Arc::new(LocalRegistry::new(
            Arc::new(records),
            bytes.clone(),
            bytes,
            Arc::clone(&runtime),
            Options::default(),
        ));
        let keys = Arc::new(Keys::new(
            Arc::clone(&kv),
            Arc::clone(&runtime),
            KeyOptions::default(),
        ));
        let options = EntranceOptions::default();
        let trust = Arc::new(options.trust.clone());
        let directory: Arc<dyn Directory> = Arc::new(tenants.accounts.clone());
        let authorizer = Arc::new(tenants.authorizer.clone());
        let entrance = Entrance::new(kv, keys, directory, authorizer, Arc::clone(&runtime), options);
        let doctor = Arc::new(Doctor::default());
        let api = Api::new(Parts {
            tenants: tenants.clone(),
            authenticator: entrance.authenticator(),
            trust,
            health: doctor.clone(),
            registry: Arc::clone(&registry),
            runtime: Arc::clone(&runtime),
            about: About {
                version: "v2.16.0-test".to_owned(),
                read_only: false,
            },
        });
        House {
            clock,
            doctor,
            accounts,
            tenants,
            entered: entrance.in_front_of(Service::new(registry, runtime)),
            api,
        }
    }

    /// A request as it is given, by nobody else's hand.
    pub(crate) fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let response = block_on(self.api.handle(request));
        let operation = response.extensions().get::<Operation>().copied();
        let (head, body) = response.into_parts();
        let body = block_on(body.collect()).unwrap().to_bytes();
        let reply = Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        };
        keeps_secrets(operation, &reply);
        document::check(operation, &reply);
        reply
    }

    /// A request by the user with the usual password, or by `name:secret`.
    pub(crate) fn request(
        &self,
        who: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Request<Full<Bytes>> {
        let method: Method = method.parse().unwrap();
        let mut request = Request::builder().method(method).uri(format!("/api/v2.0{path}"));
        request = request.header("host", "registry.test");
        if who != NOBODY {
            request = request.header("authorization", basic(who));
        }
        let bytes = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        request.body(Full::new(bytes)).unwrap()
    }

    pub(crate) fn get(&self, who: &str, path: &str) -> Reply {
        self.send(self.request(who, "GET", path, None))
    }

    pub(crate) fn delete(&self, who: &str, path: &str) -> Reply {
        self.send(self.request(who, "DELETE", path, None))
    }

    pub(crate) fn post(&self, who: &str, path: &str, body: Value) -> Reply {
        self.send(self.request(who, "POST", path, Some(&body)))
    }

    pub(crate) fn put(&self, who: &str, path: &str, body: Value) -> Reply {
        self.send(self.request(who, "PUT", path, Some(&body)))
    }

    pub(crate) fn patch(&self, who: &str, path: &str, body: Value) -> Reply {
        self.send(self.request(who, "PATCH", path, Some(&body)))
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
        let added = self.tenants.projects.add_member(project, who, role, pattern);
        block_on(added).unwrap().id
    }

    /// Makes a repository, by pushing an image index of nothing.
    pub(crate) fn push(&self, who: &str, repository: &str) {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[]}}"#);
        let request = Request::builder()
            .method("PUT")
            .uri(format!("/v2/{repository}/manifests/latest"))
            .header("authorization", basic(who))
            .header("content-type", media_type)
            .body(Full::new(Bytes::from(index)));
        let response = block_on(self.entered.handle(request.unwrap()));
        assert_eq!(response.status(), StatusCode::CREATED);
    }
}

/// With the usual password, unless `who` says another behind a colon.
pub(crate) fn basic(who: &str) -> String {
    let pair = match who.contains(':') {
        true => who.to_owned(),
        false => format!("{who}:{PASSWORD}"),
    };
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// No reply has a secret in it, nor what one is kept as, but those that make one.
fn keeps_secrets(operation: Option<Operation>, reply: &Reply) {
    let makes = ["CreateRobot", "RefreshSec", "createUserToken"];
    let may = operation.is_some_and(|operation| makes.contains(&operation.id)) && reply.status < 300;
    for secret in [
        PASSWORD,
        "$argon2",
        "\"generation\":",
        "\"password\"",
        "berth_",
        "Chosen1Secret",
    ] {
        // The document speaks of passwords.
        let is_document = operation.is_some_and(|operation| operation.id == "getOpenApi");
        assert!(
            may || is_document || !reply.text.contains(secret),
            "{secret} in {reply:?}"
        );
    }
}
