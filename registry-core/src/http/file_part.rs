//! A part of a file on its way to a client: read at once where that takes no waiting, and elsewhere where it does.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_channel::oneshot;

use crate::open_file::OpenFile;
use crate::runtime::Runtime;

/// How much of a file is read at once, in bytes, while there are few responses that are parts of files. Much costs less for
/// each byte, but every response has a piece of its own in memory.
pub(super) const LARGE: usize = 1 << 20;

/// The same while there are many, and how long the smallest piece is that is kept to be used again.
const SMALL: usize = 64 << 10;

/// How many responses are few.
const FEW: u64 = 8;

/// Responses of this process that are parts of files.
static FILES: AtomicU64 = AtomicU64::new(0);

/// Pieces that were sent, kept to be filled again: what a new one costs is mostly the zeros that it is made of, and the
/// memory that the system gives and takes back.
static SPARE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// How many spare pieces are kept: 8 MiB of large ones.
const SPARES: usize = 8;

/// Counts one of [`FILES`] for as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        FILES.fetch_add(1, Ordering::Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        FILES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Memory that goes back to the spare pieces, and how much of it is filled.
struct Piece {
    memory: Box<[u8]>,
    filled: usize,
}

impl Piece {
    /// Memory for so many of the bytes that are left as are read at once now. Only that counts which is filled.
    fn take(left: u64) -> Piece {
        let size = match FILES.load(Ordering::Relaxed) {
            0..=FEW => LARGE,
            _ => SMALL,
        };
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let memory = match left < SMALL {
            true => vec![0; left].into(),
            false => spare(size).unwrap_or_else(|| vec![0; size].into()),
        };
        Piece { memory, filled: 0 }
    }

    fn room(&mut self, left: u64) -> &mut [u8] {
        let room = self.memory.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        &mut self.memory[..room]
    }
}

/// A spare piece of this size. One of another size is let go: as few as are needed now are left.
fn spare(size: usize) -> Option<Box<[u8]>> {
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    spare.filter(|memory| memory.len() == size)
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.filled]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        if memory.len() < SMALL {
            return;
        }
        let mut spares = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < SPARES {
            spares.push(memory);
        }
    }
}

/// The bytes of a file that are still to come.
pub(super) struct FilePart {
    pub(super) file: Arc<OpenFile>,
    pub(super) left: Range<u64>,
    runtime: Arc<dyn Runtime>,
    reading: Option<oneshot::Receiver<io::Result<Piece>>>,
    _counted: Counted,
}

impl FilePart {
    pub(super) fn new(file: Arc<OpenFile>, left: Range<u64>, runtime: Arc<dyn Runtime>) -> Self {
        FilePart {
            file,
            left,
            runtime,
            reading: None,
            _counted: Counted::new(),
        }
    }

    /// Whether nothing of it is being read.
    pub(super) fn is_idle(&self) -> bool {
        self.reading.is_none()
    }

    pub(super) fn length(&self) -> u64 {
        self.left.end.saturating_sub(self.left.start)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let piece = match &mut self.reading {
            None => {
                let mut piece = Piece::take(self.length());
                match read_at_once(&self.file, piece.room(self.length()), self.left.start) {
                    Ok(read) if read > 0 => {
                        piece.filled = read;
                        piece
                    }
                    // Not in memory, or not told; or the end, or an error: reading it tells.
                    _ => {
                        self.reading = Some(self.read_elsewhere(piece));
                        return self.poll(cx);
                    }
                }
            }
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                read.map_err(|oneshot::Canceled| io::Error::other("the read was given up by the runtime"))??
            }
        };
        self.left.start += piece.filled as u64;
        Poll::Ready(Ok(Bytes::from_owner(piece)))
    }

    /// Fills a piece off the polling threads. The memory is taken here and not where it is filled: memory that many threads
    /// take and others give back is memory that an allocator keeps for each of them.
    fn read_elsewhere(&self, mut piece: Piece) -> oneshot::Receiver<io::Result<Piece>> {
        let (send, receive) = oneshot::channel();
        let (file, at, left) = (Arc::clone(&self.file), self.left.start, self.length());
        self.runtime.spawn_blocking(Box::new(move || {
            let read = read_whole(&file, piece.room(left), at).map(|read| {
                piece.filled = read;
                piece
            });
            // The response may be gone by now; then nobody wants the piece.
            let _receiver_gone = send.send(read);
        }));
        receive
    }
}

/// Reads what is in memory, and waits for nothing.
#[cfg(target_os = "linux")]
fn read_at_once(file: &File, piece: &mut [u8], at: u64) -> io::Result<usize> {
    let mut into = [io::IoSliceMut::new(piece)];
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    Ok(rustix::io::preadv2(file, &mut into, at, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn read_at_once(_file: &File, _piece: &mut [u8], _at: u64) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Fills all of a piece. Gives its length.
fn read_whole(file: &File, piece: &mut [u8], at: u64) -> io::Result<usize> {
    let end = at + piece.len() as u64;
    file.read_exact_at(piece, at).map_err(|why| match why.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(why.kind(), format!("the file ends before byte {end}"))
        }
        _ => why,
    })?;
    Ok(piece.len())
}
