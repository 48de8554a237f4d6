//! Records in an embedded engine.
//!
//! Reads run on the calling thread: a read of what is cached costs less than handing it to another thread. Commits go to one thread, which makes all that waits durable together.

mod committer;
mod engine;
mod format;
mod layout;
mod lmdb;
mod reopening;
mod sled;
mod transfer;

use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::{Entry, KEY_MAX, Kv, KvError, Mark, Marks, Stamp, Txn};

use crate::clock::{self, Clock};
use crate::durability::Durability;
use crate::fs::{DirectoryLock, lock};
use crate::identity::StoreId;
use crate::limits;

use committer::{Committer, Time};
use engine::{Cause, Engine};
use reopening::Reopening;
use sled::Sled;

pub(crate) use format::Found;

/// The engines that can keep records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// LMDB: a copy-on-write tree in one file. A reader never waits.
    #[default]
    Lmdb,
    /// sled 0.34: a tree in a log. A reader waits while a commit is made durable.
    Sled,
}

impl EngineKind {
    /// All of them.
    pub const ALL: [EngineKind; 2] = [EngineKind::Lmdb, EngineKind::Sled];

    /// The name, as a configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Lmdb => "lmdb",
            EngineKind::Sled => "sled",
        }
    }

    /// The engine that made what is in a directory, if there is anything of one.
    fn of(directory: &Path) -> io::Result<Option<EngineKind>> {
        for (kind, file) in [
            (EngineKind::Lmdb, lmdb::FILE),
            (EngineKind::Sled, sled::DIRECTORY),
        ] {
            if directory.join(file).try_exists()? {
                return Ok(Some(kind));
            }
        }
        Ok(None)
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

pub(crate) use transfer::record;

/// How records are kept.
#[derive(Clone)]
pub struct Options {
    /// The clock under [`Kv::now`].
    pub clock: Clock,
    /// What keeps them. A directory belongs to the engine that made it.
    pub engine: EngineKind,
    /// Address space set aside for LMDB's file, in bytes: what the file can grow to. It costs neither memory nor disk
    /// until it is used, and may differ from one opening to the next. sled needs none.
    pub capacity: usize,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Whether records of an older format are refused, instead of being brought to the one that this version writes.
    pub keep_format: bool,
}

impl Default for Options {
    /// The system's clock, LMDB, 256 GiB, and every sync.
    fn default() -> Self {
        Options {
            clock: clock::system(),
            engine: EngineKind::default(),
            capacity: 256 << 30,
            durability: Durability::Strict,
            keep_format: false,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("engine", &self.engine)
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
    /// A restore into it did not come to its end.
    #[error("{0} holds a part of a backup: a restore did not come to its end; empty it and restore again")]
    Restoring(PathBuf),
    /// There is not so much address space.
    #[error("{path} needs {capacity} bytes of address space; set a smaller capacity, or raise the limit")]
    AddressSpace {
        /// The directory.
        path: PathBuf,
        /// The [capacity](Options::capacity) asked for.
        capacity: usize,
    },
    /// Written by a later version than this one, which cannot know what it means.
    #[error(
        "{path} has format {found}, but this version knows formats up to {known}; \
         use the newer version that wrote it, or go back to a backup from before it"
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// What was found.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// Written by an earlier version, and to be [left as it is](Options::keep_format).
    #[error(
        "{path} has format {found}, and this version works with format {known}; nothing was changed. \
         `berth serve` brings it forward, and versions that know no format {known} refuse it then"
    )]
    OlderFormat {
        /// The directory.
        path: PathBuf,
        /// What was found.
        found: u32,
        /// What this version brings it to.
        known: u32,
    },
    /// Made by another engine than the one that is asked for.
    #[error(
        "{path} was made by the engine {found}, but {asked} is asked for; set the engine back to {found}, \
         or make a backup with it and restore that with {asked}"
    )]
    OtherEngine {
        /// The directory.
        path: PathBuf,
        /// The engine that made it.
        found: EngineKind,
        /// The [engine](Options::engine) asked for.
        asked: EngineKind,
    },
    /// The records and the blobs are not of one store.
    #[error("{records} and {blobs} do not belong together: {how}")]
    Apart {
        /// The records' directory.
        records: PathBuf,
        /// The blobs' directory.
        blobs: PathBuf,
        /// What is wrong, and what can be done.
        how: Apart,
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

/// How records and blobs fail to be of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Apart {
    /// Each has an identity, and they differ.
    #[error("they are of different stores; put the right one of the two directories back")]
    Different,
    /// The records have an identity, and the blobs have none.
    #[error(
        "the blobs' directory has no file STORE; is its volume mounted, and are all files of the blobs there?"
    )]
    NoBlobs,
    /// There are blobs, and no records.
    #[error(
        "there are blobs, but no records; is the volume of the records mounted, and are all their files there?"
    )]
    NoRecords,
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

/// What is in a directory is not what a store writes there.
fn damaged(directory: &Path, source: Cause) -> OpenError {
    OpenError::Damaged {
        path: directory.to_owned(),
        source,
    }
}

/// Opens or creates what an engine keeps in a directory.
fn open_engine(directory: &Path, options: &Options) -> Result<Arc<dyn Engine>, OpenError> {
    let lock = create_and_lock(directory)?;
    match EngineKind::of(directory).map_err(OpenError::io(directory))? {
        Some(found) if found != options.engine => Err(OpenError::OtherEngine {
            path: directory.to_owned(),
            found,
            asked: options.engine,
        }),
        _ => Ok(match options.engine {
            EngineKind::Lmdb => Arc::new(Reopening::open(directory, lock, options)?),
            EngineKind::Sled => Arc::new(Sled::open(directory, lock)?),
        }),
    }
}

/// Records in a directory of the local file system, for one process at a time.
pub struct EmbeddedKv {
    /// Before the engine, so that its thread has ended when the engine closes.
    committer: Committer,
    engine: Arc<dyn Engine>,
    time: Arc<Time>,
    marks: Arc<Marks>,
    directory: PathBuf,
}

impl EmbeddedKv {
    /// Opens the records in `directory`, which is created if it is not there. Whoever needs the entry of `directory`
    /// itself to survive a power cut syncs the directory above it.
    ///
    /// # Errors
    /// All of [`OpenError`].
    pub fn open(directory: impl Into<PathBuf>, options: Options) -> Result<Self, OpenError> {
        Self::open_as(directory, options, |found| Ok(found.store))
    }

    /// Opens the records in `directory` as [`open`](EmbeddedKv::open) does, with the identity that `identity` says the
    /// store has, once it was told what was found.
    pub(crate) fn open_as(
        directory: impl Into<PathBuf>,
        options: Options,
        identity: impl FnOnce(Found) -> Result<Option<StoreId>, OpenError>,
    ) -> Result<Self, OpenError> {
        let directory = directory.into();
        let engine = open_engine(&directory, &options)?;
        let found = format::look(&*engine, &directory, layout::FORMAT)?;
        if let Some(found) = found.format.filter(|found| *found < layout::FORMAT)
            && options.keep_format
        {
            return Err(OpenError::OlderFormat {
                path: directory,
                found,
                known: layout::FORMAT,
            });
        }
        let store = identity(found)?;
        let (last, now) = format::begin(&*engine, &directory, layout::FORMAT, store)?;
        Ok(Self::start(engine, directory, options.clock, last, now))
    }

    fn start(
        engine: Arc<dyn Engine>,
        directory: PathBuf,
        clock: Clock,
        last: Stamp,
        now: Timestamp,
    ) -> EmbeddedKv {
        let (time, marks) = (Arc::new(Time::new(clock, now)), Arc::new(Marks::new()));
        EmbeddedKv {
            committer: Committer::start(engine.clone(), time.clone(), marks.clone(), last),
            engine,
            time,
            marks,
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
        stored.map(|stored| layout::entry_of(&key, stored)).transpose()
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
        let (mut page, mut damaged) = (Vec::new(), Vec::new());
        self.engine.scan(from, &prefix_key, limit, &mut |key, stored| {
            let name = layout::record_name(key).map_err(KvError::from);
            match name.and_then(|name| Ok((name, layout::entry(key, stored)?))) {
                Ok(read) => page.push(read),
                Err(KvError::Damaged { key, .. }) => damaged.push(key),
                Err(other) => return Err(other),
            }
            Ok(())
        })?;
        let mut damaged = damaged.into_iter();
        match damaged.next() {
            None => Ok(page),
            Some(key) => Err(KvError::Damaged {
                key,
                more: damaged.collect(),
                page,
            }),
        }
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        Ok(self.time.now())
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        limits::check(&txn)?;
        self.committer.commit(txn).await
    }

    fn mark(&self, key: &str) -> Option<Mark> {
        self.marks.of(key)
    }

    fn is_current(&self, mark: Mark) -> bool {
        self.marks.is_current(mark)
    }
}

#[cfg(test)]
mod tests;
