//! Which server is asked, and as whom.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use server_hyper::Server;

use crate::house::{GOOD, Registry, line};
use crate::support::binary::{PASSWORD, berth, finish};
use crate::support::{Answers, loopback, start, whole};

#[test]
fn a_password_goes_to_another_machine_only_over_tls() {
    for server in [
        "http://192.0.2.1:5000",
        "http://registry.test",
        "http://localhost.test",
    ] {
        let mut list = berth(&["user", "list", "--server", server]);
        list.env("BERTH_PASSWORD", PASSWORD);
        let said = finish(list);
        assert_eq!(said.code, 1);
        assert!(
            said.err.contains("only over https") && said.err.contains("--insecure-http"),
            "{said:?}"
        );
    }
}

#[test]
fn without_a_password_it_says_where_one_can_come_from() {
    let registry = Registry::start();
    let said = finish(registry.berth(&["user", "list"]));
    assert_eq!(said.code, 1);
    for way in [
        "--password-file",
        "BERTH_PASSWORD",
        "docker",
        "admin",
        &registry.url(),
    ] {
        assert!(said.err.contains(way), "{way} is not in {said:?}");
    }
}

#[test]
fn the_password_is_taken_from_a_file_a_variable_or_what_docker_wrote_down() {
    let registry = Registry::start();
    registry.user("alice");
    let file = registry.file("password", &format!("{PASSWORD}\n"));
    let file = file.to_str().unwrap();
    let who = |command| line(&finish(command).well()).to_owned();
    let show = ["user", "show", "-q"];

    // A file goes before a variable.
    let mut command = registry.berth(&[&show[..], &["--password-file", file]].concat());
    command.env("BERTH_PASSWORD", "Wrong-1234");
    assert_eq!(who(command), "admin");

    let entry = STANDARD.encode(format!("alice:{GOOD}"));
    let host = registry.server.address;
    registry.file(
        "config.json",
        &format!(r#"{{"auths":{{"{host}":{{"auth":"{entry}"}}}}}}"#),
    );
    assert_eq!(who(registry.berth(&show)), "alice");
    // That entry is alice's, and is no password of somebody else.
    let other = finish(registry.berth(&[&show[..], &["--username", "admin"]].concat()));
    assert_eq!(other.code, 1);
    assert!(other.err.contains("no password of admin"), "{other:?}");
    // A variable goes before it.
    let mut command = registry.berth(&show);
    command.env("BERTH_PASSWORD", PASSWORD);
    assert_eq!(who(command), "admin");
}

#[test]
fn a_wrong_password_is_told_by_name_and_never_itself() {
    let registry = Registry::start();
    for (name, password) in [("admin", "Wrong-1234"), ("mallory", "Wrong-1234")] {
        let said = registry.of(name, password, &["project", "list"]);
        assert_eq!(said.code, 1);
        assert!(
            said.err.contains(name) && said.err.contains(&registry.url()),
            "{said:?}"
        );
        assert!(!said.err.contains(password), "{said:?}");
    }
    assert!(!registry.server.end().contains("Wrong-1234"));
}

#[test]
fn the_server_of_a_configuration_file_is_found_by_it() {
    let registry = Registry::start();
    let config = format!(
        "listen = [\"{}\"]\ndata = \"{}\"\n",
        registry.server.address,
        registry.directory.path().join("data").display()
    );
    let config = registry.file("berth.toml", &config);
    let mut show = berth(&["user", "show", "-q", "--config", config.to_str().unwrap()]);
    show.env("BERTH_PASSWORD", PASSWORD);
    assert_eq!(line(&finish(show).well()), "admin");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut list = berth(&["project", "list", "--server", &url]);
    list.env("BERTH_PASSWORD", PASSWORD);
    let said = finish(list);
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains(&url) && said.err.contains("cannot be asked"),
        "{said:?}"
    );
}

/// What a command says to a server that answers everything so.
async fn told(answer: impl Fn() -> crate::support::Answer + Clone + Send + Sync + 'static) -> String {
    let server = start(
        Server::builder()
            .service(Answers(move |_| {
                let answer = answer();
                async move { answer }
            }))
            .listen(loopback()),
    )
    .await;
    let url = format!("http://{}", server.address);
    let said = tokio::task::spawn_blocking(move || {
        let mut list = berth(&["project", "list", "--server", &url]);
        list.env("BERTH_PASSWORD", PASSWORD);
        finish(list)
    });
    let said = said.await.unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    said.err
}

#[tokio::test]
async fn what_answers_something_else_is_not_taken_for_a_registry() {
    for body in ["hello", "{}", "", "null", "<html></html>"] {
        let said = told(move || whole(body)).await;
        assert!(said.contains("something else"), "{body:?}: {said}");
    }
    let said = told(|| {
        let mut answer = whole("<html>bad gateway</html>");
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer
    })
    .await;
    assert!(said.contains("status 502"), "{said}");
}

#[tokio::test]
async fn when_to_come_again_is_told() {
    let said = told(|| {
        let mut answer = whole(r#"{"errors":[{"code":"TOO_MANY_REQUEST","message":"too many"}]}"#);
        *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        answer
    })
    .await;
    assert!(said.contains("too many; try again in 7 s"), "{said}");
}

#[tokio::test]
async fn a_password_follows_no_redirect() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let elsewhere = start(
        Server::builder()
            .service(Answers(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                async { whole("[]") }
            }))
            .listen(loopback()),
    )
    .await;
    let location = format!("http://{}/api/v2.0/projects", elsewhere.address);
    let location = Arc::new(Mutex::new(location));
    let said = told(move || {
        let mut answer = whole("");
        *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        let location = location.lock().unwrap().parse().unwrap();
        answer.headers_mut().insert(header::LOCATION, location);
        answer
    })
    .await;
    assert!(said.contains("status 307"), "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
