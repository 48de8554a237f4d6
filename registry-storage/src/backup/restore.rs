//! A store again, out of a backup.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry_core::Runtime;

use super::{
    BackupError, Copied, DESCRIPTION, Description, Dumped, FORMAT, Tell, Told, UNFINISHED, copy, failed,
    open_dump, sync, undumped,
};
use crate::embedded::{Embedded, open_parts};
use crate::kv::{EmbeddedKv, Options};
use crate::records::snapshot::is_of_an_upload;

/// A whole backup: its description was read, and its dump has the checksum that it should.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    description: Description,
}

impl Source {
    /// Looks at the backup in a directory, and reads its dump to the end.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`], [`BackupError::Dump`], [`BackupError::Io`].
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let not = |why: String| BackupError::NotABackup {
            path: path.to_owned(),
            why,
        };
        let text = match fs::read(path.join(DESCRIPTION)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(not(format!("it has no {DESCRIPTION}, which is written last")));
            }
            Err(error) => return Err(failed(&path.join(DESCRIPTION))(error)),
        };
        #[derive(serde::Deserialize)]
        struct Layout {
            format: u32,
        }
        let unreadable = |error| not(format!("{DESCRIPTION} cannot be read: {error}"));
        let layout: Layout = serde_json::from_slice(&text).map_err(unreadable)?;
        if layout.format != FORMAT {
            return Err(not(format!(
                "it has format {}, but this program knows {FORMAT}; use a newer one",
                layout.format
            )));
        }
        let description: Description = serde_json::from_slice(&text).map_err(unreadable)?;
        let source = Source {
            path: path.to_owned(),
            description,
        };
        let dump = source.dump();
        let read = open_dump(&dump)?.verify().map_err(undumped(&dump))?;
        let records = &source.description.records;
        let named = Dumped {
            entries: records.entries,
            bytes: records.bytes,
            digest: records.digest,
        };
        if read != named {
            return Err(not(format!(
                "{} is not the dump that {DESCRIPTION} names",
                records.file
            )));
        }
        Ok(source)
    }

    /// What it says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The blobs that came with it.
    ///
    /// # Errors
    /// [`BackupError::NoBlobs`].
    pub fn blobs(&self) -> Result<PathBuf, BackupError> {
        match self.description.blobs {
            Some(_) => Ok(self.path.join("blobs")),
            None => Err(BackupError::NoBlobs(self.path.clone())),
        }
    }

    fn dump(&self) -> PathBuf {
        self.path.join(&self.description.records.file)
    }
}

/// A directory that is being filled from a backup. Until it is [finished](Restoring::finish) nothing but this opens
/// it, not after a crash either.
#[derive(Debug)]
pub struct Restoring {
    directory: PathBuf,
}

impl Restoring {
    /// Takes a directory that holds nothing, or is created.
    ///
    /// # Errors
    /// [`BackupError::NotEmpty`], [`BackupError::Io`].
    pub fn begin(directory: &Path) -> Result<Self, BackupError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        for entry in fs::read_dir(directory).map_err(failed(directory))? {
            let entry = entry.map_err(failed(directory))?;
            // A file system of its own has this at its root.
            if entry.file_name() != "lost+found" {
                return Err(BackupError::NotEmpty(directory.to_owned()));
            }
        }
        let marker = directory.join(UNFINISHED);
        File::create_new(&marker)
            .and_then(|file| file.sync_all())
            .map_err(failed(&marker))?;
        sync(directory)?;
        Ok(Restoring {
            directory: directory.to_owned(),
        })
    }

    /// Loads the records into the engine that `options` ask for, and copies the blobs that they name from the tree
    /// `blobs`. Uploads that were under way are left out: their bytes are in no backup, so whoever goes on with one
    /// learns that it is unknown. The clock of the records goes on from where it was, and so do their stamps. Blocks.
    ///
    /// # Errors
    /// [`BackupError`]. A blob that is damaged is told and left out, and no error.
    pub fn fill(
        &self,
        source: &Source,
        blobs: &Path,
        options: Options,
        tell: Tell<'_>,
    ) -> Result<Copied, BackupError> {
        let dump = source.dump();
        let mut reader = open_dump(&dump)?;
        let loaded = EmbeddedKv::open(self.directory.join("records"), options)?
            .load(&mut reader, |key| !is_of_an_upload(key))
            .map_err(undumped(&dump))?;
        tell(Told::Records(&loaded));
        // Neither has an identity yet: opening them together gives them one.
        copy::all(&dump, blobs, &self.directory.join("blobs"), tell)
    }

    /// Opens what was filled so far, to be looked at before it is finished.
    ///
    /// # Errors
    /// Those of opening.
    pub fn open(&self, runtime: Arc<dyn Runtime>, options: Options) -> Result<Embedded, BackupError> {
        Ok(open_parts(&self.directory, runtime, options)?)
    }

    /// Makes it a store like any other.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub fn finish(self) -> Result<(), BackupError> {
        sync(&self.directory)?;
        let marker = self.directory.join(UNFINISHED);
        fs::remove_file(&marker).map_err(failed(&marker))?;
        sync(&self.directory)
    }
}
