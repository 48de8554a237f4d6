//! A disk in memory that says what is done to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use registry_core::BlobRead;

use super::ROOT;
use crate::fs::disk::{Access, Disk, DiskFile, FileInfo};

/// Names a file, whatever its entries are: what a system calls an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub(super) usize);

/// Something that was done to a disk, or a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as the call that does it")]
pub enum DiskOp {
    CreateDir { path: PathBuf },
    Create { path: PathBuf, file: FileId },
    Unlink { path: PathBuf },
    Write { file: FileId, at: u64, bytes: Bytes },
    SetLen { file: FileId, length: u64 },
    SetMode { file: FileId, mode: u32 },
    SetMark { file: FileId, mark: Bytes },
    SyncData { file: FileId },
    SyncAll { file: FileId },
    SyncDir { path: PathBuf },
}

impl fmt::Display for DiskOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskOp::CreateDir { path } => write!(f, "mkdir {}", path.display()),
            DiskOp::Create { path, file } => write!(f, "create {} as file {}", path.display(), file.0),
            DiskOp::Unlink { path } => write!(f, "unlink {}", path.display()),
            DiskOp::Write { file, at, bytes } => {
                write!(f, "write file {} at {at}, {} bytes", file.0, bytes.len())
            }
            DiskOp::SetLen { file, length } => write!(f, "truncate file {} to {length}", file.0),
            DiskOp::SetMode { file, mode } => write!(f, "chmod file {} to {mode:o}", file.0),
            DiskOp::SetMark { file, .. } => write!(f, "mark file {}", file.0),
            DiskOp::SyncData { file } => write!(f, "fdatasync file {}", file.0),
            DiskOp::SyncAll { file } => write!(f, "fsync file {}", file.0),
            DiskOp::SyncDir { path } => write!(f, "fsync directory {}", path.display()),
        }
    }
}

/// Hears of everything that is done, in order.
pub type Recorder = Arc<dyn Fn(DiskOp) + Send + Sync>;

/// What is in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) data: Vec<u8>,
    pub(super) mode: u32,
    pub(super) mark: Option<Bytes>,
}

impl Content {
    /// As a file is created.
    pub(super) fn created() -> Content {
        Content {
            mode: 0o600,
            ..Content::default()
        }
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let (at, end) = (at as usize, at as usize + bytes.len());
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[at..end].copy_from_slice(bytes);
    }

    fn info(&self) -> FileInfo {
        FileInfo {
            length: self.data.len() as u64,
            mode: self.mode,
        }
    }
}

/// The entries of every directory: the files, by name.
pub(super) type Directories = BTreeMap<PathBuf, BTreeMap<OsString, FileId>>;

struct State {
    files: Vec<Content>,
    directories: Directories,
    recorder: Option<Recorder>,
    marks: bool,
}

impl State {
    fn record(&self, op: impl FnOnce() -> DiskOp) {
        if let Some(recorder) = &self.recorder {
            recorder(op());
        }
    }

    fn find(&self, path: &Path) -> io::Result<FileId> {
        let (directory, name) = split(path)?;
        let entries = self.directories.get(directory).ok_or_else(not_found)?;
        entries.get(name).copied().ok_or_else(not_found)
    }

    fn set_mode(&mut self, file: FileId, mode: u32) {
        self.files[file.0].mode = mode;
        self.record(|| DiskOp::SetMode { file, mode });
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

pub(super) fn split(path: &Path) -> io::Result<(&Path, &std::ffi::OsStr)> {
    let parts = path.parent().zip(path.file_name());
    parts.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// A disk in memory. A clone is the same disk. Permissions are those of a user who is not root.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

impl SimulatedDisk {
    /// A disk with nothing but the directory [`ROOT`], which tells `recorder` what is done to it.
    pub fn recorded_by(recorder: Recorder) -> Self {
        Self::of(
            Vec::new(),
            [(ROOT.into(), BTreeMap::new())].into(),
            Some(recorder),
        )
    }

    pub(super) fn of(files: Vec<Content>, directories: Directories, recorder: Option<Recorder>) -> Self {
        SimulatedDisk(Arc::new(Mutex::new(State {
            files,
            directories,
            recorder,
            marks: true,
        })))
    }

    /// The same disk, without a place for marks.
    #[must_use]
    pub fn without_marks(self) -> Self {
        self.state().marks = false;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: FileId) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile {
            disk: self.clone(),
            id,
        })
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedDisk({} files)", self.state().files.len())
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        let file = state.find(path)?;
        let needed = match access {
            Access::Read => 0o400,
            Access::Write => 0o600,
        };
        if state.files[file.0].mode & needed != needed {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(self.file(file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (directory, name) = split(path)?;
        let mut state = self.state();
        let file = FileId(state.files.len());
        let entries = state.directories.get_mut(directory).ok_or_else(not_found)?;
        if entries.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        entries.insert(name.to_owned(), file);
        state.files.push(Content::created());
        state.record(|| DiskOp::Create {
            path: path.to_owned(),
            file,
        });
        Ok(self.file(file))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.directories.contains_key(split(path)?.0) {
            return Err(not_found());
        }
        if state.directories.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.directories.insert(path.to_owned(), BTreeMap::new());
        state.record(|| DiskOp::CreateDir {
            path: path.to_owned(),
        });
        Ok(())
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        let state = self.state();
        Ok(state.files[state.find(path)?.0].info())
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut state = self.state();
        let file = state.find(path)?;
        state.set_mode(file, mode);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.find(path)?;
        let (directory, name) = split(path)?;
        let entries = state.directories.get_mut(directory).ok_or_else(not_found)?;
        entries.remove(name);
        state.record(|| DiskOp::Unlink {
            path: path.to_owned(),
        });
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        let entries = state.directories.get(path).ok_or_else(not_found)?;
        Ok(entries.keys().cloned().collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let state = self.state();
        if !state.directories.contains_key(path) {
            return Err(not_found());
        }
        state.record(|| DiskOp::SyncDir {
            path: path.to_owned(),
        });
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    id: FileId,
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let data = &state.files[self.id.0].data;
        let rest = data.get(at as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.files[self.id.0].write(at, bytes);
        state.record(|| DiskOp::Write {
            file: self.id,
            at,
            bytes: Bytes::copy_from_slice(bytes),
        });
        Ok(bytes.len())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.files[self.id.0].data.resize(length as usize, 0);
        state.record(|| DiskOp::SetLen {
            file: self.id,
            length,
        });
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.disk.state().set_mode(self.id, mode);
        Ok(())
    }

    fn info(&self) -> io::Result<FileInfo> {
        Ok(self.disk.state().files[self.id.0].info())
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        let state = self.disk.state();
        if !state.marks {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(state.files[self.id.0].mark.as_ref().map(|mark| mark.to_vec()))
    }

    fn set_mark(&self, mark: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.marks {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let content = &mut state.files[self.id.0];
        if content.mode & 0o200 == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mark = Bytes::copy_from_slice(mark);
        content.mark = Some(mark.clone());
        state.record(|| DiskOp::SetMark { file: self.id, mark });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().record(|| DiskOp::SyncData { file: self.id });
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.state().record(|| DiskOp::SyncAll { file: self.id });
        Ok(())
    }

    fn into_read(self: Box<Self>, range: Range<u64>) -> io::Result<BlobRead> {
        let state = self.disk.state();
        let part = state.files[self.id.0]
            .data
            .get(range.start as usize..range.end as usize);
        let part = part.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(BlobRead::Bytes(Bytes::copy_from_slice(part)))
    }
}
