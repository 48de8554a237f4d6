//! CVE-2025-24976 and its kind, over HTTP: tokens that nobody here has made, or made so, are answered 401, and nothing panics.
//!
//! `tests/tokens/forged.rs` has the same at the level of the library, with more of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_executor::block_on;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::house::{House, Who};

const TARGET: &str = "/v2/team/app/manifests/latest";

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn read(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A registry, a token that it has made, and its key, as whoever steals its records has it.
struct Stolen {
    house: House,
    token: String,
    id: String,
    key: Ed25519KeyPair,
}

impl Stolen {
    fn new() -> Self {
        let house = House::new();
        let alice = house.user("alice");
        house.project("team", alice);
        house.push_image(Who::User("alice"), "team/app", "latest");
        let token = house.token(Who::User("alice"), "repository:team/app:pull");
        let (name, entry) = block_on(house.kv.scan("token-key/", None, 10))
            .unwrap()
            .pop()
            .unwrap();
        let record: Value = serde_json::from_slice(&entry.value).unwrap();
        let private = URL_SAFE_NO_PAD
            .decode(record["private"].as_str().unwrap())
            .unwrap();
        Stolen {
            house,
            token,
            id: name["token-key/".len()..].to_owned(),
            key: Ed25519KeyPair::from_pkcs8(&private).unwrap(),
        }
    }

    fn claims(&self) -> Value {
        read(&self.token, 1)
    }

    fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.id })
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        sign(header, claims, &self.key)
    }

    #[track_caller]
    fn refuses(&self, token: &str) {
        for (method, target) in [("GET", TARGET), ("GET", "/v2/")] {
            let refused = self.house.ask(Who::Bearer(token), method, target, "").is(401);
            let challenge = refused.header("www-authenticate");
            assert!(
                challenge.starts_with("Bearer realm=\"http://registry.test/service/token\""),
                "{challenge}"
            );
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            assert!(token.len() < 9 || !String::from_utf8_lossy(&refused.body).contains(token));
        }
    }
}

fn sign(header: &Value, claims: &Value, key: &Ed25519KeyPair) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn with(value: &Value, name: &str, other: Option<Value>) -> Value {
    let mut value = value.clone();
    match other {
        Some(other) => value[name] = other,
        None => drop(value.as_object_mut().unwrap().remove(name)),
    }
    value
}

#[test]
fn cve_2025_24976_no_header_brings_a_key_or_chooses_an_algorithm() {
    let stolen = Stolen::new();
    let claims = stolen.claims();
    // What these tests sign is taken, unless something is wrong with it.
    let sound = stolen.signed(&stolen.header(), &claims);
    stolen.house.get(Who::Bearer(&sound), TARGET).is(200);

    let own = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let own = Ed25519KeyPair::from_pkcs8(own.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(own.public_key().as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": stolen.id });
    let header = stolen.header();
    for (name, value) in [
        ("typ", json!("JWT")),
        ("jwk", jwk.clone()),
        ("x5c", json!(["MIIB"])),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/certificate")),
        ("kid", json!("AAAAAAAAAAAAAAAA")),
        ("kid", json!("../../token-key")),
        ("kid", json!(null)),
        ("alg", json!("RS256")),
        ("alg", json!("ES256")),
    ] {
        stolen.refuses(&sign(&with(&header, name, Some(value)), &claims, &own));
    }
    stolen.refuses(&sign(&json!({ "alg": "EdDSA", "jwk": jwk }), &claims, &own));
    stolen.refuses(&sign(&json!([]), &claims, &own));
    // Signed by the right key, with a header that wants something else.
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("alg", json!("none")),
        ("alg", json!("RS256")),
    ] {
        stolen.refuses(&stolen.signed(&with(&header, name, Some(value)), &claims));
    }
    // A hash with the public key, for who takes the algorithm from the header.
    let public = stolen.key.public_key().as_ref();
    for (name, algorithm) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
        for secret in [public, b"".as_slice()] {
            let message = format!(
                "{}.{}",
                part(&with(&header, "alg", Some(json!(name)))),
                part(&claims)
            );
            let tag = hmac::sign(&hmac::Key::new(algorithm, secret), message.as_bytes());
            stolen.refuses(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag)));
        }
    }
    for none in ["none", "None", "NONE", ""] {
        let message = format!(
            "{}.{}",
            part(&with(&header, "alg", Some(json!(none)))),
            part(&claims)
        );
        stolen.refuses(&format!("{message}."));
        stolen.refuses(&message);
    }
}

#[test]
fn harbor_23270_no_claim_may_be_absent_or_of_another_type_or_for_somebody_else() {
    let stolen = Stolen::new();
    let (header, claims, now) = (stolen.header(), stolen.claims(), stolen.house.now());
    for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "access"] {
        for odd in [
            None,
            Some(json!(null)),
            Some(json!({})),
            Some(json!(-1)),
            Some(json!(1.5)),
            Some(json!([[]])),
        ] {
            stolen.refuses(&stolen.signed(&header, &with(&claims, name, odd)));
        }
    }
    for (name, other) in [
        ("iss", json!("other")),
        ("aud", json!("other")),
        ("aud", json!(["other", "berth"])),
        ("sub", json!("admin")),
        ("sub", json!("")),
        ("exp", json!(now - 61)),
        ("exp", json!("tomorrow")),
        ("nbf", json!(now + 61)),
        ("iat", json!(now + 61)),
        ("iat", json!(u64::MAX)),
        (
            "access",
            json!([{ "type": "repository", "name": "team/app", "actions": "pull" }]),
        ),
    ] {
        stolen.refuses(&stolen.signed(&header, &with(&claims, name, Some(other))));
    }
}

#[test]
fn what_is_no_token_at_all_is_refused_as_one() {
    let stolen = Stolen::new();
    let token = stolen.token.clone();
    for end in (0..token.len()).step_by(7) {
        stolen.refuses(&token[..end]);
    }
    for garbage in [
        ".",
        "..",
        "...",
        "a.b.c",
        "berth_x",
        &format!("{token}."),
        &"a.".repeat(10_000),
    ] {
        stolen.refuses(garbage);
    }
    stolen.house.get(Who::Bearer(&token), TARGET).is(200);
}
