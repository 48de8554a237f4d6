//! The token endpoint beside a registry, as clients use both.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_executor::block_on;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use registry_auth::limits::{Rate, Rates};
use registry_auth::tokens::JWKS_PATH;
use registry_auth::{Entered, Entrance, EntranceOptions, Rule, StaticPolicy, Who};
use registry_core::auth::Action::{Delete, Pull, Push};
use registry_core::http::{RemoteAddr, Service};
use registry_core::store::Lifetimes;
use registry_core::wrappers::Authorized;
use registry_core::{Digest, LocalRegistry, Options};
use registry_storage::memory::MemoryBytes;
use registry_storage::records::Records;
use serde_json::{Value, json};

use crate::harness::{NOW, Node};

struct House {
    node: Node,
    registry: Entered,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    fn token(&self) -> String {
        format!("Bearer {}", self.json()["token"].as_str().unwrap())
    }
}

fn house() -> House {
    house_with(&Rates::default())
}

fn house_with(rates: &Rates) -> House {
    let node = Node::new();
    let policy = Arc::new(StaticPolicy::new([
        Rule::new(Who::Anyone, "q/*".parse().unwrap(), [Pull]),
        Rule::new(
            Who::Named("alice".into()),
            "p/*".parse().unwrap(),
            [Pull, Push, Delete],
        ),
        Rule::new(
            Who::Named("robot$ci".into()),
            "p/*".parse().unwrap(),
            [Pull, Push],
        ),
    ]));
    let runtime = Arc::clone(&node.runtime);
    let bytes = Arc::new(MemoryBytes::new());
    let records = Records::new(Arc::clone(&node.kv), Arc::clone(&runtime), Lifetimes::default());
    let local = LocalRegistry::new(
        Arc::new(records),
        bytes.clone(),
        bytes,
        Arc::clone(&runtime),
        Options::default(),
    );
    let options = EntranceOptions {
        rates: rates.clone(),
        ..EntranceOptions::default()
    };
    let entrance = Entrance::new(
        Arc::clone(&node.kv),
        Arc::clone(&node.keys),
        node.accounts.clone(),
        policy.clone(),
        Arc::clone(&runtime),
        options,
    );
    let registry = Service::new(Arc::new(Authorized::around(local, policy)), runtime);
    House {
        registry: entrance.in_front_of(registry),
        node,
    }
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

const ALICE: (&str, &str) = ("alice", "Secret1");

impl House {
    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "registry.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        request
            .extensions_mut()
            .insert(RemoteAddr("192.0.2.1".parse().unwrap()));
        block_on(async {
            let response = self.registry.handle(request).await;
            let (head, body) = response.into_parts();
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await.unwrap().to_bytes(),
            }
        })
    }

    fn get(&self, target: &str, authorization: &str) -> Answer {
        match authorization {
            "" => self.send("GET", target, &[], ""),
            value => self.send("GET", target, &[("authorization", value)], ""),
        }
    }

    /// A token as `docker` gets one.
    fn ask(&self, who: Option<(&str, &str)>, query: &str) -> Answer {
        let authorization = who.map_or(String::new(), |(name, secret)| basic(name, secret));
        self.get(&format!("/service/token?{query}"), &authorization)
    }

    fn post(&self, form: &str) -> Answer {
        let form_type = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        self.send("POST", "/service/token", &[form_type], form)
    }

    fn push(&self, token: &str, name: &str, bytes: &str) -> Answer {
        let digest = Digest::sha256(bytes.as_bytes());
        let target = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        self.send("POST", &target, &[("authorization", token)], bytes)
    }
}

#[test]
fn a_client_follows_the_challenge_to_a_token_and_pushes_and_pulls_with_it() {
    let house = house();
    let asked = house.get("/v2/", "").is(401);
    assert_eq!(
        asked.header("www-authenticate"),
        "Bearer realm=\"http://registry.test/service/token\",service=\"berth\""
    );
    assert_eq!(asked.headers.get_all("www-authenticate").iter().count(), 1);
    let reply = house
        .ask(
            Some(ALICE),
            "account=alice&service=berth&scope=repository:p/a:pull,push",
        )
        .is(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let document = reply.json();
    assert_eq!(document["token"], document["access_token"]);
    assert_eq!(
        (document["expires_in"].as_u64(), document["issued_at"].as_str()),
        (Some(1800), Some(NOW.to_string().as_str()))
    );
    assert!(document["expires_in"].as_u64().unwrap() >= 60 && document.get("refresh_token").is_none());
    let token = reply.token();
    house.get("/v2/", &token).is(200);
    house.push(&token, "p/a", "layer").is(201);
    let digest = Digest::sha256(b"layer");
    house.get(&format!("/v2/p/a/blobs/{digest}"), &token).is(200);
    house.get(&format!("/v2/p/b/blobs/{digest}"), &token).is(401);
    house.push(&token, "p/b", "layer").is(401);
    // With name and password the same account reaches what it may, and no more.
    house
        .get(&format!("/v2/p/a/blobs/{digest}"), &basic(ALICE.0, ALICE.1))
        .is(200);
    house.push(&basic(ALICE.0, ALICE.1), "q/x", "layer").is(403);
}

#[test]
fn less_than_was_asked_for_is_no_error() {
    let house = house();
    let scope = |who, query: &str| {
        house.ask(who, query).is(200).json()["scope"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        scope(
            Some(ALICE),
            "scope=repository:q/x:pull,push&scope=repository:z/z:pull+repository:p/a:*"
        ),
        "repository:q/x:pull repository:z/z: repository:p/a:pull,push,delete"
    );
    assert_eq!(
        scope(None, "scope=repository:q/x:pull,push+repository:p/a:pull"),
        "repository:q/x:pull repository:p/a:"
    );
    assert_eq!(
        scope(Some(ALICE), "scope=registry:catalog:*+namespace:x:pull"),
        "registry:catalog:*"
    );
    assert_eq!(scope(Some(ALICE), ""), "");
}

#[test]
fn nobody_in_particular_gets_what_everybody_may_have() {
    let house = house();
    house.ask(None, "service=berth").is(401);
    let token = house
        .ask(None, "service=berth&scope=repository:q/x:pull")
        .is(200)
        .token();
    house.get("/v2/", &token).is(200);
    house.get("/v2/q/x/tags/list", &token).is(404);
    house.get("/v2/p/a/tags/list", &token).is(401);
    house.get("/v2/q/x/tags/list", "").is(404);
}

#[test]
fn wrong_credentials_are_401_and_wrong_requests_400_and_both_say_why() {
    let house = house();
    let wrong = house
        .ask(Some(("alice", "nope")), "scope=repository:p/a:pull")
        .is(401);
    let unknown = house
        .ask(Some(("nobody", "nope")), "scope=repository:p/a:pull")
        .is(401);
    assert_eq!(
        (wrong.body.clone(), &wrong.headers),
        (unknown.body.clone(), &unknown.headers)
    );
    assert_eq!(wrong.header("www-authenticate"), "Basic realm=\"berth\"");
    assert_eq!(wrong.json()["errors"][0]["code"], "UNAUTHORIZED");
    house
        .get("/service/token?scope=repository:p/a:pull", "Bearer x")
        .is(401);
    house
        .get("/service/token?scope=repository:p/a:pull", "Basic *")
        .is(401);
    for (query, named) in [
        ("service=harbor-registry", "harbor-registry"),
        ("scope=p/a", "scope"),
        ("service=berth&service=x", "service"),
    ] {
        let refused = house.ask(Some(ALICE), query).is(400);
        assert!(
            refused.json()["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains(named),
            "{query}"
        );
    }
    let refused = house.send("PUT", "/service/token", &[], "").is(405);
    assert_eq!(refused.header("allow"), "GET, POST");
}

#[test]
fn the_form_of_oauth_gives_the_same_and_refresh_tokens() {
    let house = house();
    let form = "grant_type=password&username=alice&password=Secret1&service=berth&client_id=t&scope=repository:p/a:pull,push";
    let reply = house.post(form).is(200).json();
    assert_eq!(reply["scope"], "repository:p/a:pull,push");
    assert!(reply.get("refresh_token").is_none());
    let refresh = house.post(&format!("{form}&access_type=offline")).is(200).json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let refreshed = |more: &str| {
        house.post(&format!("grant_type=refresh_token&refresh_token={refresh}&service=berth&client_id=t&scope=repository:p/a:pull{more}"))
    };
    let reply = refreshed("").is(200);
    assert!(reply.json().get("refresh_token").is_none());
    house.push(&reply.token(), "p/a", "x").is(401);
    house.get("/v2/p/a/tags/list", &reply.token()).is(404);
    let next = refreshed("&access_type=offline").is(200).json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(next, refresh);
    house.node.advance(Duration::from_secs(60));
    let ended = refreshed("").is(401).json();
    assert_eq!(
        (&ended["error"], &ended["errors"][0]["code"]),
        (&json!("invalid_grant"), &json!("UNAUTHORIZED"))
    );
    house
        .post("grant_type=password&username=alice&password=x")
        .is(401);
    house.post("grant_type=client_credentials").is(400);
    house.post(&"a".repeat(40_000)).is(413);
    house
        .send(
            "POST",
            "/service/token",
            &[("content-type", "application/json")],
            "{}",
        )
        .is(400);
}

#[test]
fn docker_login_gets_a_token_to_keep_instead_of_a_password() {
    let house = house();
    let reply = house
        .ask(
            Some(ALICE),
            "account=alice&client_id=docker&offline_token=true&service=berth",
        )
        .is(200)
        .json();
    let refresh = reply["refresh_token"].as_str().unwrap();
    house
        .post(&format!(
            "grant_type=refresh_token&refresh_token={refresh}&scope=repository:p/a:pull"
        ))
        .is(200);
    // Its account changes: log in again.
    house.node.accounts.account("alice", "Secret1", 2);
    house
        .post(&format!(
            "grant_type=refresh_token&refresh_token={refresh}&scope=repository:p/a:pull"
        ))
        .is(401);
}

#[test]
fn limited_credentials_get_limited_tokens_and_none_to_refresh() {
    let house = house();
    house
        .node
        .accounts
        .limited("robot$ci", "Secret1", 5, Some("repository:p/a:pull"));
    let robot = Some(("robot$ci", "Secret1"));
    let reply = house
        .ask(
            robot,
            "offline_token=true&scope=repository:p/a:pull,push+repository:p/b:pull",
        )
        .is(200)
        .json();
    assert_eq!(reply["scope"], "repository:p/a:pull repository:p/b:");
    assert!(reply.get("refresh_token").is_none());
    let direct = basic("robot$ci", "Secret1");
    house.get("/v2/p/a/tags/list", &direct).is(404);
    house.get("/v2/p/b/tags/list", &direct).is(401);
    house.push(&direct, "p/a", "x").is(401);
}

/// Harbor #22900: the project of the mount's source was deleted and made anew.
#[test]
fn an_old_token_mounts_nothing_from_a_project_made_anew() {
    let house = house();
    let ask = || {
        let scope = "scope=repository:p/a:pull,push&scope=repository:q/src:pull";
        house.ask(Some(ALICE), scope).is(200).token()
    };
    let old = ask();
    house.get("/v2/", &old).is(200);
    house.node.accounts.set_project("q", Some(80));
    house.node.advance(Duration::from_secs(1));
    let digest = Digest::sha256(b"blob");
    let mount = format!("/v2/p/a/blobs/uploads/?mount={digest}&from=q/src");
    let mounted = |token: &str| house.send("POST", &mount, &[("authorization", token)], "");
    let refused = mounted(&old).is(401);
    assert!(
        refused
            .header("www-authenticate")
            .contains("error=\"invalid_token\"")
    );
    mounted(&ask()).is(202);
}

#[test]
fn the_keys_are_public_and_say_nothing_private() {
    let house = house();
    house.ask(Some(ALICE), "").is(200);
    let keys = house.get(JWKS_PATH, "").is(200);
    let key = &keys.json()["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"))
    );
    assert!(key.get("d").is_none());
    assert!(house.send("HEAD", JWKS_PATH, &[], "").is(200).body.is_empty());
}

#[test]
fn who_asks_too_often_is_told_to_wait() {
    let house = house_with(&Rates {
        requests: Rate::new(1, 5),
        attempts_for: Rate::new(1, 2),
        ..Rates::default()
    });
    for _ in 0..2 {
        house.ask(Some(("alice", "wrong")), "").is(401);
    }
    let refused = house.ask(Some(("alice", "wrong")), "").is(429);
    assert_eq!(
        (
            refused.header("retry-after"),
            refused.json()["errors"][0]["code"].as_str()
        ),
        ("1", Some("TOOMANYREQUESTS"))
    );
    let refused = house.get("/v2/", &basic("alice", "wrong")).is(429);
    assert_eq!(refused.header("retry-after"), "1");
    let codes: Vec<u16> = (0..4)
        .map(|_| house.ask(None, "scope=repository:q/x:pull").status)
        .collect();
    assert_eq!(codes, [200, 200, 429, 429]);
}
