//! The example of a host application with accounts of its own, run.

#[allow(dead_code, reason = "its main listens at a port of its own")]
#[path = "../examples/own_accounts.rs"]
mod own_accounts;
mod support;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use registry_core::Digest;
use registry_core::manifest::OCI_MANIFEST;

use support::{http1, loopback, read, request, soon};

/// Asks as somebody, or as nobody. The status, the challenge if there is one, and the body.
async fn ask(
    at: SocketAddr,
    who: Option<(&str, &str)>,
    method: Method,
    uri: &str,
    body: impl Into<bytes::Bytes>,
) -> (StatusCode, Option<String>, String) {
    let mut request = request(method, uri, body);
    let headers = request.headers_mut();
    headers.insert("content-type", OCI_MANIFEST.parse().unwrap());
    if let Some((name, password)) = who {
        let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        headers.insert("authorization", basic.parse().unwrap());
    }
    let answer = soon(http1(at).await.send_request(request)).await.unwrap();
    let challenge = answer.headers().get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let (status, body) = read(answer).await;
    (status, challenge, body)
}

#[tokio::test]
async fn a_host_applications_own_accounts_push_and_pull_and_nobody_else_does() {
    let server = own_accounts::listen(loopback()).await.unwrap();
    let (at, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(server.serve());
    let (ada, grace) = (Some(("ada", "analytical")), Some(("grace", "compiler")));

    let config = Digest::sha256(b"{}");
    let blob = format!("/v2/ada/app/blobs/uploads/?digest={config}");
    let tag = "/v2/ada/app/manifests/latest";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/x","digest":"{config}","size":2}},"layers":[]}}"#
    );
    assert_eq!(ask(at, ada, Method::POST, &blob, "{}").await.0, 201);
    assert_eq!(ask(at, ada, Method::PUT, tag, manifest.clone()).await.0, 201);
    assert_eq!(ask(at, ada, Method::GET, "/v2/", "").await.0, 200);
    assert_eq!(ask(at, ada, Method::GET, tag, "").await.2, manifest);
    let listed = ask(at, ada, Method::GET, "/v2/_catalog", "").await.2;
    assert!(listed.contains("ada/app"), "{listed}");

    for who in [None, Some(("ada", "compiler")), Some(("nobody", "analytical"))] {
        for (method, uri) in [
            (Method::GET, "/v2/"),
            (Method::GET, tag),
            (Method::PUT, tag),
            (Method::POST, blob.as_str()),
            (Method::GET, "/v2/_catalog"),
        ] {
            let (status, challenge, body) = ask(at, who, method, uri, "").await;
            assert_eq!(status, 401, "{who:?} {uri}");
            assert_eq!(challenge.as_deref(), Some("Basic realm=\"staff\""));
            assert!(
                !body.contains("analytical") && !body.contains("compiler"),
                "{body}"
            );
        }
    }
    // What is another's is not there.
    assert_eq!(ask(at, grace, Method::GET, tag, "").await.0, 404);
    assert_eq!(ask(at, grace, Method::PUT, tag, manifest).await.0, 404);
    let listed = ask(at, grace, Method::GET, "/v2/_catalog", "").await.2;
    assert!(!listed.contains("ada"), "{listed}");

    handle.stop();
    soon(serving).await.unwrap();
}

/// What the documentation promises to an embedder.
#[test]
fn accounts_of_ones_own_take_fewer_than_sixty_lines() {
    let lines = include_str!("../examples/own_accounts.rs").lines().count();
    assert!(lines < 60, "{lines} lines");
}
