//! What the shell owes the core: nothing is buffered in either direction, and a broken connection is told.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use registry_core::http::Service;
use registry_core::store::{BlobStore, Lifetimes, Location, StoreError, UploadStore};
use registry_core::{
    Algorithm, BlobRead, ByteStream, Digest, Hasher, LocalRegistry, Options, Runtime, UploadId,
};
use registry_storage::memory::MemoryKv;
use registry_storage::records::Records;
use server_actix_example::{TokioRuntime, serve};
use tokio::sync::watch;

const WHOLE: u64 = 64 << 20;
/// More than what two sockets on this machine hold between them, and far less than the whole.
const HELD_MAX: u64 = 24 << 20;
/// Nothing moves any more.
const STILL: Duration = Duration::from_millis(500);

/// A store that keeps no bytes: it counts them, and takes them only while its gate is open.
struct Counting {
    gate: watch::Sender<bool>,
    hash: Mutex<Option<(Hasher, u64)>>,
    produced: Arc<AtomicU64>,
    ended: mpsc::Sender<Result<u64, String>>,
}

#[async_trait]
impl UploadStore for Counting {
    fn location(&self, id: &UploadId) -> Location {
        Location::Object(id.to_string())
    }

    async fn received(&self, _id: &UploadId) -> Result<u64, StoreError> {
        Ok(self
            .hash
            .lock()
            .unwrap()
            .as_ref()
            .map_or(0, |(_, length)| *length))
    }

    async fn append(
        &self,
        _id: &UploadId,
        algorithm: Algorithm,
        _at: Option<u64>,
        mut bytes: ByteStream,
    ) -> Result<u64, StoreError> {
        let mut gate = self.gate.subscribe();
        let (mut hasher, mut length) = (Hasher::new(algorithm), 0);
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|error| {
                let _test_is_over = self.ended.send(Err(error.to_string()));
                StoreError::Sender(error)
            })?;
            hasher.update(&piece);
            length += piece.len() as u64;
            gate.wait_for(|open| *open)
                .await
                .expect("the gate is kept by the store");
        }
        *self.hash.lock().unwrap() = Some((hasher, length));
        let _test_is_over = self.ended.send(Ok(length));
        Ok(length)
    }

    async fn seal(&self, _id: &UploadId, digest: &Digest) -> Result<u64, StoreError> {
        let (hasher, length) = self.hash.lock().unwrap().clone().expect("bytes were appended");
        let actual = hasher.finish();
        if actual == *digest {
            Ok(length)
        } else {
            Err(StoreError::DigestMismatch { actual })
        }
    }

    async fn discard(&self, _id: &UploadId) {}
}

#[async_trait]
impl BlobStore for Counting {
    async fn read(&self, _location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        let produced = Arc::clone(&self.produced);
        Ok(BlobRead::Stream(Box::pin(
            stream::iter(pieces(range.end - range.start)).map(move |piece| {
                produced.fetch_add(piece.len() as u64, Ordering::SeqCst);
                Ok(piece)
            }),
        )))
    }

    async fn size(&self, _location: &Location) -> Result<Option<u64>, StoreError> {
        Ok(self.hash.lock().unwrap().as_ref().map(|(_, length)| *length))
    }

    async fn unlink(&self, _location: &Location) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, _after: Option<&Location>, _limit: usize) -> Result<Vec<Location>, StoreError> {
        Ok(Vec::new())
    }
}

/// `length` bytes, as they are asked for.
fn pieces(length: u64) -> impl Iterator<Item = Bytes> + Send {
    static PIECE: [u8; 64 << 10] = [7; 64 << 10];
    (0..length.div_ceil(64 << 10))
        .map(move |n| Bytes::from_static(&PIECE[..(length - (n << 16)).min(64 << 10) as usize]))
}

fn digest(length: u64) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    pieces(length).for_each(|piece| hasher.update(&piece));
    hasher.finish()
}

struct Running {
    address: SocketAddr,
    store: Arc<Counting>,
    ended: mpsc::Receiver<Result<u64, String>>,
    server: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends").expect("without an error");
        }
    }
}

fn start(open: bool) -> Running {
    let (ended, told) = mpsc::channel();
    let (begun, running) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current());
            let store = Arc::new(Counting {
                gate: watch::channel(open).0,
                hash: Mutex::default(),
                produced: Arc::default(),
                ended,
            });
            let records = Records::new(
                Arc::new(MemoryKv::new()),
                Arc::clone(&runtime),
                Lifetimes::default(),
            );
            let registry = LocalRegistry::new(
                Arc::new(records),
                store.clone(),
                store.clone(),
                Arc::clone(&runtime),
                Options::default(),
            );
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let server = serve(Service::new(Arc::new(registry), runtime), listener)?;
            begun
                .send((address, store, server.handle()))
                .expect("the test waits");
            server.await
        })
    });
    let (address, store, server) = running.recv().expect("the server runs");
    Running {
        address,
        store,
        ended: told,
        server,
        thread: Some(thread),
    }
}

struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(running: &Running) -> Self {
        let stream = TcpStream::connect(running.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time limit");
        let reader = BufReader::new(stream.try_clone().expect("a second hand"));
        Client { stream, reader }
    }

    fn ask(&mut self, method: &str, target: &str, headers: &str) {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: registry\r\n{headers}\r\n");
        self.stream.write_all(head.as_bytes()).expect("a request");
    }

    /// The head of an answer: its status line and its headers, names in lower case.
    fn answer(&mut self) -> (String, Vec<(String, String)>) {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("a head");
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let status = lines.remove(0);
        let headers = lines.iter().filter_map(|line| line.split_once(": "));
        (
            status,
            headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
        )
    }

    fn begin_upload(&mut self) -> String {
        self.ask("POST", "/v2/a/blobs/uploads/", "Content-Length: 0\r\n");
        let (status, headers) = self.answer();
        assert!(status.contains("202"), "{status}");
        header(&headers, "location").to_owned()
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    let found = headers.iter().find(|(found, _)| found == name);
    found
        .map(|(_, value)| value.as_str())
        .unwrap_or_else(|| panic!("no {name} in {headers:?}"))
}

/// Pushes a blob, all at once.
fn push(client: &mut Client, length: u64) -> Digest {
    let (location, digest) = (client.begin_upload(), digest(length));
    client.ask(
        "PUT",
        &format!("{location}?digest={digest}"),
        &format!("Content-Length: {length}\r\n"),
    );
    for piece in pieces(length) {
        client.stream.write_all(&piece).expect("the server takes all");
    }
    let (status, _) = client.answer();
    assert!(status.contains("201"), "{status}");
    digest
}

#[test]
fn the_server_stops_reading_when_the_registry_does_and_goes_on_when_it_does() {
    let running = start(false);
    let mut client = Client::connect(&running);
    let location = client.begin_upload();
    client.ask("PATCH", &location, &format!("Content-Length: {WHOLE}\r\n"));

    client
        .stream
        .set_write_timeout(Some(STILL))
        .expect("a time limit");
    let (mut written, piece) = (0, vec![7; 64 << 10]);
    let stuck = loop {
        match client.stream.write(&piece) {
            Ok(taken) => written += taken as u64,
            Err(error) => break error,
        }
        assert!(written < HELD_MAX, "{written} bytes were taken that nobody reads");
    };
    assert!(
        matches!(stuck.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        "{stuck}"
    );

    running.store.gate.send_replace(true);
    client
        .stream
        .set_write_timeout(Some(Duration::from_secs(30)))
        .expect("a time limit");
    while written < WHOLE {
        let left = (WHOLE - written).min(piece.len() as u64) as usize;
        client
            .stream
            .write_all(&piece[..left])
            .expect("the server goes on");
        written += left as u64;
    }
    let (status, headers) = client.answer();
    assert!(status.contains("202"), "{status}");
    assert_eq!(header(&headers, "range"), format!("0-{}", WHOLE - 1));
    let digest = digest(WHOLE);
    client.ask(
        "PUT",
        &format!("{location}?digest={digest}"),
        "Content-Length: 0\r\n",
    );
    assert!(client.answer().0.contains("201"));
}

#[test]
fn the_registry_is_read_no_faster_than_the_client_reads() {
    let running = start(true);
    let mut client = Client::connect(&running);
    let digest = push(&mut client, WHOLE);
    client.ask("GET", &format!("/v2/a/blobs/{digest}"), "");
    let (status, headers) = client.answer();
    assert!(status.contains("200"), "{status}");
    assert_eq!(header(&headers, "content-length"), WHOLE.to_string());

    let mut produced = 0;
    loop {
        std::thread::sleep(STILL);
        let now = running.store.produced.load(Ordering::SeqCst);
        if now == produced && now > 0 {
            break;
        }
        produced = now;
    }
    assert!(
        produced < HELD_MAX,
        "{produced} bytes were produced that nobody reads"
    );

    let mut hasher = Hasher::new(Algorithm::Sha256);
    let (mut left, mut buffer) = (WHOLE, vec![0; 64 << 10]);
    while left > 0 {
        let want = left.min(buffer.len() as u64) as usize;
        client.reader.read_exact(&mut buffer[..want]).expect("the rest");
        hasher.update(&buffer[..want]);
        left -= want as u64;
    }
    assert_eq!(hasher.finish(), digest);
    assert_eq!(running.store.produced.load(Ordering::SeqCst), WHOLE);
}

#[test]
fn head_announces_the_length_and_sends_no_body() {
    let running = start(true);
    let mut client = Client::connect(&running);
    let digest = push(&mut client, 100_000);
    for _ in 0..2 {
        client.ask("HEAD", &format!("/v2/a/blobs/{digest}"), "");
        let (status, headers) = client.answer();
        assert!(status.contains("200"), "{status}");
        assert_eq!(header(&headers, "content-length"), "100000");
        assert_eq!(header(&headers, "docker-content-digest"), digest.to_string());
        // Had it sent a body, this would be in the way.
        client.ask("GET", "/v2/", "");
        assert!(client.answer().0.contains("200"));
        client.reader.read_exact(&mut [0; 2]).expect("{}");
    }
}

#[test]
fn a_client_that_goes_away_is_an_error_at_the_end_of_its_bytes() {
    for chunked in [false, true] {
        let running = start(true);
        let mut client = Client::connect(&running);
        let location = client.begin_upload();
        let (framing, body) = match chunked {
            false => ("Content-Length: 1000000\r\n", "half of it".to_owned()),
            true => ("Transfer-Encoding: chunked\r\n", "a\r\nhalf of it\r\n".to_owned()),
        };
        client.ask("PATCH", &location, framing);
        client.stream.write_all(body.as_bytes()).expect("some bytes");
        drop(client);
        let ended = running
            .ended
            .recv_timeout(Duration::from_secs(30))
            .expect("the registry is told");
        assert!(ended.is_err(), "a part was taken for the whole: {ended:?}");
    }
}

/// The program itself, stopped when the test is over.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn program(arguments: &[&str]) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server-actix-example"));
    Program(
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts"),
    )
}

#[test]
fn the_program_prints_where_it_listens_and_serves_there() {
    let mut program = program(&["--listen", "127.0.0.1:0", "--print-address"]);
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("a line");
    let address: SocketAddr = line.trim().parse().expect("an address and nothing else");
    let mut stream = TcpStream::connect(address).expect("it listens by then");
    stream
        .write_all(b"GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("an answer");
    assert!(answer.contains("200"), "{answer}");
}

#[test]
fn the_program_refuses_to_be_open_to_others() {
    let mut program = program(&["--listen", "0.0.0.0:0"]);
    assert!(!program.0.wait().expect("it ends").success());
}
