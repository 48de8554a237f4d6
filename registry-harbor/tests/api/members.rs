//! Members.

use registry_auth::roles::Role;
use serde_json::json;

use super::house::House;

/// Alice manages `team`, Bob `other`.
fn house() -> (House, u64, u64) {
    let house = House::new();
    let (alice, bob) = (house.user("alice"), house.user("bob"));
    let (team, other) = (house.project("team", false), house.project("other", false));
    house.member(team, alice, Role::ProjectAdmin, None);
    let theirs = house.member(other, bob, Role::ProjectAdmin, None);
    (house, team, theirs)
}

#[test]
fn members_are_added_shown_changed_and_removed() {
    let (house, team, _) = house();
    let carol = house.user("carol");
    let made = house.post(
        "alice",
        "/projects/team/members",
        json!({"role_id": 2, "member_user": {"username": "carol"}}),
    );
    let id = made.id();
    assert_eq!(
        made.header("location"),
        format!("/api/v2.0/projects/team/members/{id}")
    );
    let path = format!("/projects/{team}/members/{id}");
    let expected = json!({
        "id": id, "project_id": team, "entity_name": "carol", "role_name": "developer", "role_id": 2,
        "entity_id": carol, "entity_type": "u",
    });
    assert_eq!(house.get("alice", &path).is(200).json(), expected);
    house
        .post(
            "alice",
            "/projects/team/members",
            json!({"role_id": 3, "member_user": {"user_id": carol}}),
        )
        .is(409);
    house.put("alice", &path, json!({"role_id": 4})).is(200);
    assert_eq!(house.get("alice", &path).json()["role_name"], "maintainer");
    let found = house
        .get("alice", "/projects/team/members?entityname=CAR")
        .is(200);
    assert_eq!(
        (found.each("id"), found.header("x-total-count")),
        (vec![json!(id)], "1")
    );
    assert_eq!(
        house.get("alice", "/projects/team/members").each("entity_name"),
        ["admin", "alice", "carol"]
    );
    let page = house
        .get("alice", "/projects/team/members?page=2&page_size=2")
        .is(200);
    assert_eq!(
        (page.each("entity_name"), page.header("x-total-count")),
        (vec![json!("carol")], "3")
    );
    // A maintainer sees the others and changes nothing.
    house.get("carol", "/projects/team/members").is(200);
    house.put("carol", &path, json!({"role_id": 1})).is(403);
    house.delete("carol", &path).is(403);
    house.delete("alice", &path).is(200);
    house.delete("alice", &path).is(404);
    house.get("carol", "/projects/team").is(403);
}

#[test]
fn what_is_no_member_is_refused() {
    let (house, team, _) = house();
    let add = |body: serde_json::Value| {
        house
            .post("alice", &format!("/projects/{team}/members"), body)
            .status
    };
    assert_eq!(add(json!({"role_id": 0, "member_user": {"user_id": 1}})), 400);
    assert_eq!(add(json!({"role_id": 6, "member_user": {"user_id": 1}})), 400);
    assert_eq!(add(json!({"role_id": 300, "member_user": {"user_id": 1}})), 400);
    assert_eq!(add(json!({"member_user": {"user_id": 1}})), 400);
    assert_eq!(add(json!({"role_id": 2})), 400);
    assert_eq!(add(json!({"role_id": 2, "member_user": {}})), 400);
    assert_eq!(
        add(json!({"role_id": 2, "member_user": {"user_id": 1}, "member_group": {"id": 1}})),
        400
    );
    assert_eq!(add(json!({"role_id": 2, "member_user": {"user_id": 77}})), 404);
    assert_eq!(
        add(json!({"role_id": 2, "member_user": {"username": "nobody"}})),
        404
    );
    assert_eq!(add(json!({"role_id": 2, "member_group": {"id": 77}})), 404);
    assert_eq!(
        add(json!({"role_id": 2, "member_group": {"group_name": "nobody"}})),
        404
    );
}

/// An id of one project under the path of another opens nothing.
#[test]
fn a_member_of_another_project_is_none_of_this() {
    let (house, _, theirs) = house();
    let path = format!("/projects/team/members/{theirs}");
    house.get("alice", &path).is(404);
    house.put("alice", &path, json!({"role_id": 5})).is(404);
    house.delete("alice", &path).is(404);
    house.get("admin", &path).is(404);
    let kept = house
        .get("bob", &format!("/projects/other/members/{theirs}"))
        .is(200)
        .json();
    assert_eq!(kept["role_id"], 1);
}

#[test]
fn a_role_can_be_for_a_pattern_of_repositories() {
    let (house, _, _) = house();
    let carol = house.user("carol");
    let add = |body: serde_json::Value| house.post("alice", "/projects/team/members", body);
    let member = |pattern: &str| json!({"role_id": 2, "member_user": {"user_id": carol}, "pattern": pattern});
    let id = add(member("team/app-*")).id();
    let path = format!("/projects/team/members/{id}");
    assert_eq!(house.get("alice", &path).json()["pattern"], "team/app-*");
    // Another pattern is another member, and so is all of the project.
    add(member("team/app-*")).is(409);
    add(member("team/web")).is(201);
    for bad in ["other/*", "*", "team*", "te*am", "/", "team/APP"] {
        let (_, message) = add(member(bad)).is(400).refusal();
        assert!(message.contains(bad), "{message}");
    }
    house
        .put("alice", &path, json!({"role_id": 3, "pattern": "team/app-*"}))
        .is(200);
    house
        .put("alice", &path, json!({"role_id": 3, "pattern": "team/*"}))
        .is(400);
    assert_eq!(house.get("alice", &path).json()["role_name"], "guest");
    add(json!({"role_id": 3, "member_user": {"user_id": carol}, "pattern": null})).is(201);
}

#[test]
fn nobody_gives_a_role_that_may_more_than_they() {
    let (house, team, _) = house();
    let carol = house.user("carol");
    let access = [("member", "create"), ("member", "update"), ("repository", "pull")];
    let access: Vec<_> = access
        .iter()
        .map(|(resource, action)| json!({"resource": resource, "action": action}))
        .collect();
    let robot = json!({"name": "hr", "level": "project", "duration": -1,
        "permissions": [{"kind": "project", "namespace": "team", "access": access}]});
    let secret = house.post("alice", "/robots", robot).is(201).json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let who = format!("robot$team+hr:{secret}");
    let body = json!({"role_id": 1, "member_user": {"user_id": carol}});
    let (_, message) = house.post(&who, "/projects/team/members", body).is(403).refusal();
    assert!(message.contains("does not hold"), "{message}");
    let member = house.member(team, carol, Role::LimitedGuest, None);
    house
        .put(
            &who,
            &format!("/projects/team/members/{member}"),
            json!({"role_id": 1}),
        )
        .is(403);
    assert_eq!(
        house
            .get("alice", &format!("/projects/team/members/{member}"))
            .json()["role_id"],
        5
    );
}
