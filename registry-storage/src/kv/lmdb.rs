//! LMDB as the engine, through heed.
#![allow(
    unsafe_code,
    reason = "mapping a file into memory asks for a promise that only the caller can make; see `open`"
)]

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, MdbError, RwTxn, WithTls};
use registry_core::Timestamp;
use registry_core::store::{KvError, Stamp};

use super::OpenError;
use super::engine::{Cause, Engine, Fault, Group, Visit};
use super::layout;
use crate::fs::DirectoryLock;

/// One slot for each thread that ever read and has not ended.
const MAX_READERS: u32 = 4096;

/// A disk with less than this left, in bytes, is full: a commit that failed on it failed for that.
const ROOM: u64 = 4 << 20;

/// LMDB: a copy-on-write tree in one file. A commit writes new pages, syncs them, and then writes the page that says
/// where the tree begins to a descriptor that syncs by itself; only then do readers see it. There is no log, so that
/// opening after a crash has nothing to do.
pub(super) struct Lmdb {
    env: Env<WithTls>,
    map: Database<Bytes, Bytes>,
    directory: PathBuf,
    /// Behind the map, so that it is given back after the map is closed.
    _lock: DirectoryLock,
}

impl Lmdb {
    /// Opens or creates the map in a directory. Gives the last commit's stamp, and the clock at it.
    pub(super) fn open(
        directory: &Path,
        lock: DirectoryLock,
        capacity: usize,
    ) -> Result<(Self, Stamp, Timestamp), OpenError> {
        let failed = |error: heed::Error| match error {
            heed::Error::Io(source) if source.kind() == io::ErrorKind::OutOfMemory => {
                OpenError::AddressSpace {
                    path: directory.to_owned(),
                    capacity,
                }
            }
            heed::Error::Io(source) => OpenError::io(directory)(source),
            other => OpenError::Damaged {
                path: directory.to_owned(),
                source: other.into(),
            },
        };
        let damaged = |source: Cause| OpenError::Damaged {
            path: directory.to_owned(),
            source,
        };
        let mut options = EnvOpenOptions::new();
        options
            .map_size(capacity.next_multiple_of(1 << 20))
            .max_readers(MAX_READERS);
        // SAFETY: this flag changes nothing that LMDB promises, only what the system reads in advance: around each
        // page of a store that is not in memory yet, much that nobody asks for.
        unsafe { options.flags(EnvFlags::NO_READ_AHEAD) };
        // SAFETY: the map is sound as long as nobody but this environment changes the file. `lock` is held for as
        // long as the environment lives, so no other process of this program, and no other part of this one, opens
        // the directory; and no code here writes into it by other means.
        let env = unsafe { options.open(directory) }.map_err(failed)?;
        // Touching a page of the map behind the end of the file would end the process.
        let file = directory.join("data.mdb");
        let length = std::fs::metadata(&file).map_err(OpenError::io(&file))?.len();
        let pages = env.info().last_page_number as u64 + 1;
        if length < pages.saturating_mul(u64::from(env.stat().page_size)) {
            return Err(damaged(
                format!("its file ends after {length} bytes, before its last page").into(),
            ));
        }
        // A process that was killed while it wrote the page that makes a commit visible may have left that page in
        // the system's memory only: nobody may see it before it is durable.
        env.force_sync().map_err(failed)?;
        env.clear_stale_readers().map_err(failed)?;
        File::open(directory)
            .and_then(|entries| entries.sync_all())
            .map_err(OpenError::io(directory))?;

        let mut txn = env.write_txn().map_err(failed)?;
        let map: Database<Bytes, Bytes> = env.create_database(&mut txn, None).map_err(failed)?;
        let format = map
            .get(&txn, layout::FORMAT_KEY)
            .map_err(failed)?
            .map(layout::read_format);
        match format {
            None if map.is_empty(&txn).map_err(failed)? => {
                map.put(&mut txn, layout::FORMAT_KEY, &layout::FORMAT.to_be_bytes())
                    .map_err(failed)?;
            }
            None => return Err(damaged("it does not say which format it has".into())),
            Some(Ok(layout::FORMAT)) => {}
            Some(Ok(found)) if found > layout::FORMAT => {
                return Err(OpenError::NewerFormat {
                    path: directory.to_owned(),
                    found,
                    known: layout::FORMAT,
                });
            }
            Some(Ok(found)) => return Err(damaged(format!("there is no format {found}").into())),
            Some(Err(unreadable)) => return Err(damaged(unreadable.into())),
        }
        let last = map.get(&txn, layout::LAST_KEY).map_err(failed)?;
        let (stamp, now) = match last.map(layout::read_last) {
            None => (Stamp(0), Timestamp(0)),
            Some(last) => last.map_err(|unreadable| damaged(unreadable.into()))?,
        };
        txn.commit().map_err(failed)?;
        let opened = Lmdb {
            env,
            map,
            directory: directory.to_owned(),
            _lock: lock,
        };
        Ok((opened, stamp, now))
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
            heed::Error::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => true,
                _ => rustix::fs::statvfs(&self.directory)
                    .is_ok_and(|disk| disk.f_bavail * disk.f_frsize < ROOM),
            },
            _ => false,
        };
        if full {
            Fault::Full(error.into())
        } else {
            failed(error)
        }
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
        group.txn.commit().map_err(|error| self.uncommitted(error))
    }
}

struct LmdbGroup<'env> {
    lmdb: &'env Lmdb,
    txn: RwTxn<'env>,
}

impl Group for LmdbGroup<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, Fault> {
        self.lmdb.map.get(&self.txn, key).map_err(failed)
    }

    fn any(&self, prefix: &[u8]) -> Result<bool, Fault> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
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
