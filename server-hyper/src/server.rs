//! Listening, serving and stopping.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use crate::body::AnyBody;
use crate::connection::Shared;
use crate::metrics::Metrics;
use crate::observe::{Observer, RequestBody};
use crate::tls::Tls;

pub(crate) type Handler =
    Arc<dyn Fn(Request<RequestBody>) -> BoxFuture<'static, Response<AnyBody>> + Send + Sync>;

/// What a server does not let its clients exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; further ones wait until one of these closes.
    pub connections: usize,
    /// How long a client may take for a TLS handshake, and for the head of a request; with HTTP/1.1 also how long
    /// a connection may be idle before its next one.
    pub header_timeout: Duration,
    /// Bytes of a request's head. HTTP/1.1 connections read and write in pieces of at most this size too.
    pub header_bytes: usize,
    /// How long a client may stop reading a response.
    pub body_idle_timeout: Duration,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Requests of an HTTP/2 connection that the client reset and the server has not yet put away; more than these
    /// end the connection.
    pub reset_streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            header_timeout: Duration::from_secs(30),
            header_bytes: 64 << 10,
            body_idle_timeout: Duration::from_secs(60),
            streams: 128,
            reset_streams: 32,
        }
    }
}

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// No new connections; requests that have begun go on, until the deadline.
    Draining(Duration),
    /// Nothing goes on.
    Stopped,
}

impl Phase {
    /// Completes once the server takes no new connections, which includes that it is gone.
    pub(crate) async fn past_serving(mut phase: watch::Receiver<Phase>) {
        let _changed_or_gone = phase.wait_for(|phase| *phase != Phase::Serving).await;
    }
}

/// Builds a [`Server`].
#[must_use]
pub struct Builder {
    handler: Option<Handler>,
    addresses: Vec<SocketAddr>,
    listeners: Vec<TcpListener>,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    metrics: Option<Metrics>,
    log: bool,
}

impl Builder {
    /// Answers requests with `service`: [`registry_core::http::Service`], or any other that cannot fail.
    pub fn service<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.handler = Some(Arc::new(move |request| {
            let mut service = service.clone();
            Box::pin(async move {
                let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).await;
                let Ok(response) = match ready {
                    Ok(()) => service.call(request).await,
                    Err(never) => match never {},
                };
                response.map(AnyBody::new)
            })
        }));
        self
    }

    /// Listens at `address`; port 0 is one that the system chooses. May be called several times.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Accepts from a listener that is open already. May be called several times.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Speaks TLS, with this certificate.
    pub fn tls(mut self, tls: Arc<Tls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Keeps to these limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Counts connections, requests and bytes.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Writes a line to the log for each request, target `berth::request`.
    pub fn log_requests(mut self, log: bool) -> Self {
        self.log = log;
        self
    }

    /// Opens the listeners. From then on connections wait to be accepted.
    ///
    /// # Errors
    /// Names the address that cannot be listened at. Also if there is no service, or no address.
    pub async fn bind(self) -> io::Result<Server> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let handler = self.handler.ok_or_else(|| invalid("a server needs a service"))?;
        let mut listeners = self.listeners;
        for address in self.addresses {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|why| io::Error::new(why.kind(), format!("cannot listen at {address}: {why}")))?;
            listeners.push(listener);
        }
        if listeners.is_empty() {
            return Err(invalid("a server needs an address to listen at"));
        }
        let addresses = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<io::Result<Vec<_>>>()?;
        let observer = match (self.metrics, self.log) {
            (None, false) => None,
            (metrics, log) => Some(Observer::new(metrics.unwrap_or_default(), log)),
        };
        let connections = Arc::new(Semaphore::new(
            self.limits.connections.clamp(1, Semaphore::MAX_PERMITS),
        ));
        let tls = self.tls.map(|tls| tls.server_config());
        Ok(Server {
            listeners,
            addresses,
            connections,
            shared: Arc::new(Shared::new(handler, observer, self.limits, tls)),
            phase: watch::Sender::new(Phase::Serving),
        })
    }
}

/// A server that is bound to its addresses.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let registry: std::sync::Arc<dyn registry_core::Registry> = server_hyper::memory_registry();
/// use registry_core::http::Service;
/// use server_hyper::{Server, TokioRuntime};
/// use std::time::Duration;
///
/// let server = Server::builder()
///     .service(Service::new(registry, TokioRuntime::shared()))
///     .listen(([127, 0, 0, 1], 0).into())
///     .bind()
///     .await?;
/// println!("listening at {}", server.local_addr());
/// let handle = server.handle();
/// let serving = tokio::spawn(server.serve());
/// handle.drain(Duration::from_secs(10));
/// assert_eq!(serving.await.unwrap().cut_off, 0);
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    connections: Arc<Semaphore>,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were still open at the deadline, and were cut off.
    pub cut_off: usize,
}

impl Server {
    /// A new builder.
    pub fn builder() -> Builder {
        Builder {
            handler: None,
            addresses: Vec::new(),
            listeners: Vec::new(),
            tls: None,
            limits: Limits::default(),
            metrics: None,
            log: false,
        }
    }

    /// The first address that it listens at.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// All addresses that it listens at, in the order in which they were given, listeners first.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops the server from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle(self.phase.clone())
    }

    /// Serves until a [`Handle`] stops it, and until the requests that had begun by then have ended.
    ///
    /// If the future is dropped, the server stops at once.
    pub async fn serve(self) -> Stopped {
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            accepting.spawn(accept(
                listener,
                Arc::clone(&self.shared),
                Arc::clone(&self.connections),
                self.phase.subscribe(),
            ));
        }
        let mut stopped = Stopped::default();
        while let Some(joined) = accepting.join_next().await {
            match joined {
                Ok(cut_off) => stopped.cut_off += cut_off,
                Err(error) => tracing::error!(%error, "a listener's task failed"),
            }
        }
        stopped
    }
}

/// Stops a [`Server`]. Cheap to clone; dropping it does nothing.
#[derive(Clone, Debug)]
pub struct Handle(watch::Sender<Phase>);

impl Handle {
    /// Takes no new connections from now on, ends idle ones, and lets requests that have begun go on for at most
    /// `deadline`.
    pub fn drain(&self, deadline: Duration) {
        self.0.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Draining(deadline);
            }
            serving
        });
    }

    /// Stops at once, whatever goes on.
    pub fn stop(&self) {
        self.0.send_replace(Phase::Stopped);
    }

    /// Whether the server takes new connections.
    pub fn is_serving(&self) -> bool {
        *self.0.borrow() == Phase::Serving
    }
}

/// How long to wait after a connection could not be accepted, as for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves one listener to its end. How many connections were cut off.
async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    mut phase: watch::Receiver<Phase>,
) -> usize {
    let mut open = JoinSet::new();
    let mut past_serving = pin!(Phase::past_serving(phase.clone()));
    loop {
        tokio::select! {
            accepted = next(&listener, &connections) => {
                let (stream, remote, permit) = accepted;
                let serving = Arc::clone(&shared).serve(stream, remote, phase.clone());
                open.spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
            Some(ended) = open.join_next() => report(ended),
            () = past_serving.as_mut() => break,
        }
    }
    drop(listener);
    let Phase::Draining(deadline) = *phase.borrow_and_update() else {
        return open.len();
    };
    let drained = async {
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
    };
    tokio::select! {
        _drained_or_late = timeout(deadline, drained) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
    }
    // Dropping the set ends what is left of it.
    open.len()
}

async fn next(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = Arc::clone(connections)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => return (stream, remote, permit),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}
