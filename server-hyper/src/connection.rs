//! One connection: from the accepted socket to its last response.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use registry_core::http::{Encrypted, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::io::Guarded;
use crate::observe::{Exchange, Observer, RequestBody, ResponseBody};
#[cfg(target_os = "linux")]
use crate::sendfile::{Outgoing, SendFile};
use crate::server::{Handler, Limits, Phase};
use crate::wrong_protocol::{self, Greeting, Hint};

/// What all connections of a server share.
pub(crate) struct Shared {
    handler: Handler,
    observer: Option<Observer>,
    limits: Limits,
    tls: Option<TlsAcceptor>,
    /// Takes either version of HTTP, by what the client says first.
    either: auto::Builder<TokioExecutor>,
    /// For clients that chose one in the TLS handshake.
    http1: auto::Builder<TokioExecutor>,
    http2: auto::Builder<TokioExecutor>,
    /// Of clients that speak the other protocol.
    hint: Arc<Hint>,
}

impl Shared {
    pub(crate) fn new(
        handler: Handler,
        observer: Option<Observer>,
        limits: Limits,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let either = builder(&limits);
        Shared {
            handler,
            observer,
            tls: tls.map(TlsAcceptor::from),
            http1: either.clone().http1_only(),
            http2: either.clone().http2_only(),
            either,
            limits,
            hint: Arc::default(),
        }
    }

    /// Serves a connection to its end; once the phase is past serving, to the end of the requests it has begun.
    pub(crate) async fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
        phase: watch::Receiver<Phase>,
    ) {
        let _open = self.observer.as_ref().map(Observer::connection);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%remote, %error, "the connection was lost before its first request");
            return;
        }
        let Some(acceptor) = &self.tls else {
            return self.serve_plain(stream, remote, phase).await;
        };
        let handshake = timeout(self.limits.header_timeout, handshake(acceptor, stream));
        let result = tokio::select! {
            result = handshake => result,
            () = Phase::past_serving(phase.clone()) => return,
        };
        let stream = match result {
            Ok(Ok(Some(mut stream))) => {
                stream.get_mut().1.set_buffer_limit(Some(SEALED));
                stream
            }
            Ok(Ok(None)) => {
                self.hint.plain_http(remote);
                return;
            }
            Ok(Err(error)) => {
                tracing::debug!(%remote, %error, "the TLS handshake failed");
                return;
            }
            Err(_) => {
                tracing::debug!(%remote, "the TLS handshake took too long");
                return;
            }
        };
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => &self.http2,
            Some(_) => &self.http1,
            None => &self.either,
        };
        self.requests(version, stream, Files::default(), remote, phase)
            .await;
    }

    #[cfg(target_os = "linux")]
    async fn serve_plain(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
        phase: watch::Receiver<Phase>,
    ) {
        let outgoing = Outgoing::default();
        let stream = SendFile::new(stream, outgoing.clone());
        self.requests(&self.either, stream, Some(outgoing), remote, phase)
            .await;
    }

    #[cfg(not(target_os = "linux"))]
    async fn serve_plain(
        self: Arc<Self>,
        stream: TcpStream,
        remote: SocketAddr,
        phase: watch::Receiver<Phase>,
    ) {
        self.requests(&self.either, stream, (), remote, phase).await;
    }

    async fn requests<S>(
        self: &Arc<Self>,
        version: &auto::Builder<TokioExecutor>,
        stream: S,
        files: Files,
        remote: SocketAddr,
        phase: watch::Receiver<Phase>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stream = Guarded::new(stream, self.limits.header_timeout, self.limits.body_idle_timeout);
        if self.tls.is_none() {
            stream.show_beginning_to(Greeting {
                hint: Arc::clone(&self.hint),
                remote,
            });
        }
        let shared = Arc::clone(self);
        let service = service_fn(move |request| {
            let (shared, files) = (Arc::clone(&shared), files.clone());
            async move { Ok::<_, Infallible>(shared.answer(request, &files, remote).await) }
        });
        let mut connection = pin!(version.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = Phase::past_serving(phase) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%remote, error = error.as_ref() as &dyn std::error::Error, "the connection broke");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        files: &Files,
        remote: SocketAddr,
    ) -> Response<ResponseBody> {
        let (mut head, body) = request.into_parts();
        let body = RequestBody::new(body);
        let (version, taken) = (head.version, body.taken());
        let exchange = Exchange::begin(self.observer.clone(), &head, taken.clone(), remote);
        head.extensions.insert(RemoteAddr(remote.ip()));
        if self.tls.is_some() {
            head.extensions.insert(Encrypted);
        }
        let mut response = (self.handler)(Request::from_parts(head, body)).await;
        // The connection ends with a request that was answered before its end (RFC 9112 §9.6). A client that is not told
        // may send its next request into a connection that is about to close, and cannot know whether that was seen.
        if version <= Version::HTTP_11 && !taken.is_whole() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        // HTTP/2 has frames of its own around the bytes of a body, and several bodies at once.
        #[cfg(target_os = "linux")]
        if version <= Version::HTTP_11
            && let Some(outgoing) = files
        {
            response = response.map(|body| body.for_connection(outgoing));
        }
        #[cfg(not(target_os = "linux"))]
        let () = files;
        exchange.answer(response)
    }
}

/// What a connection sends of files without reading them, if it can.
#[cfg(target_os = "linux")]
type Files = Option<Outgoing>;
#[cfg(not(target_os = "linux"))]
type Files = ();

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes.max(MIN_HEADER_BYTES))
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(limits.reset_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.header_timeout);
    builder
}

/// How much of what is sealed may wait to be written: as much as is read of a file at once, and what TLS adds to it, so that
/// it goes to the system in one piece.
const SEALED: usize = (1 << 20) + (64 << 10);

/// What hyper insists on.
const MIN_HEADER_BYTES: usize = 8192;
/// How much of one request's body may be on its way before the registry has taken it.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How much of one response waits for the client's window.
const SEND_BUFFER: usize = 128 << 10;

/// `None` if the client does not speak TLS and was told so.
async fn handshake(
    acceptor: &TlsAcceptor,
    mut stream: TcpStream,
) -> io::Result<Option<tokio_rustls::server::TlsStream<TcpStream>>> {
    if wrong_protocol::is_request(&stream).await? {
        wrong_protocol::explain(&mut stream).await?;
        return Ok(None);
    }
    acceptor.accept(stream).await.map(Some)
}
