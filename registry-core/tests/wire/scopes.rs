//! A token opens what its scope names, whatever more its owner may.

use registry_core::Digest;
use registry_core::auth::Action::{Delete, Pull, Push};
use serde_json::json;

use crate::harness::{Answer, Grants, Wire};

/// Somebody who may do everything in two repositories of one project, and everybody may pull from a third.
fn wire() -> (Wire, Digest, Digest) {
    let open = Wire::new();
    let (a, b) = (open.push_blob("p/a", b"a"), open.push_blob("p/b", b"b"));
    let wire = open.governed(Grants(vec![
        ("ci", "p/a", vec![Pull, Push, Delete]),
        ("ci", "p/b", vec![Pull, Push, Delete]),
        ("ci", "p/read", vec![Pull]),
    ]));
    (wire, a, b)
}

fn with(wire: &Wire, token: &str, method: &str, target: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    wire.send(method, target, &[("authorization", &bearer)], String::new())
}

#[test]
fn a_token_for_one_repository_does_not_open_another_of_its_project() {
    let (wire, a, b) = wire();
    let token = "ci|repository:p/a:pull";
    with(&wire, token, "GET", &format!("/v2/p/a/blobs/{a}")).is(200);
    let refused = with(&wire, token, "GET", &format!("/v2/p/b/blobs/{b}")).is(401);
    assert!(
        refused
            .text("www-authenticate")
            .ends_with(",scope=\"repository:p/b:pull\",error=\"insufficient_scope\"")
    );
    // Without a scope the same account reaches both.
    with(&wire, "ci", "GET", &format!("/v2/p/b/blobs/{b}")).is(200);
}

#[test]
fn a_token_to_pull_neither_pushes_nor_deletes() {
    let (wire, a, _) = wire();
    let token = "ci|repository:p/a:pull";
    with(&wire, token, "POST", "/v2/p/a/blobs/uploads/").refuses(401, "UNAUTHORIZED", "p/a:push");
    with(&wire, token, "DELETE", &format!("/v2/p/a/blobs/{a}")).refuses(401, "UNAUTHORIZED", "p/a:delete");
    with(
        &wire,
        "ci|repository:p/a:push",
        "GET",
        &format!("/v2/p/a/blobs/{a}"),
    )
    .is(401);
}

#[test]
fn a_token_mounts_only_from_what_it_opens() {
    let (wire, _, b) = wire();
    for from in ["", "&from=p/b"] {
        let mount = format!("/v2/p/a/blobs/uploads/?mount={b}{from}");
        with(&wire, "ci|repository:p/a:pull,push", "POST", &mount).is(202);
        with(
            &wire,
            "ci|repository:p/a:pull,push repository:p/b:push",
            "POST",
            &mount,
        )
        .is(202);
        with(
            &wire,
            "ci|repository:p/a:pull,push repository:p/b:pull",
            "POST",
            &mount,
        )
        .is(201);
    }
}

#[test]
fn the_list_of_repositories_is_opened_by_its_own_scope() {
    let (wire, ..) = wire();
    with(&wire, "ci|repository:p/a:pull", "GET", "/v2/_catalog").is(401);
    let listed = with(&wire, "ci|registry:catalog:*", "GET", "/v2/_catalog").is(200);
    assert_eq!(listed.json()["repositories"], json!(["p/a", "p/b"]));
}

/// So that a client that asked for more than its account has is told what is the matter, and no other learns it.
#[test]
fn what_was_asked_for_and_not_granted_is_refused_by_the_account_and_not_by_the_token() {
    let (wire, ..) = wire();
    let push = |token: &str, name: &str| with(&wire, token, "POST", &format!("/v2/{name}/blobs/uploads/"));
    push("ci|repository:p/read:pull", "p/read").refuses(403, "DENIED", "p/read:push");
    push("ci|repository:none/x:", "none/x").refuses(404, "NAME_UNKNOWN", "none/x");
    push("ci|repository:p/a:pull", "none/x").is(401);
    push("ci|repository:p/a:pull", "p/read").is(401);
    // Granted since: the client gets another token.
    push("ci|repository:p/a:", "p/a").is(401);
    push("|repository:p/a:", "p/a").is(401);
}

#[test]
fn a_token_that_is_not_valid_is_told_apart_from_one_that_opens_too_little() {
    let (wire, ..) = wire();
    let header = |token: &str| {
        with(&wire, token, "GET", "/v2/p/a/tags/list")
            .is(401)
            .text("www-authenticate")
    };
    assert!(header("forged").ends_with("error=\"invalid_token\""));
    let nobody = wire.send("GET", "/v2/p/a/tags/list", &[], String::new()).is(401);
    assert!(!nobody.text("www-authenticate").contains("error="));
    with(&wire, "ci|", "GET", "/v2/").is(200);
}

/// A scope is in the names that clients use, on whichever side of a prefix it is looked at.
#[test]
fn a_scope_goes_through_a_prefix_in_the_names_behind_it() {
    use registry_core::wrappers::{Authorized, Prefix};

    let open = Wire::new();
    let (a, b) = (open.push_blob("p/a", b"a"), open.push_blob("p/b", b"b"));
    let may = Grants(vec![("ci", "p/a", vec![Pull]), ("ci", "p/b", vec![Pull])]);
    let prefix = "p".parse().unwrap();
    let wire = open.under(|registry| Prefix::around(Authorized::around(registry, may), &prefix));
    let token = "ci|repository:a:pull";
    with(&wire, token, "GET", &format!("/v2/a/blobs/{a}")).is(200);
    with(&wire, token, "GET", &format!("/v2/b/blobs/{b}")).is(401);
    with(
        &wire,
        "ci|repository:p/a:pull",
        "GET",
        &format!("/v2/a/blobs/{a}"),
    )
    .is(401);
    with(&wire, "ci", "GET", &format!("/v2/b/blobs/{b}")).is(200);
}
