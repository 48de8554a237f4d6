//! Bytes in files of a local directory.
//!
//! Each upload is one file, written from its first byte at the place where it will be read: publishing moves
//! nothing. Nothing is acknowledged before it is synced, nor before the directory that names the file is synced.
//! A sync that failed is final for its file, since the system may have dropped what it could not write. How much of
//! an upload a power cut has left is told by its file's mark, never by its length.

mod append;
pub mod disk;
mod lock;
mod mark;
mod name;
mod opened;
mod proven;
mod session;
mod sessions;
#[cfg(target_os = "linux")]
mod write_out;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use registry_core::runtime::blocking;
use registry_core::store::{BlobStore, Location, StoreError, UploadStore, Volume, is_full};
use registry_core::{Algorithm, BlobRead, ByteStream, Digest, Runtime, UploadId};

pub use lock::{DirectoryLock, lock};
pub(crate) use session::SEALED;

use crate::durability::{Durability, Syncs};
use crate::identity::{self, StoreId};
use crate::kv::{OpenError, create_and_lock};

use append::End;
use disk::{Disk, FileSystem};
use name::{FileName, Tree};
use opened::Opened;
use sessions::Sessions;

/// Bytes in files, arriving and finished. One process at a time may use a directory: it is locked until
/// the last writer has ended.
pub struct FsBytes {
    runtime: Arc<dyn Runtime>,
    sessions: Arc<Sessions>,
    /// Appends that are going on, which share the memory for buffers.
    appending: Arc<AtomicUsize>,
    opened: Opened,
    /// Whose bytes these are, if that is known.
    store: Option<StoreId>,
}

impl FsBytes {
    /// Uses the directory `root`, which is created if it is not there. Whoever needs the entry of `root` itself to
    /// survive a power cut syncs the directory above it.
    ///
    /// # Errors
    /// [`OpenError::Io`], [`OpenError::InUse`].
    pub fn open(root: impl Into<PathBuf>, runtime: Arc<dyn Runtime>) -> Result<Self, OpenError> {
        Self::open_with(root, runtime, Durability::Strict)
    }

    /// Uses a directory as [`open`](FsBytes::open) does, with bytes that survive what `durability` says.
    ///
    /// # Errors
    /// [`OpenError::Io`], [`OpenError::InUse`].
    pub fn open_with(
        root: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
        durability: Durability,
    ) -> Result<Self, OpenError> {
        let root = root.into();
        let lock = create_and_lock(&root)?;
        let disk = Arc::new(FileSystem);
        Ok(Self::on(disk, root, runtime, durability.syncs(), Some(lock)))
    }

    /// Uses a directory of a disk.
    pub(crate) fn on(
        disk: Arc<dyn Disk>,
        root: PathBuf,
        runtime: Arc<dyn Runtime>,
        syncs: Syncs,
        lock: Option<DirectoryLock>,
    ) -> Self {
        FsBytes {
            runtime,
            sessions: Arc::new(Sessions::new(Tree::new(disk, root, syncs), lock)),
            appending: Arc::default(),
            opened: Opened::new(),
            store: None,
        }
    }

    /// The same, in the knowledge whose bytes these are: it says so beside them.
    pub(crate) fn of(self, store: StoreId) -> Self {
        FsBytes {
            store: Some(store),
            ..self
        }
    }

    /// Runs work on the sessions where blocking is allowed.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Arc<Sessions>) -> T + Send + 'static) -> T {
        let sessions = self.sessions.clone();
        blocking(&*self.runtime, move || work(&sessions)).await
    }

    async fn take_in(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        bytes: ByteStream,
        end: End,
    ) -> Result<u64, StoreError> {
        let name = FileName::of(id);
        let writer = self
            .run(move |sessions| sessions.begin(&name, algorithm, at))
            .await?;
        append::append(&self.runtime, &self.appending, writer, bytes, end).await
    }
}

impl fmt::Debug for FsBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsBytes")
            .field("tree", self.sessions.tree())
            .finish_non_exhaustive()
    }
}

/// Where below `root` the file of a location lies; `None` for what is no file.
pub(crate) fn path(root: &Path, location: &Location) -> Option<PathBuf> {
    FileName::at(location).map(|name| root.join(name.to_string()))
}

/// The error for a failure of the system, by whether it means that there is no room.
fn store_error(error: io::Error) -> StoreError {
    match is_full(&error) {
        true => StoreError::Full(error),
        false => StoreError::Failed(error),
    }
}

#[async_trait]
impl BlobStore for FsBytes {
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        let missing = || StoreError::Missing(location.clone());
        let name = FileName::at(location).ok_or_else(missing)?;
        if let Some((file, length)) = self.opened.find(&name)
            && range.start <= range.end
            && range.end <= length
        {
            return Ok(BlobRead::File(file, range));
        }
        let opened = match self.sessions.tree().read_at_once(&name) {
            Some(opened) => Ok(opened),
            None => {
                let name = name.clone();
                self.run(move |sessions| sessions.tree().read(&name)).await
            }
        };
        match opened {
            Ok((file, length)) if range.start <= range.end && range.end <= length => {
                let read = file.into_read(range).map_err(StoreError::Failed)?;
                if let BlobRead::File(file, _) = &read {
                    self.opened.keep(name, file);
                }
                Ok(read)
            }
            Ok(_too_short) => Err(missing()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(StoreError::Failed(error)),
        }
    }

    async fn size(&self, location: &Location) -> Result<Option<u64>, StoreError> {
        let Some(name) = FileName::at(location) else {
            return Ok(None);
        };
        // By its path in any case. That of an open file is looked up without waiting.
        if self.opened.holds(&name) {
            let info = self.sessions.tree().info(&name);
            return Ok(info.map_err(StoreError::Failed)?.map(|info| info.length));
        }
        if let Some((file, length)) = self.sessions.tree().read_at_once(&name) {
            // What is asked for once is asked for again, or read.
            if let Ok(BlobRead::File(file, _)) = file.into_read(0..length) {
                self.opened.keep(name, &file);
            }
            return Ok(Some(length));
        }
        let info = self.run(move |sessions| sessions.tree().info(&name)).await;
        Ok(info.map_err(StoreError::Failed)?.map(|info| info.length))
    }

    async fn unlink(&self, location: &Location) -> Result<(), StoreError> {
        let Some(name) = FileName::at(location) else {
            return Ok(());
        };
        let unlinked = self.run({
            let name = name.clone();
            move |sessions| {
                sessions.with(&name, |session, tree| {
                    session.end();
                    tree.unlink(&name)
                })
            }
        });
        let unlinked = unlinked.await.map_err(StoreError::Failed);
        self.opened.forget(&name);
        unlinked
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        let after = match after {
            // Other kinds of location order before or after every file.
            Some(Location::Inline) | None => None,
            Some(Location::File(name)) => Some(name.clone()),
            Some(_) => return Ok(Vec::new()),
        };
        let names = self
            .run(move |sessions| sessions.tree().list(after.as_deref(), limit))
            .await;
        let names = names.map_err(StoreError::Failed)?;
        Ok(names.iter().map(FileName::location).collect())
    }

    /// There, if the identity of the store is beside the bytes and can be read from the disk.
    async fn volume(&self) -> Volume {
        let store = self.store;
        let looked = self.run(move |sessions| {
            let tree = sessions.tree();
            tree.is_home()?;
            store
                .map(|store| identity::is_beside(tree.root(), store))
                .transpose()
        });
        match looked.await {
            Ok(Some(())) => Volume::There,
            Ok(None) => Volume::Unknown,
            Err(error) => Volume::Gone(error),
        }
    }

    async fn age(&self, location: &Location) -> Result<Option<Duration>, StoreError> {
        let Some(name) = FileName::at(location) else {
            return Ok(None);
        };
        let age = self.run(move |sessions| sessions.tree().age(&name)).await;
        age.map_err(StoreError::Failed)
    }
}

#[async_trait]
impl UploadStore for FsBytes {
    fn location(&self, id: &UploadId) -> Location {
        FileName::of(id).location()
    }

    async fn received(&self, id: &UploadId) -> Result<u64, StoreError> {
        let name = FileName::of(id);
        self.run(move |sessions| sessions.with(&name, |session, tree| session.received(tree)))
            .await
    }

    async fn append(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<u64, StoreError> {
        self.take_in(id, algorithm, at, bytes, End::Open).await
    }

    async fn seal(&self, id: &UploadId, digest: &Digest) -> Result<u64, StoreError> {
        let (name, digest) = (FileName::of(id), *digest);
        self.run(move |sessions| sessions.with(&name, |session, tree| session.seal(tree, &digest)))
            .await
    }

    async fn finish(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        bytes: ByteStream,
        digest: &Digest,
    ) -> Result<u64, StoreError> {
        self.take_in(id, algorithm, at, bytes, End::Sealed(*digest)).await
    }

    async fn discard(&self, id: &UploadId) {
        let name = FileName::of(id);
        self.run(move |sessions| {
            sessions.with(&name, |session, tree| {
                session.end();
                // Only to have the room again sooner; the file is unlinked in any case.
                if let Err(error) = tree.truncate(&name) {
                    tracing::warn!(%name, %error, "a given-up upload keeps its room until it is unlinked");
                }
            });
        })
        .await;
    }
}
