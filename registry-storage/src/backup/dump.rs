//! All records of a store in one stream, whatever engine they come from and go to.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `berthdmp` |
//! | 4 | the version of this layout |
//! | 4 | the format of the records in it |
//! | 4, 4, then so many | for each entry: length of the key, length of the value, key, value |
//! | 4 | zero, where a key's length would be: the end |
//! | 8 | how many entries there were |
//! | 32 | the SHA-256 of all before it |
//!
//! All numbers are big-endian. Entries come in the order of their keys, exactly as the engine holds them, so each
//! record's own checksum travels inside.

use std::io::{self, Read, Write};

use registry_core::store::{KEY_MAX, KvError};
use registry_core::{Algorithm, Digest, Hasher};

const MAGIC: &[u8; 8] = b"berthdmp";
const VERSION: u32 = 1;

/// Longest key and value of an entry that an engine can hold: those of the records, with what the store adds.
const KEY_LIMIT: usize = KEY_MAX + 64;
const VALUE_LIMIT: usize = (16 << 20) + 64;

/// Why records could not be dumped or loaded.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// Reading or writing the stream failed.
    #[error("the dump cannot be read or written")]
    Io(#[from] io::Error),
    /// The records failed.
    #[error(transparent)]
    Records(#[from] KvError),
    /// It begins like nothing that was dumped.
    #[error("this is no dump of records")]
    NotADump,
    /// Of a layout that this version does not know.
    #[error("the dump has version {found}, but this program knows {known}; use a newer one")]
    NewerDump {
        /// What was found.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// Of records that this version does not know.
    #[error(
        "the dump's records have format {found}, but this program knows formats up to {known}; use a newer one"
    )]
    NewerRecords {
        /// What was found.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// It ends before its end.
    #[error("the dump was cut short: it ends after {0} whole records")]
    Truncated(u64),
    /// It is not what was written.
    #[error("the dump is damaged: {0}")]
    Damaged(&'static str),
    /// There are records where it was to go.
    #[error("there are records already")]
    NotEmpty,
}

/// The key and the value of an entry, as the engine holds them.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What a dump held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dumped {
    /// Entries: records, and the few that the store keeps about itself.
    pub entries: u64,
    /// Length of the dump in bytes.
    pub bytes: u64,
    /// The SHA-256 with which it ends.
    pub digest: Digest,
}

/// Writes a dump.
pub struct DumpWriter<W> {
    out: W,
    hasher: Hasher,
    entries: u64,
    bytes: u64,
}

impl<W: Write> DumpWriter<W> {
    /// Begins a dump of records of this format.
    ///
    /// # Errors
    /// Those of writing.
    pub fn begin(out: W, format: u32) -> Result<Self, DumpError> {
        let mut dump = DumpWriter {
            out,
            hasher: Hasher::new(Algorithm::Sha256),
            entries: 0,
            bytes: 0,
        };
        dump.write(MAGIC)?;
        dump.write(&VERSION.to_be_bytes())?;
        dump.write(&format.to_be_bytes())?;
        Ok(dump)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DumpError> {
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Those of writing, and [`DumpError::Damaged`] for what no engine of this store can hold.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), DumpError> {
        if key.is_empty() || key.len() > KEY_LIMIT || value.len() > VALUE_LIMIT {
            return Err(DumpError::Damaged("a key or value has an impossible length"));
        }
        self.write(&(key.len() as u32).to_be_bytes())?;
        self.write(&(value.len() as u32).to_be_bytes())?;
        self.write(key)?;
        self.write(value)?;
        self.entries += 1;
        Ok(())
    }

    /// Ends the dump; without this it counts as cut short.
    ///
    /// # Errors
    /// Those of writing.
    pub fn end(mut self) -> Result<Dumped, DumpError> {
        self.write(&0_u32.to_be_bytes())?;
        self.write(&self.entries.to_be_bytes())?;
        let digest = self.hasher.finish();
        self.out.write_all(digest.hash())?;
        self.out.flush()?;
        Ok(Dumped {
            entries: self.entries,
            bytes: self.bytes + digest.hash().len() as u64,
            digest,
        })
    }
}

/// Reads a dump, and believes it only once it has been read to its end.
pub struct DumpReader<R> {
    input: R,
    hasher: Hasher,
    format: u32,
    entries: u64,
    bytes: u64,
    end: Option<Dumped>,
}

impl<R: Read> DumpReader<R> {
    /// Begins to read a dump.
    ///
    /// # Errors
    /// [`DumpError::NotADump`], [`DumpError::NewerDump`], those of reading.
    pub fn begin(input: R) -> Result<Self, DumpError> {
        let mut dump = DumpReader {
            input,
            hasher: Hasher::new(Algorithm::Sha256),
            format: 0,
            entries: 0,
            bytes: 0,
            end: None,
        };
        let mut magic = [0; MAGIC.len()];
        match dump.take(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Ok(()) | Err(DumpError::Truncated(_)) => return Err(DumpError::NotADump),
            Err(error) => return Err(error),
        }
        let version = dump.number()?;
        if version != VERSION {
            return Err(DumpError::NewerDump {
                found: version,
                known: VERSION,
            });
        }
        dump.format = dump.number()?;
        Ok(dump)
    }

    /// The format of the records in it.
    pub fn format(&self) -> u32 {
        self.format
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), DumpError> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => DumpError::Truncated(self.entries),
            _ => DumpError::Io(error),
        })?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), DumpError> {
        self.fill(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn number(&mut self) -> Result<u32, DumpError> {
        let mut bytes = [0; 4];
        self.take(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// The next entry; `None` once the dump has ended as it should.
    ///
    /// # Errors
    /// [`DumpError::Truncated`], [`DumpError::Damaged`], those of reading.
    #[expect(
        clippy::should_implement_trait,
        reason = "it may fail, and then there is nothing more"
    )]
    pub fn next(&mut self) -> Result<Option<Pair>, DumpError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let key_length = self.number()? as usize;
        if key_length == 0 {
            self.check_end()?;
            return Ok(None);
        }
        let value_length = self.number()? as usize;
        if key_length > KEY_LIMIT || value_length > VALUE_LIMIT {
            return Err(DumpError::Damaged("a key or value has an impossible length"));
        }
        let (mut key, mut value) = (vec![0; key_length], vec![0; value_length]);
        self.take(&mut key)?;
        self.take(&mut value)?;
        self.entries += 1;
        Ok(Some((key, value)))
    }

    fn check_end(&mut self) -> Result<(), DumpError> {
        let mut count = [0; 8];
        self.take(&mut count)?;
        let digest = self.hasher.clone().finish();
        let mut named = [0; 32];
        self.fill(&mut named)?;
        if named != digest.hash() {
            return Err(DumpError::Damaged("its checksum does not match"));
        }
        if u64::from_be_bytes(count) != self.entries {
            return Err(DumpError::Damaged("it does not have as many records as it says"));
        }
        self.end = Some(Dumped {
            entries: self.entries,
            bytes: self.bytes,
            digest,
        });
        Ok(())
    }

    /// Reads on to the end, showing nobody.
    ///
    /// # Errors
    /// Those of [`next`](DumpReader::next).
    pub fn verify(mut self) -> Result<Dumped, DumpError> {
        while self.next()?.is_some() {}
        Ok(self.read())
    }

    /// What has been read so far; all of it once [`next`](DumpReader::next) gave `None`.
    pub fn read(&self) -> Dumped {
        self.end.unwrap_or_else(|| Dumped {
            entries: self.entries,
            bytes: self.bytes,
            digest: self.hasher.clone().finish(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut dump = DumpWriter::begin(&mut bytes, 1).unwrap();
        dump.put(b"\x00format", &[0, 0, 0, 1]).unwrap();
        dump.put(b"\x00whatever is new", b"kept").unwrap();
        dump.put(b"\x01tag/1/v1", b"").unwrap();
        dump.put(b"\x01tag/1/v2", &[7; 3000]).unwrap();
        let end = dump.end().unwrap();
        assert_eq!((end.entries, end.bytes), (4, bytes.len() as u64));
        bytes
    }

    fn verify(bytes: &[u8]) -> Result<Dumped, DumpError> {
        DumpReader::begin(bytes)?.verify()
    }

    #[test]
    fn what_was_dumped_reads_back() {
        let bytes = dumped();
        let mut dump = DumpReader::begin(bytes.as_slice()).unwrap();
        let mut keys = Vec::new();
        while let Some((key, value)) = dump.next().unwrap() {
            keys.push((key, value.len()));
        }
        assert_eq!(keys[1], (b"\x00whatever is new".to_vec(), 4));
        assert_eq!(keys[3], (b"\x01tag/1/v2".to_vec(), 3000));
        assert_eq!(dump.read(), verify(&bytes).unwrap());
    }

    #[test]
    fn a_dump_cut_short_anywhere_is_refused() {
        let bytes = dumped();
        for length in 0..bytes.len() {
            let refused = verify(&bytes[..length]).expect_err("cut short");
            let by_name = matches!(refused, DumpError::Truncated(_) | DumpError::NotADump);
            assert!(by_name, "{length}: {refused:?}");
        }
    }

    #[test]
    fn a_dump_with_a_flipped_bit_is_refused() {
        let bytes = dumped();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&bad).is_err(), "bit {bit}");
        }
    }
}
