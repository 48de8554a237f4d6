//! A part of a file as a body.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use registry_core::OpenFile;

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
    file: Arc<OpenFile>,
    /// What is not given out as memory yet.
    left: Range<u64>,
    window: Bytes,
    outgoing: Outgoing,
}

/// A file, and memory of it that lasts for as long as there are slices of it.
pub(super) struct Window {
    file: Arc<OpenFile>,
    /// None for a file that is mapped whole.
    own: Option<Mapped>,
}

/// What is made of a file once: memory of all of it, if it is small.
type Whole = Option<Mapped>;

fn whole(file: &OpenFile) -> Option<&Mapped> {
    file.made::<Whole>(Mapped::whole)?.as_ref()
}

impl Window {
    pub(super) fn file(&self) -> &Arc<OpenFile> {
        &self.file
    }

    pub(super) fn mapped(&self) -> &Mapped {
        match &self.own {
            Some(own) => own,
            None => whole(&self.file).expect("it was made before the window was"),
        }
    }
}

/// Keeps a window for as long as there are slices of it.
struct Owner(Arc<Window>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.mapped().as_ref()
    }
}

impl FileFrames {
    /// `None` if the file is better read, or cannot be mapped.
    pub(crate) fn new(file: &Arc<OpenFile>, left: Range<u64>, outgoing: &Outgoing) -> Option<Self> {
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
        let part = self.left.start..self.left.start + length;
        let own = match whole(&self.file) {
            Some(whole) if whole.has(&part) => None,
            _ => Some(Mapped::new(&self.file, part.start, length as usize)?),
        };
        let window = Arc::new(Window {
            file: self.file.clone(),
            own,
        });
        let from = window.mapped().offset(part.start);
        self.outgoing.add(&window);
        self.window = Bytes::from_owner(Owner(window)).slice(from..from + length as usize);
        self.left.start = part.end;
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
