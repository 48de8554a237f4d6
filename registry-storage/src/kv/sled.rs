//! sled 0.34 as the engine, made to survive power cuts.
//!
//! sled keeps its tree in a log: a file of segments, into which it writes pages and changes of pages, and whose
//! segments it uses again when all that is in them was written anew elsewhere. For each write it asks the system to
//! start it and waits for that (`sync_file_range`), but it does not ask the disk to keep it, so that after a power
//! cut any part of what was written since the last `fdatasync` may be missing. sled itself calls that at creation
//! and when it closes. What is needed beyond that is done here.
//!
//! **A batch is atomic.** It begins with a message that says where it ends, which sled writes only when the batch is
//! in the log. Opening reads the log from the segment to which, by the headers of the later segments, everything is
//! safe, up to the first message that is damaged, and leaves out a batch that ends behind that. Whoever wants to
//! rely on this must see to it that a header never says so of what may still get lost. A header names what was
//! written when its segment was begun; within a batch, what was written before it. So:
//!
//! 1. Before a batch, all that is in the log is synced.
//! 2. From there until the batch is written and synced too, nothing else is written: sled's readers write to the
//!    log, since whoever comes across a page that should be split or merged does it. They wait for so long.
//! 3. What a reader did write, it syncs before it returns. Between two syncs, and outside of a batch, there is so
//!    much less than one segment; and only segments before the one that a header names are taken to be whole.
//!    What the committing thread writes while it reads is in the first sync.
//!
//! **No segment is used again too early.** That happens once the headers say that the segments with the new
//! versions are safe, which by the same argument is true.
//!
//! **Files beside the log** that sled writes without a sync: long messages, which do not occur (see [`pieces`]); the
//! snapshot that makes opening faster, which it syncs without its name; its configuration. All of them are written
//! at opening only, and everything is synced before it and after it: before, because of what a killed process left
//! in the system's memory only. A store is made under another name, so that a half-made one is never opened.
//!
//! **A reader sees only what is durable**, because it waits while a batch is written. If that fails, the values
//! from before it are shown until the store is opened again. If a batch stops in the middle and sled would go on
//! writing (a page could not be read), nothing is read or written any more and the log is not closed: whatever sled
//! wrote next would put half of a batch into the log.
//!
//! **Opening cuts the log** at the first message that cannot be read, as if it had never been written, which is right
//! after a power cut, and wrong on a damaged disk. So the number of commits is kept in the tree, and what was
//! acknowledged of them is noted beside it: a log that ends earlier is refused. By then sled has cut it.
//!
//! **A write that failed** is final for sled, but it does not always wake those who wait for it. See [`watch`].
//!
//! **A full disk.** Readers write, and a write that failed is final. So the log has room set aside behind its end,
//! which nobody else can take, and a commit that would not leave that much is refused. What readers write is what
//! commits have left them to split and merge, each page once; while no commit is taken it comes to an end. Should it
//! be more than was set aside, or the file system be one that sets nothing aside, those reads fail, and the records
//! take no more writes until they are opened again.
//!
//! **sled panics** where its checks of itself fail. Here that is an error. One of its own threads that panics while
//! it writes to the log leaves the commit waiting, and with it all later ones: that cannot be told from a slow disk.

mod files;
mod group;
mod pieces;
mod spool;
mod watch;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use registry_core::store::{KvError, is_full};
use sled::{Batch, Config, Db, IVec};

use super::OpenError;
use super::engine::{Cause, Engine, Fault, Group, Visit};
use super::layout;
use crate::fs::DirectoryLock;

use files::Files;
use group::SledGroup;
use pieces::Changes;
use spool::Spool;
use watch::Watch;

/// Why sled did not do what it should.
type Failure = Cause;

/// Where sled's files are, below the records' directory, and where they are made.
pub(super) const DIRECTORY: &str = "sled";
const UNFINISHED: &str = "sled.new";

/// Memory for pages, in bytes. The system has the file in its own.
const CACHE: u64 = 16 << 20;

/// Length of a segment in bytes: a quarter of it is the longest message, see [`pieces`].
const SEGMENT: usize = 2 << 20;

/// A file system has room for a batch if it has this many bytes more than a few times the batch's.
const ROOM: u64 = 8 << 20;

/// Room behind the end of the log that is set aside for what readers write, in bytes: enough for more than a hundred
/// of the longest leaves there can be, and for thousands of usual ones.
const RESERVE: u64 = 16 << 20;

/// The key of the number of commits. The records' layout has none that begins so.
const COMMITS: &[u8] = &[3];

/// How long a store that was closed just now may still be at work on its last write.
const CLOSING: Duration = Duration::from_secs(10);

/// sled panicked.
#[derive(Debug, thiserror::Error)]
#[error("sled gave up: {0}")]
struct Panicked(String);

/// sled's tree, and the syncs that it does without.
pub(super) struct Sled {
    /// There until it is dropped.
    db: Option<Db>,
    /// There until it is dropped.
    watch: Option<Watch>,
    files: Files,
    commits: AtomicU64,
    /// The log on the disk may be another than sled believes.
    broken: Arc<AtomicBool>,
    /// sled's tree has half a batch, and sled would write it.
    halted: AtomicBool,
    /// Held by readers, and by the writer while there is anything in the tree that is not durable. It has the
    /// values that are shown instead of the tree's after a commit of which nobody knows how it ended.
    hidden: RwLock<Changes>,
    /// Behind the tree, so that it is given back after the tree is closed.
    _lock: DirectoryLock,
}

impl Sled {
    /// Opens or creates the tree in a directory.
    pub(super) fn open(directory: &Path, lock: DirectoryLock) -> Result<Self, OpenError> {
        let path = directory.join(DIRECTORY);
        let failed = || OpenError::io(&path);
        if !path.try_exists().map_err(failed())? {
            create(directory, &path)?;
        }
        files::remove_unfinished(&path).map_err(failed())?;
        files::sync_everything(&path).map_err(failed())?;
        let db = start(&path)?;
        guarded(|| Ok(db.flush()?)).map_err(|cause| open_error(&path, cause))?;
        let files = Files::open(&path).map_err(failed())?;
        files::sync_everything(&path).map_err(failed())?;

        let broken = Arc::new(AtomicBool::new(false));
        let opened = Sled {
            watch: Some(Watch::start(db.clone(), broken.clone()).map_err(failed())?),
            db: Some(db),
            commits: AtomicU64::new(0),
            broken,
            halted: AtomicBool::new(false),
            hidden: RwLock::default(),
            files,
            _lock: lock,
        };
        let commits = opened.count().map_err(|cause| open_error(&path, cause))?;
        let acknowledged = opened.files.acknowledged().map_err(failed())?;
        if commits < acknowledged {
            let why = format!("of {acknowledged} commits, those after {commits} cannot be read");
            return Err(open_error(&path, why.into()));
        }
        opened.commits.store(commits, Ordering::Relaxed);
        if let Err(error) = opened.files.set_aside(RESERVE, 0) {
            tracing::warn!(%error, "no room can be set aside for the records' log; on a full disk, reads may fail");
        }
        Ok(opened)
    }

    /// The number of commits that the tree has seen.
    fn count(&self) -> Result<u64, Failure> {
        let commits = guarded(|| pieces::get(self.db(), COMMITS))?;
        match commits.as_deref().map(<[u8; 8]>::try_from) {
            None => Ok(0),
            Some(Ok(commits)) => Ok(u64::from_be_bytes(commits)),
            Some(Err(_)) => Err("the number of commits is damaged".into()),
        }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open until it is dropped")
    }

    fn hidden(&self) -> RwLockReadGuard<'_, Changes> {
        // It is only ever changed as a whole.
        self.hidden.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Reads, and syncs what sled wrote on the way.
    fn read<T>(&self, read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Fault> {
        if self.halted.load(Ordering::SeqCst) {
            return Err(Fault::Failed(
                "a commit stopped in the middle; the process is to be started again".into(),
            ));
        }
        let read = guarded(read).map_err(Fault::Failed)?;
        if !self.is_broken()
            && let Err(cause) = self.settle()
        {
            // What was read is durable nevertheless; it is the next write that cannot rely on the log.
            tracing::error!(%cause, "the records' log cannot be synced; the records take no more writes");
        }
        Ok(read)
    }

    /// Syncs what sled wrote while it read, if it did.
    fn settle(&self) -> Result<(), Failure> {
        match self.flush()? {
            0 => Ok(()),
            _ => self.sync(),
        }
    }

    /// Lets sled write to the log what it has in memory; gives the number of bytes. It fails for good.
    fn flush(&self) -> Result<usize, Failure> {
        guarded(|| Ok(self.db().flush()?)).inspect_err(|_| self.broken.store(true, Ordering::SeqCst))
    }

    /// Makes durable what is in the log. After a sync that failed nobody knows what the disk has, also if the next
    /// one succeeds.
    fn sync(&self) -> Result<(), Failure> {
        self.files.sync().map_err(|error| {
            self.broken.store(true, Ordering::SeqCst);
            error.into()
        })
    }

    /// Sees to it that there is room for these changes, and as much as before for the readers after them. sled takes
    /// no more writes after one that failed, and a batch that it could not finish leaves its tree half changed, so
    /// that this is done before.
    fn make_room(&self, changes: &Changes) -> Result<(), Fault> {
        let bytes =
            |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        let batch = 4 * changes.iter().map(bytes).sum::<usize>() as u64;
        let room = self.files.room().map_err(|error| Fault::Failed(error.into()))?;
        if room < batch + ROOM {
            let full = io::Error::new(io::ErrorKind::StorageFull, format!("{room} bytes are left"));
            return Err(Fault::Full(full.into()));
        }
        let aside = self.files.set_aside(batch + RESERVE, RESERVE);
        aside.map_err(|error| match is_full(&error) {
            true => Fault::Full(error.into()),
            false => Fault::Failed(error.into()),
        })
    }

    /// What makes the tree have these changes.
    fn batch(&self, changes: &Changes) -> Result<Batch, Failure> {
        guarded(|| pieces::batch(self.db(), changes))
    }

    /// Makes all that is in the log durable, before a batch.
    fn prepare(&self) -> Result<(), Failure> {
        self.flush()?;
        self.sync()
    }

    /// Writes a batch to the log, and makes it durable.
    fn apply(&self, batch: Batch) -> Result<(), Failure> {
        if let Err(cause) = guarded(|| Ok(self.db().apply_batch(batch)?)) {
            self.halted.store(!watch::has_failed(self.db()), Ordering::SeqCst);
            return Err(cause);
        }
        self.flush()?;
        self.sync()
    }

    /// Gives up a batch of which something may be in the log: nobody knows how much of it an opening will find.
    fn give_up(&self, cause: Failure, before: Changes, hidden: &mut Changes) -> Fault {
        self.broken.store(true, Ordering::SeqCst);
        *hidden = before;
        Fault::Unknown(cause)
    }

    /// Shows what is in the tree, save where something is hidden.
    fn scan_beside(
        &self,
        hidden: &Changes,
        from: Bound<&[u8]>,
        prefix: &[u8],
        limit: usize,
        visit: Visit<'_>,
    ) -> Result<(), KvError> {
        let mut entries = self.db().range::<&[u8], _>((from, Bound::Unbounded));
        let mut next = || self.read(|| Ok(entries.next().transpose()?));
        let mut instead = hidden.range::<[u8], _>((from, Bound::Unbounded)).peekable();
        let mut entry = next()?;
        let mut left = limit;
        while left > 0 {
            let (key, value): (IVec, Cow<'_, [u8]>) = match (&entry, instead.peek()) {
                (None, None) => break,
                (Some((key, _)), Some((other, _))) if key.as_ref() == other.as_slice() => {
                    entry = next()?;
                    continue;
                }
                (Some((key, stored)), other)
                    if other.is_none_or(|(other, _)| key.as_ref() < other.as_slice()) =>
                {
                    if !key.starts_with(prefix) {
                        break;
                    }
                    let value = guarded(|| pieces::value(self.db(), key, stored)).map_err(Fault::Failed)?;
                    let key = key.clone();
                    entry = next()?;
                    (key, value.into())
                }
                (_, Some((key, before))) => {
                    let shown = before
                        .as_deref()
                        .map(|value| (key.as_slice().into(), value.into()));
                    instead.next();
                    let Some(shown) = shown else { continue };
                    shown
                }
                (Some(_), None) => unreachable!("an entry alone comes first"),
            };
            if !key.starts_with(prefix) {
                break;
            }
            visit(&key, &value)?;
            left -= 1;
        }
        Ok(())
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        // It has the tree too.
        self.watch = None;
        if self.halted.load(Ordering::SeqCst) {
            // Closing it would write the half of a batch.
            std::mem::forget(self.db.take());
        } else if let Err(cause) = closed(self.db.take()) {
            tracing::error!(%cause, "the records were not closed as they should");
        }
    }
}

/// Calls sled. Its checks of itself panic; nothing of it is used here that such a panic could have left half done
/// unnoticed: it is an error of what was called.
fn guarded<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let said = match panic.downcast::<String>() {
            Ok(said) => *said,
            Err(panic) => panic
                .downcast_ref::<&str>()
                .unwrap_or(&"it did not say why")
                .to_string(),
        };
        Err(Panicked(said).into())
    })
}

/// Closes sled, which syncs its log, and panics if that fails.
fn closed(db: Option<Db>) -> Result<(), Failure> {
    guarded(|| {
        drop(db);
        Ok(())
    })
}

/// Makes a store beside its place, and puts it there when it is whole.
fn create(directory: &Path, path: &Path) -> Result<(), OpenError> {
    let unfinished = directory.join(UNFINISHED);
    files::remove(&unfinished).map_err(OpenError::io(&unfinished))?;
    let db = start(&unfinished)?;
    closed(Some(db)).map_err(|cause| open_error(&unfinished, cause))?;
    files::sync_everything(&unfinished)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .and_then(|()| files::sync_directory(directory))
        .map_err(OpenError::io(path))
}

/// Lets sled open or create its files. Only an earlier store of this process can hold them: the directory is locked
/// against others.
fn start(path: &Path) -> Result<Db, OpenError> {
    let config = || {
        Config::new()
            .path(path)
            .cache_capacity(CACHE)
            .segment_size(SEGMENT)
            .flush_every_ms(None)
            .use_compression(false)
    };
    let begun = Instant::now();
    loop {
        match guarded(|| Ok(config().open()?)) {
            Ok(db) => return Ok(db),
            Err(cause) if is_held(&cause) && begun.elapsed() < CLOSING => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(cause) if is_held(&cause) => return Err(OpenError::InUse(path.to_owned())),
            Err(cause) => return Err(open_error(path, cause)),
        }
    }
}

/// Whether sled's files are locked. sled says so in words only.
fn is_held(cause: &Failure) -> bool {
    let error = cause.downcast_ref::<sled::Error>();
    matches!(error, Some(sled::Error::Io(error)) if error.to_string().starts_with("could not acquire lock"))
}

/// Why a store cannot be opened.
fn open_error(path: &Path, cause: Failure) -> OpenError {
    match cause.downcast::<sled::Error>().map(|error| *error) {
        Ok(sled::Error::Io(source)) => OpenError::io(path)(source),
        Ok(other) => super::damaged(path, other.into()),
        Err(other) => super::damaged(path, other),
    }
}

impl Engine for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let hidden = self.hidden();
        match hidden.get(key) {
            Some(before) => Ok(before.clone()),
            None => self.read(|| pieces::get(self.db(), key)),
        }
    }

    fn scan(&self, from: Bound<&[u8]>, prefix: &[u8], limit: usize, visit: Visit<'_>) -> Result<(), KvError> {
        self.scan_beside(&self.hidden(), from, prefix, limit, visit)
    }

    /// Commits, and reads behind them, wait while the records are copied to a file, which takes as long as the disk
    /// needs for so many bytes: a second or a few for each gigabyte. They do not wait for `visit`.
    fn dump(&self, visit: Visit<'_>) -> Result<(), KvError> {
        let mut spool = Spool::create(&self.files).map_err(|error| KvError::Failed(error.into()))?;
        let hidden = self.hidden();
        for prefix in layout::KINDS {
            let from = Bound::Included(&[prefix][..]);
            self.scan_beside(&hidden, from, &[prefix], usize::MAX, &mut |key, value| {
                spool.put(key, value)
            })?;
        }
        drop(hidden);
        spool.show(visit)
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Group) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.is_broken() {
            let why =
                "the log could not be written or synced; the records take writes once they are opened again";
            return Err(Fault::Failed(why.into()));
        }
        let mut group = SledGroup {
            sled: self,
            changes: BTreeMap::new(),
        };
        work(&mut group)?;
        let mut changes = group.changes;
        if changes.is_empty() {
            return Ok(());
        }
        let commits = self.commits.load(Ordering::Relaxed) + 1;
        changes.insert(COMMITS.to_vec(), Some(commits.to_be_bytes().to_vec()));
        self.make_room(&changes)?;

        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = Changes::new();
        for key in changes.keys() {
            let value = guarded(|| pieces::get(self.db(), key)).map_err(Fault::Failed)?;
            before.insert(key.clone(), value);
        }
        let batch = self.batch(&changes).map_err(Fault::Failed)?;
        // Nothing of the batch is in the log yet.
        self.prepare().map_err(Fault::Failed)?;
        if let Err(cause) = self.apply(batch) {
            return Err(self.give_up(cause, before, &mut hidden));
        }
        drop(hidden);
        self.commits.store(commits, Ordering::Relaxed);
        if let Err(error) = self.files.acknowledge(commits) {
            tracing::warn!(%error, "the number of commits could not be noted; a loss of the last one may go unnoticed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
