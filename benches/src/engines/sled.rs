//! sled 0.34: as the registry uses it, with its syncs, and as it comes.

use std::ops::Bound;
use std::path::Path;
use std::str;
use std::time::{Duration, Instant};

use ::sled::{Batch, Config, Db};
use futures_executor::block_on;
use registry_core::store::{Kv, Txn};
use registry_storage::kv::{self, EmbeddedKv};

use super::{Engine, Record, Result};

/// The registry's own records, kept by sled.
pub(super) struct Synced {
    kv: EmbeddedKv,
}

impl Synced {
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let options = kv::Options {
            engine: kv::EngineKind::Sled,
            ..kv::Options::default()
        };
        Ok(Synced {
            kv: EmbeddedKv::open(directory, options)?,
        })
    }
}

impl Engine for Synced {
    fn commit(&self, records: &[Record]) -> Result<()> {
        let mut txn = Txn::new();
        for record in records {
            txn = txn.put(str::from_utf8(&record.key)?, record.value.clone());
        }
        block_on(self.kv.commit(txn))?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let entry = block_on(self.kv.get(str::from_utf8(key)?))?;
        Ok(entry.map(|entry| entry.value.to_vec()))
    }

    fn scan(&self, after: &[u8], limit: usize) -> Result<Vec<Record>> {
        let after = Some(str::from_utf8(after)?).filter(|after| !after.is_empty());
        let page = block_on(self.kv.scan("", after, limit))?;
        let record = |(key, entry): (String, registry_core::store::Entry)| Record {
            key: key.into_bytes(),
            value: entry.value.to_vec(),
        };
        Ok(page.into_iter().map(record).collect())
    }
}

/// How long a store that was just closed may hold its files: sled's own threads close them, and nobody is told when.
const CLOSING: Duration = Duration::from_secs(10);

/// Whether sled's files are locked. sled says so in words only.
fn is_held(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

/// sled that acknowledges after its own flush.
pub(super) struct Unsynced {
    db: Db,
}

impl Unsynced {
    pub(super) fn open(directory: &Path, cache_mib: usize) -> Result<Self> {
        let config = Config::new()
            .path(directory)
            .cache_capacity((cache_mib as u64) << 20)
            .flush_every_ms(None);
        let begun = Instant::now();
        loop {
            match config.open() {
                Ok(db) => return Ok(Unsynced { db }),
                Err(error) if is_held(&error) && begun.elapsed() < CLOSING => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Engine for Unsynced {
    fn commit(&self, records: &[Record]) -> Result<()> {
        let mut batch = Batch::default();
        for record in records {
            batch.insert(record.key.as_slice(), record.value.as_slice());
        }
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(&self, after: &[u8], limit: usize) -> Result<Vec<Record>> {
        let entries = self
            .db
            .range::<&[u8], _>((Bound::Excluded(after), Bound::Unbounded));
        let mut page = Vec::with_capacity(limit);
        for entry in entries.take(limit) {
            let (key, value) = entry?;
            page.push(Record {
                key: key.to_vec(),
                value: value.to_vec(),
            });
        }
        Ok(page)
    }
}
