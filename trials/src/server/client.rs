//! A blocking client of one keep-alive connection: as little as a measurement needs, so that what is measured is
//! the server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer, its body read whole or drained.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The `Location`, if there was one.
    pub location: Option<String>,
    /// The `Range`, if there was one.
    pub range: Option<String>,
    /// The length of the body.
    pub length: u64,
    /// The body, if it was asked for.
    pub body: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If it cannot.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Client {
            stream: BufReader::with_capacity(64 << 10, stream),
        })
    }

    /// Sends a request whose body is `length` bytes that `write` writes, and reads the answer; its body is kept if it
    /// is no longer than a MiB, else counted and dropped.
    ///
    /// # Errors
    /// If the connection fails, or the answer is not HTTP.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        length: u64,
        write: impl FnOnce(&mut TcpStream) -> io::Result<()>,
    ) -> io::Result<Reply> {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: berth\r\nContent-Length: {length}\r\n{headers}\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        write(stream)?;
        self.reply(method == "HEAD")
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    /// As [`send`](Client::send).
    pub fn get(&mut self, method: &str, path: &str) -> io::Result<Reply> {
        self.send(method, path, "", 0, |_| Ok(()))
    }

    fn reply(&mut self, bodiless: bool) -> io::Result<Reply> {
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| bad("no status"))?;
        let mut reply = Reply {
            status,
            location: None,
            range: None,
            length: 0,
            body: Vec::new(),
        };
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => reply.length = value.trim().parse().map_err(|_| bad("no length"))?,
                "location" => reply.location = Some(value.trim().to_owned()),
                "range" => reply.range = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        if !bodiless {
            let mut body = self.stream.by_ref().take(reply.length);
            if reply.length <= 1 << 20 {
                body.read_to_end(&mut reply.body)?;
            } else if io::copy(&mut body, &mut io::sink())? < reply.length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(reply)
    }
}

impl Reply {
    /// The reply, if it has this status.
    ///
    /// # Errors
    /// If it has another.
    pub fn expect(self, status: u16) -> io::Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        let body = String::from_utf8_lossy(&self.body).into_owned();
        Err(io::Error::other(format!(
            "status {} instead of {status}: {body}",
            self.status
        )))
    }
}
