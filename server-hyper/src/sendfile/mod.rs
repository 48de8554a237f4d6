//! Parts of files that go from the system's memory to a plain socket without passing through this process.
//!
//! hyper takes a body as slices of memory, and writes them to a transport. So the body is slices of a mapped file, and the
//! transport knows them by their addresses: what comes before them it writes with a promise that more follows, and for them
//! it calls sendfile(2). What the system would have to read from a disk first is read into its memory elsewhere, since
//! sendfile would block the thread that polls.

mod frames;
mod mapped;

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) use frames::FileFrames;
use frames::Window;
use mapped::LOOK;

/// What a connection was given of files and may still have to send.
#[derive(Clone, Default)]
pub(crate) struct Outgoing(Arc<Mutex<Vec<Weak<Window>>>>);

impl Outgoing {
    fn add(&self, window: &Arc<Window>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(window));
    }

    /// The file that these bytes are of, and where in it they begin.
    fn find(&self, bytes: &[u8]) -> Option<(Arc<Window>, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find_map(|one| {
            let window = one.upgrade()?;
            let at = window.mapped().position(bytes)?;
            Some((window, at))
        })
    }
}

/// A plain socket that sends what it is given of files without reading it.
pub(crate) struct SendFile {
    stream: TcpStream,
    outgoing: Outgoing,
    /// While bytes are read from a disk.
    warming: Option<JoinHandle<io::Result<()>>>,
}

impl SendFile {
    pub(crate) fn new(stream: TcpStream, outgoing: Outgoing) -> Self {
        SendFile {
            stream,
            outgoing,
            warming: None,
        }
    }

    /// Sends some of these bytes, which are of a file and begin there at `at`.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        window: &Window,
        at: u64,
    ) -> Poll<io::Result<usize>> {
        let length = bytes.len().min(LOOK);
        if let Some(warming) = &mut self.warming {
            let warmed = ready!(Pin::new(warming).poll(cx));
            self.warming = None;
            warmed.map_err(io::Error::other)??;
        } else if !window.mapped().is_resident(bytes) {
            let file = window.file().clone();
            self.warming = Some(tokio::task::spawn_blocking(move || warm(&file, at, length)));
            return self.poll_send(cx, bytes, window, at);
        }
        self.poll_write_ready(cx, |stream| {
            let sent = rustix::fs::sendfile(stream, &***window.file(), Some(&mut { at }), length)?;
            match sent {
                0 => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the file ends before byte {}", at + length as u64),
                )),
                sent => Ok(sent),
            }
        })
    }

    /// Calls the system when the socket has room.
    fn poll_write_ready(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, || write(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

/// Reads bytes of a file for the system to have them in memory.
fn warm(file: &File, at: u64, length: usize) -> io::Result<()> {
    let mut piece = vec![0; length.min(64 << 10)];
    for from in (0..length).step_by(piece.len().max(1)) {
        let room = piece.len().min(length - from);
        file.read_exact_at(&mut piece[..room], at + from as u64)?;
    }
    Ok(())
}

impl AsyncRead for SendFile {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SendFile {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let is_file = |slice: &IoSlice<'_>| !slice.is_empty() && this.outgoing.find(slice).is_some();
        let plain = slices.iter().take_while(|slice| !is_file(slice)).count();
        if plain == slices.len() {
            return Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        }
        if slices[..plain].iter().any(|slice| !slice.is_empty()) {
            return this.poll_write_ready(cx, |stream| {
                // Not a packet of its own for the head.
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                let mut nothing = rustix::net::SendAncillaryBuffer::default();
                Ok(rustix::net::sendmsg(
                    stream,
                    &slices[..plain],
                    &mut nothing,
                    flags,
                )?)
            });
        }
        let bytes = &slices[plain];
        match this.outgoing.find(bytes) {
            Some((window, at)) => this.poll_send(cx, bytes, &window, at),
            None => Pin::new(&mut this.stream).poll_write(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use registry_core::OpenFile;

    use super::*;
    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use std::io::Write as _;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn pair() -> (SendFile, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (served, _) = listener.accept().await.unwrap();
        (SendFile::new(served, Outgoing::default()), client)
    }

    /// What hyper is given for a file of 200,000 bytes.
    async fn frame(outgoing: &Outgoing) -> (Arc<OpenFile>, Bytes) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 200_000]).unwrap();
        let file = Arc::new(OpenFile::from(file));
        let mut frames = FileFrames::new(&file, 0..200_000, outgoing).unwrap();
        let frame = frames.frame().await.unwrap().unwrap();
        (file, frame.into_data().unwrap())
    }

    #[tokio::test]
    async fn what_comes_before_a_file_goes_first() {
        let (mut socket, mut client) = pair().await;
        let (_file, bytes) = frame(&socket.outgoing).await;
        let mut slices = [
            IoSlice::new(b""),
            IoSlice::new(b"head"),
            IoSlice::new(&bytes),
            IoSlice::new(b"tail"),
        ];
        let mut slices = &mut slices[..];
        let sent = async {
            while slices.iter().any(|slice| !slice.is_empty()) {
                let written = socket.write_vectored(slices).await.unwrap();
                IoSlice::advance_slices(&mut slices, written);
            }
            drop(socket);
        };
        let mut received = Vec::new();
        let (_, read) = tokio::join!(sent, client.read_to_end(&mut received));
        assert_eq!(read.unwrap(), 200_008);
        assert!(received.starts_with(b"head\x07") && received.ends_with(b"\x07tail"));
    }

    /// Memory of a file that became shorter cannot be read: whoever does ends the process, or has the system say that the
    /// address is bad.
    #[tokio::test]
    async fn memory_of_a_file_is_not_read() {
        let (mut socket, _client) = pair().await;
        let (file, bytes) = frame(&socket.outgoing).await;
        file.set_len(0).unwrap();
        let error = socket.write_vectored(&[IoSlice::new(&bytes)]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
    }
}
