//! Bytes on their way out and in: streamed, watched for standstill, verified.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use registry_core::{ByteStream, Digest, Hasher};

/// What is known from outside of a body that is being sent.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    taken: AtomicU64,
    waits_for_caller: AtomicBool,
    failure: Mutex<Option<io::Error>>,
}

impl Progress {
    /// Grows as the far end takes bytes.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether it is the caller's stream, and not the far end, that everything waits for.
    pub(crate) fn waits_for_caller(&self) -> bool {
        self.waits_for_caller.load(Ordering::Relaxed)
    }

    /// Why the caller's stream ended, if it failed.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request's body.
pub(crate) struct Outgoing {
    content: Content,
    progress: Arc<Progress>,
}

enum Content {
    Bytes(Bytes),
    Stream(ByteStream),
}

impl Outgoing {
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Self {
        Outgoing {
            content: Content::Bytes(bytes.into()),
            progress: Arc::default(),
        }
    }

    pub(crate) fn stream(stream: ByteStream) -> Self {
        Outgoing {
            content: Content::Stream(stream),
            progress: Arc::default(),
        }
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.progress.taken.fetch_add(1, Ordering::Relaxed);
        let next = match &mut self.content {
            Content::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Bytes(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Content::Stream(stream) => stream.as_mut().poll_next(cx),
        };
        self.progress
            .waits_for_caller
            .store(next.is_pending(), Ordering::Relaxed);
        next.map(|item| {
            Some(match item? {
                Ok(bytes) => Ok(Frame::data(bytes)),
                // The connection is told only that it broke; what broke is kept for the caller.
                Err(error) => {
                    let kind = error.kind();
                    *self
                        .progress
                        .failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Err(kind.into())
                }
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// The next piece of an answer's body, waited for no longer than `idle`.
async fn piece(body: &mut Incoming, idle: Duration) -> io::Result<Option<Bytes>> {
    loop {
        let frame = tokio::time::timeout(idle, body.frame())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the remote registry stopped sending"))?;
        match frame.transpose().map_err(io::Error::other)? {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(bytes) = frame.into_data()
                    && !bytes.is_empty()
                {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// The whole of a body that may have at most `limit` bytes.
pub(crate) async fn collect(mut body: Incoming, limit: usize, idle: Duration) -> io::Result<Bytes> {
    let too_large = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("more than {limit} bytes were sent"),
        )
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(bytes) = piece(&mut body, idle).await? {
        if bytes.len() > limit - whole.len() {
            return Err(too_large());
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.freeze())
}

/// What an answer's body is, and what of it is wanted.
pub(crate) struct Wanted {
    /// How many bytes the answer has.
    pub(crate) length: u64,
    /// Which of them to hand out.
    pub(crate) part: Range<u64>,
    /// The digest of all of them, if they are the whole blob.
    pub(crate) digest: Option<Digest>,
}

struct Reading {
    body: Incoming,
    at: u64,
    wanted: Wanted,
    hasher: Option<Hasher>,
}

/// A blob's bytes as they come. They are exactly as many as was said, and if they are a whole blob, the last of them
/// are handed out only once all are known to have its digest: whoever counts bytes instead of waiting for the end
/// is not deceived either.
pub(crate) fn verified(body: Incoming, wanted: Wanted, idle: Duration) -> ByteStream {
    let whole = wanted.part == (0..wanted.length);
    let hasher = wanted
        .digest
        .filter(|_| whole)
        .map(|digest| Hasher::new(digest.algorithm()));
    let reading = Reading {
        body,
        at: 0,
        wanted,
        hasher,
    };
    Box::pin(stream::try_unfold(reading, move |mut reading| async move {
        loop {
            if reading.at >= reading.wanted.part.end {
                reading.check_digest()?;
                return Ok(None);
            }
            let bytes = piece(&mut reading.body, idle).await?.ok_or_else(|| {
                let wanted = reading.wanted.part.end;
                let message = format!("the remote registry sent {} of {wanted} bytes", reading.at);
                io::Error::new(io::ErrorKind::UnexpectedEof, message)
            })?;
            let start = reading.at;
            reading.at += bytes.len() as u64;
            if reading.at > reading.wanted.length {
                let message = format!(
                    "the remote registry sent more than {} bytes",
                    reading.wanted.length
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if let Some(hasher) = &mut reading.hasher {
                hasher.update(&bytes);
                if reading.at == reading.wanted.length {
                    reading.check_digest()?;
                }
            }
            let first = reading.wanted.part.start.max(start);
            let last = reading.wanted.part.end.min(reading.at);
            if first < last {
                let bytes = bytes.slice((first - start) as usize..(last - start) as usize);
                return Ok(Some((bytes, reading)));
            }
        }
    }))
}

impl Reading {
    /// Compares the digest, once.
    fn check_digest(&mut self) -> io::Result<()> {
        let (Some(hasher), Some(expected)) = (self.hasher.take(), self.wanted.digest) else {
            return Ok(());
        };
        let actual = hasher.finish();
        if actual == expected {
            return Ok(());
        }
        let message = format!("the remote registry sent {actual} for {expected}");
        Err(io::Error::new(io::ErrorKind::InvalidData, message))
    }
}
