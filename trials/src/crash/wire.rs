//! A blocking HTTP/1.1 client of one keep-alive connection that reads all of what it is answered, also when it was
//! answered before it had sent everything.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest wait for an answer: a server that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pieces in which a body is read.
const PIECES: u64 = 32;

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// With its length.
    Length,
    /// In pieces of unannounced number.
    Chunked,
}

/// One connection, made when it is needed.
pub struct Wire {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
    /// How long the body of the next answer is to take.
    pace: Duration,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The header fields, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(field, _)| field == name)?;
        Some(&field.1)
    }

    /// The status and the beginning of the body, for a message.
    pub fn shown(&self) -> String {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(300).collect();
        format!("{} {body}", self.status)
    }
}

impl Wire {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Wire {
            address,
            stream: None,
            pace: Duration::ZERO,
        }
    }

    /// Takes so long to read the body of the next answer.
    pub fn slowly(&mut self, pace: Duration) {
        self.pace = pace;
    }

    /// Sends a request and reads the answer. After an error the next request makes a new connection.
    ///
    /// # Errors
    /// If no whole answer came.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Option<(Framing, &[u8])>,
    ) -> io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                BufReader::with_capacity(64 << 10, stream)
            }
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: berth\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match body {
            Some((Framing::Chunked, _)) => head.push_str("Transfer-Encoding: chunked\r\n"),
            Some((Framing::Length, bytes)) => head.push_str(&format!("Content-Length: {}\r\n", bytes.len())),
            None if matches!(method, "GET" | "HEAD") => {}
            None => head.push_str("Content-Length: 0\r\n"),
        }
        head.push_str("\r\n");
        let sent = send(stream.get_mut(), head.as_bytes(), body);
        // A refusal may come before the body was read; then it tells more than the broken pipe does.
        let pace = std::mem::take(&mut self.pace);
        let (reply, stays) = match read(&mut stream, method == "HEAD", pace) {
            Ok(answer) => answer,
            Err(error) => return Err(sent.err().unwrap_or(error)),
        };
        if stays && sent.is_ok() {
            self.stream = Some(stream);
        }
        Ok(reply)
    }
}

fn send(stream: &mut TcpStream, head: &[u8], body: Option<(Framing, &[u8])>) -> io::Result<()> {
    stream.write_all(head)?;
    match body {
        None => Ok(()),
        Some((Framing::Length, bytes)) => stream.write_all(bytes),
        Some((Framing::Chunked, bytes)) => {
            for piece in bytes.chunks(24 << 10) {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
                stream.write_all(piece)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")
        }
    }
}

/// The answer, and whether the connection stays.
fn read(stream: &mut BufReader<TcpStream>, bodiless: bool, pace: Duration) -> io::Result<(Reply, bool)> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 || !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status: u16 = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| bad("the answer has no status"))?;
    let mut reply = Reply {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    };
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        reply
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let stays = !reply
        .header("connection")
        .is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if !bodiless && !matches!(status, 204 | 304) {
        let length: u64 = reply
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .ok_or_else(|| bad("the answer has no length"))?;
        for piece in 0..PIECES {
            let until = length * (piece + 1) / PIECES;
            let missing = until - reply.body.len() as u64;
            if pace > Duration::ZERO {
                std::thread::sleep(pace / PIECES as u32);
            }
            stream.take(missing).read_to_end(&mut reply.body)?;
        }
        if (reply.body.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((reply, stays))
}
