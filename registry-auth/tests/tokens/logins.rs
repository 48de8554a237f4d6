//! Names and secrets, as requests bring them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_executor::block_on;
use futures_util::future::join_all;
use http::request::Parts;
use registry_auth::credentials::{Basic, Credentials, Logins, REMEMBERED_FOR};
use registry_auth::limits::{LoginLimits, Rate, Rates};
use registry_auth::origin::Trust;
use registry_auth::tokens::{Bearer, STATE_FRESH};
use registry_core::ErrorKind;
use registry_core::auth::{Authenticator, Challenge, FirstOf, Identity};
use registry_core::http::RemoteAddr;

use crate::harness::Node;

struct House {
    node: Node,
    logins: Arc<Logins>,
    authenticator: FirstOf,
}

fn house(rates: &Rates) -> House {
    let node = Node::new();
    let limits = Arc::new(LoginLimits::new(rates));
    let logins = Arc::new(Logins::new(
        node.accounts.clone(),
        Arc::clone(&node.runtime),
        limits,
    ));
    let trust = Arc::new(Trust::default());
    let bearer = Arc::new(Bearer::new(Arc::clone(&node.authority), Arc::clone(&trust)));
    let basic: Arc<dyn Authenticator> = Arc::new(Basic::new(Arc::clone(&logins), trust, "berth"));
    House {
        node,
        logins,
        authenticator: FirstOf::new(bearer, [basic]),
    }
}

fn head(path: &str, authorization: &str) -> Parts {
    let mut request = http::Request::builder()
        .uri(path)
        .header("host", "registry.test:5000");
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    let mut head = request.body(()).unwrap().into_parts().0;
    head.extensions.insert(RemoteAddr("192.0.2.1".parse().unwrap()));
    head
}

fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

impl House {
    fn ask(&self, authorization: &str) -> Result<Option<Identity>, ErrorKind> {
        let known = block_on(
            self.authenticator
                .authenticate(&head("/v2/p/a/tags/list", authorization)),
        );
        known
            .map(|known| known.map(|known| known.identity))
            .map_err(|why| why.kind())
    }

    fn compared(&self) -> usize {
        self.node.accounts.verified.swap(0, Ordering::SeqCst)
    }
}

#[test]
fn tokens_and_passwords_are_taken_side_by_side() {
    let house = house(&Rates::default());
    let alice = Ok(Some(Identity::Named("alice".into())));
    assert_eq!(house.ask(&basic("alice", "Secret1")), alice);
    assert_eq!(
        house.ask(&format!("bearer {}", house.node.token("repository:p/a:pull"))),
        alice
    );
    assert_eq!(house.ask(""), Ok(None));
    assert_eq!(house.ask("Digest x"), Ok(None));
    for wrong in [
        basic("alice", "secret1"),
        basic("bob", "Secret1"),
        "Basic *".to_owned(),
        "Bearer x".to_owned(),
    ] {
        assert_eq!(house.ask(&wrong), Err(ErrorKind::Unauthorized), "{wrong}");
    }
    let challenge = house.authenticator.challenge(&head("/v2/", ""));
    assert_eq!(
        challenge,
        Challenge::Bearer {
            realm: "http://registry.test:5000/service/token".into(),
            service: "berth".into()
        }
    );
}

#[test]
fn the_entrance_asks_who_has_not_said_who_they_are() {
    let house = house(&Rates::default());
    let ask = |path: &str| block_on(house.authenticator.authenticate(&head(path, "")));
    assert_eq!(ask("/v2/").unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(ask("/v2/p/a/tags/list").unwrap(), None);
}

#[test]
fn two_authorizations_are_refused() {
    let house = house(&Rates::default());
    let mut head = head("/v2/", &basic("alice", "Secret1"));
    head.headers.append("authorization", "Basic x".parse().unwrap());
    assert!(block_on(house.authenticator.authenticate(&head)).is_err());
}

#[test]
fn a_name_and_a_wrong_secret_are_answered_as_an_unknown_name_is() {
    let house = house(&Rates::default());
    let answer = |authorization: &str| {
        let error = block_on(house.authenticator.authenticate(&head("/v2/", authorization))).unwrap_err();
        (error.kind(), error.message().to_owned(), error.detail().cloned())
    };
    assert_eq!(answer(&basic("alice", "x")), answer(&basic("nobody", "x")));
    assert_eq!(house.compared(), 2);
}

#[test]
fn a_success_is_remembered_for_a_moment_and_a_failure_never() {
    let house = house(&Rates::default());
    for _ in 0..10 {
        house.ask(&basic("alice", "Secret1")).unwrap();
    }
    assert_eq!(house.compared(), 1);
    for _ in 0..10 {
        house.ask(&basic("alice", "wrong")).unwrap_err();
    }
    assert_eq!(house.compared(), 10);
    house.node.advance(REMEMBERED_FOR);
    house.ask(&basic("alice", "Secret1")).unwrap();
    assert_eq!(house.compared(), 1);
    // The boundary between name and secret is part of what is remembered.
    assert!(house.ask(&basic("alic", "eSecret1")).is_err());
}

#[test]
fn what_is_remembered_ends_when_the_account_changes() {
    let house = house(&Rates::default());
    house.ask(&basic("alice", "Secret1")).unwrap();
    house.node.accounts.account("alice", "Other1", 2);
    house.node.advance(STATE_FRESH);
    assert!(house.ask(&basic("alice", "Secret1")).is_err());
    house.ask(&basic("alice", "Other1")).unwrap();
    house.node.accounts.remove("alice");
    house.node.advance(STATE_FRESH);
    assert!(house.ask(&basic("alice", "Other1")).is_err());
}

#[test]
fn of_many_that_log_in_at_once_one_pays() {
    let house = house(&Rates::default());
    let credentials = Credentials::new("alice", "Secret1").unwrap();
    let all = block_on(join_all((0..64).map(|_| house.logins.verify(&credentials, None))));
    assert!(all.into_iter().all(|one| one.unwrap().is_some()));
    assert_eq!(house.compared(), 1);
}

#[test]
fn attempts_are_limited_and_what_was_right_before_is_not() {
    let house = house(&Rates {
        attempts_from: Rate::new(1, 3),
        attempts_for: Rate::new(1, 2),
        ..Rates::default()
    });
    house.ask(&basic("alice", "Secret1")).unwrap();
    assert_eq!(house.ask(&basic("alice", "a")), Err(ErrorKind::Unauthorized));
    assert_eq!(house.ask(&basic("alice", "b")), Err(ErrorKind::TooManyRequests));
    for _ in 0..10 {
        house.ask(&basic("alice", "Secret1")).unwrap();
    }
    assert_eq!(house.compared(), 2);
    let elsewhere: IpAddr = "198.51.100.1".parse().unwrap();
    let bob = Credentials::new("bob", "x").unwrap();
    assert!(
        block_on(house.logins.verify(&bob, Some(elsewhere)))
            .unwrap()
            .is_none()
    );
    assert_eq!(house.ask(&basic("bob", "x")), Err(ErrorKind::TooManyRequests));
}

#[test]
fn credentials_that_are_limited_open_no_more_than_that() {
    let house = house(&Rates::default());
    house
        .node
        .accounts
        .limited("robot$ci", "Secret1", 4, Some("repository:p/a:pull"));
    let known = block_on(
        house
            .authenticator
            .authenticate(&head("/v2/", &basic("robot$ci", "Secret1"))),
    )
    .unwrap()
    .unwrap();
    assert_eq!(known.scope.unwrap().to_string(), "repository:p/a:pull");
    house.node.advance(Duration::from_millis(1));
}
