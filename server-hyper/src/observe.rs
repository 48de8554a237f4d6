//! Each request from its head to the end of its response: counted, timed, and told in one line of the log.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use registry_core::http::{Operation, OperationName};

use crate::body::AnyBody;
use crate::metrics::Metrics;

/// Where requests are told of.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    metrics: Metrics,
    log: bool,
}

impl Observer {
    pub(crate) fn new(metrics: Metrics, log: bool) -> Self {
        Observer { metrics, log }
    }

    /// Counts a connection for as long as the result lives.
    pub(crate) fn connection(&self) -> Connected {
        self.metrics.connected();
        Connected(self.metrics.clone())
    }
}

/// An open connection.
pub(crate) struct Connected(Metrics);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}

/// One request and its response. Told of when it is dropped, which is when the last byte of the response was handed
/// over, or when either side gave up.
pub(crate) struct Exchange(Option<Box<Story>>);

struct Story {
    observer: Observer,
    began: Instant,
    /// Once it is known.
    operation: Option<&'static str>,
    method: Method,
    uri: Uri,
    remote: SocketAddr,
    user_agent: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    status: Option<u16>,
    taken: Taken,
    sent: u64,
    /// Bytes that the response should have, if known.
    expected: Option<u64>,
    complete: bool,
}

impl Exchange {
    pub(crate) fn begin(observer: Option<Observer>, head: &Parts, taken: Taken, remote: SocketAddr) -> Self {
        let Some(observer) = observer else {
            return Exchange(None);
        };
        observer.metrics.begin();
        Exchange(Some(Box::new(Story {
            began: Instant::now(),
            operation: None,
            method: head.method.clone(),
            uri: head.uri.clone(),
            remote,
            user_agent: head.headers.get(header::USER_AGENT).cloned(),
            request_id: None,
            status: None,
            taken,
            sent: 0,
            expected: None,
            complete: false,
            observer,
        })))
    }

    /// The response, which takes the story with it.
    pub(crate) fn answer(mut self, response: Response<AnyBody>) -> Response<ResponseBody> {
        if let Some(story) = &mut self.0 {
            story.status = Some(response.status().as_u16());
            let name = response.extensions().get::<OperationName>();
            story.operation = Some(name.map_or("refused", |name| name.0));
            story.request_id = response.headers().get("x-request-id").cloned();
            story.expected = response.body().size_hint().exact();
            story.complete = story.method == Method::HEAD || response.body().is_end_stream();
        }
        response.map(|body| ResponseBody { body, exchange: self })
    }
}

/// Longest text of a client's that one line of the log repeats, in characters.
const TEXT_MAX: usize = 1024;

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

fn text(value: Option<&HeaderValue>) -> String {
    value
        .and_then(|value| value.to_str().ok())
        .map(cut)
        .unwrap_or_default()
}

impl Story {
    /// What it was; of one that was given up before its answer, what its first line tells.
    fn operation(&self) -> &'static str {
        self.operation.unwrap_or_else(|| {
            Operation::parse(&self.method, &self.uri, &HeaderMap::new())
                .map_or("refused", |operation| operation.name().0)
        })
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let received = self.taken.bytes();
        let metrics = &self.observer.metrics;
        metrics.received(received);
        metrics.sent(self.sent);
        metrics.end(self.operation(), &self.method, self.status, took);
        if !self.observer.log {
            return;
        }
        let complete = self.complete || self.expected == Some(self.sent);
        tracing::info!(
            target: "berth::request",
            method = self.method.as_str(),
            // Without the query, which may carry what only the client should know.
            path = cut(self.uri.path()),
            status = self.status,
            received,
            sent = self.sent,
            complete,
            ms = took.as_micros() as f64 / 1000.0,
            remote = %self.remote.ip(),
            request_id = text(self.request_id.as_ref()),
            user_agent = text(self.user_agent.as_ref()),
        );
    }
}

/// A request's body as it comes from a connection.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    taken: Taken,
}

/// How much of a request's body was taken, and whether to its end. Nothing is noted of a body that there is none of.
#[derive(Clone, Debug)]
pub(crate) struct Taken(Option<Arc<Progress>>);

#[derive(Debug, Default)]
struct Progress {
    bytes: AtomicU64,
    ended: AtomicBool,
}

impl Taken {
    fn bytes(&self) -> u64 {
        let bytes = self.0.as_ref().map(|progress| &progress.bytes);
        bytes.map_or(0, |bytes| bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn is_whole(&self) -> bool {
        let ended = self.0.as_ref().map(|progress| &progress.ended);
        ended.is_none_or(|ended| ended.load(Ordering::Acquire))
    }
}

impl RequestBody {
    pub(crate) fn new(body: Incoming) -> Self {
        let taken = Taken((!body.is_end_stream()).then(Arc::default));
        RequestBody { body, taken }
    }

    pub(crate) fn taken(&self) -> Taken {
        self.taken.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(progress) = &self.taken.0 {
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                progress.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
            if frame.is_none() || self.body.is_end_stream() {
                progress.ended.store(true, Ordering::Release);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body on its way to a connection.
pub(crate) struct ResponseBody {
    body: AnyBody,
    exchange: Exchange,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(story) = &mut self.exchange.0 {
            match &frame {
                Some(Ok(frame)) => story.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(error)) => tracing::warn!(
                    request_id = text(story.request_id.as_ref()),
                    error = error as &dyn std::error::Error,
                    "a response broke off"
                ),
                None => story.complete = true,
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
