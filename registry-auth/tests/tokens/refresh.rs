//! Refresh tokens.

use std::sync::Arc;
use std::time::Duration;

use futures_executor::block_on;
use registry_auth::tokens::{RefreshOptions, RefreshTokens};
use registry_core::Result;

use crate::harness::Node;

const LIFETIME: Duration = Duration::from_secs(1000);

fn tokens(node: &Node) -> RefreshTokens {
    let options = RefreshOptions {
        lifetime: LIFETIME,
        per_account: 3,
    };
    RefreshTokens::new(
        Arc::clone(&node.kv),
        node.accounts.clone(),
        Arc::clone(&node.runtime),
        options,
    )
}

fn issue(tokens: &RefreshTokens, node: &Node) -> String {
    block_on(tokens.issue(&node.holder())).unwrap()
}

fn is_good(tokens: &RefreshTokens, token: &str) -> bool {
    block_on(tokens.holder(token)).unwrap().is_some()
}

fn records(node: &Node) -> Vec<String> {
    let entries = block_on(node.kv.scan("token-refresh/", None, 1000)).unwrap();
    entries
        .into_iter()
        .map(|(name, entry)| format!("{name} {}", String::from_utf8_lossy(&entry.value)))
        .collect()
}

#[test]
fn a_refresh_token_is_its_accounts_and_nothing_of_it_is_in_the_records() {
    let node = Node::new();
    let tokens = tokens(&node);
    let token = issue(&tokens, &node);
    assert_eq!(
        &*block_on(tokens.holder(&token)).unwrap().unwrap().subject,
        "alice"
    );
    assert!(!records(&node).join("").contains(&token[20..]));
    let mut wrong = token.clone().into_bytes();
    let last = wrong.len() - 10;
    wrong[last] ^= 1;
    for bad in [
        String::from_utf8(wrong).unwrap(),
        token[..token.len() - 1].to_owned(),
        token[4..].to_owned(),
        String::new(),
        "brt_é".to_owned(),
    ] {
        assert!(!is_good(&tokens, &bad), "{bad}");
    }
}

#[test]
fn a_refresh_token_ends_with_any_change_of_its_account() {
    let node = Node::new();
    let tokens = tokens(&node);
    let token = issue(&tokens, &node);
    node.accounts.account("alice", "Secret1", 2);
    assert!(!is_good(&tokens, &token));
    let token = issue(&tokens, &node);
    assert_eq!(records(&node).len(), 1, "that of the former stamp makes room");
    node.accounts.remove("alice");
    assert!(!is_good(&tokens, &token));
}

#[test]
fn an_account_has_so_many_and_no_more_and_the_oldest_goes() {
    let node = Node::new();
    let tokens = tokens(&node);
    let all: Vec<String> = (0..5)
        .map(|_| {
            node.advance(Duration::from_secs(1));
            issue(&tokens, &node)
        })
        .collect();
    let good: Vec<bool> = all.iter().map(|token| is_good(&tokens, token)).collect();
    assert_eq!(good, [false, false, true, true, true]);
    assert_eq!(records(&node).len(), 3);
}

#[test]
fn a_token_lives_on_while_it_is_used_and_not_otherwise() {
    let node = Node::new();
    let tokens = tokens(&node);
    let (used, unused) = (issue(&tokens, &node), issue(&tokens, &node));
    for _ in 0..4 {
        node.advance(LIFETIME * 3 / 5);
        assert!(is_good(&tokens, &used));
    }
    assert!(!is_good(&tokens, &unused));
    assert_eq!(block_on(tokens.sweep()).unwrap(), 1);
    assert_eq!(records(&node).len(), 1);
}

#[test]
fn a_token_that_was_replaced_ends_soon() {
    let node = Node::new();
    let tokens = tokens(&node);
    let old = issue(&tokens, &node);
    let new = block_on(tokens.replace(&old)).unwrap().unwrap();
    assert!(is_good(&tokens, &old) && is_good(&tokens, &new));
    node.advance(Duration::from_secs(60));
    assert!(!is_good(&tokens, &old) && is_good(&tokens, &new));
    assert_eq!(block_on(tokens.replace(&old)).unwrap(), None);
}

#[test]
fn a_token_is_revoked_alone_or_with_all_of_its_account() -> Result<()> {
    let node = Node::new();
    let tokens = tokens(&node);
    let (one, two, three) = (
        issue(&tokens, &node),
        issue(&tokens, &node),
        issue(&tokens, &node),
    );
    block_on(tokens.revoke(&one))?;
    assert!(!is_good(&tokens, &one) && is_good(&tokens, &two));
    block_on(tokens.revoke_all("bob"))?;
    assert!(is_good(&tokens, &two));
    block_on(tokens.revoke_all("alice"))?;
    assert!(!is_good(&tokens, &two) && !is_good(&tokens, &three));
    assert_eq!(records(&node).len(), 0);
    Ok(())
}
