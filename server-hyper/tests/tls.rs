//! TLS, both versions of HTTP, and certificates that change.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use registry_auth::{Directory, Entrance, EntranceOptions, StaticPolicy, Verified};
use registry_core::http::Service;
use registry_core::store::Lifetimes;
use registry_core::wrappers::Authorized;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use server_hyper::tls::{Tls, TlsError};
use server_hyper::{Builder, Limits, Server, Stores, TokioRuntime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use support::{Running, get, hello, http1, http1_over, http2_over, loopback, read, soon, start};

/// A directory with a certificate that is its own issuer, and its key.
struct Files {
    directory: tempfile::TempDir,
    issued: CertificateDer<'static>,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let issued = issue(directory.path());
        Files { directory, issued }
    }

    fn tls(&self) -> Result<Arc<Tls>, TlsError> {
        Tls::from_files(self.path("cert.pem"), self.path("key.pem"))
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn renew(&mut self) {
        self.issued = issue(self.directory.path());
    }
}

fn issue(directory: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("cert.pem"), cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

/// Connects as a client that trusts only `issued`, and speaks one of `versions`.
async fn connect(
    address: SocketAddr,
    issued: &CertificateDer<'static>,
    versions: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(issued.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = versions.iter().map(|version| version.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

async fn start_tls(files: &Files) -> (Running, Arc<Tls>) {
    let tls = files.tls().unwrap();
    (start(hello().tls(Arc::clone(&tls))).await, tls)
}

#[tokio::test]
async fn plain_sockets_speak_both_versions_of_http() {
    let server = start(hello()).await;
    let mut one = http1(server.address).await;
    let response = soon(one.send_request(get("/"))).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(read(response).await.1, "hello");

    let mut two = http2_over(TcpStream::connect(server.address).await.unwrap()).await;
    let response = soon(two.send_request(get("http://registry.test/")))
        .await
        .unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(read(response).await.1, "hello");
}

#[tokio::test]
async fn tls_speaks_the_version_that_the_handshake_chose() {
    let files = Files::new();
    let (server, _tls) = start_tls(&files).await;

    let stream = connect(server.address, &files.issued, &[b"h2", b"http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let response = soon(http2_over(stream).await.send_request(get("https://localhost/"))).await;
    assert_eq!(read(response.unwrap()).await.1, "hello");

    for versions in [&[&b"http/1.1"[..]][..], &[]] {
        let stream = connect(server.address, &files.issued, versions).await.unwrap();
        let response = soon(http1_over(stream).await.send_request(get("/"))).await;
        assert_eq!(read(response.unwrap()).await.1, "hello");
    }
}

/// What a server answers to these bytes, to the end of the connection.
async fn said_to(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    soon(stream.read_to_end(&mut said)).await.unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told_to_use_https_and_where() {
    let files = Files::new();
    let (server, _tls) = start_tls(&files).await;
    let long = format!("GET /v2/ HTTP/1.1\r\nhost: a\r\nx-long: {}", "y".repeat(40_000));
    let own = format!("https://{} ", server.address);
    for (request, expected) in [
        (
            "GET /v2/ HTTP/1.1\r\nHost: registry.example:5000\r\n\r\n",
            "https://registry.example:5000 ",
        ),
        (
            "PUT /v2/ HTTP/1.1\r\nhost: [::1]:5000\r\ncontent-length: 3\r\n\r\nabc",
            "https://[::1]:5000 ",
        ),
        // Nothing that a client says gets out of its place.
        ("GET /v2/ HTTP/1.1\r\nhost: a\"}]\r\n\r\n", own.as_str()),
        ("GET /v2/ HTTP/1.0\r\n\r\n", own.as_str()),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", own.as_str()),
        (long.as_str(), "https://a "),
    ] {
        let said = said_to(server.address, request.as_bytes()).await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{said}");
        assert!(head.contains("connection: close"), "{said}");
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{said}"
        );
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(
            message.contains("speaks HTTPS") && message.contains(expected),
            "{message}"
        );
    }
    let said = said_to(server.address, b"HEAD /v2/ HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(
        said.starts_with("HTTP/1.1 400 ") && said.ends_with("\r\n\r\n"),
        "{said}"
    );
    connect(server.address, &files.issued, &[])
        .await
        .expect("TLS is spoken as before");
}

#[tokio::test]
async fn a_client_that_begins_a_plain_request_on_a_tls_port_and_stops_does_not_stay() {
    let files = Files::new();
    let limits = Limits {
        header_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = start(hello().tls(files.tls().unwrap()).limits(limits)).await;
    for beginning in [&b"G"[..], b"GET /v2/ HTTP/1.1\r\nhost: a\r\n", b""] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        // A reset is an end too.
        let _ended = soon(stream.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn tls_on_a_plain_port_is_answered_so_that_clients_know_it_for_http() {
    let server = start(hello()).await;
    // A record that announces a handshake of 512 bytes, and its beginning.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 506]].concat();
    let said = said_to(server.address, &hello).await;
    // These five bytes are what clients written in Go look for in the place of a record.
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    let files = Files::new();
    assert!(connect(server.address, &files.issued, &[]).await.is_err());
    let mut plain = http1(server.address).await;
    assert_eq!(
        read(soon(plain.send_request(get("/"))).await.unwrap()).await.1,
        "hello"
    );
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_go_on() {
    let mut files = Files::new();
    let (server, tls) = start_tls(&files).await;
    let first = files.issued.clone();
    let stream = connect(server.address, &first, &[]).await.unwrap();
    let mut old = http1_over(stream).await;
    assert_eq!(
        read(soon(old.send_request(get("/"))).await.unwrap()).await.1,
        "hello"
    );
    assert!(!tls.reload_if_changed().unwrap(), "nothing has changed");

    files.renew();
    assert!(tls.reload_if_changed().unwrap());
    assert!(
        connect(server.address, &first, &[]).await.is_err(),
        "the first one is gone"
    );
    assert!(connect(server.address, &files.issued, &[]).await.is_ok());
    assert_eq!(
        read(soon(old.send_request(get("/"))).await.unwrap()).await.1,
        "hello"
    );
}

#[tokio::test]
async fn changed_files_are_noticed_without_being_told() {
    let mut files = Files::new();
    let (server, tls) = start_tls(&files).await;
    tokio::spawn(tls.watch(std::time::Duration::from_millis(10)));
    files.renew();
    soon(async { while connect(server.address, &files.issued, &[]).await.is_err() {} }).await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_old_one_in_use() {
    let files = Files::new();
    let (server, tls) = start_tls(&files).await;
    let cases: [(&str, &str, &str); 3] = [
        (
            "cert.pem",
            "",
            "cert.pem: does not hold a certificate in PEM form",
        ),
        (
            "key.pem",
            "nonsense",
            "key.pem: does not hold a private key in PEM form",
        ),
        (
            "cert.pem",
            "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
            "cert.pem: is not PEM",
        ),
    ];
    for (name, content, expected) in cases {
        let good = fs::read(files.path(name)).unwrap();
        fs::write(files.path(name), content).unwrap();
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(connect(server.address, &files.issued, &[]).await.is_ok());
        fs::write(files.path(name), good).unwrap();
    }
    assert!(tls.reload().is_ok());
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_refused_and_both_files_named() {
    let (files, others) = (Files::new(), Files::new());
    fs::copy(others.path("key.pem"), files.path("key.pem")).unwrap();
    let error = files.tls().unwrap_err().to_string();
    assert!(
        error.contains("cert.pem and ") && error.contains("key.pem"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let files = Files::new();
    fs::remove_file(files.path("key.pem")).unwrap();
    let error = files.tls().unwrap_err().to_string();
    assert!(error.contains("key.pem: cannot be read"), "{error}");
}

/// A registry without accounts, which is all that being sent for a token takes.
struct Nobody;

#[async_trait::async_trait]
impl Directory for Nobody {
    async fn verify(&self, _name: &str, _secret: &str) -> registry_core::Result<Option<Verified>> {
        Ok(None)
    }

    async fn subject(&self, _name: &str) -> registry_core::Result<Option<u64>> {
        Ok(None)
    }

    async fn project(&self, _name: &str) -> registry_core::Result<Option<u64>> {
        Ok(None)
    }
}

fn entered() -> Builder {
    let stores = Stores::memory(Lifetimes::default());
    let entrance = Entrance::new(
        Arc::clone(stores.kv()),
        Arc::clone(&stores.keys),
        Arc::new(Nobody),
        Arc::new(StaticPolicy::default()),
        TokioRuntime::shared(),
        EntranceOptions::default(),
    );
    let closed = Authorized::around(stores.registry, StaticPolicy::default());
    let service = Service::new(Arc::new(closed), TokioRuntime::shared());
    Server::builder()
        .service(entrance.in_front_of(service))
        .listen(loopback())
}

#[tokio::test]
async fn clients_are_sent_for_a_token_to_where_they_came() {
    let files = Files::new();
    let encrypted = start(entered().tls(files.tls().unwrap())).await;
    let plain = start(entered()).await;
    let realm = |response: &http::Response<hyper::body::Incoming>| {
        assert_eq!(response.status(), 401);
        response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    let told = |realm: &str| format!("Bearer realm=\"{realm}/service/token\",service=\"berth\"");

    let mut client = http1(plain.address).await;
    let answer = soon(client.send_request(get("/v2/"))).await.unwrap();
    assert_eq!(realm(&answer), told("http://registry.test"));

    let stream = connect(encrypted.address, &files.issued, &[b"http/1.1"])
        .await
        .unwrap();
    let mut client = http1_over(stream).await;
    let answer = soon(client.send_request(get("/v2/"))).await.unwrap();
    assert_eq!(realm(&answer), told("https://registry.test"));

    let stream = connect(encrypted.address, &files.issued, &[b"h2"]).await.unwrap();
    let mut client = http2_over(stream).await;
    let request = http::Request::get("https://registry.test:8443/v2/")
        .body(Default::default())
        .unwrap();
    let answer = soon(client.send_request(request)).await.unwrap();
    assert_eq!(realm(&answer), told("https://registry.test:8443"));

    let token = get("/service/token?service=berth&scope=repository:p/a:pull");
    let (status, reply) = read(
        soon(http1(plain.address).await.send_request(token))
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(status, 200);
    let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply["scope"], "repository:p/a:");
}
