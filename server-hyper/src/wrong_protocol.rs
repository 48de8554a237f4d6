//! Clients that speak plain HTTP to a port with TLS, or TLS to one without: what they are told, and what the log says.
//!
//! Neither is rare: a scheme that is left away is guessed, and each client guesses otherwise.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How often the log says of one server that clients get it wrong.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// As much of a request's head as is looked at for its host.
const HEAD: usize = 8 << 10;
/// How long the rest of such a head is waited for, and of what is sent after it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most of what is still taken after the answer.
const LINGER_BYTES: usize = 64 << 10;

/// Says in the log that clients get the protocol of a server wrong, but not for each of them.
#[derive(Debug, Default)]
pub(crate) struct Hint(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    unsaid: u64,
}

impl Hint {
    /// Counts a client. If it is time to say so: how many have come since the last time.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.unsaid += 1;
        if said.last.is_some_and(|last| now < last + SAID_EVERY) {
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.unsaid))
    }

    /// A client spoke plain HTTP, and was told what to do.
    pub(crate) fn plain_http(&self, remote: SocketAddr) {
        if let Some(clients) = self.count(Instant::now()) {
            tracing::warn!(
                %remote,
                clients,
                "plain HTTP on a port that speaks HTTPS; the client was told to use https://"
            );
        }
    }

    /// A client spoke TLS, and can be told nothing that it understands.
    fn tls(&self, remote: SocketAddr) {
        if let Some(clients) = self.count(Instant::now()) {
            tracing::warn!(
                %remote,
                clients,
                "TLS on a port that speaks plain HTTP (clients say: server gave HTTP response to HTTPS client); serve with \
                 --tls-self-signed or tls.certificate, or tell the client to use plain HTTP: docker by \
                 insecure-registries, podman and skopeo by --tls-verify=false"
            );
        }
    }
}

/// Looks at the first bytes of a connection without TLS.
#[derive(Debug)]
pub(crate) struct Greeting {
    pub(crate) hint: Arc<Hint>,
    pub(crate) remote: SocketAddr,
}

impl Greeting {
    /// `first` is what was read first, at least a byte. What follows is the same either way: the HTTP server cannot read a
    /// handshake and answers 400, by which clients written in Go know that this is HTTP, say so, and try that if they may.
    pub(crate) fn look(self, first: &[u8]) {
        if is_handshake(first) {
            self.hint.tls(self.remote);
        }
    }
}

/// Whether this begins a TLS connection: a record with a handshake (RFC 8446 §5.1), of which no text has the first byte.
fn is_handshake(first: &[u8]) -> bool {
    matches!(first, [0x16] | [0x16, 3, ..])
}

/// Whether a connection that should begin with a TLS record begins with a request: with the first letter of its method.
pub(crate) async fn is_request(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let read = stream.peek(&mut first).await?;
    Ok(read == 1 && first[0].is_ascii_uppercase())
}

/// Tells a client that speaks plain HTTP what to do instead, in the form in which registry clients show messages.
pub(crate) async fn explain(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    // A head that does not end is answered all the same.
    if let Ok(read) = timeout(PATIENCE, read_head(stream, &mut head)).await {
        read?;
    }
    let host = match host(&head) {
        Some(host) => host.to_string(),
        None => stream.local_addr()?.to_string(),
    };
    let message = format!(
        "this port speaks HTTPS, and the request was sent over plain HTTP: use https://{host} instead"
    );
    let body =
        serde_json::json!({ "errors": [{ "code": "UNSUPPORTED", "message": message }] }).to_string() + "\n";
    let mut response = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    if !head.starts_with(b"HEAD ") {
        response.push_str(&body);
    }
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with bytes unread would reset the connection, and the client might never see the answer.
    let mut rest = [0; 1024];
    let mut taken = 0;
    while taken < LINGER_BYTES {
        match timeout(PATIENCE, stream.read(&mut rest)).await {
            Ok(Ok(read)) if read > 0 => taken += read,
            _ended => break,
        }
    }
    Ok(())
}

/// Reads to the end of a request's head, or as much of it as is looked at.
async fn read_head(stream: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 1024];
    while head.len() < HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece).await? {
            0 => break,
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    Ok(())
}

/// The host and port that the client meant, if that is what it says.
fn host(head: &[u8]) -> Option<Authority> {
    let head = std::str::from_utf8(head).ok()?;
    let value = head.split("\r\n").skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    })?;
    let authority: Authority = value.parse().ok()?;
    (!authority.host().is_empty() && !value.contains('@')).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_it_once_a_minute_and_for_how_many() {
        let hint = Hint::default();
        let begin = Instant::now();
        assert_eq!(hint.count(begin), Some(1));
        for _ in 0..1000 {
            assert_eq!(hint.count(begin), None);
        }
        assert_eq!(hint.count(begin + SAID_EVERY - Duration::from_millis(1)), None);
        assert_eq!(hint.count(begin + SAID_EVERY), Some(1002));
        assert_eq!(hint.count(begin + SAID_EVERY), None);
    }

    #[test]
    fn only_a_handshake_is_taken_for_one() {
        for first in [&[0x16][..], &[0x16, 3], &[0x16, 3, 1, 2, 0]] {
            assert!(is_handshake(first), "{first:?}");
        }
        for first in [
            &b"GET / HTTP/1.1"[..],
            b"PRI * HTTP/2.0",
            &[0x16, 4],
            &[0x15, 3, 1],
            &[3, 0x16],
            b"",
        ] {
            assert!(!is_handshake(first), "{first:?}");
        }
    }

    #[test]
    fn the_host_is_the_one_that_the_client_says_and_nothing_else() {
        let said = |line: &str| host(format!("GET /v2/ HTTP/1.1\r\naccept: x\r\n{line}\r\n\r\n").as_bytes());
        for (line, expected) in [
            ("Host: registry.example:5000", Some("registry.example:5000")),
            ("HOST:[::1]:80", Some("[::1]:80")),
            ("host: a", Some("a")),
            ("x-host: a", None),
            ("host:", None),
            ("host: a b", None),
            ("host: user@a", None),
            ("host: a/\"b\"", None),
            ("host: :80", None),
        ] {
            assert_eq!(said(line).as_ref().map(Authority::as_str), expected, "{line}");
        }
        assert_eq!(host(b"host: a\r\n\r\n"), None, "this is the request line");
        assert_eq!(host(&[0xff; 10]), None);
    }
}
