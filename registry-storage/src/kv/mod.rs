//! Records in one file of an embedded engine.
//!
//! Reads run on the calling thread: the engine maps its file into memory, so that a read of what is cached costs
//! less than handing it to another thread. Commits go to one thread, which makes all that waits durable together.

mod committer;
mod engine;
mod layout;
mod lmdb;

use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::{Entry, KEY_MAX, Kv, KvError, Stamp, Txn};

use crate::clock::{self, Clock};
use crate::durability::Durability;
use crate::fs::{DirectoryLock, lock};
use crate::limits;

use committer::{Committer, Time};
use engine::Engine;
use lmdb::Lmdb;

/// How records are kept.
#[derive(Clone)]
pub struct Options {
    /// The clock under [`Kv::now`].
    pub clock: Clock,
    /// Address space set aside for the file, in bytes: what the file can grow to. It costs neither memory nor disk
    /// until it is used, and may differ from one opening to the next.
    pub capacity: usize,
    /// What an acknowledged write survives.
    pub durability: Durability,
}

impl Default for Options {
    /// The system's clock, 256 GiB, and every sync.
    fn default() -> Self {
        Options {
            clock: clock::system(),
            capacity: 256 << 30,
            durability: Durability::Strict,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("capacity", &self.capacity)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refused.
    #[error("{path} cannot be used")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process, or another part of this one, has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// There is not so much address space.
    #[error("{path} needs {capacity} bytes of address space; set a smaller capacity, or raise the limit")]
    AddressSpace {
        /// The directory.
        path: PathBuf,
        /// The [capacity](Options::capacity) asked for.
        capacity: usize,
    },
    /// Written by a later version than this one, which cannot know what it means.
    #[error("{path} has format {found}, but this version knows formats up to {known}; use a newer version")]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// What was found.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// Not what this store writes, or damaged.
    #[error("{path} is not a store of records, or is damaged")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// Names the file or directory that an error was about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    }
}

/// Creates `directory` if it is not there, and takes it for this process.
pub(crate) fn create_and_lock(directory: &Path) -> Result<DirectoryLock, OpenError> {
    std::fs::create_dir_all(directory).map_err(OpenError::io(directory))?;
    let held = lock(directory).map_err(OpenError::io(directory))?;
    held.ok_or_else(|| OpenError::InUse(directory.to_owned()))
}

/// Records in a directory of the local file system, for one process at a time.
pub struct EmbeddedKv {
    /// Before the engine, so that its thread has ended when the engine closes.
    committer: Committer,
    engine: Arc<dyn Engine>,
    time: Arc<Time>,
    directory: PathBuf,
}

impl EmbeddedKv {
    /// Opens the records in `directory`, which is created if it is not there. Whoever needs the entry of `directory`
    /// itself to survive a power cut syncs the directory above it.
    ///
    /// # Errors
    /// All of [`OpenError`].
    pub fn open(directory: impl Into<PathBuf>, options: Options) -> Result<Self, OpenError> {
        let directory = directory.into();
        let lock = create_and_lock(&directory)?;
        let (engine, last, now) = Lmdb::open(&directory, lock, &options)?;
        Ok(Self::start(Arc::new(engine), directory, options.clock, last, now))
    }

    fn start(
        engine: Arc<dyn Engine>,
        directory: PathBuf,
        clock: Clock,
        last: Stamp,
        now: Timestamp,
    ) -> EmbeddedKv {
        let time = Arc::new(Time::new(clock, now));
        EmbeddedKv {
            committer: Committer::start(engine.clone(), time.clone(), last),
            engine,
            time,
            directory,
        }
    }
}

impl fmt::Debug for EmbeddedKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedKv({})", self.directory.display())
    }
}

#[async_trait]
impl Kv for EmbeddedKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        if key.len() > KEY_MAX {
            return Ok(None);
        }
        let key = layout::record_key(key);
        let stored = self.engine.get(&key)?;
        stored.map(|stored| layout::entry(&key, &stored)).transpose()
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        if prefix.len() > KEY_MAX || limit == 0 {
            return Ok(Vec::new());
        }
        let prefix_key = layout::record_key(prefix);
        let after_key = after.filter(|after| *after >= prefix).map(layout::after_key);
        let from = match &after_key {
            Some(after) => Bound::Excluded(after.as_slice()),
            None => Bound::Included(prefix_key.as_slice()),
        };
        let mut page = Vec::new();
        self.engine.scan(from, &prefix_key, limit, &mut |key, stored| {
            page.push((layout::record_name(key)?, layout::entry(key, stored)?));
            Ok(())
        })?;
        Ok(page)
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        Ok(self.time.now())
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        limits::check(&txn)?;
        self.committer.commit(txn).await
    }
}

#[cfg(test)]
mod tests;
