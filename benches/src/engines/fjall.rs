//! fjall: a log-structured merge tree; a commit is one append to the journal and one sync of it.

use std::{ops::Bound, path::Path};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::{Engine, Record, Result};

/// What the journals may hold before they are flushed into tables, in bytes: the work of the next open.
/// The least that fjall accepts.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Size of one memtable, in bytes of anonymous memory; one more is flushed in the background.
const MEMTABLE_BYTES: u64 = 8 << 20;

pub(super) struct Fjall {
    database: Database,
    records: Keyspace,
    sync: PersistMode,
}

impl Fjall {
    pub(super) fn open(directory: &Path, cache_mib: usize, sync: PersistMode) -> Result<Self> {
        let database = Database::builder(directory)
            .cache_size((cache_mib as u64) << 20)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(2)
            .open()?;
        let records = database.keyspace("records", || {
            KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
        })?;
        // Recovery shows what an earlier process wrote to the journal and did not live to sync.
        database.persist(PersistMode::SyncAll)?;
        Ok(Fjall {
            database,
            records,
            sync,
        })
    }
}

impl Engine for Fjall {
    fn commit(&self, records: &[Record]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(self.sync));
        for record in records {
            batch.insert(&self.records, record.key.as_slice(), record.value.as_slice());
        }
        batch.commit()?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // A snapshot, because a read without one may see half of a batch.
        Ok(self
            .database
            .snapshot()
            .get(&self.records, key)?
            .map(|value| value.to_vec()))
    }

    fn scan(&self, after: &[u8], limit: usize) -> Result<Vec<Record>> {
        let snapshot = self.database.snapshot();
        let mut page = Vec::with_capacity(limit);
        let range = (Bound::Excluded(after), Bound::<&[u8]>::Unbounded);
        for entry in snapshot.range::<&[u8], _>(&self.records, range).take(limit) {
            let (key, value) = entry.into_inner()?;
            page.push(Record {
                key: key.to_vec(),
                value: value.to_vec(),
            });
        }
        Ok(page)
    }
}
