//! The token endpoint over HTTP, under any web framework.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use registry_core::http::{Body, is_of_type, read_small};
use registry_core::{Error, ErrorKind, Result, Runtime};
use serde_json::{Value, json};

use super::bearer::TOKEN_PATH;
use super::parameters::{FORM_MAX, parse_form, parse_query};
use super::service::{Claimed, TokenReply, TokenService};
use crate::credentials::{Credentials, scheme};
use crate::limits::LoginLimits;
use crate::origin::Trust;

/// Where the public halves of the keys are.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// How long a client may take to send its form.
const FORM_TIME: Duration = Duration::from_secs(30);

/// `GET` and `POST /service/token`, and the keys' public halves. Cheap to clone; answers every request and never fails.
///
/// A shell sends it the requests whose path it [answers](TokenEndpoint::answers).
#[derive(Clone, Debug)]
pub struct TokenEndpoint(Arc<Inner>);

struct Inner {
    service: TokenService,
    trust: Arc<Trust>,
    limits: Arc<LoginLimits>,
    runtime: Arc<dyn Runtime>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.service.fmt(f)
    }
}

impl TokenEndpoint {
    /// Serves `service` to clients whose addresses `trust` tells, as often as `limits` allow.
    pub fn new(
        service: TokenService,
        trust: Arc<Trust>,
        limits: Arc<LoginLimits>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        TokenEndpoint(Arc::new(Inner {
            service,
            trust,
            limits,
            runtime,
        }))
    }

    /// Gives out the tokens.
    pub fn service(&self) -> &TokenService {
        &self.0.service
    }

    /// Whether requests with this path are for the endpoint.
    pub fn answers(path: &str) -> bool {
        path == TOKEN_PATH || path == JWKS_PATH
    }

    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let from = self.0.trust.client(&head);
        let answer = match (head.uri.path(), &head.method) {
            (JWKS_PATH, &Method::GET | &Method::HEAD) => self.keys().await,
            (TOKEN_PATH, &Method::GET) => self.get(&head, from).await,
            (TOKEN_PATH, &Method::POST) => self.post(&head, body, from).await,
            (TOKEN_PATH, _) => return not_allowed("GET, POST"),
            (JWKS_PATH, _) => return not_allowed("GET"),
            _ => Err(Error::new(ErrorKind::RouteUnknown, "there is nothing here")),
        };
        let mut response = answer.unwrap_or_else(|error| self.refusal(&head, &error));
        if head.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn keys(&self) -> Result<Response<Body>> {
        let keys = self.0.service.authority().keys().jwks().await?;
        let mut response = document(StatusCode::OK, &keys);
        // As long as a node itself goes by what it has read.
        set(&mut response, CACHE_CONTROL, "public, max-age=1");
        Ok(response)
    }

    async fn get(&self, head: &Parts, from: Option<IpAddr>) -> Result<Response<Body>> {
        self.0.limits.request(from)?;
        let who = match head.headers.get(AUTHORIZATION) {
            None => Claimed::Nobody,
            Some(value) => {
                let encoded = scheme(value, "basic").ok_or_else(|| {
                    Error::new(
                        ErrorKind::Unauthorized,
                        "a token is given out for a name and a password (Basic)",
                    )
                })?;
                Claimed::Login(Credentials::from_basic(encoded)?)
            }
        };
        let request = parse_query(head.uri.query().unwrap_or_default(), who)?;
        Ok(granted(&self.0.service.token(&request, from).await?))
    }

    async fn post<B>(&self, head: &Parts, body: B, from: Option<IpAddr>) -> Result<Response<Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.0.limits.request(from)?;
        if !is_of_type(&head.headers, "application/x-www-form-urlencoded") {
            return Err(Error::new(
                ErrorKind::RequestInvalid,
                "a token is asked for with a form, application/x-www-form-urlencoded",
            ));
        }
        let form = read_small(body, FORM_MAX, FORM_TIME, &*self.0.runtime).await?;
        Ok(granted(&self.0.service.token(&parse_form(&form)?, from).await?))
    }

    /// An error as registry clients read it, and as OAuth's do (RFC 6749, section 5.2). Its source is only logged.
    fn refusal(&self, head: &Parts, error: &Error) -> Response<Body> {
        let kind = error.kind();
        let (method, path, code, message) = (
            head.method.as_str(),
            head.uri.path(),
            kind.code(),
            error.message(),
        );
        if kind.status() >= 500 {
            tracing::error!(method, path, code, message, source = ?std::error::Error::source(error), "request failed");
        } else {
            tracing::debug!(method, path, code, message, "request refused");
        }
        let oauth = match kind {
            ErrorKind::Unauthorized => "invalid_grant",
            ErrorKind::TooManyRequests | ErrorKind::Unavailable => "temporarily_unavailable",
            kind if kind.status() >= 500 => "server_error",
            _ => "invalid_request",
        };
        let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = document(
            status,
            &json!({
                "errors": [{ "code": code, "message": message }],
                "error": oauth,
                "error_description": message,
            }),
        );
        match kind {
            ErrorKind::Unauthorized => {
                let realm = &self.0.service.authority().options().service;
                set(
                    &mut response,
                    WWW_AUTHENTICATE,
                    &format!("Basic realm=\"{realm}\""),
                );
            }
            ErrorKind::TooManyRequests | ErrorKind::Unavailable => {
                let asked = error.detail().and_then(|detail| detail["retryAfter"].as_u64());
                set(&mut response, RETRY_AFTER, &asked.unwrap_or(1).to_string());
            }
            _ => {}
        }
        response
    }
}

/// A token as both of Docker's specifications have it.
fn granted(reply: &TokenReply) -> Response<Body> {
    let mut reply_document = json!({
        "token": reply.issued.token,
        "access_token": reply.issued.token,
        "token_type": "Bearer",
        "expires_in": reply.issued.expires_in,
        "issued_at": reply.issued.at.to_string(),
        "scope": reply.scope.to_string(),
    });
    if let Some(refresh) = &reply.refresh {
        reply_document["refresh_token"] = json!(refresh);
    }
    document(StatusCode::OK, &reply_document)
}

fn document(status: StatusCode, value: &Value) -> Response<Body> {
    let bytes = value.to_string();
    let length = bytes.len().to_string();
    let mut response = Response::new(Body::bytes(bytes));
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, "application/json");
    set(&mut response, CONTENT_LENGTH, &length);
    set(&mut response, CACHE_CONTROL, "no-store");
    set(&mut response, X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let message = format!("this is asked for by {methods}");
    let errors = json!({ "errors": [{ "code": ErrorKind::Unsupported.code(), "message": message }] });
    let mut response = document(StatusCode::METHOD_NOT_ALLOWED, &errors);
    set(&mut response, ALLOW, methods);
    response
}

/// Sets a header, unless no header can hold the value.
fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

registry_core::tower_service!(TokenEndpoint);
