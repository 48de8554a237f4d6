//! A stream that does not wait for ever for its peer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::wrong_protocol::Greeting;

/// Length of the text with which an HTTP/2 client opens.
const PREFACE: usize = 24;

/// How much of a request that was refused before its end is still taken, so that its sender gets to read why.
const LINGER_BYTES: usize = 16 << 20;

/// How long such a sender may pause before the connection goes.
const LINGER_IDLE: Duration = Duration::from_millis(500);

/// A connection whose peer must begin to speak within a time, and go on reading what it is sent.
///
/// The HTTP server has timers of its own once it knows which version is spoken; these cover what comes before, and
/// a reader that stops.
pub(crate) struct Guarded<S> {
    stream: S,
    /// Runs until enough was read to tell the version, or the server began to answer.
    opening: Option<(Pin<Box<Sleep>>, usize)>,
    /// Sees what is read first.
    greeting: Option<Greeting>,
    write_idle: Duration,
    /// Runs while a write cannot go on.
    stalled: Option<Pin<Box<Sleep>>>,
    /// After the last answer: what was taken since, and the time until the peer sends again or closes.
    lingering: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(stream: S, opening: Duration, write_idle: Duration) -> Self {
        Guarded {
            stream,
            opening: Some((Box::pin(sleep(opening)), 0)),
            greeting: None,
            write_idle,
            stalled: None,
            lingering: None,
        }
    }

    /// Lets `greeting` look at what is read first; it is read as if it had not.
    pub(crate) fn show_beginning_to(&mut self, greeting: Greeting) {
        self.greeting = Some(greeting);
    }

    fn guard_write<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.opening = None;
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let write_idle = self.write_idle;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(write_idle)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client stopped reading",
        )))
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Takes what the peer still sends and drops it. A connection that is closed while bytes are unread is reset, and a
    /// reset destroys the answer that the peer has not read yet: a refused upload would look like a broken wire.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (taken, idle) = self
            .lingering
            .get_or_insert_with(|| (0, Box::pin(sleep(LINGER_IDLE))));
        let mut space = [0; 16 << 10];
        while *taken < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return idle.as_mut().poll(cx),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    *taken += buffer.filled().len();
                    idle.set(sleep(LINGER_IDLE));
                }
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some((deadline, read)) = &mut this.opening else {
            return result;
        };
        if result.is_ready() {
            *read += buf.filled().len() - before;
            if *read > 0
                && let Some(greeting) = this.greeting.take()
            {
                greeting.look(&buf.filled()[before..]);
            }
            if *read >= PREFACE {
                this.opening = None;
            }
            return result;
        }
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client did not begin a request",
        )))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.guard_write(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.guard_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An idle connection is flushed too: only a flush that has to wait says that the server is answering.
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_flush(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => this.guard_write(cx, Poll::Pending),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            let shut = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.guard_write(cx, shut))?;
        }
        this.linger(cx).map(Ok)
    }
}
