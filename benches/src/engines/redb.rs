//! redb: copy-on-write B-trees in one file, with checksummed pages.

use std::{ops::Bound, path::Path};

use ::redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{Engine, Record, Result};

const RECORDS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("records");

pub(super) struct Redb {
    database: Database,
    quick_repair: bool,
}

impl Redb {
    pub(super) fn open(directory: &Path, cache_mib: usize, quick_repair: bool) -> Result<Self> {
        let database = Database::builder()
            .set_cache_size(cache_mib << 20)
            .create(directory.join("records.redb"))?;
        let engine = Redb {
            database,
            quick_repair,
        };
        // The table must exist before the first reader asks for it. Making it is also a durable commit, so
        // whatever an earlier process left in the page cache is synced before anyone reads it.
        engine.commit(&[])?;
        Ok(engine)
    }
}

impl Engine for Redb {
    fn commit(&self, records: &[Record]) -> Result<()> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        txn.set_quick_repair(self.quick_repair);
        {
            let mut table = txn.open_table(RECORDS)?;
            for record in records {
                table.insert(record.key.as_slice(), record.value.as_slice())?;
            }
        }
        txn.commit()?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    fn scan(&self, after: &[u8], limit: usize) -> Result<Vec<Record>> {
        let table = self.database.begin_read()?.open_table(RECORDS)?;
        let mut page = Vec::with_capacity(limit);
        for entry in table
            .range::<&[u8]>((Bound::Excluded(after), Bound::Unbounded))?
            .take(limit)
        {
            let (key, value) = entry?;
            page.push(Record {
                key: key.value().to_vec(),
                value: value.value().to_vec(),
            });
        }
        Ok(page)
    }
}
