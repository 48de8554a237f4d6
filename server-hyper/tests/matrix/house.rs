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
use registry_auth::roles::Role;
use registry_auth::secret::Secret;
use registry_auth::{
    Argon2id, Entered, Entrance, EntranceOptions, Grantee, GroupKind, NewGroup, NewRobot, NewToken, NewUser,
    Permission, Profile, RobotChange, Settings, Tenants,
};
use registry_core::http::Service;
use registry_core::store::Lifetimes;
use registry_core::store::collection::Query;
use registry_core::{Digest, Runtime, Timestamp};
use serde_json::{Value, json};
use server_hyper::{Front, Stores, TokioRuntime};

use super::who::{INSIDE, Login, OUTSIDE, Place, SHARED, THEIRS};

/// Everybody's password.
const PASSWORD: &str = "Correct-Horse-1";
/// When the registry was set up, and when some were still there who are not now.
const SET_UP: Duration = Duration::from_secs(24 * 3600 + 300);
const BEFORE: Duration = Duration::from_secs(600);
/// When some things ended.
const ENDED: Duration = Duration::from_secs(300);
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

fn ago(duration: Duration) -> Timestamp {
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
    front: Entered,
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
            let tenants = tenants.await.expect("sound settings");
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
        let secrets = people(&first).await;
        let front = Front::of_tenants(&stores, &tenants, options());
        let house = House {
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
        let Tenants {
            accounts, projects, ..
        } = &self.tenants;
        let id = async |name: &str| accounts.user_named(name).await.unwrap().id;
        for project in [Place::Public.project(), Place::Private.project()] {
            let project = projects.named(project).await.unwrap().id;
            let members = projects.members(project, Query::all());
            for member in members.await.unwrap().rows {
                if member.value.who == Grantee::User(id("revoked").await) {
                    projects.remove_member(project, member.id).await.unwrap();
                }
                if member.value.who == Grantee::User(id("demoted").await) {
                    projects.set_role(project, member.id, Role::Guest).await.unwrap();
                }
            }
        }
        let robots = accounts.robots(&Query::all()).await.unwrap();
        for robot in robots.rows {
            match robot.value.name.as_str() {
                "disabled" => {
                    let change = RobotChange {
                        disabled: Some(true),
                        ..RobotChange::default()
                    };
                    accounts.change_robot("admin", robot.id, change).await.unwrap();
                }
                "deleted" => accounts.delete_robot(robot.id).await.unwrap(),
                _ => {}
            }
        }
        let tokens = accounts.tokens(&Query::all()).await.unwrap();
        for token in tokens.rows {
            if token.value.name == "deleted" {
                accounts.delete_token(token.value.user, token.id).await.unwrap();
            }
        }
        accounts.set_enabled(id("disabled").await, false).await.unwrap();
        accounts.delete_user(id("deleted").await).await.unwrap();
        accounts.delete_user(id("maker").await).await.unwrap();
    }
}

/// Makes everybody, and says what each logs in with.
async fn people(tenants: &Tenants) -> HashMap<String, String> {
    let Tenants {
        accounts, projects, ..
    } = tenants;
    let mut secrets = HashMap::new();
    accounts.first_start(Some(Secret::new(PASSWORD))).await.unwrap();
    secrets.insert("admin".to_owned(), PASSWORD.to_owned());
    let mut ids = HashMap::from([("admin", 1)]);
    for name in [
        "mallory",
        "limited",
        "guest",
        "developer",
        "grouped",
        "maintainer",
        "boss",
        "partial",
        "revoked",
        "disabled",
        "deleted",
        "mistaken",
        "demoted",
        "maker",
    ] {
        let new = NewUser {
            username: name.to_owned(),
            profile: Profile::default(),
            password: Secret::new(PASSWORD),
            admin: false,
        };
        ids.insert(name, accounts.create_user(new).await.unwrap().id);
        secrets.insert(name.to_owned(), PASSWORD.to_owned());
    }
    secrets.insert("mistaken".to_owned(), "Correct-Horse-2".to_owned());
    let group = NewGroup {
        name: "developers".to_owned(),
        kind: GroupKind::Http,
        ldap_dn: String::new(),
    };
    let group = accounts.create_group(group).await.unwrap().id;
    accounts.set_groups(ids["grouped"], &[group]).await.unwrap();

    let make = async |name: &str, owner: &str, public: bool| {
        let made = projects.create(name, ids[owner], public, Default::default());
        made.await.unwrap().id
    };
    make(SHARED, "admin", true).await;
    make(THEIRS, "mallory", false).await;
    let robot = async |by: &str, name: &str, project: Option<&str>, days: i64, access: &[(&str, &str)]| {
        let new = NewRobot {
            name: name.to_owned(),
            description: String::new(),
            project: project.map(str::to_owned),
            permissions: vec![Permission::project(project.unwrap_or("*"), access)],
            duration: days,
        };
        let (row, secret) = accounts.create_robot(by, new).await.unwrap();
        let name = accounts.robot_name(&row.value).await.unwrap();
        (name, secret.reveal().to_owned())
    };
    let (pull, push, delete) = (
        ("repository", "pull"),
        ("repository", "push"),
        ("repository", "delete"),
    );
    for place in [Place::Public, Place::Private] {
        let name = place.project();
        let project = make(name, "admin", place == Place::Public).await;
        let roles = [
            ("limited", Role::LimitedGuest),
            ("guest", Role::Guest),
            ("developer", Role::Developer),
            ("maintainer", Role::Maintainer),
            ("boss", Role::ProjectAdmin),
            ("revoked", Role::Maintainer),
            ("disabled", Role::Maintainer),
            ("deleted", Role::Maintainer),
            ("mistaken", Role::Maintainer),
            ("demoted", Role::ProjectAdmin),
            ("maker", Role::ProjectAdmin),
        ];
        for (user, role) in roles {
            let who = Grantee::User(ids[user]);
            projects.add_member(project, who, role, None).await.unwrap();
        }
        let who = Grantee::Group(group);
        let added = projects.add_member(project, who, Role::Developer, None);
        added.await.unwrap();
        let who = Grantee::User(ids["partial"]);
        let pattern = format!("{name}/{INSIDE}*").parse().unwrap();
        let added = projects.add_member(project, who, Role::Developer, Some(pattern));
        added.await.unwrap();
        let both: &[_] = &[pull, push];
        for (by, robot_name, days, access) in [
            ("boss", "puller", -1, &[pull][..]),
            ("boss", "pusher", -1, both),
            ("demoted", "tamed", -1, both),
            ("boss", "disabled", -1, both),
            ("boss", "deleted", -1, both),
            ("boss", "expired", 1, both),
            ("maker", "orphan", -1, both),
        ] {
            secrets.extend([robot(by, robot_name, Some(name), days, access).await]);
        }
    }
    secrets.extend([robot("mallory", "stray", Some(THEIRS), -1, &[pull, push]).await]);
    secrets.extend([robot("admin", "everywhere", None, -1, &[pull, push, delete]).await]);
    secrets.extend([robot("admin", "mirror", None, -1, &[pull]).await]);
    let all = || vec![Permission::project("*", &[("repository", "pull")])];
    for (user, name, permissions, expires) in [
        ("developer", "laptop", None, None),
        ("developer", "reader", Some(all()), None),
        ("admin", "reader", Some(all()), None),
        ("developer", "expired", None, Some(ago(ENDED))),
        ("developer", "deleted", None, None),
        ("disabled", "laptop", None, None),
        ("deleted", "laptop", None, None),
    ] {
        let new = NewToken {
            name: name.to_owned(),
            permissions,
            expires,
        };
        let (_, secret) = accounts.create_token(ids[user], new).await.unwrap();
        secrets.insert(format!("{user}#{name}"), secret.reveal().to_owned());
    }
    secrets
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
