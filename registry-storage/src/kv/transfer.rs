//! All records at once: out of an engine, and into another.

use std::io::{Read, Write};
use std::ops::Bound;

use registry_core::store::{Entry, KvError};

use super::EmbeddedKv;
use super::engine::{Fault, Group};
use super::layout;
use crate::backup::dump::Pair;
use crate::backup::{DumpError, DumpReader, DumpWriter, Dumped};

/// How many keys, and bytes of them and their values, are loaded in one step.
const STEP: usize = 10_000;
const STEP_BYTES: usize = 8 << 20;

impl EmbeddedKv {
    /// Writes all records as they are at one moment, while others go on reading and writing. Blocks; takes memory
    /// for one record. How slowly `out` takes them is nobody else's matter: LMDB's file cannot reuse room until it is
    /// done; sled lets commits wait for as long as the disk needs to copy the records to a file without a name in
    /// their directory, and refuses if there is not room for that.
    ///
    /// # Errors
    /// [`DumpError`], with what was written so far not a whole dump.
    pub fn dump(&self, out: impl Write) -> Result<Dumped, DumpError> {
        let format = self.engine.get(layout::FORMAT_KEY).map_err(KvError::from)?;
        let format =
            format.ok_or_else(|| KvError::Failed("the records do not say which format they have".into()))?;
        let format = layout::read_format(&format).map_err(KvError::from)?;
        let mut dump = DumpWriter::begin(out, format)?;
        // A failure to write ends the walk; what it was is told here, and not as one of the records.
        let mut failed = None;
        let walked = self.engine.dump(&mut |key, stored| {
            dump.put(key, stored).map_err(|error| {
                let told = KvError::Failed(error.to_string().into());
                failed = Some(error);
                told
            })
        });
        match (failed, walked) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(())) => dump.end(),
        }
    }

    /// Fills records that hold nothing yet from a dump: every entry exactly as it was, the ones about the store
    /// itself too, save its identity and the records that `keep` does not want. Blocks. What is in memory of this store is not what
    /// it holds afterwards, so it is to be [opened](EmbeddedKv::open) again.
    ///
    /// # Errors
    /// [`DumpError`]; then a part of it may have been written.
    pub fn load(
        self,
        dump: &mut DumpReader<impl Read>,
        mut keep: impl FnMut(&str) -> bool,
    ) -> Result<Dumped, DumpError> {
        if dump.format() > layout::FORMAT {
            return Err(DumpError::NewerRecords {
                found: dump.format(),
                known: layout::FORMAT,
            });
        }
        let mut empty = true;
        let records = layout::record_key("");
        self.engine
            .scan(Bound::Included(&records), &records, 1, &mut |_, _| {
                empty = false;
                Ok(())
            })?;
        if !empty {
            return Err(DumpError::NotEmpty);
        }
        let (mut step, mut bytes): (Vec<Pair>, usize) = (Vec::new(), 0);
        while let Some((key, stored)) = dump.next()? {
            // An engine may have such a key for itself.
            if !layout::is_known(&key) {
                return Err(DumpError::Damaged(
                    "an entry is neither a record nor about the store",
                ));
            }
            // The copy is a store of its own: its blobs lie elsewhere, and carry its own identity.
            if key == layout::STORE_KEY || layout::record_name(&key).is_ok_and(|name| !keep(&name)) {
                continue;
            }
            bytes += key.len() + stored.len();
            step.push((key, stored));
            if step.len() >= STEP || bytes >= STEP_BYTES {
                self.put_all(&step)?;
                (step, bytes) = (Vec::new(), 0);
            }
        }
        self.put_all(&step)?;
        Ok(dump.read())
    }

    fn put_all(&self, pairs: &[Pair]) -> Result<(), DumpError> {
        let put = |group: &mut dyn Group| -> Result<(), Fault> {
            pairs.iter().try_for_each(|(key, stored)| group.put(key, stored))
        };
        self.engine
            .write(&mut { put })
            .map_err(|fault| KvError::from(fault).into())
    }
}

/// The record that an entry of a dump is; `None` for what the store keeps about itself, and for what is damaged.
pub(crate) fn record(key: &[u8], stored: &[u8]) -> Option<(String, Entry)> {
    Some((layout::record_name(key).ok()?, layout::entry(key, stored).ok()?))
}
