//! What clients cannot do to a server.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use server_hyper::metrics::Metrics;
use server_hyper::{Limits, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use support::{Answers, hello, loopback, soon, start, whole};

fn short() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(100),
        body_idle_timeout: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// Sends the beginning of a request and then nothing. What the server says before it hangs up.
async fn stall(beginning: &[u8]) -> Vec<u8> {
    let server = start(hello().limits(short())).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(beginning).await.unwrap();
    let mut said = Vec::new();
    // A reset is an end too.
    let _ended = soon(stream.read_to_end(&mut said)).await;
    said
}

#[tokio::test]
async fn a_client_that_says_nothing_is_hung_up_on() {
    assert_eq!(stall(b"").await, b"");
}

#[tokio::test]
async fn a_client_that_never_ends_its_request_head_is_hung_up_on() {
    let said = stall(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: l").await;
    assert!(!said.starts_with(b"HTTP/1.1 200"), "{said:?}");
}

#[tokio::test]
async fn a_client_that_stops_within_the_http2_preface_is_hung_up_on() {
    let said = stall(b"PRI * HTTP/2.0\r\n").await;
    assert!(!said.starts_with(b"HTTP/1.1 200"), "{said:?}");
}

#[tokio::test]
async fn a_client_that_goes_idle_between_requests_is_hung_up_on() {
    let said = stall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(said.ends_with(b"hello"), "{said:?}");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_hung_up_on() {
    /// Tells when the response that holds it is gone.
    struct Told(mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (tell, mut gone) = mpsc::unbounded_channel();
    let service = Answers(move |_| {
        use http_body_util::{BodyExt as _, StreamBody};
        let told = Told(tell.clone());
        let piece = Bytes::from(vec![0; 1 << 20]);
        let endless = futures_util::stream::unfold(told, move |told| {
            let frame = http_body::Frame::data(piece.clone());
            async move { Some((Ok::<_, std::io::Error>(frame), told)) }
        });
        async move { http::Response::new(StreamBody::new(endless).boxed_unsync()) }
    });
    let server = start(
        Server::builder()
            .service(service)
            .listen(loopback())
            .limits(short()),
    )
    .await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    soon(gone.recv()).await.expect("the response was given up");
}

#[tokio::test]
async fn a_request_head_beyond_the_limit_is_refused() {
    let limits = Limits {
        header_bytes: 8192,
        ..Limits::default()
    };
    let server = start(hello().limits(limits)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n",
        "y".repeat(16_384)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    soon(stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
}

#[tokio::test]
async fn no_more_connections_are_open_than_allowed_and_the_others_wait() {
    const ALLOWED: usize = 2;
    let metrics = Metrics::new();
    let count = metrics.clone();
    let open = move || -> usize {
        let text = count.text();
        let line = text
            .lines()
            .find(|line| line.starts_with("berth_connections "))
            .unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let service = {
        let seen = Arc::clone(&seen);
        Answers(move |_| {
            seen.lock().unwrap().push(open());
            async { whole("hello") }
        })
    };
    let limits = Limits {
        connections: ALLOWED,
        ..Limits::default()
    };
    let builder = Server::builder()
        .service(service)
        .listen(loopback())
        .limits(limits);
    let server = start(builder.metrics(metrics)).await;

    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(TcpStream::connect(server.address).await.unwrap());
    }
    for stream in &mut streams {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
    }
    for mut stream in streams {
        let mut said = Vec::new();
        soon(stream.read_to_end(&mut said)).await.unwrap();
        assert!(said.ends_with(b"hello"), "each is served in the end: {said:?}");
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 8);
    assert!(seen.iter().all(|open| *open <= ALLOWED), "{seen:?}");
}

#[tokio::test]
async fn whoever_sends_too_much_is_told_so_and_not_just_cut_off() {
    const LENGTH: usize = 8 << 20;
    let server = server_hyper::TestServer::in_memory().await.unwrap();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        let head = format!("PUT /v2/a/manifests/v1 HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // All of it, before the first look at the answer, which was there long before.
        stream.write_all(&vec![b' '; LENGTH]).await.unwrap();
        let mut said = Vec::new();
        soon(stream.read_to_end(&mut said)).await.unwrap();
        assert!(
            said.starts_with(b"HTTP/1.1 413"),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
}

#[tokio::test]
async fn whoever_is_answered_before_the_end_of_its_request_is_told_that_the_connection_closes() {
    let server = server_hyper::TestServer::in_memory().await.unwrap();
    let head = |rest: &str| format!("PUT /v2/a/manifests/v1 HTTP/1.1\r\nhost: a\r\n{rest}\r\n");
    let answer_to = async |request: String| {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\r\n\r\n") {
            said.push(soon(stream.read_u8()).await.unwrap());
        }
        String::from_utf8(said).unwrap().to_ascii_lowercase()
    };
    // Refused for its announced length alone; none of the body was sent, nor will be.
    let refused = answer_to(head(&format!("content-length: {}\r\n", 8 << 20))).await;
    assert!(refused.starts_with("http/1.1 413"), "{refused}");
    assert!(refused.contains("\r\nconnection: close\r\n"), "{refused}");
    // Refused for what its body says, after all of it.
    let refused = answer_to(head("content-length: 2\r\n") + "{}").await;
    assert!(refused.starts_with("http/1.1 400"), "{refused}");
    assert!(!refused.contains("connection: close"), "{refused}");
}
