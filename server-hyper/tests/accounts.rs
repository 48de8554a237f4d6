//! The binary with accounts: who gets in, from the first start on.

mod support;

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode, header};
use serde_json::Value;

use support::binary::{PASSWORD, Serving, berth, finish};
use support::{http1, request, soon};

/// What a request with these credentials is answered with: status, challenge and body.
async fn ask_as(
    address: SocketAddr,
    login: Option<(&str, &str)>,
    path: &str,
) -> (StatusCode, String, String) {
    send_as(address, login, Method::GET, path, "").await
}

async fn send_as(
    address: SocketAddr,
    login: Option<(&str, &str)>,
    method: Method,
    path: &str,
    body: &'static str,
) -> (StatusCode, String, String) {
    let mut request = request(method, path, body);
    if let Some((name, password)) = login {
        let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, basic.parse().unwrap());
    }
    let host = address.to_string().parse().unwrap();
    request.headers_mut().insert(header::HOST, host);
    let mut client = http1(address).await;
    let response = soon(client.send_request(request)).await.unwrap();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE);
    let challenge = challenge.map_or(String::new(), |value| value.to_str().unwrap().to_owned());
    let (status, body) = support::read(response).await;
    (status, challenge, body)
}

#[tokio::test]
async fn it_is_closed_by_default_and_sends_clients_for_a_token_to_where_they_came_from() {
    let data = tempfile::tempdir().unwrap();
    let server = Serving::closed(data.path(), &[]);
    let (status, challenge, _) = ask_as(server.address, None, "/v2/").await;
    assert_eq!(status, 401);
    let expected = format!(
        "Bearer realm=\"http://{}/service/token\",service=\"berth\"",
        server.address
    );
    assert_eq!(challenge, expected);
    for (login, expected) in [
        (("admin", PASSWORD), 200),
        (("admin", "Harbor12345"), 401),
        (("admin", ""), 401),
        (("nobody", PASSWORD), 401),
    ] {
        let (status, ..) = ask_as(server.address, Some(login), "/v2/").await;
        assert_eq!(status, expected, "{login:?}");
    }
    let push = "/v2/team/app/blobs/uploads/";
    let (status, ..) = send_as(server.address, None, Method::POST, push, "").await;
    assert_eq!(status, 401);
    assert!(!server.began.contains(PASSWORD), "{}", server.began);
    let log = server.end();
    assert!(!log.contains(PASSWORD) && !log.contains("Harbor12345"), "{log}");
}

#[tokio::test]
async fn a_push_into_a_project_that_is_missing_says_so_and_what_makes_it() {
    let data = tempfile::tempdir().unwrap();
    let server = Serving::closed(data.path(), &[]);
    let push = "/v2/calico/node/blobs/uploads/";
    let admin = Some(("admin", PASSWORD));
    let (status, _, body) = send_as(server.address, admin, Method::POST, push, "").await;
    assert_eq!(status, 404);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["errors"][0]["code"], "NAME_UNKNOWN");
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("project \"calico\" does not exist"), "{message}");
    assert!(message.contains("berth project create calico"), "{message}");
}

#[tokio::test]
async fn with_auto_create_the_first_push_makes_its_project() {
    let data = tempfile::tempdir().unwrap();
    let server = Serving::closed(data.path(), &["--set", "auth.auto_create_projects=true"]);
    let push = "/v2/calico/node/blobs/uploads/";
    let admin = Some(("admin", PASSWORD));
    let (status, ..) = send_as(server.address, None, Method::POST, push, "").await;
    assert_eq!(status, 401);
    let (status, ..) = send_as(server.address, admin, Method::POST, push, "").await;
    assert_eq!(status, 202);
}

/// What the first start without a given password says.
fn first_start(data: &Path) -> (Serving, Option<String>) {
    let server = Serving::of(berth(&["serve"]), data, &[]);
    let shown = server
        .began
        .lines()
        .skip_while(|line| !line.contains("first start"));
    let password = shown
        .skip(1)
        .find(|line| !line.is_empty())
        .map(|line| line.trim().to_owned());
    (server, password)
}

#[tokio::test]
async fn the_password_that_is_drawn_is_shown_once_and_is_another_each_time() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, password) = first_start(one.path());
    let password = password.expect("shown on the first start");
    let (status, ..) = ask_as(server.address, Some(("admin", &password)), "/v2/").await;
    assert_eq!(status, 200);
    let log = server.end();
    assert_eq!(log.matches(&password).count(), 1, "{log}");

    let (again, shown) = first_start(one.path());
    assert_eq!(shown, None);
    let (status, ..) = ask_as(again.address, Some(("admin", &password)), "/v2/").await;
    assert_eq!(status, 200, "it is still the password");

    let (_elsewhere, differs) = first_start(other.path());
    assert_ne!(differs.expect("shown on the first start"), password);
}

#[test]
fn a_password_that_is_too_weak_starts_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut serve = berth(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data.path().to_str().unwrap(),
    ]);
    serve.env("BERTH_ADMIN_PASSWORD", "secret");
    let said = finish(serve);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("password"), "{}", said.err);
    assert!(!said.err.contains("\"secret\""), "{}", said.err);
}

#[tokio::test]
async fn the_password_may_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let set = format!("auth.admin_password_file={}", file.display());
    let server = Serving::of(
        berth(&["serve", "--set", &set]),
        &directory.path().join("data"),
        &[],
    );
    let (status, ..) = ask_as(server.address, Some(("admin", PASSWORD)), "/v2/").await;
    assert_eq!(status, 200);
    assert!(!server.began.contains("first start"), "{}", server.began);
}

#[tokio::test]
async fn the_users_of_an_htpasswd_file_may_everything_and_others_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("htpasswd");
    // Of "Secret-1", at a low cost.
    std::fs::write(&file, format!("ci:{}\n", bcrypt::hash("Secret-1", 4).unwrap())).unwrap();
    let set = format!("auth.htpasswd={}", file.display());
    let server = Serving::of(
        berth(&["serve", "--set", &set]),
        &directory.path().join("data"),
        &[],
    );
    let push = "/v2/any/app/blobs/uploads/";
    for (login, expected) in [
        (None, 401),
        (Some(("ci", "Secret-1")), 202),
        (Some(("ci", "secret-1")), 401),
        (Some(("admin", "Secret-1")), 401),
    ] {
        let (status, ..) = send_as(server.address, login, Method::POST, push, "").await;
        assert_eq!(status, expected, "{login:?}");
    }
}

#[tokio::test]
async fn without_accounts_everybody_may_and_the_log_warns() {
    let data = tempfile::tempdir().unwrap();
    let server = Serving::start(data.path(), &[]);
    let push = "/v2/any/app/blobs/uploads/";
    let (status, ..) = send_as(server.address, None, Method::POST, push, "").await;
    assert_eq!(status, 202);
    let log = server.end();
    assert!(log.contains("no accounts: everybody"), "{log}");
}
