//! sled's files, which it does not sync itself.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// The unit in which the system counts what a file takes, in bytes.
const BLOCK: u64 = 512;

/// The files of a sled directory that are needed for as long as it is open.
#[derive(Debug)]
pub(super) struct Files {
    /// The log.
    log: File,
    /// How many commits were acknowledged.
    acknowledged: File,
    directory: PathBuf,
}

impl Files {
    /// Opens them; sled has made the log.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let log = File::options().write(true).open(directory.join("db"))?;
        Self::open_with_log(directory, log)
    }

    pub(super) fn open_with_log(directory: &Path, log: File) -> io::Result<Self> {
        let acknowledged = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join("acknowledged"))?;
        Ok(Files {
            log,
            acknowledged,
            directory: directory.to_owned(),
        })
    }

    /// Makes durable what was written to the log.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.log.sync_data()
    }

    /// Notes that so many commits are durable. It need not be durable itself: it may lag, but not be ahead.
    pub(super) fn acknowledge(&self, commits: u64) -> io::Result<()> {
        let commits = commits.to_be_bytes();
        let note = [&commits[..], &crc32fast::hash(&commits).to_be_bytes()].concat();
        self.acknowledged.write_all_at(&note, 0)
    }

    /// At least how many commits were acknowledged.
    pub(super) fn acknowledged(&self) -> io::Result<u64> {
        let mut note = [0; 12];
        match self.acknowledged.read_exact_at(&mut note, 0) {
            Ok(()) => {}
            // None was noted yet.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            Err(error) => return Err(error),
        }
        let (commits, sum) = note.split_first_chunk::<8>().expect("twelve bytes");
        // A power cut may have left half of a note, which says nothing.
        let whole = crc32fast::hash(commits).to_be_bytes() == *sum;
        Ok(if whole { u64::from_be_bytes(*commits) } else { 0 })
    }

    /// How many more bytes fit into the file system.
    pub(super) fn room(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        Ok(disk.f_bavail * disk.f_frsize)
    }

    /// Sets room aside for so many bytes behind the end of the log, if there is less; then for `more` too, if there is
    /// room, so that few commits have to. The log's length stays as it is, which tells sled where it ends. Where a file
    /// system cannot do that, nothing is set aside.
    pub(super) fn set_aside(&self, bytes: u64, more: u64) -> io::Result<()> {
        let log = self.log.metadata()?;
        if log.blocks() * BLOCK >= log.len() + bytes {
            return Ok(());
        }
        let allocate = |bytes| rustix::fs::fallocate(&self.log, FallocateFlags::KEEP_SIZE, log.len(), bytes);
        match allocate(bytes + more).or_else(|_| allocate(bytes)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    /// A new file beside sled's directory that has no name, and is gone when it is closed.
    pub(super) fn nameless(&self) -> io::Result<File> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.with_file_name(format!("dump.{number}"));
        // A process that was killed here may have left one.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }
}

/// Makes all files of a sled directory durable, and their names.
pub(super) fn sync_everything(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_everything(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(directory)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes snapshots that were being written when the process was killed: sled would take one for the newest.
pub(super) fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().ends_with(b".generating") {
            fs::remove_file(directory.join(name))?;
        }
    }
    Ok(())
}

/// Removes a directory and what is in it, if it is there.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
