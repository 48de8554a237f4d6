//! The registry under actix-web.
//!
//! All there is to do is translate: actix has its own types for heads, and payloads that stay on one thread. The
//! service, the registry behind it and their tests are the same as under hyper.
#![forbid(unsafe_code)]

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Server;
use actix_web::http::StatusCode as ActixStatus;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use bytes::Bytes;
use futures_channel::mpsc;
use futures_core::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use registry_core::http::{Body, RemoteAddr, Service};
use registry_core::{Runtime, Timestamp};

/// Serves `service` on `listener` until the returned server is stopped.
///
/// # Errors
/// If the listener cannot be used.
pub fn serve(service: Service, listener: TcpListener) -> io::Result<Server> {
    let app = move || {
        let service = service.clone();
        App::new().default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
            let service = service.clone();
            async move { answer(&service, &request, payload).await }
        }))
    };
    Ok(HttpServer::new(app).workers(2).client_request_timeout(Duration::from_secs(30)).listen(listener)?.run())
}

async fn answer(service: &Service, request: &HttpRequest, payload: web::Payload) -> HttpResponse {
    match head(request) {
        Ok(head) => respond(service.handle(head.map(|()| receive(payload))).await),
        Err(_) => HttpResponse::BadRequest().finish(),
    }
}

/// The request's head in the types of the `http` crate that the core uses.
fn head(request: &HttpRequest) -> http::Result<http::Request<()>> {
    let mut head = http::Request::builder().method(request.method().as_str()).uri(request.uri().to_string());
    for (name, value) in request.headers() {
        head = head.header(name.as_str(), value.as_bytes());
    }
    if let Some(remote) = request.peer_addr() {
        head = head.extension(RemoteAddr(remote.ip()));
    }
    head.body(())
}

/// The payload as a body that may cross threads. One chunk waits in the channel; the next is read from the
/// connection only once that is taken, so a slow registry slows its client and fills no memory.
fn receive(mut payload: web::Payload) -> StreamBody<mpsc::Receiver<io::Result<Frame<Bytes>>>> {
    let (mut send, receive) = mpsc::channel(0);
    rt::spawn(async move {
        while let Some(chunk) = payload.next().await {
            // A client that goes away in the middle reaches the registry as an error, never as an end.
            let frame = chunk.map(Frame::data).map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string()));
            if send.send(frame).await.is_err() {
                break;
            }
        }
    });
    StreamBody::new(receive)
}

fn respond(response: http::Response<Body>) -> HttpResponse {
    let (head, body) = response.into_parts();
    let status = ActixStatus::from_u16(head.status.as_u16()).unwrap_or(ActixStatus::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in &head.headers {
        if name != http::header::CONTENT_LENGTH {
            response.append_header((name.as_str(), value.as_bytes()));
        }
    }
    // An answer to HEAD announces the length of a body that it does not have.
    let announced = head.headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let size = match announced.or(body.size_hint().exact()) {
        _ if matches!(head.status.as_u16(), 204 | 304) => BodySize::None,
        Some(length) => BodySize::Sized(length),
        None => BodySize::Stream,
    };
    response.body(Sent { body, size })
}

/// A body on its way out, read only as fast as the connection takes it.
struct Sent {
    body: Body,
    size: BodySize,
}

impl MessageBody for Sent {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.and_then(|frame| frame.map(|frame| frame.into_data().ok()).transpose()))
    }
}

/// Actix's runtime, which is tokio, as the core needs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActixRuntime;

impl ActixRuntime {
    /// As the shared form that the stores and the service take.
    pub fn shared() -> Arc<dyn Runtime> {
        Arc::new(ActixRuntime)
    }
}

impl Runtime for ActixRuntime {
    fn now(&self) -> Timestamp {
        Timestamp::system()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}
