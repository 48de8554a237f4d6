//! A disk that fails.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_core::BlobRead;

use crate::fs::disk::{Access, Disk, DiskFile, FileInfo};

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An input/output error; nothing is done.
    Io,
    /// No room; nothing is done.
    Full,
    /// No descriptors left, as is said of what opens something; nothing is done.
    Descriptors,
    /// A write does a part of what it was asked to and says so, which is no error; anything else is interrupted once
    /// if it may be, and done.
    Short,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            // Linux's numbers, which are those of every other system too.
            Fault::Io => io::Error::from_raw_os_error(5),
            Fault::Full => io::Error::from_raw_os_error(28),
            Fault::Descriptors => io::Error::from_raw_os_error(24),
            Fault::Short => io::ErrorKind::Interrupted.into(),
        }
    }
}

/// What is to fail.
#[derive(Debug, Default)]
struct Plan {
    /// Operations that go by before one fails.
    fail: Option<(usize, Fault)>,
    /// Everything that needs room fails.
    full: bool,
    /// What failed, as its call is named.
    failed: Vec<&'static str>,
}

#[derive(Debug)]
struct Shared {
    plan: Mutex<Plan>,
    done: AtomicUsize,
}

/// Another disk that fails when it is told to. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    shared: Arc<Shared>,
}

impl FaultyDisk {
    /// A disk that does not fail yet.
    pub fn around(inner: Arc<dyn Disk>) -> Self {
        FaultyDisk {
            inner,
            shared: Arc::new(Shared {
                plan: Mutex::default(),
                done: AtomicUsize::new(0),
            }),
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the operation after the next `after` fail, once.
    pub fn fail(&self, after: usize, fault: Fault) {
        self.plan().fail = Some((after, fault));
    }

    /// Lets everything that needs room fail, or no longer.
    pub fn set_full(&self, full: bool) {
        self.plan().full = full;
    }

    /// The calls that failed so far, and forgets them.
    pub fn take_failed(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.plan().failed)
    }

    /// How many operations there have been.
    pub fn operations(&self) -> usize {
        self.shared.done.load(Ordering::SeqCst)
    }

    /// Whether this operation fails, and how.
    fn fault(&self, call: &'static str, takes_room: bool) -> Option<Fault> {
        self.shared.done.fetch_add(1, Ordering::SeqCst);
        let mut plan = self.plan();
        let fault = match &mut plan.fail {
            Some((0, fault)) => {
                let fault = *fault;
                plan.fail = None;
                Some(fault)
            }
            Some((after, _)) => {
                *after -= 1;
                None
            }
            None => None,
        };
        let fault = fault.or((plan.full && takes_room).then_some(Fault::Full));
        if fault.is_some() {
            plan.failed.push(call);
        }
        fault
    }

    /// Does an operation unless it fails.
    fn call<T>(&self, name: &'static str, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.fault(name, matches!(name, "create" | "mkdir" | "mark")) {
            // These are not interrupted.
            None | Some(Fault::Short) => work(),
            Some(fault) => Err(fault.error()),
        }
    }

    fn file(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile {
            disk: self.clone(),
            inner,
        })
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let opened = self.call("open", || self.inner.open(path, access));
        opened.map(|file| self.file(file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let created = self.call("create", || self.inner.create_new(path));
        created.map(|file| self.file(file))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call("mkdir", || self.inner.create_dir(path))
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        self.call("stat", || self.inner.info(path))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.call("chmod", || self.inner.set_mode(path, mode))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.call("unlink", || self.inner.unlink(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.call("list", || self.inner.read_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("sync directory", || self.inner.sync_dir(path))
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    inner: Box<dyn DiskFile>,
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self.disk.fault("read", false) {
            None => self.inner.read_at(buffer, at),
            Some(fault) => Err(fault.error()),
        }
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        match self.disk.fault("write", true) {
            None => self.inner.write_at(bytes, at),
            Some(Fault::Short) if bytes.len() > 1 => self.inner.write_at(&bytes[..bytes.len() / 2], at),
            Some(fault) => Err(fault.error()),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.call("truncate", || self.inner.set_len(length))
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.disk.call("chmod", || self.inner.set_mode(mode))
    }

    fn info(&self) -> io::Result<FileInfo> {
        self.disk.call("stat", || self.inner.info())
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        self.disk.call("read mark", || self.inner.mark())
    }

    fn set_mark(&self, mark: &[u8]) -> io::Result<()> {
        self.disk.call("mark", || self.inner.set_mark(mark))
    }

    fn write_out(&self, part: Range<u64>) -> io::Result<()> {
        self.disk.call("write out", || self.inner.write_out(part.clone()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.call("sync", || self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.call("sync", || self.inner.sync_all())
    }

    fn into_read(self: Box<Self>, range: Range<u64>) -> io::Result<BlobRead> {
        self.inner.into_read(range)
    }
}
