//! What holds for every operation.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_executor::block_on;
use http::Request;
use http_body_util::{BodyExt, Full};
use registry_harbor::Api;
use serde_json::json;

use super::house::{House, NOBODY, basic};

#[test]
fn it_answers_below_api_and_nowhere_else() {
    for path in ["/api", "/api/", "/api/v2.0/ping", "/api/version"] {
        assert!(Api::answers(path), "{path}");
    }
    for path in ["/", "/v2/", "/apish", "/service/token", ""] {
        assert!(!Api::answers(path), "{path}");
    }
}

#[test]
fn ping_and_health_take_no_credentials_and_look_at_none() {
    let house = House::new();
    let ping = house.get("admin:wrong", "/ping").is(200);
    assert_eq!(ping.text, "Pong");
    assert_eq!(house.get(NOBODY, "/health").json()["status"], "healthy");
    house.doctor.0.store(true, Ordering::SeqCst);
    let health = house.get("admin:wrong", "/health").is(200).json();
    assert_eq!(health["status"], "unhealthy");
    assert_eq!(
        health["components"],
        json!([{"name": "core", "status": "healthy"}, {"name": "storage", "status": "unhealthy"}])
    );
}

#[test]
fn strangers_learn_how_to_log_in_and_nothing_more() {
    let house = House::new();
    let told = house.get(NOBODY, "/systeminfo").is(200).json();
    let keys: Vec<&String> = told.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "auth_mode",
            "banner_message",
            "primary_auth_mode",
            "self_registration"
        ]
    );
    house.user("alice");
    let told = house.get("alice", "/systeminfo").is(200).json();
    assert_eq!(told["harbor_version"], "v2.16.0-test");
    assert_eq!(told["registry_url"], "registry.test");
    assert_eq!(told["external_url"], "http://registry.test");
    assert_eq!(told["project_creation_restriction"], "everyone");
    house.get("alice:wrong", "/systeminfo").is(401);
}

#[test]
fn a_refusal_has_harbors_code_and_names_what_is_wrong() {
    let house = House::new();
    let code = |reply: super::house::Reply| reply.refusal().0;
    assert_eq!(code(house.get(NOBODY, "/nowhere").is(404)), "NOT_FOUND");
    let wrong = house.delete(NOBODY, "/ping").is(405);
    assert_eq!(wrong.header("allow"), "GET");
    assert_eq!(code(wrong), "METHOD_NOT_ALLOWED");
    let stranger = house.get(NOBODY, "/users").is(401);
    assert!(stranger.header("www-authenticate").starts_with("Basic "));
    assert_eq!(code(stranger), "UNAUTHORIZED");
    let (code, message) = house.get("admin", "/users/abc").is(400).refusal();
    assert_eq!(code, "BAD_REQUEST");
    assert!(
        message.contains("user_id") && message.contains("abc"),
        "{message}"
    );
    let (code, message) = house.get("admin", "/users/77").is(404).refusal();
    assert_eq!(code, "NOT_FOUND");
    assert!(message.contains("77"), "{message}");
}

#[test]
fn an_unknown_name_and_a_wrong_password_are_refused_alike() {
    let house = House::new();
    let of = |who: &str| house.get(who, "/users/current").is(401).refusal();
    assert_eq!(of("admin:Wrong12345"), of("nobody:Wrong12345"));
}

#[test]
fn the_id_of_a_request_comes_back_if_it_is_plain() {
    let house = House::new();
    let id = |given: &str| {
        let mut request = house.request(NOBODY, "GET", "/ping", None);
        request
            .headers_mut()
            .insert("x-request-id", given.parse().unwrap());
        house.send(request).header("x-request-id").to_owned()
    };
    assert_eq!(id("abc-1"), "abc-1");
    for odd in ["", "a b", &"x".repeat(129)] {
        assert_eq!(id(odd).len(), 32, "{odd}");
    }
}

#[test]
fn a_body_is_json_of_bounded_size_and_a_refusal_says_where_it_is_not() {
    let house = House::new();
    let send = |content_type: &str, body: &str| {
        let mut request = house.request("admin", "POST", "/users", Some(&json!({})));
        request
            .headers_mut()
            .insert("content-type", content_type.parse().unwrap());
        *request.body_mut() = Full::new(Bytes::from(body.to_owned()));
        house.send(request)
    };
    send("application/x-www-form-urlencoded", "username=a").is(415);
    send("text/plain", "{}").is(415);
    let (_, message) = send("application/json; charset=utf-8", "{\n  \"username\": }")
        .is(400)
        .refusal();
    assert!(message.contains("line 2, column 15"), "{message}");
    let (_, message) = send("application/json", r#"{"username":"a","password":4711}"#)
        .is(400)
        .refusal();
    assert!(
        message.contains("password") && !message.contains("4711"),
        "{message}"
    );
    let (_, message) = send("application/json", r#"{"username":"a"} {}"#)
        .is(400)
        .refusal();
    assert!(message.contains("goes on"), "{message}");
    send("application/json", "").is(400);
    send("application/json", "[[[[").is(400);
    send("application/json", &"[".repeat(100_000)).is(400);
    send("application/json", &format!("\"{}\"", "x".repeat(1 << 20))).is(413);
    // Whoever may not is told so before any of it is read.
    house.user("alice");
    let mut request = house.request("alice", "POST", "/users", Some(&json!({})));
    *request.body_mut() = Full::new(Bytes::from("x".repeat(2 << 20)));
    house.send(request).is(403);
}

#[test]
fn a_foreign_page_changes_nothing_with_the_password_that_a_browser_remembers() {
    let house = House::new();
    let from = |origin: &str, method: &str| {
        let mut request = house.request(
            "admin",
            method,
            "/users/2/sysadmin",
            Some(&json!({"sysadmin_flag": true})),
        );
        if method == "GET" {
            *request.uri_mut() = "/api/v2.0/users/2".parse().unwrap();
        }
        request.headers_mut().insert("origin", origin.parse().unwrap());
        house.send(request).status
    };
    house.user("alice");
    for foreign in [
        "https://evil.test",
        "null",
        "http://registry.test:8080",
        "https://registry.test",
    ] {
        assert_eq!(from(foreign, "PUT"), 403, "{foreign}");
        assert_eq!(from(foreign, "GET"), 200, "{foreign}");
    }
    assert_eq!(house.get("admin", "/users/2").json()["sysadmin_flag"], false);
    assert_eq!(from("http://registry.test", "PUT"), 200);
}

#[test]
fn a_token_for_repositories_opens_no_management() {
    let house = House::new();
    for scope in ["&scope=registry:catalog:*", "&scope=repository:team/app:pull", ""] {
        let uri = format!("/service/token?service=berth{scope}");
        let request = Request::builder()
            .uri(&uri)
            .header("host", "registry.test")
            .header("authorization", basic("admin"));
        let response = block_on(
            house
                .entered
                .handle(request.body(Full::new(Bytes::new())).unwrap()),
        );
        let status = response.status();
        let body = block_on(response.into_body().collect()).unwrap().to_bytes();
        assert_eq!(status, 200, "{body:?}");
        let token = serde_json::from_slice::<serde_json::Value>(&body).unwrap()["token"]
            .as_str()
            .unwrap()
            .to_owned();
        for path in ["/users", "/users/current", "/projects", "/systeminfo"] {
            let mut request = house.request(NOBODY, "GET", path, None);
            request
                .headers_mut()
                .insert("authorization", format!("Bearer {token}").parse().unwrap());
            let (code, message) = house.send(request).is(401).refusal();
            assert_eq!(code, "UNAUTHORIZED");
            assert!(message.contains("opens no management"), "{message}");
        }
    }
}

#[test]
fn credentials_of_an_unknown_kind_are_not_taken_for_none() {
    let house = House::new();
    for value in ["Digest username=admin", "Bearer nonsense", "Basic *", "x"] {
        let mut request = house.request(NOBODY, "GET", "/projects", None);
        request
            .headers_mut()
            .insert("authorization", value.parse().unwrap());
        house.send(request).is(401);
    }
}

#[test]
fn who_tries_too_often_is_told_when_to_try_again() {
    let house = House::new();
    let limited = (0..200)
        .map(|_| house.get("admin:Wrong12345", "/users"))
        .find(|reply| reply.status != 401);
    let limited = limited.expect("a limit").is(429);
    assert_eq!(limited.refusal().0, "TOO_MANY_REQUEST");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);
}

#[test]
fn it_is_a_tower_service() {
    use tower_service::Service;
    let house = House::new();
    let mut api = house.api.clone();
    let request = house.request(NOBODY, "GET", "/ping", None);
    let response = block_on(api.call(request)).unwrap();
    assert_eq!(response.status(), 200);
}

/// What the house looks for in each reply, with a secret of every kind to be found.
#[test]
fn no_reply_has_a_secret_but_the_one_that_makes_it() {
    let house = House::new();
    house.project("team", false);
    let pull = json!({"kind": "project", "namespace": "team", "access": [{"resource": "repository", "action": "pull"}]});
    let robot = json!({"name": "ci", "level": "system", "duration": -1, "permissions": [pull]});
    let made = house.post("admin", "/robots", robot);
    assert!(made.text.contains("berth_"));
    let token = house.post("admin", "/users/current/tokens", json!({"name": "laptop"}));
    assert!(token.text.contains("berth_"));
    let paths = [
        "/users",
        "/users/1",
        "/users/current",
        "/robots",
        &format!("/robots/{}", made.id()),
        "/users/current/tokens",
        &format!("/users/1/tokens/{}", token.id()),
        "/projects",
        "/projects/team",
        "/projects/team/members",
        "/systeminfo",
    ];
    for path in paths {
        let shown = house.get("admin", path).is(200);
        assert!(shown.text.len() > 2, "{path}");
    }
    let twice = json!({"username": "admin", "password": super::house::PASSWORD});
    house.post("admin", "/users", twice).is(409);
}
