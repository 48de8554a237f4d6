//! Just enough HTTP/1.1 for a counting proxy and for asking a registry on loopback what it holds.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The start line and headers of a message, with the bytes they came in.
pub(crate) struct Head {
    pub(crate) bytes: Vec<u8>,
    pub(crate) start: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads one head, or nothing if the peer has closed between messages.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut lines = Vec::new();
        loop {
            let start = bytes.len();
            if from.read_until(b'\n', &mut bytes)? == 0 {
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "closed within a head");
                return if bytes.is_empty() { Ok(None) } else { Err(cut) };
            }
            let line = String::from_utf8_lossy(&bytes[start..]).trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut lines = lines.into_iter();
        let start = lines.next().unwrap_or_default();
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        });
        Ok(Some(Self {
            headers: headers.collect(),
            bytes,
            start,
        }))
    }

    /// The first value of a header, whose name is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The status code, if this is the head of a response.
    pub(crate) fn status(&self) -> u16 {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0)
    }

    fn framing(&self, otherwise: Framing) -> Framing {
        if self
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            return Framing::Chunked;
        }
        self.header("content-length")
            .and_then(|value| value.parse().ok())
            .map_or(otherwise, Framing::Length)
    }

    /// How the body of this request ends.
    pub(crate) fn request_framing(&self) -> Framing {
        self.framing(Framing::Length(0))
    }

    /// How the body of this response to a `method` request ends.
    pub(crate) fn response_framing(&self, method: &str) -> Framing {
        match self.status() {
            100..=199 | 204 | 304 => Framing::Length(0),
            _ if method == "HEAD" => Framing::Length(0),
            _ => self.framing(Framing::UntilClose),
        }
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Copies one body. What is copied keeps its framing; `seen` is told the number of content bytes as they pass.
pub(crate) fn copy_body(
    from: &mut impl BufRead,
    to: &mut impl Write,
    framing: Framing,
    mut seen: impl FnMut(u64),
) -> io::Result<()> {
    match framing {
        Framing::Length(length) => copy_exactly(from, to, length, &mut seen),
        Framing::UntilClose => loop {
            let part = from.fill_buf()?;
            if part.is_empty() {
                return to.flush();
            }
            to.write_all(part)?;
            let length = part.len();
            seen(length as u64);
            from.consume(length);
        },
        Framing::Chunked => loop {
            let mut line = Vec::new();
            from.read_until(b'\n', &mut line)?;
            to.write_all(&line)?;
            let text = String::from_utf8_lossy(&line);
            let size = text.trim_end().split(';').next().unwrap_or_default();
            let bad = |_| io::Error::new(io::ErrorKind::InvalidData, format!("chunk size {text:?}"));
            let size = u64::from_str_radix(size, 16).map_err(bad)?;
            if size == 0 {
                return copy_trailers(from, to);
            }
            copy_exactly(from, to, size, &mut seen)?;
            copy_exactly(from, to, 2, &mut |_| ())?;
        },
    }
}

fn copy_exactly(
    from: &mut impl BufRead,
    to: &mut impl Write,
    length: u64,
    seen: &mut impl FnMut(u64),
) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let part = from.fill_buf()?;
        if part.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed within a body",
            ));
        }
        let take = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        to.write_all(&part[..take])?;
        seen(take as u64);
        left -= take as u64;
        from.consume(take);
    }
    to.flush()
}

fn copy_trailers(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        let read = from.read_until(b'\n', &mut line)?;
        to.write_all(&line)?;
        if read == 0 || line == b"\r\n" || line == b"\n" {
            return to.flush();
        }
    }
}

/// A whole response.
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// What of manifests a request accepts: everything that a registry may hold.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";

/// Sends one request without a body to `authority` (`127.0.0.1:PORT`) and reads the whole answer.
pub(crate) fn request(authority: &str, method: &str, target: &str) -> Result<Response> {
    send(authority, method, target, &[], b"")
}

/// Sends one request with these headers, whose names are in lower case, and this body, and reads the whole answer.
pub(crate) fn send(
    authority: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    exchange(authority, method, target, headers, body)
        .with_context(|| format!("{method} {target} at {authority}"))
}

fn exchange(
    authority: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nAccept: {ACCEPT}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader)?.context("closed without an answer")?;
    let framing = head.response_framing(method);
    let mut body = Vec::new();
    if framing == Framing::Chunked {
        let mut raw = Vec::new();
        reader.read_to_end(&mut raw)?;
        body = unchunk(&raw)?;
    } else {
        copy_body(&mut reader, &mut body, framing, |_| ())?;
    }
    Ok(Response { head, body })
}

fn unchunk(mut raw: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = raw
            .windows(2)
            .position(|two| two == b"\r\n")
            .context("a chunk without an end")?;
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..end])?.trim(), 16)?;
        if size == 0 {
            return Ok(body);
        }
        ensure!(raw.len() >= end + 4 + size, "a chunk was cut off");
        body.extend_from_slice(&raw[end + 2..end + 2 + size]);
        raw = &raw[end + 4 + size..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_passes_unchanged_and_its_content_is_counted() {
        let message = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nNEXT";
        let mut reader = &message[..];
        let (mut copied, mut count) = (Vec::new(), 0);
        copy_body(&mut reader, &mut copied, Framing::Chunked, |bytes| count += bytes).unwrap();
        assert_eq!(copied, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_eq!((count, reader), (5, &b"NEXT"[..]));
        assert_eq!(unchunk(&copied).unwrap(), b"abcde");
    }

    #[test]
    fn a_head_answer_has_no_body_whatever_its_length_says() {
        let mut text = &b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"[..];
        let head = Head::read(&mut text).unwrap().unwrap();
        assert_eq!(head.status(), 200);
        assert_eq!(head.response_framing("HEAD"), Framing::Length(0));
        assert_eq!(head.response_framing("GET"), Framing::Length(99));
    }
}
