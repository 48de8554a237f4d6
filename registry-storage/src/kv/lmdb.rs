//! LMDB as the engine, through heed.
#![allow(
    unsafe_code,
    reason = "mapping a file into memory asks for a promise that only the caller can make; see `open`"
)]

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, MdbError, RwTxn, WithTls};
use registry_core::store::{KvError, is_full};

use super::engine::{Cause, Engine, Fault, Group, Visit};
use super::layout;
use super::{OpenError, Options, damaged};
use crate::fs::DirectoryLock;

/// One slot for each thread that ever read and has not ended.
const MAX_READERS: u32 = 4096;

/// The file of the map, below the records' directory. LMDB names it.
pub(super) const FILE: &str = "data.mdb";

/// A disk with less than this left, in bytes, is full: a commit that failed on it failed for that.
const ROOM: u64 = 4 << 20;

/// LMDB: a copy-on-write tree in one file. A commit writes new pages, syncs them, and then writes the page that says
/// where the tree begins to a descriptor that syncs by itself; only then do readers see it. There is no log, so that
/// opening after a crash has nothing to do.
pub(super) struct Lmdb {
    env: Env<WithTls>,
    map: Database<Bytes, Bytes>,
    directory: PathBuf,
    /// The file under the map, for its length.
    file: File,
    /// Behind the map, so that it is given back after the map is closed.
    _lock: DirectoryLock,
}

impl Lmdb {
    /// Opens or creates the map in a directory.
    pub(super) fn open(directory: &Path, lock: DirectoryLock, how: &Options) -> Result<Self, OpenError> {
        let capacity = how.capacity;
        let failed = |error: heed::Error| match error {
            heed::Error::Io(source) if source.kind() == io::ErrorKind::OutOfMemory => {
                OpenError::AddressSpace {
                    path: directory.to_owned(),
                    capacity,
                }
            }
            other => open_error(directory, other),
        };
        let mut options = EnvOpenOptions::new();
        options
            .map_size(capacity.next_multiple_of(1 << 20))
            .max_readers(MAX_READERS);
        // SAFETY: this flag changes nothing that LMDB promises, only what the system reads in advance: around each
        // page of a store that is not in memory yet, much that nobody asks for.
        unsafe { options.flags(EnvFlags::NO_READ_AHEAD) };
        #[cfg(feature = "omit-sync")]
        if !how.durability.syncs().records {
            // SAFETY: the flag gives up what survives a power cut, after which the file may be damaged in any way. It is
            // set in a build for trials that are about nothing else, and no process goes on reading the map after one.
            unsafe { options.flags(EnvFlags::NO_READ_AHEAD | EnvFlags::NO_SYNC) };
        }
        // SAFETY: the map is sound as long as nobody but this environment changes the file. `lock` is held for as
        // long as the environment lives, so no other process of this program, and no other part of this one, opens
        // the directory; and all that this module does to the file by other means is to make it longer.
        let env = unsafe { options.open(directory) }.map_err(failed)?;
        // A process that was killed while it wrote the page that makes a commit visible may have left that page in
        // the system's memory only: nobody may see it before it is durable.
        env.force_sync().map_err(failed)?;
        env.clear_stale_readers().map_err(failed)?;
        File::open(directory)
            .and_then(|entries| entries.sync_all())
            .map_err(OpenError::io(directory))?;

        let path = directory.join(FILE);
        let file = File::options()
            .write(true)
            .open(&path)
            .map_err(OpenError::io(&path))?;
        let mut txn = env.write_txn().map_err(failed)?;
        let map = env.create_database(&mut txn, None).map_err(failed)?;
        txn.commit().map_err(failed)?;
        let opened = Lmdb {
            env,
            map,
            directory: directory.to_owned(),
            file,
            _lock: lock,
        };
        opened
            .reach_the_end()
            .map_err(|source| damaged(directory, source))?;
        Ok(opened)
    }

    /// Where the last page that the tree has ever used ends.
    fn end(&self) -> u64 {
        (self.env.info().last_page_number as u64 + 1) * u64::from(self.env.stat().page_size)
    }

    /// Makes sure that the file reaches to its last page: touching a page of the map behind the end of the file would
    /// end the process. It may be shorter for two reasons. LMDB does not write pages at the end that were used and
    /// given up within one transaction; that does no harm, nobody reads them. Or a part was cut off; then something
    /// is missing. All records are read to tell which.
    fn reach_the_end(&self) -> Result<(), Cause> {
        let (length, end) = (self.file.metadata()?.len(), self.end());
        if length >= end {
            return Ok(());
        }
        self.file.set_len(end)?;
        self.read_everything().inspect_err(|_| {
            // As it was found, for whoever looks into it.
            let _too_late_for_that = self.file.set_len(length);
        })
    }

    fn read_everything(&self) -> Result<(), Cause> {
        let txn = self.env.read_txn()?;
        let mut found = 0;
        for entry in self.map.iter(&txn)? {
            let (key, stored) = entry?;
            if layout::is_record(key) {
                layout::split(key, stored)?;
            }
            found += 1;
        }
        if found != self.map.len(&txn)? {
            return Err("its file was cut short, and records are missing".into());
        }
        drop(txn);
        // A write, which is given up again, looks at the pages that say which pages are free.
        let mut txn = self.env.write_txn()?;
        self.map.put(&mut txn, layout::LAST_KEY, &[0; 16])?;
        Ok(())
    }

    /// After a commit, what [`reach_the_end`](Lmdb::reach_the_end) does at opening, so that this rarely has to.
    fn extend(&self) {
        let end = self.end();
        let extended = self.file.metadata().and_then(|file| match file.len() < end {
            true => self.file.set_len(end),
            false => Ok(()),
        });
        if let Err(error) = extended {
            tracing::warn!(%error, "the records' file could not be extended; opening it will take longer");
        }
    }

    /// What a commit that failed has left: the old state, unless it failed at the very page that makes the commit
    /// visible. Then LMDB takes no further write until the file is opened again.
    fn uncommitted(&self, error: heed::Error) -> Fault {
        let fault = self.fault(error);
        match (self.env.write_txn(), fault) {
            (Ok(_), fault) => fault,
            (Err(_), Fault::Full(cause) | Fault::Failed(cause) | Fault::Unknown(cause)) => {
                Fault::Unknown(cause)
            }
        }
    }

    /// The fault of an error after which nothing was written. A write cut short by a full disk arrives as an
    /// input/output error, so the disk is asked.
    fn fault(&self, error: heed::Error) -> Fault {
        let full = match &error {
            heed::Error::Mdb(error) => matches!(error, MdbError::MapFull),
            heed::Error::Io(error) => {
                is_full(error)
                    || rustix::fs::statvfs(&self.directory)
                        .is_ok_and(|disk| disk.f_bavail * disk.f_frsize < ROOM)
            }
            _ => false,
        };
        if full {
            Fault::Full(error.into())
        } else {
            failed(error)
        }
    }
}

/// Why a store cannot be opened.
fn open_error(directory: &Path, error: heed::Error) -> OpenError {
    match error {
        heed::Error::Io(source) => OpenError::io(directory)(source),
        other => damaged(directory, other.into()),
    }
}

fn failed(error: heed::Error) -> Fault {
    Fault::Failed(error.into())
}

impl Engine for Lmdb {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let txn = self.env.read_txn().map_err(failed)?;
        Ok(self.map.get(&txn, key).map_err(failed)?.map(<[u8]>::to_vec))
    }

    fn scan(&self, from: Bound<&[u8]>, prefix: &[u8], limit: usize, visit: Visit<'_>) -> Result<(), KvError> {
        let txn = self.env.read_txn().map_err(failed)?;
        let entries = self.map.range(&txn, &(from, Bound::Unbounded)).map_err(failed)?;
        for entry in entries.take(limit) {
            let (key, stored) = entry.map_err(failed)?;
            if !key.starts_with(prefix) {
                break;
            }
            visit(key, stored)?;
        }
        Ok(())
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Group) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut group = LmdbGroup {
            lmdb: self,
            txn: self.env.write_txn().map_err(failed)?,
        };
        work(&mut group)?;
        group.txn.commit().map_err(|error| self.uncommitted(error))?;
        self.extend();
        Ok(())
    }
}

struct LmdbGroup<'env> {
    lmdb: &'env Lmdb,
    txn: RwTxn<'env>,
}

impl Group for LmdbGroup<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Fault> {
        let stored = self.lmdb.map.get(&self.txn, key).map_err(failed)?;
        Ok(stored.map(Cow::Borrowed))
    }

    fn any(&self, prefix: &[u8]) -> Result<bool, Fault> {
        let from = match prefix {
            // LMDB has no empty keys, and takes none to begin at.
            [] => Bound::Unbounded,
            _ => Bound::Included(prefix),
        };
        let from = (from, Bound::Unbounded);
        let mut keys = self.lmdb.map.range(&self.txn, &from).map_err(failed)?;
        let first = keys.next().transpose().map_err(failed)?;
        Ok(first.is_some_and(|(key, _)| key.starts_with(prefix)))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let put = self.lmdb.map.put(&mut self.txn, key, value);
        put.map_err(|error| self.lmdb.fault(error))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        let deleted = self.lmdb.map.delete(&mut self.txn, key);
        deleted.map(|_| ()).map_err(|error| self.lmdb.fault(error))
    }
}
