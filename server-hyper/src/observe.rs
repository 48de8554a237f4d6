//! Each request from its head to the end of its response: counted, timed, and told in one line of the log.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use registry_core::http::Operation;

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
    operation: &'static str,
    method: Method,
    /// Without the query, which may carry what only the client should know.
    path: String,
    remote: SocketAddr,
    user_agent: String,
    request_id: String,
    status: Option<u16>,
    received: Arc<AtomicU64>,
    sent: u64,
    /// Bytes that the response should have, if known.
    expected: Option<u64>,
    complete: bool,
}

impl Exchange {
    pub(crate) fn begin<B>(observer: Option<Observer>, request: &Request<B>, remote: SocketAddr) -> Self {
        let Some(observer) = observer else {
            return Exchange(None);
        };
        observer.metrics.begin();
        Exchange(Some(Box::new(Story {
            began: Instant::now(),
            operation: Operation::parse(request.method(), request.uri(), request.headers())
                .map_or("refused", |operation| label(&operation)),
            method: request.method().clone(),
            path: cut(request.uri().path()),
            remote,
            user_agent: text(request.headers(), &header::USER_AGENT),
            request_id: String::new(),
            status: None,
            received: Arc::default(),
            sent: 0,
            expected: None,
            complete: false,
            observer,
        })))
    }

    /// Where the bytes of the request's body are counted.
    pub(crate) fn received(&self) -> Arc<AtomicU64> {
        self.0
            .as_ref()
            .map(|story| Arc::clone(&story.received))
            .unwrap_or_default()
    }

    /// The response, which takes the story with it.
    pub(crate) fn answer(mut self, response: Response<AnyBody>) -> Response<ResponseBody> {
        if let Some(story) = &mut self.0 {
            story.status = Some(response.status().as_u16());
            story.request_id = text(
                response.headers(),
                &header::HeaderName::from_static("x-request-id"),
            );
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

fn text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(cut)
        .unwrap_or_default()
}

impl Drop for Story {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let received = self.received.load(Ordering::Relaxed);
        let metrics = &self.observer.metrics;
        metrics.received(received);
        metrics.sent(self.sent);
        metrics.end(self.operation, &self.method, self.status, took);
        if !self.observer.log {
            return;
        }
        let complete = self.complete || self.expected == Some(self.sent);
        tracing::info!(
            target: "berth::request",
            method = self.method.as_str(),
            path = self.path,
            status = self.status,
            received,
            sent = self.sent,
            complete,
            ms = took.as_micros() as f64 / 1000.0,
            remote = %self.remote.ip(),
            request_id = self.request_id,
            user_agent = self.user_agent,
        );
    }
}

fn label(operation: &Operation) -> &'static str {
    match operation {
        Operation::Ping => "ping",
        Operation::ListRepositories { .. } => "list_repositories",
        Operation::ListTags { .. } => "list_tags",
        Operation::ListReferrers { .. } => "list_referrers",
        Operation::StatBlob { .. } => "stat_blob",
        Operation::ReadBlob { .. } => "read_blob",
        Operation::DeleteBlob { .. } => "delete_blob",
        Operation::BeginUpload { .. } => "begin_upload",
        Operation::PushBlob { .. } => "push_blob",
        Operation::MountBlob { .. } => "mount_blob",
        Operation::UploadStatus { .. } => "upload_status",
        Operation::AppendUpload { .. } => "append_upload",
        Operation::FinishUpload { .. } => "finish_upload",
        Operation::CancelUpload { .. } => "cancel_upload",
        Operation::StatManifest { .. } => "stat_manifest",
        Operation::GetManifest { .. } => "get_manifest",
        Operation::PutManifest { .. } => "put_manifest",
        Operation::DeleteManifest { .. } => "delete_manifest",
    }
}

/// A request's body as it comes from a connection.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    received: Arc<AtomicU64>,
    ended: Ended,
}

/// Whether a request's body was taken to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended(Arc<AtomicBool>);

impl Ended {
    pub(crate) fn is_reached(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, received: Arc<AtomicU64>) -> Self {
        let ended = Ended(Arc::new(AtomicBool::new(body.is_end_stream())));
        RequestBody {
            body,
            received,
            ended,
        }
    }

    pub(crate) fn ended(&self) -> Ended {
        self.ended.clone()
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
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        if frame.is_none() || self.body.is_end_stream() {
            self.ended.0.store(true, Ordering::Release);
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
                    request_id = story.request_id,
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
