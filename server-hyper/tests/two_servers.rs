//! Two nodes on the same records: a token that one of them makes is taken by the other, from the first request and while keys are
//! replaced.
//!
//! The embedded engine allows one process, so both are in this one. All that is above the engine each has of its own: keys,
//! accounts, what is remembered of tokens and logins, registry, and the server with its connections.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use registry_auth::limits::{Rate, Rates};
use registry_auth::secret::Secret;
use registry_auth::tokens::{KeyOptions, Keys, Rotation, key_id};
use registry_auth::{ADMIN, Argon2id, EntranceOptions, Settings, Tenants};
use registry_core::Digest;
use registry_core::manifest::OCI_MANIFEST;
use registry_core::store::Kv;
use registry_storage::Durability;
use registry_storage::memory::MemoryKv;
use server_hyper::{Front, Handle, Server, StoreOptions, Stores, TokioRuntime};

use support::{Http1, http1, loopback};

const PASSWORD: &str = "Correct1Horse";
const SCOPE: &str = "repository:team/app:pull,push";
const CLIENTS: usize = 8;
/// How long what was withdrawn is still taken, at most.
const BOUND: Duration = Duration::from_secs(1);

/// One of the two.
struct Node {
    address: SocketAddr,
    keys: Arc<Keys>,
    handle: Handle,
}

impl Node {
    async fn start(stores: Stores, options: EntranceOptions) -> Self {
        let hashing = Arc::new(Argon2id::cheap());
        let kv = Arc::clone(stores.kv());
        let tenants = Tenants::open(kv, TokioRuntime::shared(), hashing, Settings::default()).unwrap();
        let password = Some(Secret::new(PASSWORD));
        tenants.accounts.first_start(password).await.unwrap();
        if tenants.projects.named("team").await.is_err() {
            let made = tenants.projects.create("team", 1, false, Default::default());
            made.await.unwrap();
        }
        let front = Front::of_tenants(&stores, &tenants, options);
        let server = Server::builder()
            .service(front.service(Default::default()))
            .listen(loopback());
        let server = server.bind().await.unwrap();
        let (address, handle) = (server.local_addr(), server.handle());
        tokio::spawn(server.serve());
        let keys = Arc::clone(&stores.keys);
        Node {
            address,
            keys,
            handle,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// Where keys are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeysAre {
    /// In the records, as they should be.
    Shared,
    /// Each node's own, as in Harbor #12229.
    OfEachNode,
}

/// Two nodes on one engine, with a store that is gone when they are.
struct House {
    nodes: [Node; 2],
    _directory: tempfile::TempDir,
}

impl House {
    async fn new(keys: KeysAre) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            durability: Durability::Relaxed,
            ..StoreOptions::default()
        };
        let opened =
            registry_storage::open_with(directory.path(), TokioRuntime::shared(), options.records()).unwrap();
        let (kv, bytes) = (Arc::new(opened.kv), Arc::new(opened.bytes));
        let key_options = || KeyOptions {
            settle: Duration::from_millis(300),
            ..KeyOptions::default()
        };
        let plenty = Rate::new(1_000_000, 1_000_000);
        let entrance = EntranceOptions {
            rates: Rates {
                requests: plenty,
                attempts_from: plenty,
                attempts_for: plenty,
            },
            ..EntranceOptions::default()
        };
        let node = async || {
            let mut stores =
                Stores::embedded(Arc::clone(&kv), Arc::clone(&bytes), options).signing(key_options());
            if keys == KeysAre::OfEachNode {
                let own: Arc<dyn Kv> = Arc::new(MemoryKv::new());
                stores.keys = Arc::new(Keys::new(own, TokioRuntime::shared(), key_options()));
            }
            Node::start(stores, entrance.clone()).await
        };
        House {
            nodes: [node().await, node().await],
            _directory: directory,
        }
    }

    /// Both nodes, by one client.
    async fn client(&self) -> Client {
        let addresses = [self.nodes[0].address, self.nodes[1].address];
        Client {
            addresses,
            connections: [http1(addresses[0]).await, http1(addresses[1]).await],
        }
    }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("{ADMIN}:{PASSWORD}")))
}

/// A connection to each of the nodes.
struct Client {
    addresses: [SocketAddr; 2],
    connections: [Http1; 2],
}

impl Client {
    async fn send(
        &mut self,
        node: usize,
        method: Method,
        target: &str,
        authorization: &str,
        body: impl Into<Bytes>,
    ) -> (StatusCode, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "registry.test")
            .header("authorization", authorization)
            .header("content-type", OCI_MANIFEST);
        let request = request.body(Full::new(body.into())).unwrap();
        let connection = &mut self.connections[node];
        // A server that refuses a body unread closes its connection.
        if connection.ready().await.is_err() {
            *connection = http1(self.addresses[node]).await;
            connection.ready().await.unwrap();
        }
        let answer = connection.send_request(request).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }

    /// A token from a node.
    async fn token(&mut self, node: usize) -> String {
        let target = format!("/service/token?service=berth&scope={SCOPE}");
        let (status, body) = self.send(node, Method::GET, &target, &basic(), "").await;
        assert_eq!(status, 200, "{body:?}");
        let reply: serde_json::Value = serde_json::from_slice(&body).unwrap();
        reply["token"].as_str().unwrap().to_owned()
    }

    async fn get(&mut self, node: usize, target: &str, token: &str) -> StatusCode {
        let bearer = format!("Bearer {token}");
        self.send(node, Method::GET, target, &bearer, "").await.0
    }
}

#[tokio::test]
async fn a_token_of_one_node_is_taken_by_the_other_from_the_first_request() {
    for (makes, takes) in [(0, 1), (1, 0)] {
        // Neither has made a key, nor looked for one.
        let house = House::new(KeysAre::Shared).await;
        let mut client = house.client().await;
        let token = client.token(makes).await;
        assert_eq!(client.get(takes, "/v2/", &token).await, 200);
        // And a key that was made a moment ago is known to the other at once.
        house.nodes[takes].keys.rotate(Rotation::Immediate).await.unwrap();
        let token = client.token(takes).await;
        assert_eq!(client.get(makes, "/v2/", &token).await, 200);
    }
}

/// What clients ask for over and over.
struct Mix {
    manifest: String,
    digest: Digest,
    blob: Digest,
}

impl Mix {
    /// Pushes it.
    async fn push(house: &House) -> Self {
        let mut client = house.client().await;
        let basic = basic();
        let layer: Vec<u8> = (0..20_000u32).map(|at| at as u8).collect();
        let blob = Digest::sha256(&layer);
        let target = format!("/v2/team/app/blobs/uploads/?digest={blob}");
        assert_eq!(client.send(0, Method::POST, &target, &basic, layer).await.0, 201);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/x","digest":"{blob}","size":20000}},"layers":[]}}"#
        );
        let target = "/v2/team/app/manifests/latest";
        let put = client
            .send(1, Method::PUT, target, &basic, manifest.clone())
            .await;
        assert_eq!(put.0, 201);
        Mix {
            digest: Digest::sha256(manifest.as_bytes()),
            manifest,
            blob,
        }
    }

    /// The request of this number.
    fn request(&self, number: u64) -> (Method, String, Bytes) {
        let none = Bytes::new();
        match number % 20 {
            0 => {
                let target = format!("/v2/team/app/manifests/t{}", number % 100);
                (Method::PUT, target, self.manifest.clone().into())
            }
            1 => (Method::POST, "/v2/team/app/blobs/uploads/".to_owned(), none),
            2 => (Method::GET, "/v2/".to_owned(), none),
            3 | 4 => (Method::GET, "/v2/team/app/tags/list?n=10".to_owned(), none),
            5..=8 => (Method::HEAD, format!("/v2/team/app/blobs/{}", self.blob), none),
            9..=12 => (Method::GET, format!("/v2/team/app/blobs/{}", self.blob), none),
            13..=15 => (
                Method::GET,
                format!("/v2/team/app/manifests/{}", self.digest),
                none,
            ),
            _ => (Method::GET, "/v2/team/app/manifests/latest".to_owned(), none),
        }
    }
}

/// What came of a load.
#[derive(Debug, Default)]
struct Outcome {
    answered: u64,
    unauthorized: u64,
    /// Since the last rotation, at the last 401.
    last_unauthorized: Option<Duration>,
    /// The keys that signed the tokens that were used.
    keys: BTreeSet<String>,
    tokens: u64,
}

/// What clients do.
struct Plan<'a> {
    /// How often they ask, all together, each at both nodes in turn.
    requests: u64,
    /// How often each does so with one token, of either node in turn. One that is refused is replaced at once.
    with_a_token: u64,
    /// After how many requests the keys are replaced meanwhile, by one node and then by the other.
    rotations: &'a [u64],
    /// How.
    how: Rotation,
}

async fn load(house: &House, plan: Plan<'_>) -> Outcome {
    let mix = Mix::push(house).await;
    let (next, began) = (AtomicU64::new(0), Instant::now());
    // When the last rotation was over, in milliseconds of this load.
    let rotated = AtomicU64::new(0);
    let client = async |number: usize| {
        let (mut client, mut outcome) = (house.client().await, Outcome::default());
        let (mut token, mut used, mut turn) = (String::new(), plan.with_a_token, number);
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= plan.requests {
                return outcome;
            }
            if let Some(at) = plan.rotations.iter().position(|at| *at == number) {
                house.nodes[at % 2].keys.rotate(plan.how).await.unwrap();
                rotated.store(began.elapsed().as_millis() as u64, Ordering::SeqCst);
            }
            if used == plan.with_a_token {
                (token, used) = (client.token(turn % 2).await, 0);
                outcome.keys.insert(key_id(&token).unwrap());
                outcome.tokens += 1;
            }
            turn += 1;
            used += 1;
            let (method, target, body) = mix.request(number);
            let bearer = format!("Bearer {token}");
            let (status, said) = client
                .send(turn % 2, method.clone(), &target, &bearer, body)
                .await;
            outcome.answered += 1;
            if status == 401 {
                outcome.unauthorized += 1;
                let since = Duration::from_millis(rotated.load(Ordering::SeqCst));
                outcome.last_unauthorized = Some(began.elapsed().saturating_sub(since));
                used = plan.with_a_token;
            } else {
                assert!(status.is_success(), "{method} {target}: {status} {said:?}");
            }
        }
    };
    let all = futures_util::future::join_all((0..CLIENTS).map(client)).await;
    let mut total = Outcome::default();
    for one in all {
        total.answered += one.answered;
        total.unauthorized += one.unauthorized;
        total.last_unauthorized = total.last_unauthorized.max(one.last_unauthorized);
        total.keys.extend(one.keys);
        total.tokens += one.tokens;
    }
    println!(
        "{} requests at two nodes in {:.1} s, with {} tokens by {} keys: {} were answered 401",
        total.answered,
        began.elapsed().as_secs_f64(),
        total.tokens,
        total.keys.len(),
        total.unauthorized
    );
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_twenty_thousand_is_refused_while_keys_are_rotated() {
    let house = House::new(KeysAre::Shared).await;
    let outcome = load(
        &house,
        Plan {
            requests: 20_000,
            with_a_token: 40,
            rotations: &[3000, 7000, 11_000],
            how: Rotation::Overlapping,
        },
    )
    .await;
    assert_eq!((outcome.answered, outcome.unauthorized), (20_000, 0));
    assert!(outcome.keys.len() > 1, "no new key has signed anything meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_withdrawn_take_their_tokens_along_and_no_others() {
    let house = House::new(KeysAre::Shared).await;
    let mut client = house.client().await;
    let old = client.token(0).await;
    // With tokens that nobody replaces unless they are refused.
    let plan = Plan {
        requests: 6000,
        with_a_token: 6001,
        rotations: &[2000],
        how: Rotation::Immediate,
    };
    let outcome = load(&house, plan).await;
    assert_eq!(outcome.answered, 6000);
    // A node that has not looked since may sign with the old key for as long as it may take its tokens.
    let last = outcome.last_unauthorized.unwrap_or_default();
    assert!(last <= BOUND, "a token was refused {last:?} after the rotation");
    let began = Instant::now();
    for node in [0, 1] {
        while client.get(node, "/v2/", &old).await != 401 {
            assert!(began.elapsed() <= BOUND, "an old token is still taken");
        }
    }
}

/// What the count above would find, if there were anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_each_nodes_own_would_be_counted() {
    let house = House::new(KeysAre::OfEachNode).await;
    let outcome = load(
        &house,
        Plan {
            requests: 500,
            with_a_token: 40,
            rotations: &[],
            how: Rotation::Overlapping,
        },
    )
    .await;
    assert!(outcome.unauthorized > 100, "{outcome:?}");
}
