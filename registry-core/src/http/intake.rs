//! The body of a request on its way into the registry.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http_body::Body as _;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

use crate::error::{Error, ErrorKind, Result};
use crate::registry::ByteStream;
use crate::runtime::Runtime;

pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// A request's body that nobody has read yet.
pub(super) struct Intake {
    body: UnsyncBoxBody<Bytes, BoxError>,
    runtime: Arc<dyn Runtime>,
    idle: Duration,
}

/// What went wrong with the body, in the protocol's terms. Kept beside the stream, since a registry only learns that
/// its stream failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The body's own error if it has one, otherwise the registry's.
    pub(super) fn or(&self, error: Error) -> Error {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or(error)
    }
}

impl Intake {
    pub(super) fn new<B>(body: B, runtime: Arc<dyn Runtime>, idle: Duration) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Intake {
            body: body.map_err(Into::into).boxed_unsync(),
            runtime,
            idle,
        }
    }

    /// The body as a stream that fails if it has not `length` bytes, or if none come for too long.
    pub(super) fn stream(self, length: Option<u64>) -> (ByteStream, Failure) {
        let failure = Failure::default();
        let stream = Counted {
            intake: self,
            length,
            received: 0,
            timer: None,
            moved: false,
            over: false,
            failure: failure.clone(),
        };
        (Box::pin(stream), failure)
    }

    /// The whole body, if it has at most `limit` bytes; stops reading at the first one beyond.
    pub(super) async fn read(
        self,
        length: Option<u64>,
        limit: usize,
        too_large: fn() -> Error,
    ) -> Result<Bytes> {
        let (mut stream, failure) = self.stream(length);
        let mut first = Bytes::new();
        let mut all = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|why| {
                failure.or(
                    Error::new(ErrorKind::RequestInvalid, "the request's body could not be read")
                        .with_source(why),
                )
            })?;
            if first.len() + all.len() + piece.len() > limit {
                return Err(too_large());
            }
            if first.is_empty() && all.is_empty() {
                first = piece;
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&piece);
            }
        }
        Ok(if all.is_empty() { first } else { all.into() })
    }
}

/// Counts what comes, and the time in which nothing does.
struct Counted {
    intake: Intake,
    length: Option<u64>,
    received: u64,
    timer: Option<BoxFuture<'static, ()>>,
    /// Whether bytes came since the timer was set. One timer serves a whole period, so that a body of many small
    /// frames sets few of them.
    moved: bool,
    over: bool,
    failure: Failure,
}

impl Counted {
    fn fail(&mut self, kind: io::ErrorKind, error: Error) -> io::Error {
        self.over = true;
        let told = io::Error::new(kind, error.message().to_owned());
        self.failure.set(error);
        told
    }

    fn end(&mut self) -> Option<io::Result<Bytes>> {
        self.over = true;
        match self.length {
            Some(length) if self.received < length => {
                let received = self.received;
                let error = Error::new(
                    ErrorKind::SizeInvalid,
                    format!("the body ended after {received} of {length} bytes"),
                );
                Some(Err(self.fail(io::ErrorKind::UnexpectedEof, error)))
            }
            _ => None,
        }
    }

    fn data(&mut self, data: Bytes) -> io::Result<Bytes> {
        self.moved = true;
        self.received += data.len() as u64;
        match self.length {
            Some(length) if self.received > length => {
                let error = Error::new(
                    ErrorKind::SizeInvalid,
                    format!("the body is longer than the {length} bytes that were announced"),
                );
                Err(self.fail(io::ErrorKind::InvalidData, error))
            }
            _ => Ok(data),
        }
    }

    fn broken(&mut self, why: BoxError) -> io::Error {
        let received = self.received;
        let error = Error::new(
            ErrorKind::UploadInvalid,
            format!("the body broke off after {received} bytes"),
        )
        .with_source(why);
        self.fail(io::ErrorKind::ConnectionAborted, error)
    }

    /// Waits for the idle timer; ready once a whole period passed without a byte.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let idle = self.intake.idle;
            let timer = self.timer.get_or_insert_with(|| {
                self.moved = false;
                self.intake.runtime.sleep(idle)
            });
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
            if !self.moved {
                let received = self.received;
                let error = Error::new(
                    ErrorKind::Timeout,
                    format!(
                        "no byte of the body came for {} seconds; {received} had come before",
                        idle.as_secs_f32()
                    ),
                );
                return Poll::Ready(self.fail(io::ErrorKind::TimedOut, error));
            }
        }
    }
}

impl Stream for Counted {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut this.intake.body).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(this.end()),
                Poll::Ready(Some(Err(why))) => return Poll::Ready(Some(Err(this.broken(why)))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Some(this.data(data))),
                    Err(_trailers) => {}
                },
                Poll::Pending => return this.poll_idle(cx).map(|error| Some(Err(error))),
            }
        }
    }
}
