//! Clients and services for the tests of the server.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod binary;
pub(crate) mod image;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use server_hyper::{Builder, Handle, RequestBody, Server, Stopped};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A response whose body is made by the test.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A body of these bytes.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Answer {
    let body = Full::new(bytes.into()).map_err(|never| match never {});
    Response::new(body.boxed_unsync())
}

/// Answers with a function.
#[derive(Clone)]
pub(crate) struct Answers<F>(pub(crate) F);

impl<F, R> tower_service::Service<Request<RequestBody>> for Answers<F>
where
    F: Fn(Request<RequestBody>) -> R,
    R: Future<Output = Answer> + Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let answer = (self.0)(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// A server on a port of its own that answers `hello` to everything.
pub(crate) fn hello() -> Builder {
    Server::builder()
        .service(Answers(async |_| whole("hello")))
        .listen(loopback())
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) end: JoinHandle<Stopped>,
}

pub(crate) async fn start(builder: Builder) -> Running {
    let server = builder.bind().await.expect("loopback has a free port");
    let (address, handle) = (server.local_addr(), server.handle());
    let end = tokio::spawn(server.serve());
    Running { address, handle, end }
}

/// Fails the test rather than letting it hang.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("this ends within 20 seconds")
}

pub(crate) type Http1 = http1::SendRequest<Full<Bytes>>;
pub(crate) type Http2 = http2::SendRequest<Full<Bytes>>;

pub(crate) async fn http1_over<S>(stream: S) -> Http1
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    send
}

pub(crate) async fn http2_over<S>(stream: S) -> Http2
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (send, connection) = handshake.await.expect("a connection");
    tokio::spawn(connection);
    send
}

pub(crate) async fn http1(address: SocketAddr) -> Http1 {
    http1_over(TcpStream::connect(address).await.expect("the server listens")).await
}

pub(crate) fn request(method: Method, uri: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "registry.test")
        .body(Full::new(body.into()))
        .expect("a request")
}

pub(crate) fn get(uri: &str) -> Request<Full<Bytes>> {
    request(Method::GET, uri, "")
}

pub(crate) async fn read(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a whole body")
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// One request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, uri: &str) -> (StatusCode, String) {
    let mut client = http1(address).await;
    read(client.send_request(get(uri)).await.expect("an answer")).await
}
