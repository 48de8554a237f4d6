//! What a token outlives, and what it does not.

use std::time::Duration;

use futures_executor::block_on;
use registry_auth::tokens::{STATE_FRESH, key_id};
use registry_core::auth::{Access, Action, Identity};

use crate::harness::{Node, parts};

const BOUND: Duration = Duration::from_secs(1);

#[test]
fn a_token_says_what_clients_and_other_registries_expect() {
    let node = Node::new();
    let issued = block_on(node.authority.issue(
        Some(&node.holder()),
        &"repository:p/a:pull,push registry:catalog:*".parse().unwrap(),
    ))
    .unwrap();
    assert_eq!(issued.expires_in, 1800);
    assert!(!format!("{issued:?}").contains(&issued.token));
    let (header, claims) = parts(&issued.token);
    assert_eq!(
        (header["typ"].as_str(), header["alg"].as_str()),
        (Some("JWT"), Some("EdDSA"))
    );
    assert_eq!(
        header["kid"].as_str(),
        Some(key_id(&issued.token).unwrap().as_str())
    );
    assert_eq!(claims["sub"], "alice");
    assert_eq!(
        claims["access"],
        serde_json::json!([
            {"type": "repository", "name": "p/a", "actions": ["pull", "push"]},
            {"type": "registry", "name": "catalog", "actions": ["*"]},
        ])
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        1800
    );
    assert_eq!(claims["projects"], serde_json::json!({"p": 7}));
    // Short enough for a hash and a header.
    assert!(issued.token.len() < 700, "{}", issued.token.len());
}

#[test]
fn a_token_opens_one_repository_and_not_its_neighbour() {
    let node = Node::new();
    let scope = node
        .check(&node.token("repository:p/a:pull"))
        .unwrap()
        .scope
        .unwrap();
    let access = |name: &str| Access::Repository(name.parse().unwrap(), Action::Pull);
    assert!(scope.permits(&access("p/a")) && !scope.permits(&access("p/b")));
}

#[test]
fn nobody_in_particular_gets_a_token_too() {
    let node = Node::new();
    let token = block_on(
        node.authority
            .issue(None, &"repository:p/a:pull".parse().unwrap()),
    )
    .unwrap()
    .token;
    assert_eq!(node.check(&token).unwrap().identity, Identity::Anonymous);
}

#[test]
fn a_token_ends_with_its_time_and_a_minute_for_clocks() {
    let node = Node::new();
    let token = node.token("repository:p/a:pull");
    node.check(&token).unwrap();
    node.advance(Duration::from_secs(1800 + 59));
    node.check(&token).unwrap();
    node.advance(Duration::from_secs(1));
    assert!(node.refuses(&token).message().contains("expired"));
}

/// Harbor #22900 and #23270: also where the project is only what a blob would be mounted from.
#[test]
fn a_token_ends_with_any_of_its_projects_also_if_that_is_made_anew() {
    for scope in [
        "repository:p/a:pull",
        "repository:q/b:pull,push repository:p/a:pull",
    ] {
        for again in [None, Some(9)] {
            let node = Node::new();
            let (old, node2) = (node.token(scope), node.another());
            node.check(&old).unwrap();
            node2.check(&old).unwrap();
            node.accounts.set_project("p", again);
            node.advance(BOUND);
            for node in [&node, &node2] {
                assert!(node.refuses(&old).message().contains("project"));
            }
            // One that was never seen before is looked at whole.
            node.another().refuses(&old);
            if again.is_some() {
                node.check(&node.token(scope)).unwrap();
            }
        }
    }
}

#[test]
fn a_token_ends_with_its_account_and_with_any_change_of_that() {
    let node = Node::new();
    let token = node.token("repository:p/a:pull");
    node.check(&token).unwrap();
    node.accounts.account("alice", "Secret1", 2);
    // Within the bound it may be taken still; a look at the state is due after it.
    node.advance(STATE_FRESH);
    assert!(node.refuses(&token).message().contains("account"));
    let token = node.token("repository:p/a:pull");
    node.check(&token).unwrap();
    node.accounts.remove("alice");
    node.advance(STATE_FRESH);
    node.refuses(&token);
    // It does not come back with an account of the same name.
    node.accounts.account("alice", "Secret1", 3);
    node.refuses(&token);
}

#[test]
fn the_bound_is_kept_however_often_a_token_is_used() {
    let node = Node::new();
    let token = node.token("repository:p/a:pull");
    node.check(&token).unwrap();
    node.accounts.account("alice", "Secret1", 2);
    let mut taken = 0;
    while node.check(&token).is_ok() {
        node.advance(Duration::from_millis(10));
        taken += 1;
        assert!(taken <= BOUND.as_millis() / 10);
    }
}

#[test]
fn a_clock_that_steps_back_has_the_state_looked_at_again() {
    let node = Node::new();
    let token = node.token("repository:p/a:pull");
    node.check(&token).unwrap();
    node.accounts.account("alice", "Secret1", 2);
    node.clock
        .set(registry_core::Timestamp(node.clock.now().0 - 30_000));
    node.refuses(&token);
}
