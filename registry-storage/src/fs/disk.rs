//! What is asked of a file system: few enough calls that another can take its place, one that records them, say, or
//! one that fails.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{BlobRead, OpenFile};
use rustix::fs::XattrFlags;
#[cfg(target_os = "linux")]
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// The extended attribute in which a file keeps its mark.
const MARK: &str = "user.berth";

/// Longest mark in bytes: it must fit beside the file's metadata.
pub(super) const MARK_MAX: usize = 64;

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its length in bytes.
    pub length: u64,
    /// Its permission bits.
    pub mode: u32,
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read.
    Read,
    /// To be read and written.
    Write,
}

/// A file system, as far as bytes in files need one. Errors are those of the system's calls.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file that is there.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file to be read, if that takes no waiting: all that leads to it is in memory. Any error means no more than that
    /// [`open`](Disk::open) tells.
    fn open_at_once(&self, _path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Creates a file that is not there, to be read and written.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Creates a directory in one that is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// What is known of a file.
    fn info(&self, path: &Path) -> io::Result<FileInfo>;

    /// Sets a file's permission bits.
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Removes a file's entry.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// How long ago a file was last written, if the disk tells.
    fn age(&self, _path: &Path) -> io::Result<Option<Duration>> {
        Ok(None)
    }

    /// The names in a directory, in any order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// Makes a directory's entries survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// What tells a directory from any other that may lie at the same path at another time. A disk on which nothing can
    /// take another's place tells nothing.
    fn which(&self, _path: &Path) -> io::Result<(u64, u64)> {
        Ok((0, 0))
    }
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads at an offset. Gives how many bytes were read, 0 at the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at an offset. Gives how many bytes were written, which may be fewer.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;

    /// Makes the file as long as this.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Sets the permission bits.
    fn set_mode(&self, mode: u32) -> io::Result<()>;

    /// What is known of the file.
    fn info(&self) -> io::Result<FileInfo>;

    /// A few bytes kept beside the file's metadata and replaced as a whole; `None` if there are none.
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the file system has no place for them.
    fn mark(&self) -> io::Result<Option<Vec<u8>>>;

    /// Replaces the mark.
    fn set_mark(&self, mark: &[u8]) -> io::Result<()>;

    /// Begins to write a part of the content to the disk, so that a sync that follows has less to do. It promises nothing, and
    /// a disk need not do so; but an error is one of the sync, which may not be told it again.
    fn write_out(&self, _part: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    /// Makes content and length survive a power cut, and nothing else.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes content, length, permissions and mark survive a power cut.
    fn sync_all(&self) -> io::Result<()>;

    /// Hands a part of the content out to a reader.
    fn into_read(self: Box<Self>, range: Range<u64>) -> io::Result<BlobRead>;
}

/// The system's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

impl Disk for FileSystem {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = File::options()
            .read(true)
            .write(access == Access::Write)
            .open(path)?;
        Ok(Box::new(file))
    }

    #[cfg(target_os = "linux")]
    fn open_at_once(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        // Nor is the time of the read noted, which could have to wait for the file system's journal.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOATIME;
        let file = rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?;
        Ok(Box::new(File::from(file)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn info(&self, path: &Path) -> io::Result<FileInfo> {
        std::fs::metadata(path).map(|metadata| info(&metadata))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        std::fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn age(&self, path: &Path) -> io::Result<Option<Duration>> {
        // One that was written in the future, by a clock that has been set since, tells nothing.
        Ok(std::fs::metadata(path)?.modified()?.elapsed().ok())
    }

    fn which(&self, path: &Path) -> io::Result<(u64, u64)> {
        let metadata = std::fs::metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

fn info(metadata: &std::fs::Metadata) -> FileInfo {
    FileInfo {
        length: metadata.len(),
        mode: metadata.permissions().mode() & 0o777,
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, at)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.set_permissions(Permissions::from_mode(mode))
    }

    fn info(&self) -> io::Result<FileInfo> {
        self.metadata().map(|metadata| info(&metadata))
    }

    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; MARK_MAX];
        match rustix::fs::fgetxattr(self, MARK, &mut buffer[..]) {
            Ok(length) => Ok(Some(buffer[..length].to_vec())),
            Err(rustix::io::Errno::NODATA) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn set_mark(&self, mark: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::fsetxattr(self, MARK, mark, XattrFlags::empty())?)
    }

    #[cfg(target_os = "linux")]
    fn write_out(&self, part: Range<u64>) -> io::Result<()> {
        super::write_out::begin(self, part)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn into_read(self: Box<Self>, range: Range<u64>) -> io::Result<BlobRead> {
        Ok(BlobRead::File(Arc::new(OpenFile::from(*self)), range))
    }
}
