//! `POST /control` on the admin listener: a request as the body, answered line by line.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use registry_core::http::RemoteAddr;
use tokio::time::timeout;

use super::line::answer;
use super::{REQUEST_MAX, REQUEST_TIMEOUT, Request, Token};
use crate::stores::Stores;

/// What the lines of an answer are.
const LINES: &str = "application/x-ndjson";

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Answers `/control`, for whoever shows the token.
#[derive(Clone, Debug)]
pub struct Endpoint {
    token: Token,
    stores: Stores,
    tls: bool,
}

impl Endpoint {
    /// Asks for `token`, and does what is asked on `stores`. `tls` says whether the listener speaks TLS; if it does not,
    /// only clients on the same machine are answered, since anybody between could read the token.
    pub fn new(token: Token, stores: Stores, tls: bool) -> Self {
        Endpoint { token, stores, tls }
    }

    pub(crate) async fn answer<B>(&self, request: HttpRequest<B>) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.admit(&request) {
            Ok(()) => {}
            Err(refusal) => return *refusal,
        }
        let body = Limited::new(request.into_body(), REQUEST_MAX).collect();
        let body = match timeout(REQUEST_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) | Err(_) => {
                return refuse(StatusCode::BAD_REQUEST, "the request did not arrive whole");
            }
        };
        let Ok(request) = serde_json::from_slice::<Request>(&body) else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "the request is none that this server knows",
            );
        };
        let lines = answer(self.stores.clone(), request);
        let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line.text()))));
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
        response
    }

    /// Whether whoever asks may.
    fn admit<B>(&self, request: &HttpRequest<B>) -> Result<(), Box<Answer>> {
        let remote = request.extensions().get::<RemoteAddr>();
        if !self.tls && !remote.is_some_and(|RemoteAddr(address)| address.to_canonical().is_loopback()) {
            return Err(Box::new(refuse(
                StatusCode::FORBIDDEN,
                "from another machine only over TLS: the token could be read on its way; set admin.tls",
            )));
        }
        if !bearer(request.headers()).is_some_and(|shown| self.token.is(shown)) {
            let mut refusal = refuse(
                StatusCode::UNAUTHORIZED,
                "the right token is needed, as Authorization: Bearer",
            );
            refusal
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return Err(Box::new(refusal));
        }
        if request.method() != Method::POST {
            let mut refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "only POST");
            refusal
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("POST"));
            return Err(Box::new(refusal));
        }
        Ok(())
    }
}

/// The token that a client shows.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn refuse(status: StatusCode, why: &str) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(format!("{why}\n"))).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
