//! A registry with everybody in it, two projects that they have roles in, and content.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use registry_auth::limits::{Rate, Rates};
use registry_auth::secret::Secret;
use registry_auth::{Argon2id, Entrance, EntranceOptions, Settings, Tenants, User};
use registry_core::http::Service;
use registry_core::store::Lifetimes;
use registry_core::store::Stamp;
use registry_core::store::collection::Collection;
use registry_core::{Digest, Runtime, Timestamp};
use serde_json::{Value, json};
use server_hyper::{Front, FrontService, Stores, TokioRuntime};

use super::people::{PASSWORD, new_user, people, revoke};
use super::who::{INSIDE, Login, OUTSIDE, Place, SHARED, THEIRS};

/// When the registry was set up, and when some were still there who are not now.
const SET_UP: Duration = Duration::from_secs(24 * 3600 + 300);
const BEFORE: Duration = Duration::from_secs(600);
/// Room enough for the slowest of machines.
const RATE: Rate = Rate::new(1_000_000, 1_000_000);

/// The clock of some time ago.
#[derive(Debug)]
struct Ago(Duration);

impl Runtime for Ago {
    fn now(&self) -> Timestamp {
        ago(self.0)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        TokioRuntime.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        TokioRuntime.spawn_blocking(work);
    }
}

pub(crate) fn ago(duration: Duration) -> Timestamp {
    Timestamp(Timestamp::system().0 - duration.as_millis() as u64)
}

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {self:?}"))
    }
}

pub(crate) type Asked = Request<Full<Bytes>>;

pub(crate) fn request(method: &Method, uri: &str, body: impl Into<Bytes>) -> Asked {
    let request = Request::builder().method(method).uri(uri);
    let request = request.header(header::HOST, "registry.test");
    request
        .body(Full::new(body.into()))
        .unwrap_or_else(|why| panic!("{uri}: {why}"))
}

async fn whole(response: http::Response<registry_core::http::Body>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// When a token was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum When {
    Now,
    /// While everybody was still there; the token has not run out.
    Before,
    /// So long ago that it has.
    LongAgo,
}

pub(crate) struct House {
    pub(crate) tenants: Tenants,
    front: FrontService,
    users: Collection<User>,
    /// The ids of the users that there were at first.
    ids: HashMap<&'static str, u64>,
    entrances: [Entrance; 2],
    /// The registry without anybody in front of it.
    behind: Service,
    /// By the whole name, what to log in with.
    secrets: HashMap<String, String>,
    /// By name, when and scope.
    tokens: Mutex<HashMap<(String, When, String), Option<String>>>,
    drawn: AtomicU64,
}

fn options() -> EntranceOptions {
    EntranceOptions {
        rates: Rates {
            requests: RATE,
            attempts_from: RATE,
            attempts_for: RATE,
        },
        ..EntranceOptions::default()
    }
}

impl House {
    pub(crate) async fn new(users_create_projects: bool) -> House {
        let stores = Stores::memory(Lifetimes::default());
        let settings = Settings {
            users_create_projects,
            ..Settings::default()
        };
        let at = async |ago: Option<Duration>| {
            let runtime: Arc<dyn Runtime> = match ago {
                Some(ago) => Arc::new(Ago(ago)),
                None => TokioRuntime::shared(),
            };
            let (kv, hashing) = (Arc::clone(stores.kv()), Arc::new(Argon2id::cheap()));
            let tenants = Tenants::open(kv, Arc::clone(&runtime), hashing, settings.clone());
            let tenants = tenants.expect("sound settings");
            let entrance = Entrance::new(
                Arc::clone(stores.kv()),
                Arc::clone(&stores.keys),
                Arc::new(tenants.accounts.clone()),
                Arc::new(tenants.authorizer.clone()),
                runtime,
                options(),
            );
            (tenants, entrance)
        };
        let (first, long_ago) = at(Some(SET_UP)).await;
        let (_, before) = at(Some(BEFORE)).await;
        let (tenants, _) = at(None).await;
        let (secrets, ids) = people(&first).await;
        let front = Front::of_tenants(&stores, &tenants, options());
        let house = House {
            users: Collection::new(Arc::clone(stores.kv())),
            ids,
            front: front.service(Default::default()),
            behind: Service::new(Arc::clone(&stores.registry), TokioRuntime::shared()),
            entrances: [before, long_ago],
            tenants,
            secrets,
            tokens: Mutex::default(),
            drawn: AtomicU64::new(0),
        };
        house.furnish().await;
        house
    }

    /// Content: in the project that there is not too, as one that was deleted may have left it.
    async fn furnish(&self) {
        let names = Place::ALL.map(Place::project);
        let repositories = names
            .iter()
            .flat_map(|project| [(*project, INSIDE), (*project, OUTSIDE)]);
        for (project, name) in repositories.chain([(SHARED, "base"), (THEIRS, "base")]) {
            let name = format!("{project}/{name}");
            self.put_blob(&name, b"{}").await;
            let path = format!("/v2/{name}/manifests/latest");
            self.put_manifest(&path, &manifest(0)).await;
        }
    }

    /// A number that was not drawn before.
    pub(crate) fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What everybody but the caller's rights decides: an answer that nobody is refused.
    pub(crate) async fn behind(&self, request: Asked) -> Answer {
        whole(self.behind.handle(request).await).await
    }

    pub(crate) async fn ask(&self, request: Asked) -> Answer {
        whole(self.front.handle(request).await).await
    }

    /// What changes with whatever is written to accounts and projects.
    pub(crate) async fn mark(&self) -> Option<Stamp> {
        self.users.mark().await.unwrap()
    }

    /// The id of a user who was there at first.
    pub(crate) fn id(&self, name: &str) -> u64 {
        self.ids[name]
    }

    /// A user whom nobody knows.
    pub(crate) async fn new_user(&self) -> u64 {
        let name = format!("user{}", self.draw());
        self.tenants
            .accounts
            .create_user(new_user(&name))
            .await
            .unwrap()
            .id
    }

    /// Gives somebody the password back that all have.
    pub(crate) async fn restore_password(&self, user: u64) {
        let password = Secret::new(PASSWORD);
        self.tenants.accounts.set_password(user, &password).await.unwrap();
    }

    pub(crate) async fn put_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = self.behind(request(&Method::POST, &path, bytes.to_vec())).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    pub(crate) async fn put_manifest(&self, path: &str, bytes: &str) {
        let put = manifest_request(path, bytes);
        let answer = self.behind(put).await;
        assert_eq!(answer.status, 201, "{path}: {answer:?}");
    }

    pub(crate) async fn begin_upload(&self, name: &str) -> String {
        let path = format!("/v2/{name}/blobs/uploads/");
        let answer = self.behind(request(&Method::POST, &path, "")).await;
        answer.headers["docker-upload-uuid"].to_str().unwrap().to_owned()
    }

    pub(crate) async fn is_there(&self, path: &str) -> bool {
        self.behind(request(&Method::HEAD, path, "")).await.status == 200
    }

    /// The name and the secret that somebody sends when they ask about a place.
    pub(crate) fn login(&self, login: Login, place: Place) -> Option<(String, String)> {
        let home = match place {
            Place::Public => Place::Public,
            Place::Private | Place::Missing => Place::Private,
        };
        let name = match login {
            Login::Nobody => return None,
            Login::User(name) => name.to_owned(),
            Login::Token(user, name) => format!("{user}#{name}"),
            Login::Robot(name) => format!("robot${name}"),
            Login::OfProject(name) => format!("robot${}+{name}", home.project()),
            Login::OfOthers(name) => format!("robot${THEIRS}+{name}"),
        };
        let secret = self.secrets.get(&name);
        let secret = secret.unwrap_or_else(|| panic!("{name} was not made")).clone();
        Some((name, secret))
    }

    pub(crate) fn with_basic(request: &mut Asked, login: Option<(String, String)>) {
        if let Some((name, secret)) = login {
            let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")));
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, basic.parse().unwrap());
        }
    }

    /// A token for these scopes, unless it is refused; the same again if it was given out before.
    pub(crate) async fn token(
        &self,
        login: Option<(String, String)>,
        when: When,
        scopes: &[String],
    ) -> Option<String> {
        let name = login.as_ref().map_or(String::new(), |(name, _)| name.clone());
        let scopes: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
        let key = (name, when, scopes);
        if let Some(known) = self.tokens.lock().unwrap().get(&key) {
            return known.clone();
        }
        let uri = format!("/service/token?service=berth{}", key.2);
        let mut asked = request(&Method::GET, &uri, "");
        House::with_basic(&mut asked, login);
        let answer = match when {
            When::Now => self.ask(asked).await,
            When::Before => whole(self.entrances[0].endpoint().handle(asked).await).await,
            When::LongAgo => whole(self.entrances[1].endpoint().handle(asked).await).await,
        };
        let token = (answer.status == 200).then(|| answer.json()["token"].as_str().unwrap().to_owned());
        self.tokens.lock().unwrap().insert(key, token.clone());
        token
    }

    /// Takes from some what they had.
    pub(crate) async fn revoke(&self) {
        revoke(&self.tenants).await;
    }
}

/// A manifest that no other number makes.
pub(crate) fn manifest(number: u64) -> String {
    let config = Digest::sha256(b"{}");
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": config.to_string(), "size": 2 },
        "layers": [],
        "artifactType": "application/vnd.example",
        "annotations": { "number": number.to_string() },
    })
    .to_string()
}

pub(crate) fn manifest_request(path: &str, bytes: &str) -> Asked {
    let mut put = request(&Method::PUT, path, bytes.to_owned());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    put.headers_mut()
        .insert(header::CONTENT_TYPE, media_type.parse().unwrap());
    put
}
