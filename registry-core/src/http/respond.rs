//! Responses: their headers, and the one place where an error becomes a status and a body.

use std::error::Error as StdError;

use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::condition::entity_tag;
use super::path;
use super::query::Query;
use super::service::Service;
use crate::auth::{Access, TokenProblem};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};

pub(super) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(super) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
pub(super) const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a client should wait before it tries again, in seconds, if the error's detail does not say.
const RETRY_SECONDS: u64 = 1;

/// Longest message sent, in bytes: messages name things that clients chose.
const MESSAGE_MAX: usize = 2048;

/// A response being put together.
pub(super) struct Reply(Response<Body>);

/// Headers that most responses have, so that their room is made once.
const HEADERS: usize = 12;

impl Reply {
    pub(super) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
        Reply(response)
    }

    /// Adds a header, beside others of the same name. What no header can carry is left out: better a reply without
    /// it than none.
    pub(super) fn header(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        match HeaderValue::from_str(value.as_ref()) {
            Ok(value) => {
                self.0.headers_mut().append(name, value);
            }
            Err(_) => {
                tracing::warn!(header = %name, value = value.as_ref(), "a header's value is not sendable")
            }
        }
        self
    }

    /// The same with a value that never differs.
    pub(super) fn fixed(mut self, name: HeaderName, value: &'static str) -> Self {
        let value = HeaderValue::from_static(value);
        self.0.headers_mut().append(name, value);
        self
    }

    /// What the content is called: its digest, and the same in quotes as its entity tag.
    pub(super) fn named(self, digest: &Digest) -> Self {
        let tag = Bytes::from(entity_tag(digest));
        let plain = tag.slice(1..tag.len() - 1);
        self.shared(CONTENT_DIGEST, plain).shared(ETAG, tag)
    }

    fn shared(mut self, name: HeaderName, value: Bytes) -> Self {
        let value = HeaderValue::from_maybe_shared(value).expect("a digest is sendable");
        self.0.headers_mut().append(name, value);
        self
    }

    pub(super) fn location(self, location: impl AsRef<str>) -> Self {
        self.header(LOCATION, location)
    }

    /// Announces a length without a body, for HEAD.
    pub(super) fn length(mut self, length: u64) -> Self {
        self.0.headers_mut().insert(CONTENT_LENGTH, length.into());
        self
    }

    pub(super) fn body(mut self, body: Body) -> Response<Body> {
        *self.0.body_mut() = body;
        self.0
    }

    pub(super) fn json(self, media_type: &'static str, value: &Value) -> Response<Body> {
        self.fixed(CONTENT_TYPE, media_type)
            .body(Body::bytes(value.to_string()))
    }

    pub(super) fn done(self) -> Response<Body> {
        self.0
    }
}

/// What a handler answers.
pub(super) type Answer = Result<Response<Body>, Refused>;

/// An error, and the headers that help a client go on after it.
pub(super) struct Refused {
    error: Error,
    headers: Vec<(HeaderName, String)>,
    /// What is wrong with the request's token, if it sent one and that is why.
    token: Option<TokenProblem>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused {
            error,
            headers: Vec::new(),
            token: None,
        }
    }
}

impl Refused {
    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn token(self, problem: TokenProblem) -> Self {
        Refused {
            token: Some(problem),
            ..self
        }
    }
}

/// What every response carries, and what none does.
pub(super) fn finish(head: &Parts, request_id: &str, response: Response<Body>) -> Response<Body> {
    let mut reply = Reply(response)
        .header(REQUEST_ID, request_id)
        .fixed(X_CONTENT_TYPE_OPTIONS, "nosniff");
    let path = head.uri.path();
    if path == "/v2" || path.starts_with("/v2/") {
        reply = reply.fixed(API_VERSION, "registry/2.0");
    }
    if let Some(namespace) = namespace(head) {
        reply = reply.header(OCI_NAMESPACE, namespace);
    }
    let mut response = reply.done();
    let bodiless = matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !bodiless && !response.headers().contains_key(CONTENT_LENGTH) {
        let length = response.body().left();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    if head.method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

/// The `ns` parameter of a client that uses this registry as a proxy for another.
fn namespace(head: &Parts) -> Option<String> {
    const NAMESPACE_MAX: usize = 255;
    let value = Query::new(head.uri.query()).one("ns").ok()??;
    let sendable = (1..=NAMESPACE_MAX).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    sendable.then(|| value.into_owned())
}

/// An error as the client sees it. Its source goes to the log, and nowhere else.
pub(super) fn refusal(
    service: &Service,
    head: &Parts,
    request_id: &str,
    needs: &[Access],
    refused: Refused,
) -> Response<Body> {
    let Refused {
        error,
        headers,
        token,
    } = refused;
    let error = &error;
    log(head, request_id, error);
    let kind = error.kind();
    let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = Reply::new(status).fixed(CACHE_CONTROL, "no-store");
    match kind {
        ErrorKind::Unauthorized => {
            let challenge = service.authenticator.challenge(head);
            let challenge = challenge.header(needs, token.filter(|_| sent_token(head)));
            reply = reply.header(WWW_AUTHENTICATE, challenge);
        }
        ErrorKind::Unsupported => reply = reply.header(ALLOW, allowed(head)),
        ErrorKind::TooManyRequests | ErrorKind::Unavailable => {
            let asked = error.detail().and_then(|detail| detail["retryAfter"].as_u64());
            reply = reply.header(RETRY_AFTER, asked.unwrap_or(RETRY_SECONDS).to_string());
        }
        _ => {}
    }
    for (name, value) in headers {
        reply = reply.header(name, value);
    }
    reply.json("application/json", &document(request_id, needs, error))
}

fn sent_token(head: &Parts) -> bool {
    const SCHEME: &[u8] = b"bearer ";
    let value = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    value
        .and_then(|value| value.get(..SCHEME.len()))
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

/// The methods that this path knows, without the one that was refused just now.
fn allowed(head: &Parts) -> String {
    let methods = path::route(head.uri.path()).map_or(&[] as &[Method], |route| route.resource.methods());
    let others: Vec<&str> = methods
        .iter()
        .filter(|method| **method != head.method)
        .map(Method::as_str)
        .collect();
    others.join(", ")
}

fn document(request_id: &str, needs: &[Access], error: &Error) -> Value {
    let mut entry = json!({ "code": error.kind().code(), "message": cut(error.message()) });
    let detail = match (error.kind(), error.detail()) {
        (_, Some(detail)) => Some(detail.clone()),
        (ErrorKind::Unauthorized | ErrorKind::Denied, None) if !needs.is_empty() => {
            Some(needs.iter().map(requirement).collect())
        }
        (kind, None) if kind.status() >= 500 => Some(json!({ "requestId": request_id })),
        _ => None,
    };
    if let Some(detail) = detail {
        entry["detail"] = detail;
    }
    json!({ "errors": [entry] })
}

fn requirement(access: &Access) -> Value {
    match access {
        Access::Repository(name, action) => {
            json!({ "Type": "repository", "Name": name, "Action": action.as_str() })
        }
        Access::Catalog => json!({ "Type": "registry", "Name": "catalog", "Action": "*" }),
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let end = (0..=MESSAGE_MAX)
        .rev()
        .find(|at| message.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", &message[..end])
}

fn log(head: &Parts, request_id: &str, error: &Error) {
    let (method, path, code) = (head.method.as_str(), head.uri.path(), error.kind().code());
    let source = causes(error);
    let message = error.message();
    if error.kind().status() >= 500 {
        tracing::error!(request_id, method, path, code, message, source, "request failed");
    } else {
        tracing::debug!(request_id, method, path, code, message, source, "request refused");
    }
}

/// The chain of sources, outermost first.
fn causes(error: &Error) -> String {
    let mut chain = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        chain.push(cause.to_string());
        next = cause.source();
    }
    chain.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = cut(&"ä".repeat(5000));
        assert!(cut.len() <= MESSAGE_MAX + '…'.len_utf8() && cut.ends_with('…'));
    }

    #[test]
    fn a_failure_of_the_registry_names_its_request_and_not_its_source() {
        let error = Error::internal(std::io::Error::other("/secret/place"));
        let text = document("id-1", &[], &error).to_string();
        assert!(text.contains("id-1") && !text.contains("secret"), "{text}");
        assert_eq!(causes(&error), "/secret/place");
    }
}
