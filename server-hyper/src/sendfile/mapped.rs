//! A part of a file as memory that nobody reads: its addresses tell which bytes of the file are meant.
#![allow(unsafe_code, reason = "memory of a file, and what the system knows of it")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memmap2::{Mmap, MmapOptions};

/// How many bytes are looked at at once by [`is_resident`](Mapped::is_resident).
pub(super) const LOOK: usize = 1 << 20;

/// The smallest page of any machine, and so the most pages in [`LOOK`] bytes that begin anywhere.
const PAGES: usize = LOOK / 4096 + 1;

/// The largest file that is mapped whole, once for all responses that send it: one look tells of all of it.
const WHOLE: u64 = LOOK as u64;

/// How long what the system had in its memory is taken to be there still. What somebody reads again and again is the last
/// that a system lets go.
const TRUST: Duration = Duration::from_millis(100);

/// Bytes of a file, mapped and not touched.
pub(super) struct Mapped {
    memory: Mmap,
    /// Where in the file the memory begins.
    at: u64,
    made: Instant,
    /// Until when all of it is taken to be in the system's memory, in nanoseconds since it was made.
    trusted: AtomicU64,
}

impl Mapped {
    /// # Errors
    /// If there are no addresses left, or the file is on what cannot be mapped.
    pub(super) fn new(file: &File, at: u64, length: usize) -> io::Result<Self> {
        // SAFETY: memory of a file is unsound to read while somebody changes the file, and is a signal that ends the process
        // where the file became shorter. The registry changes no file that it gives out: it is sealed. Whoever else does so finds
        // nobody who reads: the memory goes to hyper as a slice, which with HTTP/1 and a transport that takes several slices
        // at once hands it on without looking at it, and `SendFile` takes of it only the address and the length. Where it were
        // read after all it would have the bytes of the file.
        let memory = unsafe { MmapOptions::new().offset(at).len(length).map(file)? };
        Ok(Mapped {
            memory,
            at,
            made: Instant::now(),
            trusted: AtomicU64::new(0),
        })
    }

    /// All of a file; `None` if it is large or cannot be mapped.
    pub(super) fn whole(file: &File) -> Option<Self> {
        let length = file.metadata().ok()?.len();
        match length {
            1..=WHOLE => Mapped::new(file, 0, length as usize).ok(),
            _ => None,
        }
    }

    /// Whether these bytes of the file are of this memory.
    pub(super) fn has(&self, part: &Range<u64>) -> bool {
        self.at <= part.start && part.end <= self.at + self.memory.len() as u64
    }

    /// Where in the memory a byte of the file is.
    pub(super) fn offset(&self, at: u64) -> usize {
        (at - self.at) as usize
    }

    /// Where in the file these bytes begin, if they are of this memory.
    pub(super) fn position(&self, bytes: &[u8]) -> Option<u64> {
        let from = (bytes.as_ptr() as usize).checked_sub(self.memory.as_ptr() as usize)?;
        let ends = from.checked_add(bytes.len())?;
        (ends <= self.memory.len()).then(|| self.at + from as u64)
    }

    /// Whether the system has these bytes of this memory in its own, so that sending them waits for no disk. Looks at the first
    /// [`LOOK`] of them. That nobody knows is a yes: they are sent in any case.
    pub(super) fn is_resident(&self, bytes: &[u8]) -> bool {
        let now = self.made.elapsed().as_nanos() as u64;
        if now < self.trusted.load(Ordering::Relaxed) {
            return true;
        }
        let resident = look(bytes);
        if resident && bytes.len() == self.memory.len() && bytes.len() <= LOOK {
            let until = now + TRUST.as_nanos() as u64;
            self.trusted.store(until, Ordering::Relaxed);
        }
        resident
    }
}

fn look(bytes: &[u8]) -> bool {
    let page = rustix::param::page_size();
    let start = bytes.as_ptr() as usize & !(page - 1);
    let length = (bytes.as_ptr() as usize + bytes.len().min(LOOK)) - start;
    let mut resident = [0_u8; PAGES];
    let pages = length.div_ceil(page).min(PAGES);
    // SAFETY: mincore(2) reads no memory but the tables of pages, for any addresses: those that are not mapped are an
    // error. It writes a byte for each page, of which the buffer has as many.
    let told = unsafe { libc::mincore(start as *mut libc::c_void, pages * page, resident.as_mut_ptr()) };
    told != 0 || resident[..pages].iter().all(|page| page & 1 == 1)
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.memory
    }
}
