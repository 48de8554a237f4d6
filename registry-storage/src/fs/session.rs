//! One upload's file while somebody works on it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};

use registry_core::store::StoreError;
use registry_core::{Algorithm, Digest, Hasher};

use super::name::{FileName, Tree};
use super::store_error;

/// How much is read at once to hash what is there already.
const REREAD: usize = 256 << 10;

/// Permissions of a sealed file: nobody writes it any more. This, rather than memory, is what tells a writer that comes
/// late, having read the upload's claim before it was consumed, that the file is a blob by now; and it outlives
/// the process.
pub(crate) const SEALED: u32 = 0o444;

/// What is known of one file. Its owner holds the lock around it for each call.
pub(super) struct Session {
    name: FileName,
    /// Counts the writers that there have been; only the last may write.
    epoch: u64,
    ended: bool,
    /// Whether the directory was looked at; only then do the fields below say something.
    opened: bool,
    /// `None` while there is no file.
    file: Option<File>,
    length: u64,
    /// Of the first `length` bytes; `None` if it would have to be made by reading them.
    hasher: Option<Hasher>,
    /// The content is complete.
    sealed: bool,
    /// Written since the last sync.
    dirty: bool,
    /// The directory's entry was synced.
    entry_durable: bool,
    /// A sync failed: the system may have dropped pages and will not say so again, so nothing about this file can be
    /// promised any more.
    failed: Option<(io::ErrorKind, String)>,
}

impl Session {
    pub(super) fn new(name: FileName) -> Self {
        Session {
            name,
            epoch: 0,
            ended: false,
            opened: false,
            file: None,
            length: 0,
            hasher: None,
            sealed: false,
            dirty: false,
            entry_durable: false,
            failed: None,
        }
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether forgetting this session would forget nothing that must be known.
    pub(super) fn forgettable(&self) -> bool {
        self.ended || (self.failed.is_none() && !self.dirty)
    }

    /// Ends every writer, for good.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.file = None;
        self.hasher = None;
    }

    fn open(&mut self, tree: &Tree) -> Result<(), StoreError> {
        if self.opened {
            return Ok(());
        }
        self.file = tree.open(&self.name).map_err(StoreError::Failed)?;
        if let Some(file) = &self.file {
            let metadata = file.metadata().map_err(StoreError::Failed)?;
            self.length = metadata.len();
            self.sealed = metadata.permissions().mode() & 0o222 == 0;
            // An earlier process may have written this and not got to its sync.
            self.dirty = true;
        }
        self.opened = true;
        Ok(())
    }

    /// Refuses once a sync has failed.
    fn sound(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some((kind, why)) => Err(store_error(io::Error::new(*kind, why.clone()))),
            None => Ok(()),
        }
    }

    /// Makes all that was written survive a power cut.
    pub(super) fn sync(&mut self, tree: &Tree) -> Result<(), StoreError> {
        self.sound()?;
        let Some(file) = &self.file else {
            return Ok(());
        };
        let synced = || {
            match (self.dirty, self.sealed) {
                (true, true) => file.sync_all()?, // The permissions too.
                (true, false) => file.sync_data()?,
                (false, _) => {}
            }
            if !self.entry_durable {
                tree.sync_entry(&self.name)?;
            }
            Ok(())
        };
        if let Err(error) = synced() {
            let error: io::Error = error;
            self.failed = Some((
                error.kind(),
                format!("{} could not be synced: {error}", self.name),
            ));
            self.file = None;
            return Err(store_error(error));
        }
        self.dirty = false;
        self.entry_durable = true;
        Ok(())
    }

    /// The length, durable.
    pub(super) fn received(&mut self, tree: &Tree) -> Result<u64, StoreError> {
        self.open(tree)?;
        self.sync(tree)?;
        Ok(self.length)
    }

    /// Ends every other writer's epoch and begins one, which is returned.
    pub(super) fn begin(
        &mut self,
        tree: &Tree,
        algorithm: Algorithm,
        at: Option<u64>,
    ) -> Result<u64, StoreError> {
        self.sound()?;
        self.open(tree)?;
        if self.sealed {
            return Err(StoreError::Superseded);
        }
        if let Some(at) = at
            && at != self.length
        {
            return Err(StoreError::OutOfOrder { at: self.length });
        }
        if self.length == 0 {
            self.hasher = Some(Hasher::new(algorithm));
        }
        self.epoch += 1;
        Ok(self.epoch)
    }

    fn holds(&self, epoch: u64) -> Result<(), StoreError> {
        if self.ended || self.epoch != epoch {
            return Err(StoreError::Superseded);
        }
        self.sound()
    }

    /// Adds `bytes` at the end, if `epoch` is not over. What was written before a failure counts.
    pub(super) fn write(&mut self, tree: &Tree, epoch: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.holds(epoch)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tree.create(&self.name).map_err(store_error)?),
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = match file.write_at(rest, self.length) {
                Ok(0) => return Err(StoreError::Failed(io::ErrorKind::WriteZero.into())),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(store_error(error)),
            };
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&rest[..written]);
            }
            self.dirty = true;
            self.length += written as u64;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Makes what `epoch` wrote durable, if it is not over. Gives the length.
    pub(super) fn finish(&mut self, tree: &Tree, epoch: u64) -> Result<u64, StoreError> {
        self.holds(epoch)?;
        self.sync(tree)?;
        Ok(self.length)
    }

    /// Ends every writer's epoch; checks the content against `digest`, makes it durable, and gives its length.
    pub(super) fn seal(&mut self, tree: &Tree, digest: &Digest) -> Result<u64, StoreError> {
        self.sound()?;
        self.open(tree)?;
        self.epoch += 1;
        let actual = self.digest(digest.algorithm()).map_err(StoreError::Failed)?;
        if actual != *digest {
            return Err(StoreError::DigestMismatch { actual });
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tree.create(&self.name).map_err(store_error)?),
        };
        file.set_permissions(std::fs::Permissions::from_mode(SEALED))
            .map_err(store_error)?;
        self.sealed = true;
        self.dirty = true;
        self.sync(tree)?;
        // Whoever comes again opens the file anew; nothing needs to be held for what is finished.
        self.end();
        Ok(self.length)
    }

    /// The digest of all that is there, from the saved state if there is one of this algorithm.
    fn digest(&self, algorithm: Algorithm) -> io::Result<Digest> {
        match (&self.hasher, &self.file) {
            (Some(hasher), _) if hasher.algorithm() == algorithm => Ok(hasher.clone().finish()),
            (_, None) => Ok(Digest::of(algorithm, b"")),
            (_, Some(file)) => {
                let mut hasher = Hasher::new(algorithm);
                let mut buffer = vec![0; REREAD];
                let mut at = 0;
                while at < self.length {
                    let wanted = buffer.len().min((self.length - at) as usize);
                    match file.read_at(&mut buffer[..wanted], at) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(read) => {
                            hasher.update(&buffer[..read]);
                            at += read as u64;
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(hasher.finish())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::UploadId;

    #[test]
    fn a_sync_that_failed_is_final_for_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("blobs");
        std::fs::create_dir(&root).unwrap();
        let tree = Tree::new(root.clone());
        let mut session = Session::new(FileName::of(&UploadId::new(7)));
        let epoch = session.begin(&tree, Algorithm::Sha256, Some(0)).unwrap();
        session.write(&tree, epoch, b"bytes").unwrap();

        // The directory that names the file cannot be synced while it is elsewhere.
        let elsewhere = directory.path().join("elsewhere");
        std::fs::rename(&root, &elsewhere).unwrap();
        assert!(matches!(session.finish(&tree, epoch), Err(StoreError::Failed(_))));
        std::fs::rename(&elsewhere, &root).unwrap();

        assert!(matches!(session.finish(&tree, epoch), Err(StoreError::Failed(_))));
        assert!(matches!(
            session.write(&tree, epoch, b"more"),
            Err(StoreError::Failed(_))
        ));
        assert!(matches!(session.received(&tree), Err(StoreError::Failed(_))));
        assert!(matches!(
            session.begin(&tree, Algorithm::Sha256, None),
            Err(StoreError::Failed(_))
        ));
        let sealed = session.seal(&tree, &Digest::sha256(b"bytes"));
        assert!(matches!(sealed, Err(StoreError::Failed(_))), "{sealed:?}");
        assert!(!session.forgettable(), "forgotten, it would be trusted again");
    }
}
