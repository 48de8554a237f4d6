//! One keep-alive connection that spends as little as it can on an answer.

use std::io;
use std::net::SocketAddr;

use std::sync::Arc;

use rustls::ClientConfig;

use super::Target;
use super::content::{INDEX, MANIFEST};
use super::wire::{MOST, Wire};

/// Bytes of a head, with what comes behind it in one piece.
const HEAD: usize = 16 << 10;

/// A request whose head is made.
#[derive(Clone, Debug)]
pub struct Request {
    head: Vec<u8>,
    is_head: bool,
}

impl Request {
    /// With these lines of headers, each with its line end, and a body of `length` bytes that is sent apart.
    pub fn new(method: &str, target: &str, headers: &str, length: Option<u64>) -> Self {
        let length = length.map(|length| format!("Content-Length: {length}\r\n"));
        let length = length.unwrap_or_default();
        Request {
            head: format!("{method} {target} HTTP/1.1\r\nHost: registry.test\r\n{length}{headers}\r\n")
                .into_bytes(),
            is_head: method == "HEAD",
        }
    }

    /// A GET or HEAD of a manifest, by a client that knows OCI's: some servers hide from others what they do not accept.
    pub fn manifest(method: &str, target: &str) -> Self {
        Self::new(
            method,
            target,
            &format!("Accept: {MANIFEST}\r\nAccept: {INDEX}\r\n"),
            None,
        )
    }

    /// A GET or HEAD of anything else.
    pub fn get(method: &str, target: &str) -> Self {
        Self::new(method, target, "Accept: */*\r\n", None)
    }
}

/// What a server answers, before its body.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The `Location`.
    pub location: Option<String>,
    length: u64,
    is_chunked: bool,
    closes: bool,
}

impl Head {
    /// The head, if it has one of these statuses.
    ///
    /// # Errors
    /// If it has another.
    pub fn expect(self, statuses: &[u16]) -> io::Result<Self> {
        match statuses.contains(&self.status) {
            true => Ok(self),
            false => Err(io::Error::other(format!(
                "status {} instead of {statuses:?}",
                self.status
            ))),
        }
    }
}

/// A connection to a server, made anew when the server has closed it.
pub struct Connection {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    stream: Option<Wire>,
    /// What was received and not yet used: a head, and what came with it.
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
    sink: Vec<u8>,
    /// Requests so far.
    pub requests: u64,
}

impl Connection {
    /// Not connected until the first request.
    pub fn to(target: &Target) -> Self {
        Connection {
            address: target.address,
            tls: target.tls.clone(),
            stream: None,
            buffer: vec![0; HEAD],
            used: 0,
            filled: 0,
            sink: vec![0; MOST],
            requests: 0,
        }
    }

    /// Sends a request and its body, and reads the head of the answer, whose body is dropped. How many bytes that was.
    ///
    /// # Errors
    /// If the connection fails, the answer is not HTTP, or its status is none of these.
    pub async fn ask(
        &mut self,
        request: &Request,
        body: &[&[u8]],
        statuses: &[u16],
    ) -> io::Result<(Head, u64)> {
        let head = self.send(request, body).await?;
        let dropped = self.drop_body(&head).await?;
        Ok((head.expect(statuses)?, dropped))
    }

    /// The same, with the body of the answer.
    ///
    /// # Errors
    /// As [`ask`](Connection::ask).
    pub async fn read(
        &mut self,
        request: &Request,
        body: &[&[u8]],
        statuses: &[u16],
    ) -> io::Result<(Head, Vec<u8>)> {
        let head = self.send(request, body).await?;
        let mut bytes = Vec::new();
        if head.is_chunked {
            self.chunks(Some(&mut bytes)).await?;
        } else {
            self.take(head.length, Some(&mut bytes)).await?;
        }
        self.ended(&head);
        Ok((head.expect(statuses)?, bytes))
    }

    async fn send(&mut self, request: &Request, body: &[&[u8]]) -> io::Result<Head> {
        self.requests += 1;
        if self.stream.is_none() {
            let stream = Wire::connect(self.address, self.tls.as_ref()).await?;
            (self.stream, self.used, self.filled) = (Some(stream), 0, 0);
        }
        let stream = self.stream.as_mut().expect("there is one");
        // Small bodies go with their head, as clients send them.
        let small: usize = body.iter().map(|part| part.len()).sum();
        if small > 0 && small <= HEAD {
            let whole = [&[request.head.as_slice()], body].concat().concat();
            stream.write_all(&whole).await?;
        } else {
            stream.write_all(&request.head).await?;
            for part in body {
                stream.write_all(part).await?;
            }
        }
        let head = self.head(request.is_head).await;
        if head.is_err() {
            self.stream = None;
        }
        head
    }

    async fn head(&mut self, is_head: bool) -> io::Result<Head> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 48];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response
                .parse(&self.buffer[self.used..self.filled])
                .map_err(io::Error::other)?;
            if let httparse::Status::Complete(length) = parsed {
                let head = understood(&response, is_head)?;
                self.used += length;
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    /// Receives more behind what there is.
    async fn fill(&mut self) -> io::Result<()> {
        if self.used > 0 {
            self.buffer.copy_within(self.used..self.filled, 0);
            (self.used, self.filled) = (0, self.filled - self.used);
        }
        if self.filled == self.buffer.len() {
            return Err(io::Error::other("the head of the answer is too long"));
        }
        let stream = self.stream.as_mut().expect("there is one");
        match stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            more => {
                self.filled += more;
                Ok(())
            }
        }
    }

    async fn drop_body(&mut self, head: &Head) -> io::Result<u64> {
        let dropped = match head.is_chunked {
            true => self.chunks(None).await,
            false => self.take(head.length, None).await.map(|()| head.length),
        };
        self.ended(head);
        if dropped.is_err() {
            self.stream = None;
        }
        dropped
    }

    fn ended(&mut self, head: &Head) {
        if head.closes {
            self.stream = None;
        }
    }

    /// Takes so many bytes, from the buffer and then from the connection.
    async fn take(&mut self, length: u64, mut kept: Option<&mut Vec<u8>>) -> io::Result<()> {
        let here = ((self.filled - self.used) as u64).min(length) as usize;
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&self.buffer[self.used..self.used + here]);
        }
        self.used += here;
        let mut left = length - here as u64;
        let stream = self.stream.as_mut().expect("there is one");
        while left > 0 {
            let most = left.min(MOST as u64) as usize;
            let sink = &mut self.sink[..most];
            let taken = match &mut kept {
                Some(kept) => {
                    let taken = stream.read(sink).await?;
                    kept.extend_from_slice(&sink[..taken]);
                    taken
                }
                None => stream.drop_some(sink).await?,
            };
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= taken as u64;
        }
        Ok(())
    }

    /// Takes a chunked body. How many bytes it had.
    async fn chunks(&mut self, mut kept: Option<&mut Vec<u8>>) -> io::Result<u64> {
        let mut total = 0;
        loop {
            let line = self.line().await?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size)
                .ok()
                .and_then(|size| u64::from_str_radix(size.trim(), 16).ok())
                .ok_or_else(|| io::Error::other("a chunk has no size"))?;
            self.take(size, kept.as_deref_mut()).await?;
            self.line().await?;
            if size == 0 {
                return Ok(total);
            }
            total += size;
        }
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let here = &self.buffer[self.used..self.filled];
            if let Some(end) = here.windows(2).position(|two| two == b"\r\n") {
                let line = here[..end].to_vec();
                self.used += end + 2;
                return Ok(line);
            }
            self.fill().await?;
        }
    }
}

fn understood(response: &httparse::Response<'_, '_>, is_head: bool) -> io::Result<Head> {
    let status = response.code.unwrap_or_default();
    let mut head = Head {
        status,
        location: None,
        length: 0,
        is_chunked: false,
        closes: response.version == Some(0),
    };
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            head.length = value.parse().map_err(|_| io::Error::other("no length"))?;
        } else if is("transfer-encoding") {
            head.is_chunked = value.eq_ignore_ascii_case("chunked");
        } else if is("location") {
            head.location = Some(value.to_owned());
        } else if is("connection") {
            head.closes |= value.eq_ignore_ascii_case("close");
        }
    }
    if is_head || status == 204 || status == 304 {
        (head.length, head.is_chunked) = (0, false);
    }
    Ok(head)
}
