//! Files as clients get them, whichever way they are sent.

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, Version};
use http_body_util::BodyExt as _;
use registry_core::OpenFile;
use registry_core::http::Body;
use registry_core::store::forget_cached;
use server_hyper::{RequestBody, Server, TokioRuntime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use support::{get, http1, http2_over, loopback, read, soon, start};

/// More than is mapped at once, and no multiple of anything.
const LENGTH: usize = (64 << 20) + (1 << 20) + 777;

/// Answers with the part of a file that the path tells: `/FROM-TO`.
#[derive(Clone)]
struct Parts(Arc<OpenFile>);

impl tower_service::Service<Request<RequestBody>> for Parts {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (from, to) = request.uri().path()[1..].split_once('-').unwrap();
        let part = from.parse().unwrap()..to.parse().unwrap();
        let body = Body::file(Arc::clone(&self.0), part, TokioRuntime::shared());
        ready(Ok(Response::new(body)))
    }
}

fn content() -> Vec<u8> {
    // A prime, so that no two pages are the same.
    (0..LENGTH).map(|at| (at % 65_521) as u8).collect()
}

/// A file with this content that is on its disk, where the disk is a disk.
fn file(content: &[u8]) -> Arc<OpenFile> {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(content).unwrap();
    file.sync_all().unwrap();
    Arc::new(file.into())
}

fn parts() -> Vec<Range<usize>> {
    let window = 64 << 20;
    vec![
        0..LENGTH,
        1..LENGTH - 1,
        0..0,
        5..6,
        LENGTH - 1..LENGTH,
        4097..4097 + (128 << 10),
        4097..4097 + (128 << 10) - 1,
        window - 1..window + (1 << 20),
        777..777 + window + 1,
    ]
}

#[tokio::test]
async fn every_part_of_a_file_arrives_as_it_is_over_every_version() {
    let content = content();
    let service = Parts(file(&content));
    let server = start(Server::builder().service(service).listen(loopback())).await;
    let mut one = http1(server.address).await;
    let mut two = http2_over(TcpStream::connect(server.address).await.unwrap()).await;
    for part in parts() {
        let path = format!("/{}-{}", part.start, part.end);
        let response = soon(one.send_request(get(&path))).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body == content[part.clone()], "{path} over HTTP/1.1");
        let url = format!("http://registry.test{path}");
        let response = soon(two.send_request(get(&url))).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body == content[part], "{path} over HTTP/2");
    }
}

#[tokio::test]
async fn requests_that_do_not_wait_for_each_other_are_answered_in_turn() {
    let content = content();
    let service = Parts(file(&content));
    let server = start(Server::builder().service(service).listen(loopback())).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let parts = [0..300_000, 70_000..270_001, 9..10, 1_000_000..3_000_000];
    let asked: String = parts
        .iter()
        .map(|part| format!("GET /{}-{} HTTP/1.1\r\nhost: a\r\n\r\n", part.start, part.end))
        .collect();
    stream.write_all(asked.as_bytes()).await.unwrap();
    for part in parts {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon(stream.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 200"));
        let mut body = vec![0; part.len()];
        soon(stream.read_exact(&mut body)).await.unwrap();
        assert!(body == content[part.clone()], "{part:?}");
    }
}

#[tokio::test]
async fn responses_that_send_one_small_file_do_not_disturb_each_other() {
    let length = 300_000;
    let content = content();
    let service = Parts(file(&content[..length]));
    let server = start(Server::builder().service(service).listen(loopback())).await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(http1(server.address).await);
    }
    for part in [0..length, 1..length, 4096..100_000, 0..40_000, 250_000..length] {
        let path = format!("/{}-{}", part.start, part.end);
        let asked = connections.iter_mut().map(|one| one.send_request(get(&path)));
        for response in soon(futures_util::future::join_all(asked)).await {
            let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
            assert!(body == content[part.clone()], "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_on_the_disk_only_is_sent_as_well() {
    let content = content();
    let file = file(&content);
    let server = start(Server::builder().service(Parts(file.clone())).listen(loopback())).await;
    let mut one = http1(server.address).await;
    for part in [0..LENGTH, 10..60_000] {
        forget_cached(&file);
        let path = format!("/{}-{}", part.start, part.end);
        let response = soon(one.send_request(get(&path))).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body == content[part], "{path}");
    }
}

#[tokio::test]
async fn a_file_that_is_cut_short_under_a_pull_is_an_error_and_never_a_whole_answer() {
    for length in [LENGTH, 64 << 10] {
        let content = content();
        let file = file(&content[..length]);
        let server = start(Server::builder().service(Parts(file.clone())).listen(loopback())).await;
        if length < LENGTH {
            file.set_len(10).unwrap();
        }
        let mut one = http1(server.address).await;
        let path = format!("/0-{length}");
        let answered = soon(one.send_request(get(&path))).await;
        file.set_len(10).unwrap();
        // Broken before or after the head, and never whole.
        if let Ok(response) = answered {
            assert!(response.into_body().collect().await.is_err(), "{length}");
        }
        let mut other = http1(server.address).await;
        let response = soon(other.send_request(get("/0-10"))).await.unwrap();
        assert_eq!(read(response).await.0, 200);
    }
}
