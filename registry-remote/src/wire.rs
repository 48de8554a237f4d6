//! Requests and answers, with nothing of what they mean.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use registry_core::{Context, Error, ErrorKind, Result, Timestamp};

use crate::body::{Outgoing, Progress};
use crate::origin::Origin;

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 5;

/// The far end and the connections to it.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) client: Client<HttpsConnector<HttpConnector>, Outgoing>,
    pub(crate) origin: Origin,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) idle: Duration,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("origin", &self.origin)
            .field("anonymous", &self.authorization.is_none())
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

/// An error of the far end, or of the way to it; it may pass.
pub(crate) fn unreachable(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("the remote registry {what}; try again"),
    )
    .with_source(source)
}

/// The far end does not keep to the protocol.
pub(crate) fn misbehaved(what: impl fmt::Display) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the remote registry does not keep to the protocol: {what}"),
    )
}

/// Headers of a request.
pub(crate) type Headers<'a> = &'a [(HeaderName, &'a str)];

impl Wire {
    /// Sends a request to `target` and waits for the head of the answer, whatever its status.
    pub(crate) async fn send(
        &self,
        ctx: &Context,
        method: Method,
        target: &str,
        headers: Headers<'_>,
        body: Outgoing,
    ) -> Result<Response<Incoming>> {
        let uri = self.own(target)?;
        let progress = body.progress();
        let request = self.request(method, uri, headers, body, true)?;
        self.deadline(ctx, async {
            self.exchange(request, &progress).await.map_err(Failure::into)
        })
        .await
    }

    /// Reads `target`, following a few redirects. Another origin is told nothing of who asks, and is left alone
    /// unless it is reached by the same scheme.
    pub(crate) async fn fetch(
        &self,
        ctx: &Context,
        method: Method,
        target: &str,
        headers: Headers<'_>,
    ) -> Result<Response<Incoming>> {
        let mut uri = self.own(target)?;
        self.deadline(ctx, async {
            for _ in 0..=REDIRECTS_MAX {
                let answer = self.read(&method, &uri, headers).await?;
                if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                    return Ok(answer);
                }
                let location = text(answer.headers(), LOCATION)
                    .ok_or_else(|| misbehaved("a redirect says not where to"))?;
                uri = self
                    .origin
                    .redirected(&uri, location)
                    .ok_or_else(|| misbehaved("a redirect leads where it is not followed to"))?;
            }
            Err(misbehaved(format_args!("more than {REDIRECTS_MAX} redirects")))
        })
        .await
    }

    /// Sends a request that reads. Once more, if the connection broke: it may have been one that was kept open, and
    /// that the far end was closing just then.
    async fn read(&self, method: &Method, uri: &Uri, headers: Headers<'_>) -> Result<Response<Incoming>> {
        let mut retried = false;
        loop {
            let body = Outgoing::bytes("");
            let progress = body.progress();
            let own = self.origin.covers(uri);
            let request = self.request(method.clone(), uri.clone(), headers, body, own)?;
            match self.exchange(request, &progress).await {
                Err(Failure::Broken(_)) if !retried => retried = true,
                outcome => return outcome.map_err(Failure::into),
            }
        }
    }

    fn own(&self, target: &str) -> Result<Uri> {
        self.origin.at(target).ok_or_else(|| {
            Error::new(
                ErrorKind::RequestInvalid,
                "the request cannot be written as a URL; it names too much",
            )
        })
    }

    fn request(
        &self,
        method: Method,
        uri: Uri,
        headers: Headers<'_>,
        body: Outgoing,
        own: bool,
    ) -> Result<Request<Outgoing>> {
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header(USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if let Some(authorization) = self.authorization.as_ref().filter(|_| own) {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(body).map_err(|why| {
            Error::new(ErrorKind::RequestInvalid, "the request cannot be written as HTTP").with_source(why)
        })
    }

    /// Waits for the answer's head as long as the request's body moves on, or the caller is who keeps it waiting.
    async fn exchange(
        &self,
        request: Request<Outgoing>,
        progress: &Arc<Progress>,
    ) -> Result<Response<Incoming>, Failure> {
        let answer = self.client.request(request);
        tokio::pin!(answer);
        let mut taken = progress.taken();
        loop {
            match tokio::time::timeout(self.idle, &mut answer).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(why)) => {
                    return Err(match progress.failure() {
                        Some(failure) => Failure::Other(callers_stream_failed(failure)),
                        None if why.is_connect() => Failure::Other(unreachable("cannot be reached", why)),
                        None => Failure::Broken(unreachable("broke the connection off", why)),
                    });
                }
                Err(_) if progress.waits_for_caller() || progress.taken() != taken => {
                    taken = progress.taken();
                }
                Err(elapsed) => return Err(Failure::Other(unreachable("does not answer", elapsed))),
            }
        }
    }

    async fn deadline<T>(&self, ctx: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
        let now = Timestamp::system();
        ctx.check_deadline(now)?;
        match ctx.deadline {
            None => work.await,
            Some(deadline) => tokio::time::timeout(deadline.since(now), work)
                .await
                .unwrap_or_else(|elapsed| Err(unreachable("did not answer in time", elapsed))),
        }
    }
}

/// Why there is no answer.
enum Failure {
    /// The connection broke, perhaps before the far end saw the request.
    Broken(Error),
    Other(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Broken(error) | Failure::Other(error) => error,
        }
    }
}

/// The bytes that the caller passed on broke off.
pub(crate) fn callers_stream_failed(failure: std::io::Error) -> Error {
    match failure.downcast::<Error>() {
        Ok(callers) => callers,
        Err(failure) if failure.kind() == std::io::ErrorKind::TimedOut => Error::new(
            ErrorKind::Timeout,
            "no bytes came for too long; resume the upload",
        )
        .with_source(failure),
        Err(failure) => {
            let message = "the bytes broke off; ask how far the upload is and resume it";
            Error::new(ErrorKind::UploadInvalid, message).with_source(failure)
        }
    }
}

/// A header's value, if it is text.
pub(crate) fn text(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
