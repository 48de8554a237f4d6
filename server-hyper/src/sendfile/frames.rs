//! A part of a file as a body.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Outgoing;
use super::mapped::Mapped;

/// How much is mapped at once: so little that thousands of large responses have addresses, and so much that mapping costs
/// nothing beside sending.
const WINDOW: u64 = 64 << 20;

/// How much is given to hyper at once, so that what counts as sent is little more than what was.
const FRAME: usize = 1 << 20;

/// What is shorter is cheaper read than mapped. At 64 KiB mapping takes a twentieth less of the processor.
const LEAST: u64 = 32 << 10;

/// A body for one connection only: the one whose [`Outgoing`] it has.
pub(crate) struct FileFrames {
    file: Arc<File>,
    /// What is not mapped yet.
    left: Range<u64>,
    window: Bytes,
    outgoing: Outgoing,
}

/// Keeps a mapping for as long as there are slices of it.
struct Owner(Arc<Mapped>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl FileFrames {
    /// `None` if the file is better read, or cannot be mapped.
    pub(crate) fn new(file: &Arc<File>, left: Range<u64>, outgoing: &Outgoing) -> Option<Self> {
        if left.end.saturating_sub(left.start) < LEAST {
            return None;
        }
        let mut frames = FileFrames {
            file: file.clone(),
            left,
            window: Bytes::new(),
            outgoing: outgoing.clone(),
        };
        frames.map().ok()?;
        Some(frames)
    }

    fn map(&mut self) -> io::Result<()> {
        let length = (self.left.end - self.left.start).min(WINDOW);
        let mapped = Arc::new(Mapped::new(self.file.clone(), self.left.start, length as usize)?);
        self.outgoing.add(&mapped);
        self.window = Bytes::from_owner(Owner(mapped));
        self.left.start += length;
        Ok(())
    }

    fn length(&self) -> u64 {
        self.window.len() as u64 + (self.left.end - self.left.start)
    }
}

impl Body for FileFrames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.length() == 0 {
            return Poll::Ready(None);
        }
        if self.window.is_empty()
            && let Err(error) = self.map()
        {
            self.left.end = self.left.start;
            return Poll::Ready(Some(Err(error)));
        }
        let length = self.window.len().min(FRAME);
        Poll::Ready(Some(Ok(Frame::data(self.window.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}
