//! `berth token`.

use crate::house::{GOOD, Registry, line};

#[test]
fn an_access_token_is_its_users_until_it_is_deleted() {
    let registry = Registry::start();
    registry.user("alice");
    registry.run(&["project", "create", "shop"]).well();
    registry
        .run(&["project", "member", "add", "shop", "alice", "--role", "developer"])
        .well();
    let scope = "repository:shop/web:pull,push";
    let alice = |arguments: &[&str]| registry.of("alice", GOOD, arguments);

    let made = alice(&["token", "create", "laptop", "--expires", "90d"]).well();
    let told: Vec<&str> = made.out.lines().collect();
    assert!(
        told[0].starts_with("access token laptop of alice was created, until 20"),
        "{made:?}"
    );
    let secret = told[1];
    registry.gives("alice", secret, scope, &["pull", "push"]);

    let narrow = alice(&[
        "token",
        "create",
        "reader",
        "--project",
        "shop",
        "--allow",
        "pull",
        "-q",
    ])
    .well();
    registry.gives("alice", line(&narrow), scope, &["pull"]);

    let table = alice(&["token", "list"]).well().out;
    assert!(
        table.contains("all that you may") && table.contains("shop: repository:pull"),
        "{table}"
    );
    assert!(!table.contains(secret));
    let json = alice(&["token", "list", "--json"]).well().json();
    assert_eq!(json.len(), 2);
    assert!(json.iter().all(|token| token.get("secret").is_none()), "{json:?}");
    // They are one's own, and nobody else's.
    assert_eq!(registry.run(&["token", "list"]).well().out, "no access tokens\n");

    let asked = alice(&["token", "delete", "laptop"]);
    assert_eq!(asked.code, 1);
    assert!(
        asked.err.contains("laptop") && asked.err.contains("--yes"),
        "{asked:?}"
    );
    alice(&["token", "delete", "laptop", "--yes"]).well();
    registry.refuses("alice", secret);
    registry.takes("alice", line(&narrow));
    let log = registry.server.end();
    assert!(!log.contains(secret) && !log.contains(line(&narrow)), "{log}");
}

#[test]
fn a_refusal_names_the_token_and_ends_with_1() {
    let registry = Registry::start();
    registry.run(&["token", "create", "laptop", "-q"]).well();
    for arguments in [
        &["token", "create", "laptop"][..],
        &["token", "create", "Lap top"],
        &["token", "delete", "other", "--yes"],
    ] {
        let said = registry.refused(arguments);
        assert!(said.contains(arguments[2]), "{said}");
    }
    for wrong in [
        &["token", "create", "x", "--allow", "pull"][..],
        &["token", "create", "x", "--project", "shop"],
        &["token", "create", "x", "--expires", "soon"],
    ] {
        assert_eq!(registry.run(wrong).code, 2, "{wrong:?}");
    }
}
