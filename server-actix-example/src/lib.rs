//! The registry under actix-web: all that a shell has to do.
//!
//! Actix's heads are of `http` 0.2, so each is converted; its bodies stay on their thread, so what arrives is pumped
//! through a bounded channel, which fills when the registry does not read and so stops the pump, actix, and in the
//! end the client. What is sent is polled by actix only as fast as the client reads.
#![forbid(unsafe_code)]

mod runtime;

use std::io;
use std::net::TcpListener;

use actix_web::body::SizedStream;
use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer, web};
use bytes::Bytes;
use futures_channel::mpsc;
use futures_util::future::{Either, select};
use futures_util::{SinkExt, Stream, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use registry_core::http::{Body, RemoteAddr, Service};

pub use runtime::TokioRuntime;

/// Serves `service` on a socket that listens already, until the returned server is stopped.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve(service: Service, listener: TcpListener) -> io::Result<Server> {
    let app = move || {
        App::new()
            .app_data(web::Data::new(service.clone()))
            .default_service(web::to(answer))
    };
    Ok(HttpServer::new(app).listen(listener)?.run())
}

/// One request through the service.
async fn answer(service: web::Data<Service>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let (sender, receiver) = mpsc::channel(0);
    let request = match convert(&request, receiver) {
        Ok(request) => request,
        Err(_) => return HttpResponse::BadRequest().finish(),
    };
    let answering = std::pin::pin!(service.handle(request));
    // Given up with the answer: what the registry did not want is not waited for.
    let pumping = std::pin::pin!(pump(payload, sender));
    let answer = match select(answering, pumping).await {
        Either::Left((answer, _)) => answer,
        Either::Right(((), answering)) => answering.await,
    };
    respond(answer)
}

/// Moves what arrives to the registry. A connection that breaks is an error at its end.
async fn pump(payload: web::Payload, mut registry: mpsc::Sender<io::Result<Bytes>>) {
    let mut pieces = payload.map_err(io::Error::other);
    while let Some(piece) = pieces.next().await {
        let ends = piece.is_err();
        if registry.send(piece).await.is_err() || ends {
            return;
        }
    }
}

/// The head in `http` 1, with the body that the pump fills.
fn convert(
    request: &HttpRequest,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> http::Result<http::Request<impl http_body::Body<Data = Bytes, Error = io::Error> + Send + 'static>> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let mut converted = http::Request::builder()
        .method(request.method().as_str())
        .uri(target);
    for (name, value) in request.headers() {
        converted = converted.header(name.as_str(), value.as_bytes());
    }
    if let Some(peer) = request.peer_addr() {
        converted = converted.extension(RemoteAddr(peer.ip()));
    }
    converted.body(StreamBody::new(body.map_ok(http_body::Frame::data)))
}

/// The answer in actix's types. Its length is the one that the service announces, which for HEAD is not that of the
/// body, as there is none.
fn respond(answer: http::Response<Body>) -> HttpResponse {
    let (head, body) = answer.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponseBuilder::new(status);
    for (name, value) in head
        .headers
        .iter()
        .filter(|(name, _)| *name != http::header::CONTENT_LENGTH)
    {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            response.append_header((name, value));
        }
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return response.finish();
    }
    let announced = head.headers.get(http::header::CONTENT_LENGTH);
    let length = announced
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or_else(|| body.left());
    response.body(SizedStream::new(length, body.into_data_stream()))
}
