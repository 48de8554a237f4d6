//! How operators talk to a server: the socket, HTTP, the token, and who is refused.

mod support;

use std::convert::Infallible;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use bytes::Bytes;
use http::{Method, StatusCode};
use registry_core::http::RemoteAddr;
use server_hyper::control::{Client, ClientError, Endpoint, Request, SOCKET, TOKEN, Token, Version};
use server_hyper::metrics::Metrics;
use server_hyper::{Server, Stores, admin::Admin};
use tower_service::Service as _;

use support::binary::{Serving, berth, finish, run};
use support::{http1, loopback, read, request, soon, start};

const ASK: &str = r#"{"version":{}}"#;

async fn post(address: SocketAddr, authorization: Option<&str>, body: &str) -> (StatusCode, String) {
    let mut request = request(Method::POST, "/control", body.to_owned());
    if let Some(value) = authorization {
        let value = value.parse().unwrap();
        request.headers_mut().insert("authorization", value);
    }
    let mut client = http1(address).await;
    read(soon(client.send_request(request)).await.unwrap()).await
}

fn token(data: &Path) -> String {
    fs::read_to_string(data.join(TOKEN)).unwrap().trim().to_owned()
}

#[tokio::test]
async fn whoever_shows_the_token_is_answered_and_the_token_is_its_owners_alone_and_never_logged() {
    let data = tempfile::tempdir().unwrap();
    let server = Serving::start(data.path(), &["--log-level", "trace"]);
    let file = fs::metadata(data.path().join(TOKEN)).unwrap();
    assert_eq!(file.mode() & 0o777, 0o600);
    let token = token(data.path());
    assert!(token.len() >= 64);
    let (status, answer) = post(server.admin, Some(&format!("Bearer {token}")), ASK).await;
    assert_eq!(status, 200);
    let line: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(line["done"]["name"], "berth");
    assert_eq!(line["done"]["version"], env!("CARGO_PKG_VERSION"));
    let log = server.end();
    assert!(!log.contains(&token[..16]), "{log}");
    // A server that is started again keeps its token.
    drop(Serving::start(data.path(), &[]));
    assert_eq!(token, self::token(data.path()));
}

#[tokio::test]
async fn without_the_right_token_nothing_is_answered_and_nothing_told() {
    let data = tempfile::tempdir().unwrap();
    let server = Serving::start(data.path(), &[]);
    let token = token(data.path());
    let basic = format!("Basic {token}");
    let short = format!("Bearer {}", &token[..63]);
    let wrong = format!("Bearer {}", "0".repeat(token.len()));
    for shown in [
        None,
        Some(&*basic),
        Some(&*short),
        Some(&*wrong),
        Some("Bearer "),
        Some("Bearer"),
    ] {
        // What cannot be a request is refused like what can: who may not ask learns nothing.
        for body in [ASK, "", r#"{"no such":{}}"#] {
            let (status, said) = post(server.admin, shown, body).await;
            assert_eq!(status, 401, "{shown:?}");
            assert_eq!(said, "the right token is needed, as Authorization: Bearer\n");
        }
    }
    let right = format!("bearer {token}");
    for (body, status) in [(ASK, 200), ("", 400), (r#"{"no such":{}}"#, 400), ("{}", 400)] {
        assert_eq!(post(server.admin, Some(&right), body).await.0, status, "{body}");
    }
    let large = format!("{ASK}{}", " ".repeat(100_000));
    assert_eq!(post(server.admin, Some(&right), &large).await.0, 400);
}

#[test]
fn the_socket_answers_line_by_line_and_names_what_it_does_not_know() {
    let data = tempfile::tempdir().unwrap();
    let _server = Serving::start(data.path(), &["--admin-listen", "127.0.0.1:0"]);
    let ask = |line: &str| {
        let mut stream = UnixStream::connect(data.path().join(SOCKET)).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str::<serde_json::Value>(&answer).unwrap()
    };
    assert_eq!(ask(ASK)["done"]["name"], "berth");
    for unknown in ["", "{}", "nonsense", r#"{"version":{"more":1}}"#] {
        assert!(
            ask(unknown)["error"]
                .as_str()
                .unwrap()
                .contains("none that this server knows"),
            "{unknown}"
        );
    }
}

/// Asks an endpoint as a client at this address.
async fn asked_from(admin: &mut Admin, remote: [u8; 4], token: &str) -> StatusCode {
    let mut asked = request(Method::POST, "/control", ASK).map(|body: http_body_util::Full<Bytes>| body);
    let value = format!("Bearer {token}").parse().unwrap();
    asked.headers_mut().insert("authorization", value);
    asked
        .extensions_mut()
        .insert(RemoteAddr(Ipv4Addr::from(remote).into()));
    let answer: Result<_, Infallible> = admin.call(asked).await;
    answer.unwrap().status()
}

#[tokio::test]
async fn from_another_machine_it_answers_over_tls_alone_even_with_the_token() {
    let stores = Stores::memory(Default::default());
    let server = Server::builder()
        .service(support::Answers(async |_| support::whole("")))
        .listen(loopback())
        .bind()
        .await
        .unwrap();
    let text = "x".repeat(64);
    for (tls, expected) in [(false, 403), (true, 200)] {
        let endpoint = Endpoint::new(Token::parse(&text).unwrap(), stores.clone(), tls);
        let mut admin = Admin::new(Metrics::new(), server.handle(), stores.clone()).control(endpoint);
        assert_eq!(asked_from(&mut admin, [192, 0, 2, 1], &text).await, expected);
        assert_eq!(asked_from(&mut admin, [127, 0, 0, 1], &text).await, 200);
        assert_eq!(
            asked_from(&mut admin, [192, 0, 2, 1], "wrong").await,
            if tls { 401 } else { 403 }
        );
    }
}

#[tokio::test]
async fn a_client_asks_over_https_whom_its_authority_vouches_for() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let data = path("data");
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let server = Serving::start(
        &data,
        &[
            "--tls-certificate",
            &text("cert.pem"),
            "--tls-key",
            &text("key.pem"),
            "--set",
            "admin.tls=true",
        ],
    );
    let url = format!("https://{}", server.admin);
    let token = Token::read(&data.join(TOKEN)).unwrap();
    let authority = path("cert.pem");
    tokio::task::spawn_blocking(move || {
        let client = Client::at(&url, token.clone(), Some(&authority)).unwrap();
        let version: Version = client.ask(&Request::Version {}, &mut |_| {}).unwrap();
        assert_eq!(version.name, "berth");
        let stranger = Client::at(&url, token, None).unwrap();
        let refused = stranger.ask::<Version>(&Request::Version {}, &mut |_| {});
        assert!(matches!(refused, Err(ClientError::Unreachable(_))), "{refused:?}");
    })
    .await
    .unwrap();
}

#[test]
fn a_client_sends_its_token_to_no_other_machine_in_the_clear() {
    let token = Token::parse(&"x".repeat(64)).unwrap();
    for url in [
        "http://192.0.2.1:5001",
        "http://registry.test",
        "http://localhost.test:1",
    ] {
        let refused = Client::at(url, token.clone(), None).unwrap_err();
        assert!(refused.to_string().contains("only over https"), "{refused}");
    }
    for url in ["127.0.0.1:5001", "nonsense", "ftp://127.0.0.1/", ""] {
        assert!(
            matches!(Client::at(url, token.clone(), None), Err(ClientError::Address(_))),
            "{url}"
        );
    }
    for url in [
        "http://127.0.0.1:5001",
        "http://[::1]:5001/",
        "http://localhost:5001",
    ] {
        assert!(Client::at(url, token.clone(), None).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_result() {
    let server = start(
        Server::builder()
            .service(support::Answers(async |_| {
                support::whole("{\"progress\":1}\n{\"found\":2}\n")
            }))
            .listen(loopback()),
    )
    .await;
    let url = format!("http://{}", server.address);
    let (told, result) = tokio::task::spawn_blocking(move || {
        let client = Client::at(&url, Token::parse(&"x".repeat(64)).unwrap(), None).unwrap();
        let mut told = 0;
        let result = client.ask::<Version>(&Request::Version {}, &mut |_| told += 1);
        (told, result)
    })
    .await
    .unwrap();
    assert_eq!(told, 2);
    assert!(matches!(result, Err(ClientError::Unreachable(_))), "{result:?}");
}

#[test]
fn commands_take_the_token_from_a_file_or_a_variable_and_never_from_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    let server = Serving::start(data.path(), &[]);
    let url = format!("http://{}", server.admin);
    let file = data.path().join(TOKEN);
    let by_file = run(&[
        "gc",
        "runs",
        "--json",
        "--server",
        &url,
        "--token-file",
        file.to_str().unwrap(),
    ])
    .well();
    assert_eq!(by_file.out, "[]\n");
    let ask = |token: &str| {
        let mut command = berth(&["gc", "runs", "--json", "--server", &url]);
        command.env("BERTH_CONTROL_TOKEN", token);
        finish(command)
    };
    assert_eq!(ask(&token(data.path())).well().out, "[]\n");
    let wrong = ask(&"0".repeat(64));
    assert_eq!((wrong.code, wrong.out.as_str()), (1, ""));
    assert!(
        wrong.err.contains("401") && wrong.err.contains("token"),
        "{}",
        wrong.err
    );
    let none = run(&["gc", "runs", "--server", &url]);
    assert_eq!(none.code, 1);
    assert!(
        none.err.contains("--token-file") && none.err.contains("BERTH_CONTROL_TOKEN"),
        "{}",
        none.err
    );
    // The variable is no key of the configuration.
    let mut check = berth(&["check", "--allow-anonymous", "--memory"]);
    check.env("BERTH_CONTROL_TOKEN", "x");
    finish(check).well();
    // Where no server is, and no registry either.
    drop(server);
    let gone = ask(&token(data.path()));
    assert!(
        gone.code == 1 && gone.err.contains("cannot be asked"),
        "{}",
        gone.err
    );
    let nowhere = run(&["gc", "--data", "/nowhere"]);
    assert!(
        nowhere.code == 1 && nowhere.err.contains("holds no registry"),
        "{}",
        nowhere.err
    );
}

/// The new key signs once every node knows it; one that is replaced at once is gone.
#[test]
fn keys_are_rotated_over_the_socket_and_in_the_files_of_a_stopped_registry() {
    let data = tempfile::tempdir().unwrap();
    let at = ["--data", data.path().to_str().unwrap(), "--json"];
    let rotate = |more: &[&str]| {
        let mut arguments = vec!["keys", "rotate"];
        arguments.extend(at);
        arguments.extend(more);
        run(&arguments).well().json().pop().unwrap()["done"].clone()
    };
    let server = Serving::start(data.path(), &[]);
    let first = rotate(&[]);
    assert_eq!(first["before"].as_array().unwrap().len(), 0);
    let second = rotate(&[]);
    assert_eq!(second["before"][0][0], first["key"]);
    assert!(second["before"][0][1].as_u64() > second["signs_from"].as_u64());
    server.end();
    let third = rotate(&["--immediate"]);
    assert_eq!(third["before"].as_array().unwrap().len(), 2);
    assert_eq!(third["before"][0][1], serde_json::Value::Null);
}

#[test]
fn a_sealing_key_that_is_none_is_named_and_never_shown() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("sealing.key");
    fs::write(&file, "0123456789abcdef not one").unwrap();
    let set = format!("auth.sealing_key={}", file.display());
    let said = run(&[
        "serve",
        "--allow-anonymous",
        "--memory",
        "--listen",
        "127.0.0.1:0",
        "--set",
        &set,
    ]);
    assert_ne!(said.code, 0);
    let error = said.err;
    assert!(
        error.contains("auth.sealing_key") && error.contains("sealing.key"),
        "{error}"
    );
    assert!(!error.contains("0123456789abcdef"), "{error}");
}
