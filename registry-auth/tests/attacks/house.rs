//! A whole registry with accounts, asked over HTTP without a socket, on a clock that stands until it is moved.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_executor::block_on;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use registry_auth::limits::{Rate, Rates};
use registry_auth::roles::Role;
use registry_auth::secret::Secret;
use registry_auth::tokens::{KeyOptions, Keys};
use registry_auth::{
    Argon2id, CreatesProjects, Directory, Entered, Entrance, EntranceOptions, Grantee, NewUser, Settings,
    Tenants,
};
use registry_core::http::{Limits, Service};
use registry_core::runtime::Threads;
use registry_core::store::{Kv, Lifetimes};
use registry_core::wrappers::Authorized;
use registry_core::{Digest, LocalRegistry, Options, Registry, Runtime, Timestamp};
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use serde_json::{Value, json};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The password of everybody that a test makes.
pub(crate) const PASSWORD: &str = "Correct1Horse";

/// The longest that anything outlives what it stands on.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// Time that the test owns. What sleeps does so by the system's clock.
struct Owned(ManualClock);

impl Runtime for Owned {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Threads.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        Threads.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        // Nothing here takes long, and a thread for each would drown what is measured.
        work();
    }
}

/// Who sends a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    Nobody,
    /// With a name, and the password that everybody has.
    User(&'a str),
    Basic(&'a str, &'a str),
    Bearer(&'a str),
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {:?}", self.headers, self.body);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What it says, without what differs by chance: ids of requests and of uploads.
    pub(crate) fn shape(&self) -> (u16, Vec<String>, Bytes) {
        let mut names: Vec<String> = self.headers.keys().map(|name| name.to_string()).collect();
        names.sort();
        (self.status, names, self.body.clone())
    }
}

/// What a house is put together from, for tests that put it together in a worse way.
pub(crate) struct Parts {
    pub(crate) local: LocalRegistry,
    pub(crate) tenants: Tenants,
    pub(crate) kv: Arc<dyn Kv>,
}

impl Parts {
    /// As `berth` does it.
    pub(crate) fn guarded(&self) -> Arc<dyn Registry> {
        let creates = CreatesProjects::around(self.local.clone(), self.tenants.projects.clone());
        Arc::new(Authorized::around(creates, self.tenants.authorizer.clone()))
    }

    pub(crate) fn directory(&self) -> Arc<dyn Directory> {
        Arc::new(self.tenants.accounts.clone())
    }
}

/// A registry, whose administrator has the id 1.
pub(crate) struct House {
    pub(crate) tenants: Tenants,
    pub(crate) kv: Arc<dyn Kv>,
    clock: ManualClock,
    entered: Entered,
}

impl House {
    pub(crate) fn new() -> Self {
        House::built(Settings::default(), |parts| (parts.guarded(), parts.directory()))
    }

    /// As it is before its first start.
    pub(crate) fn unopened() -> Self {
        House::assembled(Settings::default(), |parts| (parts.guarded(), parts.directory()))
    }

    /// With another registry or another directory than there should be.
    pub(crate) fn built(
        settings: Settings,
        how: impl FnOnce(&Parts) -> (Arc<dyn Registry>, Arc<dyn Directory>),
    ) -> Self {
        let house = House::assembled(settings, how);
        block_on(house.tenants.accounts.first_start(Some(Secret::new(PASSWORD)))).unwrap();
        house
    }

    fn assembled(
        settings: Settings,
        how: impl FnOnce(&Parts) -> (Arc<dyn Registry>, Arc<dyn Directory>),
    ) -> Self {
        let clock = ManualClock::at(Timestamp::system());
        let runtime: Arc<dyn Runtime> = Arc::new(Owned(clock.clone()));
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::with_clock(clock.clock()));
        let bytes = Arc::new(MemoryBytes::new());
        let records = Records::new(Arc::clone(&kv), Arc::clone(&runtime), Lifetimes::default());
        let local = LocalRegistry::new(
            Arc::new(records),
            bytes.clone(),
            bytes,
            Arc::clone(&runtime),
            Options::default(),
        );
        let hashing = Arc::new(Argon2id::cheap());
        let opened = Tenants::open(Arc::clone(&kv), Arc::clone(&runtime), hashing, settings);
        let tenants = opened.unwrap();
        let parts = Parts { local, tenants, kv };
        let (registry, directory) = how(&parts);
        let Parts { tenants, kv, .. } = parts;

        let plenty = Rate::new(1_000_000, 1_000_000);
        let options = EntranceOptions {
            rates: Rates {
                requests: plenty,
                attempts_from: plenty,
                attempts_for: plenty,
            },
            ..EntranceOptions::default()
        };
        let keys = Keys::new(Arc::clone(&kv), Arc::clone(&runtime), KeyOptions::default());
        let entrance = Entrance::new(
            Arc::clone(&kv),
            Arc::new(keys),
            directory,
            Arc::new(tenants.authorizer.clone()),
            Arc::clone(&runtime),
            options,
        );
        let limits = Limits {
            page_max: 5,
            ..Limits::default()
        };
        let service = Service::new(registry, runtime).limits(limits);
        House {
            entered: entrance.in_front_of(service),
            tenants,
            kv,
            clock,
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now().0 / 1000
    }

    /// A user who is nobody in particular.
    pub(crate) fn user(&self, name: &str) -> u64 {
        let new = NewUser::new(name, Secret::new(PASSWORD));
        block_on(self.tenants.accounts.create_user(new)).unwrap().id
    }

    /// A private project of this user's.
    pub(crate) fn project(&self, name: &str, owner: u64) -> u64 {
        let made = self
            .tenants
            .projects
            .create(name, owner, false, Default::default());
        block_on(made).unwrap().id
    }

    pub(crate) fn member(&self, project: u64, who: Grantee, role: Role) -> u64 {
        let added = self.tenants.projects.add_member(project, who, role, None);
        block_on(added).unwrap().id
    }

    pub(crate) async fn exchange(&self, request: Request<Full<Bytes>>) -> Answer {
        let answer = self.entered.handle(request).await;
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) fn ask(&self, who: Who<'_>, method: &str, target: &str, body: impl Into<Bytes>) -> Answer {
        block_on(self.exchange(request(who, method, target, body)))
    }

    pub(crate) fn get(&self, who: Who<'_>, target: &str) -> Answer {
        self.ask(who, "GET", target, "")
    }

    /// The token that somebody gets for a scope.
    pub(crate) fn token(&self, who: Who<'_>, scope: &str) -> String {
        let reply = self.get(who, &token_path(scope)).is(200).json();
        reply["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn push_blob(&self, who: Who<'_>, repository: &str, content: &'static [u8]) -> Digest {
        let digest = Digest::sha256(content);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.ask(who, "POST", &target, content).is(201);
        digest
    }

    /// An image of one configuration.
    pub(crate) fn push_image(&self, who: Who<'_>, repository: &str, tag: &str) -> Digest {
        let config = self.push_blob(who, repository, b"{}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": { "mediaType": "application/x", "digest": config, "size": 2 },
            "layers": [],
        });
        let manifest = manifest.to_string();
        let digest = Digest::sha256(manifest.as_bytes());
        let target = format!("/v2/{repository}/manifests/{tag}");
        self.ask(who, "PUT", &target, manifest).is(201);
        digest
    }

    /// Begins an upload. Where it goes on.
    pub(crate) fn begin(&self, who: Who<'_>, repository: &str) -> String {
        let begun = self.ask(who, "POST", &format!("/v2/{repository}/blobs/uploads/"), "");
        begun.is(202).header("location").to_owned()
    }
}

/// Where a token for a scope is asked for.
pub(crate) fn token_path(scope: &str) -> String {
    let scope = scope.replace(' ', "%20");
    format!("/service/token?service=berth&scope={scope}")
}

pub(crate) fn request(
    who: Who<'_>,
    method: &str,
    target: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let body = body.into();
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "registry.test")
        .header("content-length", body.len());
    if target.contains("/manifests/") && method == "PUT" {
        request = request.header("content-type", IMAGE);
    }
    let basic = |name: &str, secret: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")));
    request = match who {
        Who::Nobody => request,
        Who::User(name) => request.header("authorization", basic(name, PASSWORD)),
        Who::Basic(name, secret) => request.header("authorization", basic(name, secret)),
        Who::Bearer(token) => request.header("authorization", format!("Bearer {token}")),
    };
    request.body(Full::new(body)).unwrap()
}
