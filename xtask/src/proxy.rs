//! A proxy on loopback that passes everything on unchanged and writes down what it saw, so that a check can
//! tell whether a client mounted a layer or sent its bytes again, without trusting the server's own word.

use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;

use crate::http1::{Head, copy_body};

/// One request and its answer.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    sent: Arc<AtomicU64>,
    authorization: Option<String>,
}

impl Exchange {
    /// An exchange without a body, for tests of what is made of a log.
    #[cfg(test)]
    pub(crate) fn new(method: &str, target: &str, status: u16) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            status,
            sent: Arc::default(),
            authorization: None,
        }
    }

    /// The token that the request bore.
    pub(crate) fn token(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }

    /// Content bytes of the request's body.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Whether this belongs to an upload of blob bytes, and not to a mount.
    pub(crate) fn uploads(&self) -> bool {
        self.target.contains("/blobs/uploads/") && matches!(self.method.as_str(), "POST" | "PATCH" | "PUT")
    }

    /// Whether this asked for a mount and got it.
    pub(crate) fn mounted(&self) -> bool {
        self.method == "POST" && self.target.contains("mount=") && self.status == 201
    }
}

/// A running proxy; it stops accepting when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
}

/// What the proxy's connections share.
#[derive(Default)]
struct Seen {
    log: Mutex<Vec<Exchange>>,
    hold: Mutex<Option<Hold>>,
}

/// An answer to keep back.
struct Hold {
    wanted: fn(&Exchange) -> bool,
    reached: Sender<Exchange>,
    go: Receiver<()>,
}

/// An answer that is kept back from its client until this is dropped.
pub(crate) struct Held {
    reached: Receiver<Exchange>,
    _go: Sender<()>,
}

impl Held {
    /// Waits until the answer is there, and returns what it is the answer to.
    pub(crate) fn reached(&self, patience: Duration) -> Option<Exchange> {
        self.reached.recv_timeout(patience).ok()
    }
}

impl Seen {
    fn log(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.log.lock().expect("no holder panics")
    }

    /// Writes an exchange down, and returns once its answer may be passed on.
    fn write_down(&self, exchange: Exchange) {
        self.log().push(exchange.clone());
        let held = {
            let mut hold = self.hold.lock().expect("no holder panics");
            hold.take_if(|hold| (hold.wanted)(&exchange))
        };
        if let Some(hold) = held {
            // Whoever waited may have gone; then nothing is held. What comes is never anything but the end.
            let _gone = hold.reached.send(exchange);
            let _ended = hold.go.recv();
        }
    }
}

impl Proxy {
    /// Starts a proxy for `upstream` on a port that the system chooses.
    pub(crate) fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let seen = Arc::clone(&shared);
                // A failed connection is the client's to report: it sees the close.
                std::thread::spawn(move || serve(client, upstream, &seen));
            }
        });
        Ok(Self { address, seen, stop })
    }

    /// `127.0.0.1:PORT`, as clients write it.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// How many exchanges there have been; a start for [`Self::since`].
    pub(crate) fn mark(&self) -> usize {
        self.seen.log().len()
    }

    /// The exchanges after `mark`.
    pub(crate) fn since(&self, mark: usize) -> Vec<Exchange> {
        self.seen.log()[mark..].to_vec()
    }

    /// Keeps back the next answer to a request that is `wanted`, and no other.
    pub(crate) fn hold(&self, wanted: fn(&Exchange) -> bool) -> Held {
        let (tell, reached) = channel();
        let (go, wait) = channel();
        *self.seen.hold.lock().expect("no holder panics") = Some(Hold {
            wanted,
            reached: tell,
            go: wait,
        });
        Held { reached, _go: go }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread; if nothing listens any more there is nothing to wake.
        drop(TcpStream::connect(self.address));
    }
}

/// A request whose answer has not come yet.
struct Pending {
    method: String,
    target: String,
    sent: Arc<AtomicU64>,
    authorization: Option<String>,
}

fn serve(client: TcpStream, upstream: SocketAddr, seen: &Seen) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut first = [0];
    client.peek(&mut first)?;
    if !first[0].is_ascii_alphabetic() {
        return tunnel(&client, &server);
    }
    let (pending, answered) = channel();
    let (request_from, request_to) = (client.try_clone()?, server.try_clone()?);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Either end closing ends the exchange; the other side sees it through the shutdown.
            let _closed = pass_requests(request_from, &request_to, &pending);
            drop(pending);
            let _gone = request_to.shutdown(Shutdown::Write);
        });
        let passed = pass_responses(server, &client, &answered, seen);
        let _gone = client.shutdown(Shutdown::Both);
        passed
    })
}

/// Passes bytes that are not HTTP, both ways: clients try TLS first and go on by how the server refuses it.
fn tunnel(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let pass = |mut from: &TcpStream, mut to: &TcpStream| {
        let copied = io::copy(&mut from, &mut to);
        let _gone = to.shutdown(Shutdown::Write);
        copied
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pass(client, server));
        let answered = pass(server, client);
        // The server has said all it will; the client's side ends with it.
        let _gone = client.shutdown(Shutdown::Both);
        answered.map(drop)
    })
}

fn pass_requests(from: TcpStream, mut to: &TcpStream, pending: &Sender<Pending>) -> io::Result<()> {
    let mut from = BufReader::with_capacity(64 << 10, from);
    while let Some(head) = Head::read(&mut from)? {
        let mut words = head.start.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let sent = Arc::new(AtomicU64::new(0));
        // Announced before it is sent, so that the answer always finds it.
        if pending
            .send(Pending {
                method,
                target,
                sent: Arc::clone(&sent),
                authorization: head.header("authorization").map(str::to_owned),
            })
            .is_err()
        {
            return Ok(());
        }
        to.write_all(&head.bytes)?;
        copy_body(&mut from, &mut to, head.request_framing(), |bytes| {
            sent.fetch_add(bytes, Ordering::SeqCst);
        })?;
    }
    Ok(())
}

fn pass_responses(
    from: TcpStream,
    mut to: &TcpStream,
    answered: &Receiver<Pending>,
    seen: &Seen,
) -> io::Result<()> {
    let mut from = BufReader::with_capacity(64 << 10, from);
    while let Some(head) = Head::read(&mut from)? {
        if head.status() / 100 == 1 {
            to.write_all(&head.bytes)?;
            continue;
        }
        let Ok(pending) = answered.recv() else {
            return Ok(());
        };
        let framing = head.response_framing(&pending.method);
        // Written down before it is passed on, so that a client that has ended has nothing unrecorded.
        seen.write_down(Exchange {
            method: pending.method,
            target: pending.target,
            status: head.status(),
            sent: pending.sent,
            authorization: pending.authorization,
        });
        to.write_all(&head.bytes)?;
        copy_body(&mut from, &mut to, framing, |_| ())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::request;

    #[test]
    fn an_exchange_passes_unchanged_and_is_written_down() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = Head::read(&mut BufReader::new(stream.try_clone().unwrap()))
                .unwrap()
                .unwrap();
            stream
                .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
                .unwrap();
            head.start
        });
        let proxy = Proxy::start(upstream).unwrap();
        let answer = request(&proxy.authority(), "POST", "/v2/a/blobs/uploads/?mount=x&from=b").unwrap();
        assert_eq!((answer.head.status(), answer.body.as_slice()), (201, &b"ok"[..]));
        assert_eq!(
            server.join().unwrap(),
            "POST /v2/a/blobs/uploads/?mount=x&from=b HTTP/1.1"
        );
        let log = proxy.since(0);
        assert_eq!(log.len(), 1);
        assert!(log[0].mounted() && log[0].sent() == 0);
    }

    #[test]
    fn an_answer_that_is_held_comes_once_it_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                Head::read(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            }
        });
        let held = proxy.hold(|exchange| exchange.method == "PATCH");
        let authority = proxy.authority();
        // Another request passes meanwhile.
        assert_eq!(request(&authority, "GET", "/v2/").unwrap().head.status(), 204);
        let (tell, told) = channel();
        let client = std::thread::spawn(move || {
            tell.send(request(&authority, "PATCH", "/v2/a").unwrap().head.status())
                .unwrap();
        });
        let exchange = held.reached(Duration::from_secs(30)).unwrap();
        assert_eq!((exchange.target.as_str(), exchange.status), ("/v2/a", 204));
        assert!(told.try_recv().is_err());
        drop(held);
        assert_eq!(told.recv().unwrap(), 204);
        client.join().unwrap();
        server.join().unwrap();
    }

    #[test]
    fn what_is_not_http_reaches_the_server_and_its_answer_the_client() {
        use std::io::Read as _;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).unwrap();
            stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").unwrap();
            greeting
        });
        let mut client = TcpStream::connect(proxy.authority()).unwrap();
        client.write_all(b"\x16\x03\x01").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(server.join().unwrap(), *b"\x16\x03\x01");
        assert_eq!(answer, "HTTP/1.0 400 Bad Request\r\n\r\n");
        assert!(proxy.since(0).is_empty());
    }
}
