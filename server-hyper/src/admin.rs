//! What operators and their machines ask: `/metrics`, `/healthz`, `/readyz`, `/ca.pem`, none of which asks for credentials, and
//! [`/control`](crate::control), which does. On a listener of its own.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::control::Endpoint;
use crate::metrics::{self, Metrics};
use crate::readiness::Readiness;
use crate::server::Handle;
use crate::stores::Stores;

/// The operators' service, to be given to a [`Server`](crate::Server) of its own.
#[derive(Clone)]
pub struct Admin {
    metrics: Metrics,
    serving: Handle,
    readiness: Readiness,
    control: Option<Endpoint>,
    /// The certificate that clients are to trust, PEM.
    authority: Option<Bytes>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Tells of the server that `serving` stops and that `metrics` counts, on `stores`.
    pub fn new(metrics: Metrics, serving: Handle, stores: Stores) -> Self {
        Admin {
            metrics,
            serving,
            readiness: Readiness::of(stores),
            control: None,
            authority: None,
        }
    }

    /// Hands out at `/ca.pem` the certificate that clients are to trust, PEM, if there is one; it is no secret.
    #[must_use]
    pub fn authority(self, pem: Option<&str>) -> Self {
        Admin {
            authority: pem.map(|pem| Bytes::copy_from_slice(pem.as_bytes())),
            ..self
        }
    }

    /// Answers `/control` too.
    #[must_use]
    pub fn control(self, control: Endpoint) -> Self {
        Admin {
            control: Some(control),
            ..self
        }
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let authority = self.authority.clone().filter(|_| path == "/ca.pem");
        if authority.is_none() && !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return text(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refusal
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        if let Some(pem) = authority {
            let mut response = text(StatusCode::OK, pem);
            let kind = HeaderValue::from_static("application/x-pem-file");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            return response;
        }
        match path {
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.text());
                response.headers_mut().insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static(metrics::CONTENT_TYPE),
                );
                response
            }
            "/readyz" if !self.serving.is_serving() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" => match self.readiness.ask().await {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
            },
            _ => text(StatusCode::OK, "alive\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

impl<B> tower_service::Service<Request<B>> for Admin
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<UnsyncBoxBody<Bytes, Infallible>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admin = self.clone();
        Box::pin(async move {
            if let ("/control", Some(control)) = (request.uri().path(), &admin.control) {
                return Ok(control.answer(request).await);
            }
            let response = admin.answer(request.method(), request.uri().path()).await;
            Ok(response.map(BodyExt::boxed_unsync))
        })
    }
}
