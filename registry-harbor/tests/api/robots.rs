//! Robots.

use std::time::Duration;

use registry_auth::STALE_AFTER;
use registry_auth::roles::Role;
use serde_json::{Value, json};

use super::house::{House, NOBODY};

const DAY: Duration = Duration::from_secs(86_400);

/// Alice manages `team`, Bob `other`, and Carol pushes to `team`.
fn house() -> (House, u64, u64) {
    let house = House::new();
    let (alice, bob, carol) = (house.user("alice"), house.user("bob"), house.user("carol"));
    let (team, other) = (house.project("team", false), house.project("other", false));
    house.member(team, alice, Role::ProjectAdmin, None);
    house.member(other, bob, Role::ProjectAdmin, None);
    house.member(team, carol, Role::Developer, None);
    (house, team, other)
}

fn access(access: &[(&str, &str)]) -> Vec<Value> {
    access
        .iter()
        .map(|(resource, action)| json!({"resource": resource, "action": action}))
        .collect()
}

fn permission(namespace: &str, given: &[(&str, &str)]) -> Value {
    json!({"kind": "project", "namespace": namespace, "access": access(given)})
}

fn of_project(name: &str, project: &str, given: &[(&str, &str)]) -> Value {
    json!({"name": name, "level": "project", "duration": 7, "permissions": [permission(project, given)]})
}

fn of_registry(name: &str, permissions: &[Value]) -> Value {
    json!({"name": name, "level": "system", "duration": -1, "permissions": permissions})
}

const PULL: (&str, &str) = ("repository", "pull");
const PUSH: (&str, &str) = ("repository", "push");

#[test]
fn a_robot_is_told_its_secret_once_and_logs_in_with_it() {
    let (house, _, _) = house();
    let made = house.post(
        "alice",
        "/robots",
        of_project("ci", "team", &[PULL, ("project", "read")]),
    );
    let id = made.id();
    assert_eq!(made.header("location"), format!("/api/v2.0/robots/{id}"));
    let created = made.json();
    assert_eq!(created["name"], "robot$team+ci");
    let in_a_week = 1_800_000_000 + 7 * 86_400;
    assert_eq!(created["expires_at"], in_a_week);
    let who = format!("robot$team+ci:{}", created["secret"].as_str().unwrap());
    house.get(&who, "/projects/team").is(200);
    assert_eq!(house.get(&who, "/projects").each("name"), ["team"]);
    let shown = house.get("alice", &format!("/robots/{id}")).is(200).json();
    let expected = json!({
        "id": id, "name": "robot$team+ci", "description": "", "level": "project", "duration": 7, "editable": true,
        "disable": false, "expires_at": in_a_week, "creator_type": "local", "creator_ref": 2,
        "permissions": [permission("team", &[PULL, ("project", "read")])],
        "creation_time": "2027-01-15T08:00:00Z", "update_time": "2027-01-15T08:00:00Z",
    });
    assert_eq!(shown, expected);
    house
        .post("alice", "/robots", of_project("ci", "team", &[PULL]))
        .is(409);
    house.clock.advance(7 * DAY);
    house.get(&who, "/projects/team").is(401);
}

#[test]
fn a_robot_is_listed_where_it_is() {
    let (house, team, other) = house();
    let id = house
        .post("alice", "/robots", of_project("ci", "team", &[PULL]))
        .id();
    house
        .post("bob", "/robots", of_project("ci", "other", &[PULL]))
        .is(201);
    house
        .post(
            "admin",
            "/robots",
            of_registry("all", &[permission("*", &[PULL])]),
        )
        .is(201);
    let list = |who: &str, q: &str| house.get(who, &format!("/robots?q={q}"));
    assert_eq!(house.get("admin", "/robots").each("name"), ["robot$all"]);
    assert_eq!(list("admin", "Level%3Dsystem").each("name"), ["robot$all"]);
    let of_team = format!("Level%3Dproject,ProjectID%3D{team}");
    assert_eq!(list("alice", &of_team).each("id"), [json!(id)]);
    assert_eq!(list("carol", &of_team).each("name"), ["robot$team+ci"]);
    // What is asked for does not widen what may be seen.
    house.get("alice", "/robots").is(403);
    list("alice", &format!("Level%3Dproject,ProjectID%3D{other}")).is(403);
    list("alice", &format!("{of_team},ProjectID%3D{other}")).is(400);
    list(
        "alice",
        &format!("Level%3Dproject,ProjectID%3D{{{team}%20{other}}}"),
    )
    .is(400);
    list("alice", "Level%3D~p").is(400);
    list("alice", "Level%3Dproject").is(400);
    list("alice", "Level%3Dboth").is(400);
    list("alice", "project_id%3D3").is(403);
    list("alice", "Level%3Dproject,ProjectID%3D77").is(403);
    list("admin", "Level%3Dproject,ProjectID%3D77").is(404);
    house.get(NOBODY, "/robots").is(401);
}

#[test]
fn a_robot_gets_what_its_maker_holds_and_no_more() {
    let (house, _, _) = house();
    let create = |who: &str, body: Value| house.post(who, "/robots", body);
    create("carol", of_project("ci", "team", &[PULL])).is(403);
    create("alice", of_project("ci", "other", &[PULL])).is(403);
    create("alice", of_registry("ci", &[permission("team", &[PULL])])).is(403);
    create(NOBODY, of_project("ci", "team", &[PULL])).is(401);
    // A project that its maker may not know of is told like one that there is not.
    let message = |project: &str| {
        create("alice", of_project("ci", project, &[PULL]))
            .is(403)
            .refusal()
            .1
            .replace(project, "it")
    };
    assert_eq!(message("other"), message("absent"));
    let wide = json!({"name": "ci", "level": "project", "duration": 1,
        "permissions": [permission("team", &[PULL]), permission("other", &[PULL])]});
    create("alice", wide).is(400);
    let system = json!({"name": "ci", "level": "project", "duration": 1,
        "permissions": [{"kind": "system", "namespace": "team", "access": access(&[("user", "create")])}]});
    create("alice", system).is(400);

    let maker = of_project(
        "maker",
        "team",
        &[PULL, ("robot", "create"), ("robot", "update"), ("robot", "read")],
    );
    let made = create("alice", maker).is(201).json();
    let who = format!("robot$team+maker:{}", made["secret"].as_str().unwrap());
    create(&who, of_project("strong", "team", &[PULL, PUSH])).is(403);
    let weak = create(&who, of_project("weak", "team", &[PULL])).id();
    let shown = house.get("alice", &format!("/robots/{weak}")).json();
    assert_eq!(
        (&shown["creator_type"], &shown["creator_ref"]),
        (&json!("robot"), &made["id"])
    );
    // Nor does a change give it more, nor another secret what it has.
    let more = json!({"permissions": [permission("team", &[PULL, PUSH])]});
    house.put(&who, &format!("/robots/{weak}"), more).is(403);
    let strong = create("alice", of_project("strong", "team", &[PULL, PUSH])).id();
    house.patch(&who, &format!("/robots/{strong}"), json!({})).is(403);
    house.patch(&who, &format!("/robots/{weak}"), json!({})).is(200);
}

#[test]
fn what_its_maker_loses_a_robot_loses_at_once() {
    let (house, team, _) = house();
    let read = &[PULL, ("project", "read"), ("member", "list")];
    let secret = house
        .post("alice", "/robots", of_project("ci", "team", read))
        .is(201)
        .json()["secret"]
        .clone();
    let who = format!("robot$team+ci:{}", secret.as_str().unwrap());
    house.get(&who, "/projects/team/members").is(200);
    house.get(&who, "/projects/team/summary").is(200);
    house.put(&who, "/projects/team", json!({})).is(403);
    let members = house
        .get("admin", "/projects/team/members?entityname=alice")
        .each("id");
    let path = format!("/projects/{team}/members/{}", members[0]);
    house.put("admin", &path, json!({"role_id": 5})).is(200);
    house.get(&who, "/projects/team/members").is(403);
    house.delete("admin", &path).is(200);
    house.get(&who, "/projects/team").is(403);
}

#[test]
fn a_robot_is_changed_and_what_is_not_said_stays() {
    let (house, _, _) = house();
    let created = house.post(
        "alice",
        "/robots",
        of_project("ci", "team", &[PULL, ("project", "read")]),
    );
    let (id, secret) = (
        created.id(),
        created.json()["secret"].as_str().unwrap().to_owned(),
    );
    let (path, who) = (format!("/robots/{id}"), format!("robot$team+ci:{secret}"));
    house
        .put(
            "alice",
            &path,
            json!({"name": "robot$team+ci", "level": "project", "description": "builds"}),
        )
        .is(200);
    house.put("alice", &path, json!({"disable": true})).is(200);
    house.get(&who, "/projects/team").is(401);
    let shown = house.get("alice", &path).json();
    assert_eq!(
        (&shown["description"], &shown["disable"], &shown["duration"]),
        (&json!("builds"), &json!(true), &json!(7))
    );
    house
        .put("alice", &path, json!({"disable": false, "duration": -1}))
        .is(200);
    assert_eq!(house.get("alice", &path).json()["expires_at"], -1);
    house.get(&who, "/projects/team").is(200);
    house.put("alice", &path, json!({"name": "other"})).is(400);
    house.put("alice", &path, json!({"level": "system"})).is(400);
    house.put("alice", &path, json!({"duration": -2})).is(400);
    house.put("alice", &path, json!({"permissions": []})).is(400);
    house.put("carol", &path, json!({"description": "x"})).is(403);
    house.delete("carol", &path).is(403);
    house.delete("alice", &path).is(200);
    house.get(&who, "/projects/team").is(401);
    house.get("admin", &path).is(404);
}

#[test]
fn a_secret_is_drawn_anew_or_chosen() {
    let (house, _, _) = house();
    let created = house.post(
        "alice",
        "/robots",
        of_project("ci", "team", &[("project", "read")]),
    );
    let (path, old) = (
        format!("/robots/{}", created.id()),
        created.json()["secret"].as_str().unwrap().to_owned(),
    );
    let logs_in = |secret: &str| {
        house
            .get(&format!("robot$team+ci:{secret}"), "/projects/team")
            .status
            == 200
    };
    assert!(logs_in(&old));
    let fresh = house.patch("alice", &path, json!({})).is(200).json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    house.clock.advance(STALE_AFTER);
    assert!(logs_in(&fresh) && !logs_in(&old));
    house.patch("alice", &path, json!({"secret": "weak"})).is(400);
    assert_eq!(
        house
            .patch("alice", &path, json!({"secret": "Chosen1Secret"}))
            .is(200)
            .json()["secret"],
        ""
    );
    house.clock.advance(STALE_AFTER);
    assert!(logs_in("Chosen1Secret") && !logs_in(&fresh));
    let mut chosen = of_project("own", "team", &[("project", "read")]);
    chosen["secret"] = json!("Chosen1Secret");
    chosen["disable"] = json!(true);
    let made = house.post("alice", "/robots", chosen);
    assert_eq!(made.json()["secret"], "Chosen1Secret");
    house
        .get("robot$team+own:Chosen1Secret", "/projects/team")
        .is(401);
    house
        .put(
            "alice",
            &format!("/robots/{}", made.id()),
            json!({"disable": false}),
        )
        .is(200);
    house
        .get("robot$team+own:Chosen1Secret", "/projects/team")
        .is(200);
}

#[test]
fn a_robot_of_another_project_is_told_like_one_that_there_is_not() {
    let (house, _, _) = house();
    let theirs = house
        .post("bob", "/robots", of_project("ci", "other", &[PULL]))
        .id();
    let whole = house
        .post(
            "admin",
            "/robots",
            of_registry("all", &[permission("*", &[PULL])]),
        )
        .id();
    for (method, body) in [
        ("GET", None),
        ("PUT", Some(json!({}))),
        ("PATCH", Some(json!({}))),
        ("DELETE", None),
    ] {
        let ask = |id: u64| {
            let reply = house
                .send(house.request("alice", method, &format!("/robots/{id}"), body.as_ref()))
                .is(403);
            reply.refusal().1.replace(&id.to_string(), "it")
        };
        assert_eq!(ask(theirs), ask(777), "{method}");
        assert_eq!(ask(whole), ask(777), "{method}");
        house
            .send(house.request("admin", method, "/robots/777", body.as_ref()))
            .is(404);
    }
    house.get("bob", &format!("/robots/{theirs}")).is(200);
}

#[test]
fn a_permission_that_would_mean_something_else_is_refused() {
    let (house, _, _) = house();
    let denies = json!({"name": "ci", "level": "project", "duration": 1, "permissions": [
        {"kind": "project", "namespace": "team", "access": [{"resource": "repository", "action": "pull", "effect": "deny"}]}]});
    let (_, message) = house.post("alice", "/robots", denies).is(400).refusal();
    assert!(message.contains("deny"), "{message}");
    house
        .post(
            "alice",
            "/robots",
            of_project("ci", "team", &[("repository", "fly")]),
        )
        .is(400);
    house
        .post("alice", "/robots", of_project("ci", "team", &[]))
        .is(400);
    house
        .post("alice", "/robots", of_project("C I", "team", &[PULL]))
        .is(400);
    let kind = json!({"name": "ci", "level": "project", "duration": 1,
        "permissions": [{"kind": "galaxy", "namespace": "team", "access": access(&[PULL])}]});
    house.post("alice", "/robots", kind).is(400);
    house
        .post(
            "alice",
            "/robots",
            json!({"name": "ci", "level": "galaxy", "permissions": []}),
        )
        .is(400);
    let long = json!({"name": "ci", "level": "project", "duration": 99_999, "permissions": [permission("team", &[PULL])]});
    house.post("alice", "/robots", long).is(400);
}

#[test]
fn a_robot_of_the_registry_may_what_it_was_given_of_it() {
    let (house, _, _) = house();
    let system = json!({"kind": "system", "namespace": "/", "access": access(&[("project", "create"), ("user", "list"), ("user", "create")])});
    let secret = house
        .post("admin", "/robots", of_registry("ops", &[system]))
        .is(201)
        .json()["secret"]
        .clone();
    let who = format!("robot$ops:{}", secret.as_str().unwrap());
    house.get(&who, "/users").is(200);
    house.get(&who, "/users/search?username=a").is(200);
    house.get(&who, "/usergroups/search?groupname=a").is(403);
    let id = house
        .post(&who, "/projects", json!({"project_name": "made"}))
        .id();
    assert_eq!(
        house.get("admin", &format!("/projects/{id}")).json()["owner_name"],
        "admin"
    );
    // It makes users, and no administrators; it is none itself, though its maker is.
    let user = house
        .post(
            &who,
            "/users",
            json!({"username": "dave", "password": super::house::PASSWORD}),
        )
        .id();
    house
        .put(
            &who,
            &format!("/users/{user}/sysadmin"),
            json!({"sysadmin_flag": true}),
        )
        .is(403);
    house
        .put(&who, "/users/1/password", json!({"new_password": "Stolen12345"}))
        .is(403);
    house.delete(&who, &format!("/users/{user}")).is(403);
    house.get(&who, "/users/1").is(403);
    house.get(&who, "/permissions").is(403);
    let (code, _) = house.get(&who, "/users/current").is(412).refusal();
    assert_eq!(code, "PRECONDITION");
    house.get(&who, "/users/current/tokens").is(403);
}
