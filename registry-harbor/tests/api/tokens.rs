//! Personal access tokens.

use std::time::Duration;

use registry_auth::STALE_AFTER;
use registry_auth::roles::Role;
use serde_json::{Value, json};

use super::house::{House, NOBODY, PASSWORD};

const DAY: Duration = Duration::from_secs(86_400);

fn house() -> (House, u64) {
    let house = House::new();
    let alice = house.user("alice");
    let team = house.project("team", false);
    house.project("hidden", false);
    house.member(team, alice, Role::ProjectAdmin, None);
    (house, alice)
}

fn limited(name: &str, access: &[(&str, &str)]) -> Value {
    let access: Vec<_> = access
        .iter()
        .map(|(resource, action)| json!({"resource": resource, "action": action}))
        .collect();
    json!({"name": name, "duration": -1, "permissions": [{"kind": "project", "namespace": "team", "access": access}]})
}

/// Makes one, and says how to log in with it.
fn make(house: &House, body: Value) -> (u64, String) {
    let made = house.post("alice", "/users/current/tokens", body);
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    (made.id(), format!("alice:{secret}"))
}

#[test]
fn a_token_is_made_shown_once_and_deleted() {
    let (house, alice) = house();
    let made = house.post(
        "alice",
        "/users/current/tokens",
        json!({"name": "laptop", "description": "mine", "duration": 2}),
    );
    let id = made.id();
    assert_eq!(
        made.header("location"),
        format!("/api/v2.0/users/{alice}/tokens/{id}")
    );
    let created = made.json();
    let expires = 1_800_000_000 + 2 * 86_400;
    assert_eq!(
        (&created["name"], &created["expires_at"]),
        (&json!("alice#laptop"), &json!(expires))
    );
    let path = format!("/users/{alice}/tokens/{id}");
    let shown = json!({"id": id, "name": "alice#laptop", "description": "mine", "expires_at": expires, "creation_time": "2027-01-15T08:00:00Z"});
    assert_eq!(house.get("alice", &path).is(200).json(), shown);
    assert_eq!(house.get("alice", "/users/current/tokens").json(), json!([shown]));
    assert_eq!(
        house.get("admin", &format!("/users/{alice}/tokens")).json(),
        json!([shown])
    );
    let who = format!("alice:{}", created["secret"].as_str().unwrap());
    assert_eq!(
        house.get(&who, "/users/current").is(200).json()["username"],
        "alice"
    );
    house.delete("alice", &path).is(200);
    house.clock.advance(STALE_AFTER);
    house.get(&who, "/users/current").is(401);
    house.get("alice", &path).is(404);
    house.delete("alice", &path).is(404);
}

#[test]
fn a_token_ends_with_its_time_and_lasts_as_the_operator_says_if_it_does_not() {
    let (house, _) = house();
    let (_, short) = make(&house, json!({"name": "short", "duration": 1}));
    let (_, ever) = make(&house, json!({"name": "ever", "duration": -1}));
    let (usual, _) = make(&house, json!({"name": "usual"}));
    let shown = house
        .get("alice", &format!("/users/current/tokens/{usual}"))
        .json();
    assert_eq!(shown["expires_at"], 1_800_000_000 + 30 * 86_400);
    house.get(&short, "/users/current").is(200);
    house.clock.advance(DAY);
    house.get(&short, "/users/current").is(401);
    house.get(&ever, "/users/current").is(200);
    for duration in [-2, 36_501, i64::MAX] {
        house
            .post(
                "alice",
                "/users/current/tokens",
                json!({"name": "odd", "duration": duration}),
            )
            .is(400);
    }
    house
        .post("alice", "/users/current/tokens", json!({"name": "ever"}))
        .is(409);
    house
        .post("alice", "/users/current/tokens", json!({"name": "#"}))
        .is(400);
}

#[test]
fn a_token_is_its_users_and_of_nobody_else() {
    let (house, alice) = house();
    let bob = house.user("bob");
    let (id, _) = make(&house, json!({"name": "laptop"}));
    house.get("bob", &format!("/users/{alice}/tokens")).is(403);
    house.get("bob", &format!("/users/{alice}/tokens/{id}")).is(403);
    house
        .delete("bob", &format!("/users/{alice}/tokens/{id}"))
        .is(403);
    house.get(NOBODY, &format!("/users/{alice}/tokens")).is(401);
    // Nor by way of one's own path.
    house.get("bob", &format!("/users/{bob}/tokens/{id}")).is(404);
    house
        .delete("bob", &format!("/users/current/tokens/{id}"))
        .is(404);
    house.get("bob", "/users/77/tokens").is(403);
    house.get("admin", "/users/77/tokens").is(404);
    let filtered = house
        .get("bob", &format!("/users/current/tokens?q=user_id%3D{alice}"))
        .is(200);
    assert_eq!(filtered.text, "[]");
    // Nobody speaks in another's name, administrators neither; they may take one away.
    house
        .post("admin", &format!("/users/{alice}/tokens"), json!({"name": "x"}))
        .is(403);
    house
        .delete("admin", &format!("/users/{alice}/tokens/{id}"))
        .is(200);
}

#[test]
fn a_token_without_limits_is_its_user_but_for_what_would_outlive_it() {
    let (house, alice) = house();
    let (_, who) = make(&house, json!({"name": "whole"}));
    house.get(&who, "/projects/team/members").is(200);
    house.get(&who, "/users/current/tokens").is(200);
    house
        .put(&who, &format!("/users/{alice}"), json!({"comment": "x"}))
        .is(200);
    house
        .post(&who, "/users/current/tokens", json!({"name": "next"}))
        .is(403);
    let change = json!({"old_password": PASSWORD, "new_password": "Another12345"});
    house
        .put(&who, &format!("/users/{alice}/password"), change)
        .is(403);
    let robot = json!({"name": "ci", "level": "project", "permissions": [
        {"kind": "project", "namespace": "team", "access": [{"resource": "repository", "action": "pull"}]}]});
    house.post(&who, "/robots", robot).is(403);
}

#[test]
fn a_limited_token_opens_what_it_says_and_no_more_than_its_user_may() {
    let (house, alice) = house();
    let (_, pulls) = make(&house, limited("pulls", &[("repository", "pull")]));
    for path in [
        "/projects/team/members",
        "/users",
        "/users/search?username=a",
        "/permissions",
        "/users/current/tokens",
        "/robots",
    ] {
        house.get(&pulls, path).is(403);
    }
    house.get(&pulls, "/users/current").is(412);
    house.get(&pulls, &format!("/users/{alice}")).is(403);
    house
        .put(&pulls, &format!("/users/{alice}"), json!({"comment": "x"}))
        .is(403);
    house
        .post(&pulls, "/projects", json!({"project_name": "x"}))
        .is(403);
    assert_eq!(house.get(&pulls, "/projects").each("name"), ["team"]);
    let (_, lists) = make(&house, limited("lists", &[("member", "list")]));
    house.get(&lists, "/projects/team/members").is(200);
    house.get(&lists, "/projects/team").is(403);
    let (_, deletes) = make(
        &house,
        limited("deletes", &[("project", "delete"), ("project", "read")]),
    );
    house.get(&deletes, "/projects/team/_deletable").is(200);
    let member = house
        .get("admin", "/projects/team/members?entityname=alice")
        .each("id")[0]
        .clone();
    house
        .put(
            "admin",
            &format!("/projects/team/members/{member}"),
            json!({"role_id": 2}),
        )
        .is(200);
    house.get(&deletes, "/projects/team/_deletable").is(403);
    house.get(&lists, "/projects/team/members").is(200);
}

#[test]
fn a_limit_does_not_tell_whether_there_is_a_project() {
    let (house, _) = house();
    let of = |project: &str| {
        let body = json!({"name": "x", "duration": 1, "permissions": [
            {"kind": "project", "namespace": project, "access": [{"resource": "repository", "action": "pull"}]}]});
        house
            .post("alice", "/users/current/tokens", body)
            .is(403)
            .refusal()
            .1
            .replace(project, "it")
    };
    assert_eq!(of("hidden"), of("absent"));
}

#[test]
fn an_administrators_token_manages_unless_it_is_limited() {
    let (house, _) = house();
    let secret = |body: Value| {
        let made = house.post("admin", "/users/current/tokens", body).is(201).json();
        format!("admin:{}", made["secret"].as_str().unwrap())
    };
    let whole = secret(json!({"name": "whole"}));
    house.get(&whole, "/users").is(200);
    let pulls = secret(limited("pulls", &[("repository", "pull")]));
    house.get(&pulls, "/users").is(403);
    house.get(&pulls, "/projects/hidden").is(403);
    house.get(&pulls, "/projects/absent").is(403);
    house
        .put(&pulls, "/users/2/sysadmin", json!({"sysadmin_flag": true}))
        .is(403);
}
