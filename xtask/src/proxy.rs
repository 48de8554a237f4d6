//! A proxy on loopback that passes everything on unchanged and writes down what it saw, so that a check can
//! tell whether a client mounted a layer or sent its bytes again, without trusting the server's own word.

use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use anyhow::Result;

use crate::http1::{Head, copy_body};

/// One request and its answer.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    sent: Arc<AtomicU64>,
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
        }
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
    log: Arc<Mutex<Vec<Exchange>>>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy for `upstream` on a port that the system chooses.
    pub(crate) fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&log), Arc::clone(&stop));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let log = Arc::clone(&shared);
                // A failed connection is the client's to report: it sees the close.
                std::thread::spawn(move || serve(client, upstream, &log));
            }
        });
        Ok(Self { address, log, stop })
    }

    /// `127.0.0.1:PORT`, as clients write it.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// How many exchanges there have been; a start for [`Self::since`].
    pub(crate) fn mark(&self) -> usize {
        self.log.lock().expect("no holder panics").len()
    }

    /// The exchanges after `mark`.
    pub(crate) fn since(&self, mark: usize) -> Vec<Exchange> {
        self.log.lock().expect("no holder panics")[mark..].to_vec()
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
}

fn serve(client: TcpStream, upstream: SocketAddr, log: &Mutex<Vec<Exchange>>) -> io::Result<()> {
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
        let passed = pass_responses(server, &client, &answered, log);
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
    log: &Mutex<Vec<Exchange>>,
) -> io::Result<()> {
    let mut from = BufReader::with_capacity(64 << 10, from);
    while let Some(head) = Head::read(&mut from)? {
        if head.status() / 100 == 1 {
            to.write_all(&head.bytes)?;
            continue;
        }
        let Ok(Pending { method, target, sent }) = answered.recv() else {
            return Ok(());
        };
        let framing = head.response_framing(&method);
        // Written down before it is passed on, so that a client that has ended has nothing unrecorded.
        log.lock().expect("no holder panics").push(Exchange {
            method,
            target,
            status: head.status(),
            sent,
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
