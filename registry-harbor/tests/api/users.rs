//! Users.

use registry_auth::STALE_AFTER;
use registry_auth::roles::Role;
use serde_json::json;

use super::house::{House, NOBODY, PASSWORD};

fn account(name: &str) -> serde_json::Value {
    json!({"username": name, "email": format!("{name}@example.com"), "realname": "A B", "comment": "", "password": PASSWORD})
}

#[test]
fn a_user_who_is_made_logs_in_and_is_shown_without_a_secret() {
    let house = House::new();
    let made = house.post("admin", "/users", account("alice"));
    assert_eq!(made.header("location"), "/api/v2.0/users/2");
    assert_eq!(made.text, "");
    let shown = house.get("alice", "/users/current").is(200).json();
    let expected = json!({
        "user_id": 2, "username": "alice", "email": "alice@example.com", "realname": "A B", "comment": "",
        "sysadmin_flag": false, "admin_role_in_auth": false,
        "creation_time": "2027-01-15T08:00:00Z", "update_time": "2027-01-15T08:00:00Z",
    });
    assert_eq!(shown, expected);
    assert_eq!(house.get("admin", "/users/2").json(), expected);
    assert_eq!(house.get("admin", "/users").each("username"), ["admin", "alice"]);
}

#[test]
fn nobody_registers_themselves() {
    let house = House::new();
    house.user("alice");
    house.post(NOBODY, "/users", account("eve")).is(401);
    house.post("alice", "/users", account("eve")).is(403);
    house.get("alice", "/users").is(403);
}

#[test]
fn what_is_no_account_is_refused_and_a_name_or_an_address_is_taken_once() {
    let house = House::new();
    house.post("admin", "/users", account("alice")).is(201);
    house.post("admin", "/users", account("alice")).is(409);
    let same_address = json!({"username": "bob", "email": "ALICE@example.com", "password": PASSWORD});
    house.post("admin", "/users", same_address).is(409);
    for bad in [
        json!({"username": "", "password": PASSWORD}),
        json!({"username": "robot$x", "password": PASSWORD}),
        json!({"username": "a b", "password": PASSWORD}),
        json!({"username": "bob", "password": "weak"}),
        json!({"username": "bob"}),
        json!({"username": "bob", "email": "nowhere", "password": PASSWORD}),
    ] {
        house.post("admin", "/users", bad).is(400);
    }
    assert_eq!(house.get("admin", "/users").header("x-total-count"), "2");
}

#[test]
fn one_sees_oneself_and_names_of_others_and_nothing_more_of_them() {
    let house = House::new();
    let (alice, bob) = (house.user("alice"), house.user("bob"));
    house.get("alice", &format!("/users/{alice}")).is(200);
    // Whether there is one says no refusal.
    house.get("alice", &format!("/users/{bob}")).is(403);
    house.get("alice", "/users/77").is(403);
    house.get("admin", "/users/77").is(404);
    let found = house.get("alice", "/users/search?username=O").is(200);
    assert_eq!(found.json(), json!([{"user_id": bob, "username": "bob"}]));
    house.get("alice", "/users/search").is(400);
    house.get(NOBODY, "/users/search?username=o").is(401);
}

#[test]
fn a_profile_is_changed_by_its_user_and_by_administrators_and_what_is_not_said_stays() {
    let house = House::new();
    let (alice, bob) = (house.user("alice"), house.user("bob"));
    let path = format!("/users/{alice}");
    house
        .put(
            "alice",
            &path,
            json!({"email": "a@example.com", "realname": "Alice"}),
        )
        .is(200);
    // What a profile has not is not looked at: nobody makes themselves an administrator.
    house
        .put(
            "alice",
            &path,
            json!({"comment": "hi", "sysadmin_flag": true, "admin": true, "user_id": 1}),
        )
        .is(200);
    let shown = house.get("alice", &path).json();
    assert_eq!(
        (&shown["email"], &shown["comment"]),
        (&json!("a@example.com"), &json!("hi"))
    );
    assert_eq!(shown["sysadmin_flag"], false);
    house.put("bob", &path, json!({"comment": "x"})).is(403);
    house.put("admin", &path, json!({"comment": "y"})).is(200);
    house
        .put(
            "admin",
            &format!("/users/{bob}"),
            json!({"email": "a@example.com"}),
        )
        .is(409);
    house.put("admin", "/users/77", json!({"comment": "y"})).is(404);
}

#[test]
fn ones_own_password_takes_the_present_one() {
    let house = House::new();
    let alice = house.user("alice");
    let path = format!("/users/{alice}/password");
    let change = |who: &str, old: &str, new: &str| {
        house.put(who, &path, json!({"old_password": old, "new_password": new}))
    };
    change("alice", "Wrong12345", "Another12345").is(403);
    change("alice", "", "Another12345").is(403);
    change("alice", PASSWORD, PASSWORD).is(400);
    change("alice", PASSWORD, "weak").is(400);
    change("alice", PASSWORD, "Another12345").is(200);
    house.clock.advance(STALE_AFTER);
    house.get("alice", "/users/current").is(401);
    house.get("alice:Another12345", "/users/current").is(200);
    // An administrator needs no old one for others, and needs it for themselves.
    house
        .put("admin", &path, json!({"new_password": "Third12345"}))
        .is(200);
    house
        .put(
            "admin",
            "/users/1/password",
            json!({"new_password": "Third12345"}),
        )
        .is(403);
    house.user("bob");
    change("bob", PASSWORD, "Stolen12345").is(403);
    house
        .put(
            "bob",
            "/users/77/password",
            json!({"old_password": PASSWORD, "new_password": "Stolen12345"}),
        )
        .is(403);
    house
        .put(
            "admin",
            "/users/77/password",
            json!({"new_password": "Third12345"}),
        )
        .is(404);
}

#[test]
fn the_last_administrator_is_not_locked_out() {
    let house = House::new();
    let alice = house.user("alice");
    house
        .put("alice", "/users/2/sysadmin", json!({"sysadmin_flag": true}))
        .is(403);
    house
        .put(
            "admin",
            &format!("/users/{alice}/sysadmin"),
            json!({"sysadmin_flag": true}),
        )
        .is(200);
    house.get("alice", "/users").is(200);
    house.delete("alice", &format!("/users/{alice}")).is(403);
    house.delete("alice", "/users/1").is(403);
    house.delete("admin", "/users/1").is(403);
    house
        .put("alice", "/users/1/sysadmin", json!({"sysadmin_flag": false}))
        .is(403);
    house
        .put("admin", "/users/77/sysadmin", json!({"sysadmin_flag": true}))
        .is(404);
    house
        .put(
            "admin",
            &format!("/users/{alice}/sysadmin"),
            json!({"sysadmin_flag": false}),
        )
        .is(200);
    house.get("alice", "/users").is(403);
}

#[test]
fn a_user_who_is_deleted_is_gone_at_once() {
    let house = House::new();
    let alice = house.user("alice");
    house.get("alice", "/users/current").is(200);
    house.delete("alice", &format!("/users/{alice}")).is(403);
    house.delete("admin", &format!("/users/{alice}")).is(200);
    house.delete("admin", &format!("/users/{alice}")).is(404);
    house.clock.advance(STALE_AFTER);
    house.get("alice", "/users/current").is(401);
}

#[test]
fn one_is_told_what_one_may_in_a_project() {
    let house = House::new();
    let (alice, team) = (house.user("alice"), house.project("team", false));
    house.member(team, alice, Role::Guest, None);
    let held = house
        .get(
            "alice",
            &format!("/users/current/permissions?scope=/project/{team}&relative=true"),
        )
        .is(200)
        .json();
    let held = held.as_array().unwrap();
    assert!(held.contains(&json!({"resource": "repository", "action": "pull"})));
    assert!(!held.contains(&json!({"resource": "repository", "action": "push"})));
    let whole = house
        .get(
            "alice",
            &format!("/users/current/permissions?scope=/project/{team}"),
        )
        .json();
    let pull = json!({"resource": format!("/project/{team}/repository"), "action": "pull"});
    assert!(whole.as_array().unwrap().contains(&pull));
    // There is nothing to tell of what is not there, nor of what one may not know of.
    let hidden = house.project("hidden", false);
    for scope in [format!("/project/{hidden}"), "/project/77".into(), String::new()] {
        let path = format!("/users/current/permissions?scope={scope}");
        assert_eq!(house.get("alice", &path).is(200).text, "[]", "{scope}");
    }
    house
        .get("alice", "/users/current/permissions?scope=nonsense")
        .is(400);
    let system = house
        .get("admin", "/users/current/permissions?scope=/system&relative=true")
        .json();
    assert!(
        system
            .as_array()
            .unwrap()
            .contains(&json!({"resource": "user", "action": "create"}))
    );
}

#[test]
fn what_robots_can_be_given_is_listed_for_administrators() {
    let house = House::new();
    let (alice, bob) = (house.user("alice"), house.user("bob"));
    let team = house.project("team", false);
    house.member(team, alice, Role::ProjectAdmin, None);
    house.member(team, bob, Role::Maintainer, None);
    let all = house.get("admin", "/permissions").is(200).json();
    assert!(all["system"].as_array().unwrap().len() > 60 && all["project"].as_array().unwrap().len() > 60);
    let some = house.get("alice", "/permissions").is(200).json();
    assert!(some.get("system").is_none());
    assert_eq!(some["project"], all["project"]);
    house.get("bob", "/permissions").is(403);
    house.get(NOBODY, "/permissions").is(401);
}

#[test]
fn groups_are_made_found_renamed_and_deleted() {
    let house = House::new();
    let alice = house.user("alice");
    let id = house
        .post(
            "admin",
            "/usergroups",
            json!({"group_name": "devs", "group_type": 2}),
        )
        .id();
    house
        .post(
            "admin",
            "/usergroups",
            json!({"group_name": "devs", "group_type": 3}),
        )
        .is(409);
    house
        .post(
            "admin",
            "/usergroups",
            json!({"group_name": "x", "group_type": 4}),
        )
        .is(400);
    house
        .post(
            "admin",
            "/usergroups",
            json!({"group_name": " ", "group_type": 2}),
        )
        .is(400);
    house
        .post(
            "alice",
            "/usergroups",
            json!({"group_name": "x", "group_type": 2}),
        )
        .is(403);
    let path = format!("/usergroups/{id}");
    assert_eq!(
        house.get("admin", &path).json(),
        json!({"id": id, "group_name": "devs", "group_type": 2})
    );
    house.get("alice", &path).is(403);
    house.get("alice", "/usergroups").is(403);
    let found = house.get("alice", "/usergroups/search?groupname=ev").is(200);
    assert_eq!(
        found.json(),
        json!([{"id": id, "group_name": "devs", "group_type": 2}])
    );
    house.put("admin", &path, json!({"group_name": "ops"})).is(200);
    assert_eq!(
        house.get("admin", "/usergroups?group_name=op").each("group_name"),
        ["ops"]
    );
    // A role of the group is one of its members.
    let team = house.project("team", false);
    let member = json!({"role_id": 2, "member_group": {"id": id}});
    house.post("admin", "/projects/team/members", member).is(201);
    house.get("alice", "/projects/team").is(403);
    futures_executor::block_on(house.tenants.accounts.set_groups(alice, &[id])).unwrap();
    let seen = house.get("alice", "/projects/team").is(200).json();
    assert_eq!(
        (&seen["project_id"], &seen["current_user_role_id"]),
        (&json!(team), &json!(2))
    );
    house.delete("admin", &path).is(200);
    house.get("admin", &path).is(404);
    house.delete("admin", &path).is(404);
    house.get("alice", "/projects/team").is(403);
}
