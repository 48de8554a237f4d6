//! What is private, hidden, gone or made anew: CVE-2026-27771, Harbor #22900 and #23270, CVE-2025-23208, Harbor #18636 and #21026.

use std::sync::Arc;

use async_trait::async_trait;
use futures_executor::block_on;
use registry_auth::roles::Role;
use registry_auth::{Grantee, GroupKind, NewGroup, NewRobot, Permission, Settings};
use registry_core::wrappers::{Call, Gate, Gated};
use registry_core::{Context, LocalRegistry, Result};

use super::house::{BOUND, House, Who};
use super::same_time::{assert_same_time, assert_told_apart};

/// Every route of a repository, and what is in the way of each: nothing, as far as the request itself goes.
fn routes(repository: &str, digest: &str, location: &str) -> Vec<(&'static str, String)> {
    let at = |rest: &str| format!("/v2/{repository}/{rest}");
    vec![
        ("GET", at("tags/list")),
        ("GET", at("manifests/latest")),
        ("HEAD", at("manifests/latest")),
        ("GET", at(&format!("manifests/{digest}"))),
        ("PUT", at("manifests/latest")),
        ("DELETE", at("manifests/latest")),
        ("DELETE", at(&format!("manifests/{digest}"))),
        ("GET", at(&format!("blobs/{digest}"))),
        ("HEAD", at(&format!("blobs/{digest}"))),
        ("DELETE", at(&format!("blobs/{digest}"))),
        ("POST", at("blobs/uploads/")),
        ("POST", at(&format!("blobs/uploads/?digest={digest}"))),
        ("POST", at(&format!("blobs/uploads/?mount={digest}&from=own/app"))),
        ("GET", location.to_owned()),
        ("PATCH", location.to_owned()),
        ("PUT", format!("{location}?digest={digest}")),
        ("DELETE", location.to_owned()),
    ]
}

#[test]
fn cve_2026_27771_nobody_pulls_what_is_private_by_any_route() {
    let house = House::new();
    let (alice, mallory) = (house.user("alice"), house.user("mallory"));
    house.project("secret", alice);
    house.project("own", mallory);
    let digest = house.push_image(Who::User("alice"), "secret/app", "latest");
    let location = house.begin(Who::User("alice"), "secret/app");
    let scope = "repository:secret/app:pull,push,delete repository:own/app:pull,push,delete";
    let (anonymous, of_mallory) = (
        house.token(Who::Nobody, scope),
        house.token(Who::User("mallory"), scope),
    );
    let routes = routes("secret/app", &digest.to_string(), &location);
    for (method, target) in &routes {
        for who in [Who::Nobody, Who::Bearer(&anonymous)] {
            house.ask(who, method, target, "").is(401);
        }
        for who in [Who::User("mallory"), Who::Bearer(&of_mallory)] {
            let refused = house.ask(who, method, target, "").is(404);
            assert!(!refused.headers.contains_key("docker-content-digest"));
            if *method != "HEAD" {
                assert_eq!(refused.code(), "NAME_UNKNOWN", "{method} {target}");
            }
        }
    }
    // A repository without referrers is one that there is not.
    let referrers = |name: &str| house.get(Who::User("mallory"), &format!("/v2/{name}/referrers/{digest}"));
    assert_eq!(
        referrers("secret/app").is(200).body,
        referrers("absent/app").is(200).body
    );
    // All of it was there all the time.
    house
        .get(Who::User("alice"), "/v2/secret/app/manifests/latest")
        .is(200);
    house.get(Who::User("alice"), &location).is(204);
}

/// A registry in which only the administrator makes projects: then there is nothing that tells somebody else that there is none of
/// a name.
fn strict() -> Settings {
    Settings {
        users_create_projects: false,
        ..Settings::default()
    }
}

#[test]
fn a_hidden_project_is_answered_as_one_that_there_is_not() {
    let house = House::built(strict(), |parts| (parts.guarded(), parts.directory()));
    let alice = house.user("alice");
    house.user("mallory");
    house.project("hidden", alice);
    let digest = house
        .push_image(Who::User("alice"), "hidden/app", "latest")
        .to_string();
    let location = house.begin(Who::User("alice"), "hidden/app");
    let absent = location.replace("hidden", "absent");
    let (there, missing) = (
        routes("hidden/app", &digest, &location),
        routes("absent/app", &digest, &absent),
    );
    let scope = |name: &str| format!("repository:{name}/app:pull,push,delete");
    let tokens = ["hidden", "absent"].map(|name| house.token(Who::User("mallory"), &scope(name)));
    for ((method, there), (_, missing)) in there.iter().zip(&missing) {
        let ways = [
            [Who::Nobody, Who::Nobody],
            [Who::User("mallory"), Who::User("mallory")],
            [Who::Bearer(&tokens[0]), Who::Bearer(&tokens[1])],
        ];
        for [of_there, of_missing] in ways {
            let hidden = house.ask(of_there, method, there, "").shape();
            let absent = house.ask(of_missing, method, missing, "").shape();
            let told = String::from_utf8_lossy(&hidden.2).replace("hidden", "absent");
            let (told, of_absent) = (without_id(&told), without_id(&String::from_utf8_lossy(&absent.2)));
            assert_eq!(
                (hidden.0, hidden.1, told),
                (absent.0, absent.1, of_absent),
                "{method} {there}"
            );
        }
    }
}

/// The text of a refusal without the id of its request.
fn without_id(text: &str) -> String {
    let Ok(mut read) = serde_json::from_str::<serde_json::Value>(text) else {
        return text.to_owned();
    };
    for error in read["errors"].as_array_mut().into_iter().flatten() {
        if let Some(detail) = error["detail"].as_object_mut() {
            detail.remove("requestId");
        }
    }
    read.to_string()
}

#[test]
fn a_hidden_project_takes_as_long_as_one_that_there_is_not() {
    let house = House::built(strict(), |parts| (parts.guarded(), parts.directory()));
    let alice = house.user("alice");
    house.user("mallory");
    house.project("hidden", alice);
    house.push_image(Who::User("alice"), "hidden/app", "latest");
    for (name, who) in [("nobody", Who::Nobody), ("mallory", Who::User("mallory"))] {
        for (method, path) in [
            ("GET", "tags/list"),
            ("GET", "manifests/latest"),
            ("POST", "blobs/uploads/"),
        ] {
            let ask = |project: &str| {
                let target = format!("/v2/{project}/app/{path}");
                let house = &house;
                move |_| assert!(house.ask(who, method, &target, "").status >= 401)
            };
            let what = format!("{method} {path} by {name}");
            assert_same_time(&what, &mut ask("hidden"), &mut ask("absent"));
        }
    }
    let token = |project: &str| {
        let scope = format!("repository:{project}/app:pull");
        let house = &house;
        move |_| drop(house.token(Who::User("mallory"), &scope))
    };
    assert_same_time("a token", &mut token("hidden"), &mut token("absent"));
}

/// Each name is asked about once, as whoever guesses names would, so that nothing of it is remembered.
#[test]
fn a_hidden_project_that_was_never_asked_for_takes_as_long_too() {
    let house = House::built(strict(), |parts| (parts.guarded(), parts.directory()));
    let alice = house.user("alice");
    house.user("mallory");
    for number in 0..1100 {
        house.project(&format!("hidden{number:04}"), alice);
    }
    let ask = |project: &'static str| {
        let house = &house;
        move |number: usize| {
            let target = format!("/v2/{project}{number:04}/app/tags/list");
            drop(house.get(Who::User("mallory"), &target).is(404))
        }
    };
    assert_same_time("a name", &mut ask("hidden"), &mut ask("absent"));
}

/// A gate that looks for the tags before anybody asks who wants to know.
struct LooksFirst(LocalRegistry);

#[async_trait]
impl Gate for LooksFirst {
    async fn admit(&self, ctx: &Context, call: Call<'_>) -> Result<Context> {
        use registry_core::Registry as _;
        if let Call::ListTags(name) = call {
            let listed = self.0.list_tags(&Context::system(), name, None, 100).await;
            let _there_or_not = listed.is_ok();
        }
        Ok(ctx.clone())
    }
}

#[test]
fn a_registry_that_looks_first_and_asks_then_would_be_found_out() {
    let house = House::built(strict(), |parts| {
        let looks_first = Gated::new(parts.guarded(), LooksFirst(parts.local.clone()));
        (Arc::new(looks_first), parts.directory())
    });
    let alice = house.user("alice");
    house.user("mallory");
    house.project("hidden", alice);
    for tag in 0..10 {
        house.push_image(Who::User("alice"), "hidden/app", &format!("t{tag}"));
    }
    let ask = |project: &str| {
        let target = format!("/v2/{project}/app/tags/list");
        let house = &house;
        move |_| drop(house.get(Who::User("mallory"), &target).is(404))
    };
    assert_told_apart("a hidden project", &mut ask("hidden"), &mut ask("absent"));
}

#[test]
fn harbor_22900_and_23270_an_old_token_opens_nothing_of_a_project_made_anew() {
    let house = House::new();
    let (alice, bob) = (house.user("alice"), house.user("bob"));
    let old = house.project("team", alice);
    house.project("own", alice);
    let digest = house.push_image(Who::User("alice"), "team/app", "latest");
    let target = "/v2/team/app/manifests/latest";
    let mount = format!("/v2/own/app/blobs/uploads/?mount={digest}&from=team/app");
    let pull = house.token(Who::User("alice"), "repository:team/app:pull,push,delete");
    let source = house.token(
        Who::User("alice"),
        "repository:own/app:pull,push repository:team/app:pull",
    );
    house.get(Who::Bearer(&pull), target).is(200);
    house.ask(Who::Bearer(&source), "POST", &mount, "").is(202);

    block_on(house.tenants.projects.delete(old)).unwrap();
    for made_anew in [false, true] {
        if made_anew {
            assert_ne!(house.project("team", bob), old);
        }
        house.advance(BOUND);
        for (who, method, target) in [
            (&pull, "GET", target),
            (&pull, "HEAD", target),
            (&pull, "DELETE", target),
            (&pull, "POST", "/v2/team/app/blobs/uploads/"),
            (&source, "POST", &*mount),
            // All of it is worth nothing, what it names beside the project too.
            (&source, "GET", "/v2/own/app/tags/list"),
        ] {
            let refused = house.ask(Who::Bearer(who), method, target, "").is(401);
            assert!(refused.header("www-authenticate").contains("invalid_token"));
        }
        // Nor does she get another one for it, or in with her password.
        let again = house.token(Who::User("alice"), "repository:team/app:pull,push,delete");
        house.get(Who::Bearer(&again), target).is(404);
        house.get(Who::User("alice"), target).is(404);
    }
    house.get(Who::User("bob"), "/v2/team/app/tags/list").is(200);
}

#[test]
fn cve_2025_23208_who_is_taken_out_of_a_group_is_denied_with_the_next_request() {
    let house = House::new();
    let (alice, bob) = (house.user("alice"), house.user("bob"));
    let team = house.project("team", alice);
    house.push_image(Who::User("alice"), "team/app", "latest");
    let accounts = &house.tenants.accounts;
    let new = NewGroup {
        name: "devs".to_owned(),
        kind: GroupKind::Oidc,
        ldap_dn: String::new(),
    };
    let devs = block_on(accounts.create_group(new)).unwrap().id;
    house.member(team, Grantee::Group(devs), Role::Developer);
    block_on(accounts.set_groups(bob, &[devs])).unwrap();
    let (target, scope) = ("/v2/team/app/manifests/latest", "repository:team/app:pull,push");
    let token = house.token(Who::User("bob"), scope);
    for who in [Who::User("bob"), Who::Bearer(&token)] {
        house.get(who, target).is(200);
    }
    block_on(accounts.set_groups(bob, &[])).unwrap();
    // Not a moment passes.
    for who in [Who::User("bob"), Who::Bearer(&token)] {
        let refused = house.get(who, target).status;
        assert!([401, 404].contains(&refused), "{refused}");
    }
    let again = house.token(Who::User("bob"), scope);
    house.get(Who::Bearer(&again), target).is(404);
}

#[test]
fn harbor_18636_and_21026_a_robot_may_at_use_no_more_than_its_creator() {
    let house = House::new();
    let (alice, bob) = (house.user("alice"), house.user("bob"));
    let team = house.project("team", alice);
    house.push_image(Who::User("alice"), "team/app", "latest");
    let member = house.member(team, Grantee::User(bob), Role::ProjectAdmin);
    let accounts = &house.tenants.accounts;
    let new = |access: &[(&str, &str)]| NewRobot {
        name: "ci".to_owned(),
        description: String::new(),
        project: Some("team".to_owned()),
        permissions: vec![Permission::project("team", access)],
        duration: -1,
    };
    let (row, secret) =
        block_on(accounts.create_robot("bob", new(&[("repository", "pull"), ("repository", "push")])))
            .unwrap();
    let name = block_on(accounts.robot_name(&row.value)).unwrap();
    let robot = Who::Basic(&name, secret.reveal());
    let (target, uploads) = ("/v2/team/app/manifests/latest", "/v2/team/app/blobs/uploads/");
    let token = house.token(robot, "repository:team/app:pull,push");
    for who in [robot, Who::Bearer(&token)] {
        house.get(who, target).is(200);
        house.ask(who, "POST", uploads, "").is(202);
    }
    // Its creator becomes a guest, who may not push.
    block_on(house.tenants.projects.set_role(team, member, Role::Guest)).unwrap();
    for who in [robot, Who::Bearer(&token)] {
        house.get(who, target).is(200);
        let refused = house.ask(who, "POST", uploads, "").status;
        assert!([401, 403].contains(&refused), "{refused}");
    }
    // And is gone.
    block_on(accounts.delete_user(bob)).unwrap();
    house.advance(BOUND);
    for who in [robot, Who::Bearer(&token)] {
        house.get(who, target).is(401);
    }
}
