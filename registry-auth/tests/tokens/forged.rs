//! CVE-2025-24976 and its kind: tokens that nobody here has made, or made so. All are refused, and none makes the reader
//! panic.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use registry_core::auth::Identity;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::harness::{NOW, Node, claims, part, parts};

/// A node that has a key, its id, and the key itself.
fn node() -> (Node, String, Ed25519KeyPair) {
    let node = Node::new();
    node.token("repository:p/a:pull");
    let (id, key) = node.stolen().pop().unwrap();
    (node, id, key)
}

fn signed(header: &Value, claims: &Value, key: &Ed25519KeyPair) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn with(value: &Value, name: &str, other: Option<Value>) -> Value {
    let mut value = value.clone();
    match other {
        Some(other) => value[name] = other,
        None => {
            value.as_object_mut().unwrap().remove(name);
        }
    }
    value
}

#[test]
fn what_these_tests_sign_is_taken_unless_something_is_wrong_with_it() {
    let (node, id, key) = node();
    let known = node
        .check(&signed(&json!({"alg": "EdDSA", "kid": id}), &claims(), &key))
        .unwrap();
    assert_eq!(known.identity, Identity::Named("alice".into()));
    assert_eq!(known.scope.unwrap().to_string(), "repository:p/a:pull");
}

#[test]
fn no_header_chooses_an_algorithm_or_brings_a_key() {
    let (node, id, key) = node();
    let public = key.public_key().as_ref();
    let mut own = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .unwrap()
        .as_ref()
        .to_vec();
    let own = Ed25519KeyPair::from_pkcs8(&std::mem::take(&mut own)).unwrap();
    let jwk = |key: &Ed25519KeyPair| json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key.public_key().as_ref()), "kid": id});
    // Signed by a key of the attacker's own, under the id of ours.
    for header in [
        json!({"alg": "EdDSA", "kid": id}),
        json!({"alg": "EdDSA", "kid": id, "jwk": jwk(&own)}),
        json!({"alg": "EdDSA", "kid": id, "jku": "https://evil.example/keys"}),
        json!({"alg": "EdDSA", "kid": id, "x5u": "https://evil.example/cert"}),
        json!({"alg": "EdDSA", "kid": id, "x5c": ["MIIB"]}),
        json!({"alg": "EdDSA", "jwk": jwk(&own)}),
        json!({"alg": "EdDSA"}),
        json!({"alg": "EdDSA", "kid": null}),
        json!({"alg": "EdDSA", "kid": 7}),
        json!({"alg": "EdDSA", "kid": "../../token-key"}),
        json!({"alg": "EdDSA", "kid": "AAAAAAAAAAAAAAAA"}),
        json!({"alg": "EdDSA", "kid": "x".repeat(10_000)}),
        json!({"alg": "ES256", "kid": id}),
        json!({"alg": "RS256", "kid": id}),
        json!({"kid": id}),
        json!([]),
    ] {
        node.refuses(&signed(&header, &claims(), &own));
    }
    // Signed by our key, and still not as ours are.
    for header in [
        json!({"alg": "EdDSA", "kid": id, "jwk": jwk(&key)}),
        json!({"alg": "EdDSA", "kid": id, "crit": ["exp"]}),
        json!({"alg": "EdDSA", "kid": id, "zip": "DEF"}),
        json!({"alg": "eddsa", "kid": id}),
    ] {
        node.refuses(&signed(&header, &claims(), &key));
    }
    // A hash keyed with our public key, for a reader that takes what the header says.
    for (name, algorithm) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
    ] {
        for secret in [
            public.to_vec(),
            URL_SAFE_NO_PAD.encode(public).into_bytes(),
            Vec::new(),
        ] {
            let message = format!("{}.{}", part(&json!({"alg": name, "kid": id})), part(&claims()));
            let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), message.as_bytes());
            node.refuses(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag)));
        }
    }
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let message = format!("{}.{}", part(&json!({"alg": none, "kid": id})), part(&claims()));
        node.refuses(&format!("{message}."));
        node.refuses(&format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64])));
        node.refuses(&message);
    }
}

/// Harbor #23270 among them: a claim that is not there is no default and no panic.
#[test]
fn no_claim_may_be_absent_or_of_another_type_or_of_somebody_else() {
    let (node, id, key) = node();
    let header = json!({"alg": "EdDSA", "kid": id});
    let now = NOW.0 / 1000;
    for name in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access"] {
        let odd = [
            None,
            Some(json!(null)),
            Some(json!({})),
            Some(json!([[]])),
            Some(json!(true)),
            Some(json!(-1)),
            Some(json!(1.5)),
            Some(json!("1e99")),
        ];
        for odd in odd {
            // A subject and a name of its own may be any text.
            if odd == Some(json!("1e99")) && name == "jti" {
                continue;
            }
            node.refuses(&signed(&header, &with(&claims(), name, odd), &key));
        }
    }
    for (name, other) in [
        ("iss", json!("other")),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("aud", json!(["other", "berth"])),
        ("iss", json!(["berth"])),
        ("sub", json!("nobody")),
        ("sub", json!("")),
        ("stamp", json!(2)),
        ("stamp", json!(null)),
        ("stamp", json!("1")),
        ("projects", json!({"p": 6})),
        ("projects", json!({"none": 1})),
        ("projects", json!({"p": "7"})),
        ("exp", json!(now - 61)),
        ("exp", json!(0)),
        ("nbf", json!(now + 61)),
        ("iat", json!(now + 61)),
        ("iat", json!(u64::MAX)),
        ("nbf", json!(u64::MAX)),
        ("access", json!([{"type": "repository", "name": "p/a"}])),
        (
            "access",
            json!([{"type": "repository", "name": "p/a", "actions": "pull"}]),
        ),
        (
            "access",
            json!([{"type": "repository", "name": "p/a repository:q/b", "actions": ["pull"]}]),
        ),
    ] {
        node.refuses(&signed(&header, &with(&claims(), name, Some(other)), &key));
    }
    assert!(
        node.check(&signed(
            &header,
            &with(&claims(), "exp", Some(json!(u64::MAX))),
            &key
        ))
        .is_ok()
    );
}

#[test]
fn clocks_may_be_a_minute_apart() {
    let (node, id, key) = node();
    let header = json!({"alg": "EdDSA", "kid": id});
    let now = NOW.0 / 1000;
    for (name, time) in [("exp", now - 59), ("nbf", now + 60), ("iat", now + 60)] {
        node.check(&signed(&header, &with(&claims(), name, Some(json!(time))), &key))
            .unwrap();
    }
}

#[test]
fn what_is_cut_short_changed_or_garbage_is_refused() {
    let (node, ..) = node();
    let token = node.token("repository:p/a:pull");
    for end in 0..token.len() {
        node.refuses(&token[..end]);
    }
    for garbage in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        &format!("{token}."),
        &format!("{token}A"),
        &format!(" {token}"),
        &"a.".repeat(50_000),
    ] {
        node.refuses(garbage);
    }
    let (header, claims) = parts(&token);
    let signature = token.rsplit('.').next().unwrap();
    let more = with(
        &claims,
        "access",
        Some(json!([{"type": "repository", "name": "p/b", "actions": ["pull"]}])),
    );
    node.refuses(&format!("{}.{}.{signature}", part(&header), part(&more)));
    node.check(&token).unwrap();
}

proptest! {
    #[test]
    fn a_changed_token_is_refused(at in any::<prop::sample::Index>(), byte in 0x20u8..0x7f) {
        let (node, ..) = node();
        let token = node.token("repository:p/a:pull");
        let mut changed = token.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert!(changed == token || node.check(&changed).is_err());
    }
}
