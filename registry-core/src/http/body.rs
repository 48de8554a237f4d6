//! The body of a response: bytes, a part of a file, or a stream; never more of it in memory than one piece.

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::file_part::FilePart;
use crate::open_file::OpenFile;
use crate::registry::ByteStream;
use crate::runtime::Runtime;

/// A response's body.
///
/// It gives exactly as many bytes as it announces, or fails: a file that has become shorter, or a stream that ends
/// early, is an error and never a silent end. A shell that can send a file without reading it takes it out with
/// [`into_file`](Body::into_file).
pub struct Body(Inner);

enum Inner {
    Bytes(Bytes),
    File(FilePart),
    Stream { stream: ByteStream, left: u64 },
    Failed,
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Body(Inner::Bytes(Bytes::new()))
    }

    /// These bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Body(Inner::Bytes(bytes.into()))
    }

    /// A part of a file, read piece by piece and only as fast as it is taken: what the system has in memory at once, and the
    /// rest off the polling threads.
    pub fn file(file: Arc<OpenFile>, range: Range<u64>, runtime: Arc<dyn Runtime>) -> Self {
        Body(Inner::File(FilePart::new(file, range, runtime)))
    }

    /// A stream of `length` bytes.
    pub fn stream(stream: ByteStream, length: u64) -> Self {
        Body(Inner::Stream { stream, left: length })
    }

    /// The file and the part of it that this body is, if it is one and nothing of it was read yet.
    pub fn as_file(&self) -> Option<(&Arc<OpenFile>, Range<u64>)> {
        match &self.0 {
            Inner::File(part) if part.is_idle() => Some((&part.file, part.left.clone())),
            _ => None,
        }
    }

    /// The same, taken out.
    ///
    /// # Errors
    /// The body itself, if it is no file.
    pub fn into_file(self) -> Result<(Arc<OpenFile>, Range<u64>), Body> {
        match self.0 {
            Inner::File(part) if part.is_idle() => Ok((part.file, part.left)),
            other => Err(Body(other)),
        }
    }

    /// How many bytes are still to come.
    pub fn left(&self) -> u64 {
        match &self.0 {
            Inner::Bytes(bytes) => bytes.len() as u64,
            Inner::File(part) => part.length(),
            Inner::Stream { left, .. } => *left,
            Inner::Failed => 0,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match &self.0 {
            Inner::Bytes(_) => "bytes",
            Inner::File(_) => "file",
            Inner::Stream { .. } => "stream",
            Inner::Failed => "failed",
        };
        write!(f, "Body({form}, {} bytes left)", self.left())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body::bytes(bytes)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let polled = match &mut self.0 {
            Inner::Bytes(bytes) => Poll::Ready(Ok(std::mem::take(bytes))),
            Inner::File(part) => part.poll(cx),
            Inner::Stream { stream, left } => poll_stream(stream, left, cx),
            Inner::Failed => return Poll::Ready(None),
        };
        let piece = ready!(polled);
        if piece.is_err() {
            self.0 = Inner::Failed;
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

fn poll_stream(stream: &mut ByteStream, left: &mut u64, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    loop {
        let piece = match ready!(stream.as_mut().poll_next(cx)) {
            Some(piece) => piece?,
            None => return Poll::Ready(Err(ended_early(*left))),
        };
        if piece.is_empty() {
            continue;
        }
        return Poll::Ready(match left.checked_sub(piece.len() as u64) {
            Some(rest) => {
                *left = rest;
                Ok(piece)
            }
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the content goes on beyond its length, by {} bytes",
                    piece.len() as u64 - *left
                ),
            )),
        });
    }
}

fn ended_early(missing: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the content ends {missing} bytes before its length"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::file_part::LARGE;
    use super::*;
    use crate::runtime::Threads;
    use futures_util::stream;
    use http_body_util::BodyExt;
    use std::io::Write;

    fn collect(body: Body) -> io::Result<Bytes> {
        futures_executor::block_on(body.collect()).map(http_body_util::Collected::to_bytes)
    }

    fn file(content: &[u8]) -> Arc<OpenFile> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Arc::new(file.into())
    }

    #[test]
    fn a_file_is_given_piece_by_piece_and_exactly() {
        let content: Vec<u8> = (0..LARGE * 2 + 77).map(|n| (n % 251) as u8).collect();
        let range = 5..content.len() as u64 - 3;
        let body = Body::file(file(&content), range.clone(), Threads::shared());
        assert_eq!(
            http_body::Body::size_hint(&body).exact(),
            Some(range.end - range.start)
        );
        assert_eq!(collect(body).unwrap(), content[5..content.len() - 3]);
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let body = Body::file(file(b"short"), 0..6, Threads::shared());
        assert_eq!(collect(body).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_can_be_taken_out_for_sending_it_as_it_is() {
        let body = Body::file(file(b"content"), 1..4, Threads::shared());
        assert_eq!(body.as_file().unwrap().1, 1..4);
        assert_eq!(body.into_file().unwrap().1, 1..4);
        assert!(Body::empty().into_file().is_err());
    }

    #[test]
    fn a_stream_gives_its_length_or_fails() {
        let pieces = |pieces: &[&'static str]| -> ByteStream {
            let pieces: Vec<io::Result<Bytes>> = pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect();
            Box::pin(stream::iter(pieces))
        };
        assert_eq!(collect(Body::stream(pieces(&["ab", "", "c"]), 3)).unwrap(), "abc");
        assert_eq!(
            collect(Body::stream(pieces(&["ab"]), 3)).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert_eq!(
            collect(Body::stream(pieces(&["ab", "cd"]), 3))
                .unwrap_err()
                .kind(),
            io::ErrorKind::InvalidData
        );
    }
}
