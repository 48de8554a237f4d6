//! A copy of all entries in a file, for whoever takes them slowly.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use registry_core::store::{KvError, is_full};

use super::Visit;
use super::files::Files;

/// Memory for what is on its way to the file, and from it, in bytes. So often it is asked whether there is room.
const BUFFER: usize = 1 << 20;

/// A copy leaves so many bytes of the file system to others: a full disk would stop commits.
const LEFT: u64 = 64 << 20;

/// Entries in a file: for each the length of the key and of the value, four bytes each, the key, the value.
pub(super) struct Spool<'a> {
    files: &'a Files,
    file: BufWriter<File>,
    /// Bytes until it is asked again whether there is room.
    unasked: usize,
}

impl<'a> Spool<'a> {
    pub(super) fn create(files: &'a Files) -> io::Result<Self> {
        Ok(Spool {
            files,
            file: BufWriter::with_capacity(BUFFER, files.nameless()?),
            unasked: 0,
        })
    }

    /// Adds an entry.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        let bytes = key.len() + value.len();
        if self.unasked < bytes {
            let room = self.files.room().map_err(failed)?;
            if room < LEFT + bytes as u64 {
                return Err(KvError::Full(
                    format!("{room} bytes are left, too few for a copy of the records").into(),
                ));
            }
            self.unasked = BUFFER.max(bytes);
        }
        self.unasked -= bytes;
        let length = |part: &[u8]| (part.len() as u32).to_be_bytes();
        let mut write = |part: &[u8]| self.file.write_all(part).map_err(failed);
        write(&length(key))?;
        write(&length(value))?;
        write(key)?;
        write(value)
    }

    /// Shows all entries that were put, in that order.
    pub(super) fn show(self, visit: Visit<'_>) -> Result<(), KvError> {
        let mut file = self
            .file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        let mut left = file.metadata().map_err(failed)?.len();
        let mut file = BufReader::with_capacity(BUFFER, file);
        while left > 0 {
            let mut lengths = [0; 8];
            file.read_exact(&mut lengths).map_err(failed)?;
            let [key, value] = [&lengths[..4], &lengths[4..]]
                .map(|length| u32::from_be_bytes(length.try_into().expect("four bytes")) as usize);
            let mut entry = vec![0; key + value];
            file.read_exact(&mut entry).map_err(failed)?;
            left -= (lengths.len() + entry.len()) as u64;
            let (key, value) = entry.split_at(key);
            visit(key, value)?;
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> KvError {
    match is_full(&error) {
        true => KvError::Full(error.into()),
        false => KvError::Failed(error.into()),
    }
}
