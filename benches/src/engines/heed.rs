//! LMDB through heed.
#![allow(
    unsafe_code,
    reason = "opening a memory map asks for a promise that only the caller can make; see `open`"
)]

use std::{
    ops::{Bound, Deref},
    path::Path,
};

use ::heed::{
    AnyTls, Database, Env, EnvFlags, EnvOpenOptions, RoTxn, TlsUsage, WithTls, WithoutTls, types::Bytes,
};

use super::{Engine, Record, Result};

/// Address space reserved for the map. It costs neither memory nor disk until it is used; a store that
/// outgrows it must be reopened with a larger one.
const MAP_BYTES: usize = 64 << 30;

/// One slot for each thread that reads at the same time.
const MAX_READERS: u32 = 1024;

pub(super) struct Heed<T: TlsUsage> {
    env: Env<T>,
    records: Database<Bytes, Bytes>,
}

impl Heed<WithTls> {
    pub(super) fn with_tls(directory: &Path) -> Result<Self> {
        Self::open(EnvOpenOptions::new().read_txn_with_tls(), directory)
    }
}

impl Heed<WithoutTls> {
    pub(super) fn without_tls(directory: &Path) -> Result<Self> {
        Self::open(EnvOpenOptions::new().read_txn_without_tls(), directory)
    }
}

impl<T: TlsUsage> Heed<T> {
    fn open(mut options: EnvOpenOptions<T>, directory: &Path) -> Result<Self> {
        options.map_size(MAP_BYTES).max_readers(MAX_READERS);
        // SAFETY: the flag changes only what the kernel reads in advance, not what LMDB promises. With
        // read-ahead, each page of a cold store drags its neighbours in, which a point read never asks for.
        unsafe { options.flags(EnvFlags::NO_READ_AHEAD) };
        // SAFETY: the map is sound while nobody but LMDB changes the file. The trial gives each store a
        // directory of its own, on a local file system, to one process at a time, and never writes into it
        // by other means while it is open.
        let env = unsafe { options.open(directory)? };
        // A process killed between writing its meta page and the end of that write's sync leaves a commit
        // that readers see now and a power cut takes back.
        env.force_sync()?;
        env.clear_stale_readers()?;
        let mut txn = env.write_txn()?;
        let records = env.create_database(&mut txn, None)?;
        txn.commit()?;
        Ok(Heed { env, records })
    }
}

impl<T: TlsUsage> Engine for Heed<T>
where
    Env<T>: Send + Sync,
    for<'a> RoTxn<'a, T>: Deref<Target = RoTxn<'a, AnyTls>>,
{
    fn commit(&self, records: &[Record]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for record in records {
            self.records.put(&mut txn, &record.key, &record.value)?;
        }
        txn.commit()?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let txn = self.env.read_txn()?;
        Ok(self.records.get(&txn, key)?.map(<[u8]>::to_vec))
    }

    fn scan(&self, after: &[u8], limit: usize) -> Result<Vec<Record>> {
        let txn = self.env.read_txn()?;
        // LMDB refuses an empty key, as a bound too.
        let start = if after.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(after)
        };
        let range = (start, Bound::Unbounded);
        let mut page = Vec::with_capacity(limit);
        for entry in self.records.range(&txn, &range)?.take(limit) {
            let (key, value) = entry?;
            page.push(Record {
                key: key.to_vec(),
                value: value.to_vec(),
            });
        }
        Ok(page)
    }
}
