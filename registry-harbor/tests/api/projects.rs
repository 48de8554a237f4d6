//! Projects.

use registry_auth::Settings;
use registry_auth::roles::Role;
use serde_json::{Value, json};

use super::house::{House, NOBODY, Reply};

/// Alice manages `team`; `open` is public, and `hidden` nobody's but the administrator's.
fn house() -> (House, u64) {
    let house = House::new();
    let alice = house.user("alice");
    let team = house.project("team", false);
    house.project("open", true);
    house.project("hidden", false);
    house.member(team, alice, Role::ProjectAdmin, None);
    (house, team)
}

/// With the header that says that the path has a name.
fn by_name(house: &House, who: &str, method: &str, path: &str) -> Reply {
    let mut request = house.request(who, method, path, None);
    request
        .headers_mut()
        .insert("x-is-resource-name", "true".parse().unwrap());
    house.send(request)
}

#[test]
fn a_project_is_made_by_any_user_whose_it_is_then() {
    let house = House::new();
    house.user("alice");
    let made = house.post(
        "alice",
        "/projects",
        json!({"project_name": "web", "metadata": {"public": "false"}}),
    );
    assert_eq!(made.header("location"), "/api/v2.0/projects/1");
    let shown = house.get("alice", "/projects/web").is(200).json();
    let expected = json!({
        "project_id": 1, "name": "web", "owner_id": 2, "owner_name": "alice",
        "creation_time": "2027-01-15T08:00:00Z", "update_time": "2027-01-15T08:00:00Z",
        "current_user_role_id": 1, "current_user_role_ids": [1], "repo_count": 0,
        "metadata": {"public": "false"},
    });
    assert_eq!(shown, expected);
    assert_eq!(house.get("alice", "/projects/1").json(), expected);
    house
        .post("alice", "/projects", json!({"project_name": "web"}))
        .is(409);
    for bad in ["", "Web", "a/b", "a b", "..", "a".repeat(300).as_str()] {
        house
            .post("alice", "/projects", json!({"project_name": bad}))
            .is(400);
    }
    house
        .post(NOBODY, "/projects", json!({"project_name": "x"}))
        .is(401);
}

#[test]
fn the_operator_may_leave_making_projects_to_administrators() {
    let house = House::with(Settings {
        users_create_projects: false,
        ..Settings::default()
    });
    house.user("alice");
    house
        .post("alice", "/projects", json!({"project_name": "web"}))
        .is(403);
    house
        .post("admin", "/projects", json!({"project_name": "web"}))
        .is(201);
    let told = house.get("alice", "/systeminfo").json();
    assert_eq!(told["project_creation_restriction"], "adminonly");
    // Whoever may not make one is not told by that whether there is one.
    let asks = |name: &str| {
        house
            .send(house.request("alice", "HEAD", &format!("/projects?project_name={name}"), None))
            .status
    };
    assert_eq!((asks("web"), asks("nothing")), (404, 404));
}

#[test]
fn the_address_has_the_name_if_that_is_wanted() {
    let house = House::new();
    let body = json!({"project_name": "web"});
    let mut request = house.request("admin", "POST", "/projects", Some(&body));
    request
        .headers_mut()
        .insert("x-resource-name-in-location", "true".parse().unwrap());
    assert_eq!(
        house.send(request).is(201).header("location"),
        "/api/v2.0/projects/web"
    );
}

#[test]
fn a_number_is_an_id_unless_it_is_said_to_be_a_name() {
    let (house, team) = house();
    let other = house.project("other", false);
    // A project whose name is the id of another.
    let odd = house.project(&team.to_string(), false);
    let id = |reply: Reply| reply.is(200).json()["project_id"].as_u64().unwrap();
    assert_eq!(id(house.get("admin", &format!("/projects/{team}"))), team);
    assert_eq!(
        id(by_name(&house, "admin", "GET", &format!("/projects/{team}"))),
        odd
    );
    assert_eq!(id(house.get("admin", "/projects/other")), other);
    assert_eq!(id(by_name(&house, "admin", "GET", "/projects/other")), other);
    by_name(&house, "admin", "GET", &format!("/projects/{other}")).is(404);
    house.get("admin", "/projects/77").is(404);
    by_name(&house, "alice", "DELETE", &format!("/projects/{team}")).is(403);
    assert_eq!(id(house.get("alice", &format!("/projects/{team}"))), team);
}

#[test]
fn a_project_that_one_may_not_know_of_is_none() {
    let (house, _) = house();
    let hidden = house.get("admin", "/projects/hidden").json()["project_id"]
        .as_u64()
        .unwrap();
    let bodies = [("PUT", Some(json!({}))), ("GET", None), ("DELETE", None)];
    let below = ["", "/_deletable", "/summary", "/members", "/members/1"];
    for who in ["alice", NOBODY] {
        for (method, body) in &bodies {
            for below in below {
                let ask = |project: &str| {
                    let reply = house.send(house.request(
                        who,
                        method,
                        &format!("/projects/{project}{below}"),
                        body.as_ref(),
                    ));
                    let text = reply
                        .text
                        .replace(&format!("\\\"{project}\\\""), "it")
                        .replace(project, "it");
                    (reply.status, text)
                };
                let (status, told) = ask("hidden");
                assert_eq!((status, told.clone()), ask("absent"), "{method} {below}");
                if status != 405 {
                    assert_eq!(
                        status,
                        if who == NOBODY { 401 } else { 403 },
                        "{method} {below}: {told}"
                    );
                    assert_eq!(ask(&hidden.to_string()), ask("77777"), "{method} {below}");
                }
            }
        }
    }
    house.get("admin", "/projects/absent").is(404);
    house.get("admin", "/projects/absent/members").is(404);
}

#[test]
fn what_is_public_is_seen_by_everybody_and_changed_by_its_own() {
    let (house, _) = house();
    assert_eq!(
        house.get(NOBODY, "/projects/open").is(200).json()["metadata"]["public"],
        "true"
    );
    let summary = house.get(NOBODY, "/projects/open/summary").is(200).json();
    assert_eq!(summary, json!({"repo_count": 0}));
    house.get(NOBODY, "/projects/open/members").is(401);
    house.get("alice", "/projects/open/members").is(403);
    house
        .put(
            "alice",
            "/projects/open",
            json!({"metadata": {"public": "false"}}),
        )
        .is(403);
    house.delete(NOBODY, "/projects/open").is(401);
}

#[test]
fn a_list_has_what_one_may_know_of() {
    let (house, _) = house();
    let names = |who: &str, query: &str| house.get(who, &format!("/projects?{query}")).each("name");
    assert_eq!(names("admin", ""), ["hidden", "open", "team"]);
    assert_eq!(names("alice", ""), ["open", "team"]);
    assert_eq!(names(NOBODY, ""), ["open"]);
    assert_eq!(names("alice", "sort=-name"), ["team", "open"]);
    assert_eq!(names("alice", "public=false"), ["team"]);
    assert_eq!(names("alice", "name=EA"), ["team"]);
    assert_eq!(names("alice", "q=name%3D~hid"), [] as [&str; 0]);
    assert_eq!(names(NOBODY, "q=public%3Dfalse"), [] as [&str; 0]);
    assert_eq!(names(NOBODY, "public=false"), [] as [&str; 0]);
    assert_eq!(names("alice", "owner=admin&page_size=1&page=2"), ["team"]);
    assert_eq!(names("alice", "owner=nobody"), [] as [&str; 0]);
    let page = house.get("alice", "/projects?page_size=1").is(200);
    assert_eq!(page.header("x-total-count"), "2", "the hidden one is not counted");
    assert_eq!(page.each("current_user_role_id"), [Value::Null]);
    assert_eq!(
        house
            .get("alice", "/projects?with_detail=false")
            .each("repo_count"),
        [Value::Null, Value::Null]
    );
    house.get("alice", "/projects?public=maybe").is(400);
}

#[test]
fn who_has_a_role_on_some_repositories_knows_of_the_project() {
    let (house, team) = house();
    let bob = house.user("bob");
    house.get("bob", "/projects/team").is(403);
    house.member(team, bob, Role::Developer, Some("team/app-*"));
    assert_eq!(house.get("bob", "/projects").each("name"), ["open", "team"]);
    let seen = house.get("bob", "/projects/team").is(200).json();
    assert!(
        seen.get("current_user_role_id").is_none(),
        "it is no role in the project"
    );
    let (_, message) = house.get("bob", "/projects/team/members").is(403).refusal();
    assert!(
        message.contains("member") && message.contains("team"),
        "{message}"
    );
}

#[test]
fn whether_there_is_a_project_is_told_to_who_could_find_out() {
    let (house, _) = house();
    let asks = |who: &str, query: &str| {
        house
            .send(house.request(who, "HEAD", &format!("/projects{query}"), None))
            .status
    };
    assert_eq!(asks("alice", "?project_name=team"), 200);
    assert_eq!(asks("alice", "?project_name=hidden"), 200);
    assert_eq!(asks("alice", "?project_name=absent"), 404);
    assert_eq!(asks("alice", ""), 400);
    assert_eq!(asks(NOBODY, "?project_name=open"), 401);
}

#[test]
fn settings_are_texts_and_what_is_not_named_stays() {
    let (house, _) = house();
    let put = |body: Value| house.put("alice", "/projects/team", body).status;
    let metadata = || house.get("alice", "/projects/team").json()["metadata"].clone();
    assert_eq!(
        put(json!({"metadata": {"auto_scan": "true", "severity": "high"}})),
        200
    );
    assert_eq!(
        put(json!({"metadata": {"public": "true", "severity": null}})),
        200
    );
    assert_eq!(
        metadata(),
        json!({"public": "true", "auto_scan": "true", "severity": "high"})
    );
    house.get(NOBODY, "/projects/team").is(200);
    assert_eq!(put(json!({"public": false})), 200);
    assert_eq!(metadata()["public"], "false");
    house.get(NOBODY, "/projects/team").is(401);
    assert_eq!(put(json!({"metadata": {"public": true}})), 400);
    assert_eq!(put(json!({"metadata": {"public": "yes"}})), 400);
    assert_eq!(put(json!({"metadata": {"x": "y".repeat(5000)}})), 400);
    assert_eq!(metadata()["public"], "false");
}

#[test]
fn what_would_protect_nothing_is_not_taken_for_a_setting() {
    let (house, _) = house();
    for key in [
        "prevent_vul",
        "enable_content_trust",
        "enable_content_trust_cosign",
    ] {
        let (_, message) = house
            .put("alice", "/projects/team", json!({"metadata": {key: "true"}}))
            .is(400)
            .refusal();
        assert!(message.contains(key), "{message}");
        house
            .put("alice", "/projects/team", json!({"metadata": {key: "false"}}))
            .is(200);
    }
    house
        .post(
            "admin",
            "/projects",
            json!({"project_name": "x", "storage_limit": 1000}),
        )
        .is(400);
    house
        .post(
            "admin",
            "/projects",
            json!({"project_name": "x", "registry_id": 3}),
        )
        .is(400);
    house
        .post(
            "admin",
            "/projects",
            json!({"project_name": "x", "storage_limit": -1, "registry_id": null}),
        )
        .is(201);
}

#[test]
fn a_project_with_repositories_is_not_deleted() {
    let (house, _) = house();
    house.push("admin", "team/app");
    house.push("admin", "team/web/api");
    house.push("admin", "teammate/app");
    assert_eq!(house.get("alice", "/projects/team").json()["repo_count"], 2);
    assert_eq!(
        house.get("alice", "/projects/team/summary").json()["repo_count"],
        2
    );
    let told = house.get("alice", "/projects/team/_deletable").is(200).json();
    assert_eq!(told["deletable"], false);
    assert!(told["message"].as_str().unwrap().contains("team/app"));
    let (code, _) = house.delete("alice", "/projects/team").is(412).refusal();
    assert_eq!(code, "PRECONDITION");
    assert_eq!(
        house.get("admin", "/projects/hidden/_deletable").json(),
        json!({"deletable": true})
    );
    house.delete("admin", "/projects/hidden").is(200);
    house.get("admin", "/projects/hidden").is(404);
    house.delete("admin", "/projects/hidden").is(404);
}

#[test]
fn a_summary_counts_members_for_who_may_list_them() {
    let (house, team) = house();
    let bob = house.user("bob");
    house.member(team, bob, Role::LimitedGuest, None);
    let told = house.get("alice", "/projects/team/summary").is(200).json();
    assert_eq!(
        (&told["project_admin_count"], &told["limited_guest_count"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        house.get("bob", "/projects/team/summary").is(200).json(),
        json!({"repo_count": 0})
    );
}
