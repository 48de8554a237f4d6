//! A stream of bytes to a server, plain or under TLS, whose bytes can be dropped without being looked at.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::net::{RecvFlags, recv};
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

use super::tls::records::{CONTENT, HEAD, Keys, Opened, RECORD, TAIL, length};
use super::tls::shake_hands;

/// Bytes that are received at once, at most.
pub(super) const MOST: usize = 1 << 20;

/// Of one connection.
pub(super) struct Wire {
    stream: TcpStream,
    sealed: Option<Box<Sealed>>,
}

/// What lies between the stream and its content.
struct Sealed {
    sends: Keys,
    receives: Keys,
    /// Records as they came.
    buffer: Vec<u8>,
    /// What of the buffer was received and not opened.
    closed: Range<usize>,
    /// What of it was opened and not used.
    open: Range<usize>,
}

impl Wire {
    /// Connects. The handshake blocks the thread: it is over before anything is measured that takes long.
    pub(super) async fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Some(config) = tls else {
            return Ok(Wire { stream, sealed: None });
        };
        let mut stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        let tls = ClientConnection::new(config.clone(), address.ip().into()).map_err(io::Error::other)?;
        let [sends, receives] = shake_hands(&mut stream, tls.into())?;
        stream.set_nonblocking(true)?;
        Ok(Wire {
            stream: TcpStream::from_std(stream)?,
            sealed: Some(Box::new(Sealed {
                sends,
                receives,
                buffer: vec![0; MOST],
                closed: 0..0,
                open: 0..0,
            })),
        })
    }

    /// Sends all of it.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(sealed) = &mut self.sealed else {
            return self.stream.write_all(bytes).await;
        };
        let mut records = Vec::new();
        for several in bytes.chunks(16 * CONTENT) {
            records.clear();
            for content in several.chunks(CONTENT) {
                let from = records.len();
                records.resize(from + HEAD, 0);
                records.extend_from_slice(content);
                records.resize(from + HEAD + content.len() + TAIL, 0);
                sealed.sends.seal(&mut records[from..], content.len());
            }
            self.stream.write_all(&records).await?;
        }
        Ok(())
    }

    /// Receives some bytes; none at the end.
    pub(super) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(sealed) = &mut self.sealed else {
            return self.stream.read(into).await;
        };
        if !sealed.fill(&mut self.stream).await? {
            return Ok(0);
        }
        let length = sealed.open.len().min(into.len());
        into[..length].copy_from_slice(&sealed.buffer[sealed.open.start..][..length]);
        sealed.open.start += length;
        Ok(length)
    }

    /// Receives some bytes, no more than `sink` has room for, and drops them: plain ones where they lie in the kernel. How many; none at
    /// the end.
    pub(super) async fn drop_some(&mut self, sink: &mut [u8]) -> io::Result<usize> {
        if let Some(sealed) = &mut self.sealed {
            if !sealed.fill(&mut self.stream).await? {
                return Ok(0);
            }
            let length = sealed.open.len().min(sink.len());
            sealed.open.start += length;
            return Ok(length);
        }
        let stream = &self.stream;
        let dropped = stream.async_io(Interest::READABLE, || {
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            Ok(recv(stream.as_fd(), &mut *sink, flags)?.1)
        });
        dropped.await
    }
}

impl Sealed {
    /// Opens a record if none is open. Whether there is one; there is none once the peer has ended.
    async fn fill(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        while self.open.is_empty() {
            let here = &mut self.buffer[self.closed.clone()];
            match length(here)? {
                Some(length) if length <= here.len() => {
                    let opened = self.receives.open(&mut here[..length])?;
                    let content = self.closed.start + HEAD;
                    self.closed.start += length;
                    match opened {
                        Opened::Data(length) => self.open = content..content + length,
                        Opened::Nothing => {}
                        Opened::End => return Ok(false),
                    }
                }
                _ => {
                    // All but a part of a record was used: what is left is moved once for many of them.
                    if self.closed.is_empty() || self.closed.start + 2 * RECORD > self.buffer.len() {
                        self.buffer.copy_within(self.closed.clone(), 0);
                        self.closed = 0..self.closed.len();
                    }
                    match stream.read(&mut self.buffer[self.closed.end..]).await? {
                        0 => return Ok(false),
                        more => self.closed.end += more,
                    }
                }
            }
        }
        Ok(true)
    }
}
