//! `berth project` and `berth project member`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, header};

use crate::house::{GOOD, Registry, line};
use crate::support::binary::PASSWORD;
use crate::support::{http1, read, request, soon};

#[test]
fn a_project_is_private_until_it_is_said_to_be_public() {
    let registry = Registry::start();
    let made = registry.run(&["project", "create", "shop"]).well();
    assert_eq!(
        line(&made),
        "project shop was created, private: its members may pull"
    );
    registry.gives_anybody("repository:shop/web:pull", &[]);
    let public = registry.run(&["project", "public", "shop"]).well();
    assert_eq!(line(&public), "project shop is public: everybody may pull");
    registry.gives_anybody("repository:shop/web:pull,push", &["pull"]);
    let private = registry.run(&["project", "private", "shop", "--json"]).well();
    assert_eq!(private.json()[0]["metadata"]["public"], "false");
    registry.gives_anybody("repository:shop/web:pull", &[]);

    registry.run(&["project", "create", "mirror", "--public"]).well();
    let shown = registry.run(&["project", "show", "mirror"]).well().out;
    assert!(shown.contains("access        public\n"), "{shown}");
}

#[tokio::test]
async fn a_list_of_more_than_a_page_is_told_whole() {
    let registry = Registry::start();
    let mut client = http1(registry.server.address).await;
    let basic = format!("Basic {}", STANDARD.encode(format!("admin:{PASSWORD}")));
    for number in 0..205 {
        let body = format!(r#"{{"project_name":"p{number:03}"}}"#);
        let mut post = request(Method::POST, "/api/v2.0/projects", body);
        let headers = post.headers_mut();
        headers.insert(header::AUTHORIZATION, basic.parse().unwrap());
        headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        let made = read(soon(client.send_request(post)).await.unwrap()).await;
        assert_eq!(made.0, 201, "{made:?}");
    }
    let names = registry.run(&["project", "list", "--quiet"]).well().out;
    let mut names: Vec<&str> = names.lines().filter(|name| name.starts_with("p")).collect();
    names.sort();
    let expected: Vec<String> = (0..205).map(|number| format!("p{number:03}")).collect();
    assert_eq!(names, expected);
    let like = registry
        .run(&["project", "list", "--like", "p20", "--json"])
        .well();
    assert_eq!(like.json().len(), 5);
}

#[test]
fn a_project_may_be_called_as_a_number() {
    let registry = Registry::start();
    registry.run(&["project", "create", "first"]).well();
    registry.run(&["project", "create", "1"]).well();
    let shown = registry.run(&["project", "show", "1", "-q"]).well();
    assert_eq!(line(&shown), "1");
    registry.run(&["project", "delete", "1", "--yes"]).well();
    registry.run(&["project", "show", "first"]).well();
}

#[test]
fn a_refusal_names_the_project_and_ends_with_1() {
    let registry = Registry::start();
    registry.run(&["project", "create", "shop"]).well();
    for arguments in [
        &["project", "create", "shop"][..],
        &["project", "create", "Shop!"],
        &["project", "show", "calico"],
        &["project", "public", "calico"],
        &["project", "delete", "calico", "--yes"],
    ] {
        let said = registry.refused(arguments);
        assert!(said.contains(arguments[2]), "{said}");
    }
    for arguments in [
        &["project", "member", "list", "calico"][..],
        &["project", "member", "add", "calico", "admin", "--role", "guest"],
        &["project", "member", "remove", "calico", "admin"],
    ] {
        let said = registry.refused(arguments);
        assert!(said.contains("calico"), "{said}");
    }
    let asked = registry.refused(&["project", "delete", "shop"]);
    assert!(
        asked.contains("project shop") && asked.contains("--yes"),
        "{asked}"
    );
    registry.run(&["project", "delete", "shop", "--yes"]).well();
    registry.refused(&["project", "show", "shop"]);
}

#[test]
fn a_member_may_what_their_role_says_until_it_is_taken_away() {
    let registry = Registry::start();
    registry.user("alice");
    registry.run(&["project", "create", "shop"]).well();
    let scope = "repository:shop/web:pull,push,delete";
    registry.gives("alice", GOOD, scope, &[]);

    let added = registry
        .run(&["project", "member", "add", "shop", "alice", "--role", "developer"])
        .well();
    assert_eq!(line(&added), "alice is developer in project shop");
    registry.gives("alice", GOOD, scope, &["pull", "push"]);

    let table = registry.run(&["project", "member", "list", "shop"]).well().out;
    assert!(table.contains("\nalice  user  developer "), "{table}");
    let raised = registry
        .run(&[
            "project",
            "member",
            "role",
            "shop",
            "alice",
            "--role",
            "maintainer",
            "--json",
        ])
        .well();
    assert_eq!(raised.json()[0]["role_name"], "maintainer");
    registry.gives("alice", GOOD, scope, &["pull", "push", "delete"]);

    registry
        .run(&["project", "member", "remove", "shop", "alice"])
        .well();
    registry.gives("alice", GOOD, scope, &[]);
}

#[test]
fn a_role_on_a_pattern_is_about_those_repositories() {
    let registry = Registry::start();
    registry.user("bob");
    registry.run(&["project", "create", "shop"]).well();
    let member = |what: &'static str, rest: &[&'static str]| {
        let arguments = [&["project", "member", what, "shop", "bob"], rest].concat();
        registry.run(&arguments)
    };
    let added = member("add", &["--role", "developer", "--pattern", "app-*"]).well();
    assert_eq!(line(&added), "bob is developer in shop/app-*");
    let may = |repository: &str, actions: &[&str]| {
        let scope = format!("repository:{repository}:pull,push");
        registry.gives("bob", GOOD, &scope, actions);
    };
    may("shop/app-cart", &["pull", "push"]);
    may("shop/web", &[]);

    member("add", &["--role", "guest"]).well();
    may("shop/web", &["pull"]);
    // Which of the two is meant is what --pattern says, from the project's name on or without it.
    member("role", &["--role", "maintainer", "--pattern", "shop/app-*"]).well();
    let listed = registry
        .run(&["project", "member", "list", "shop", "--json"])
        .well();
    let role = |pattern: Option<&str>| {
        let members = listed.json();
        let mut found = members.iter().filter(|member| {
            member["entity_name"] == "bob" && member.get("pattern").and_then(|it| it.as_str()) == pattern
        });
        let role = found.next().unwrap()["role_name"].clone();
        assert!(found.next().is_none());
        role
    };
    assert_eq!(role(Some("shop/app-*")), "maintainer");
    assert_eq!(role(None), "guest");
    member("remove", &[]).well();
    may("shop/web", &[]);
    may("shop/app-cart", &["pull", "push"]);

    let other = member("remove", &[]);
    assert_eq!(other.code, 1);
    assert!(
        other.err.contains("bob") && other.err.contains("shop/app-*") && other.err.contains("--pattern"),
        "{other:?}"
    );
}

#[test]
fn who_is_no_member_or_nobody_at_all_is_named() {
    let registry = Registry::start();
    registry.run(&["project", "create", "shop"]).well();
    registry.user("alice");
    let nobody = registry.refused(&["project", "member", "add", "shop", "mallory", "--role", "guest"]);
    assert!(nobody.contains("mallory"), "{nobody}");
    let no_group = registry.refused(&[
        "project", "member", "add", "shop", "--group", "ops", "--role", "guest",
    ]);
    assert!(no_group.contains("ops"), "{no_group}");
    let no_member = registry.refused(&["project", "member", "role", "shop", "alice", "--role", "guest"]);
    assert!(
        no_member.contains("alice is no member of project shop"),
        "{no_member}"
    );
    for wrong in [
        &["project", "member", "add", "shop", "alice", "--role", "owner"][..],
        &["project", "member", "add", "shop", "--role", "guest"],
        &["project", "member", "add", "shop", "alice"],
        &[
            "project", "member", "add", "shop", "alice", "--group", "ops", "--role", "guest",
        ],
    ] {
        assert_eq!(registry.run(wrong).code, 2, "{wrong:?}");
    }
}
