//! One upload's file while somebody works on it.

use std::io;

use registry_core::store::StoreError;
use registry_core::{Algorithm, Digest, Hasher};
use rustix::io::Errno;

use super::disk::DiskFile;
use super::mark::{Mark, Point};
use super::name::{FileName, Tree};
use super::proven::{Proven, is_sealed, read_into};
use super::store_error;

/// Permissions of a sealed file: nobody writes it any more. This, rather than memory, is what tells a writer that comes
/// late, having read the upload's claim before it was consumed, that the file is a blob by now; and it outlives
/// the process.
pub(crate) const SEALED: u32 = 0o444;

/// Permissions of a file whose sync failed: what the system still shows of it need not be on the disk, and after a
/// restart nothing else would tell.
const BROKEN: u32 = 0;

/// After how many written bytes a file is marked anew: so much of an upload whose process is killed is sent again.
const MARK_EVERY: u64 = 8 << 20;

/// After how many bytes the disk is given work, so that the sync at the end finds most of it done.
const WRITE_OUT: u64 = 8 << 20;

/// What is known of one file. Its owner holds the lock around it for each call.
pub(super) struct Session {
    name: FileName,
    /// Counts the writers that there have been; only the last may write.
    epoch: u64,
    ended: bool,
    /// Whether the directory was looked at; only then do the fields below say something.
    opened: bool,
    /// `None` while there is no file.
    file: Option<Box<dyn DiskFile>>,
    length: u64,
    /// Of the first `length` bytes; `None` if it would have to be made by reading them.
    hasher: Option<Hasher>,
    /// What is durable, as the next mark repeats it.
    acknowledged: Option<Point>,
    /// The length at the last mark.
    marked: u64,
    /// Whether the file system keeps marks. If not, a file's length is all there is to go by.
    marks: bool,
    /// The content is complete.
    sealed: bool,
    /// It was so already when it was opened, so that it may be a blob by now.
    may_be_blob: bool,
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
            acknowledged: None,
            marked: 0,
            marks: true,
            sealed: false,
            may_be_blob: false,
            dirty: false,
            entry_durable: false,
            failed: None,
        }
    }

    pub(super) fn name(&self) -> &FileName {
        &self.name
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

    /// Looks what there is of the file, keeps as much of it as its mark proves, and makes that durable.
    fn open(&mut self, tree: &Tree) -> Result<(), StoreError> {
        self.sound()?;
        if self.opened {
            return Ok(());
        }
        let Some(mut file) = tree.open(&self.name).map_err(StoreError::Failed)? else {
            self.opened = true;
            return Ok(());
        };
        let info = file.info().map_err(StoreError::Failed)?;
        if info.mode == BROKEN {
            let why = format!("{} could not be synced at an earlier time", self.name);
            return Err(StoreError::Lost(io::Error::other(why)));
        }
        let proven = Proven::of(&*file, info).map_err(StoreError::Failed)?;
        if !proven.sealed && is_sealed(info) {
            file = tree.unseal(&self.name).map_err(StoreError::Failed)?;
        }
        if proven.length < info.length {
            file.set_len(proven.length).map_err(store_error)?;
        }
        (self.length, self.marked) = (proven.length, proven.length);
        (self.hasher, self.sealed, self.marks) = (proven.hasher, proven.sealed, proven.marks);
        self.may_be_blob = proven.sealed;
        self.file = Some(file);
        // An earlier process may have written this and not got to its sync; and the next mark may name it only once
        // it is durable.
        self.dirty = true;
        self.flush(tree)?;
        self.acknowledged = self.point();
        // Not sooner: if that failed for the moment, what was acknowledged is not known yet.
        self.opened = true;
        Ok(())
    }

    /// What is there, as a mark names it.
    fn point(&self) -> Option<Point> {
        let hasher = self.hasher.as_ref()?;
        Some(Point::of(hasher, self.length))
    }

    /// Marks what is there, where marks are kept and the hash of all of it is at hand.
    fn mark(&mut self) -> Result<(), StoreError> {
        let (Some(file), Some(hasher), true) = (&self.file, &self.hasher, self.marks) else {
            return Ok(());
        };
        let algorithm = hasher.algorithm();
        let mark = Mark {
            algorithm,
            acknowledged: self.acknowledged.unwrap_or_else(|| Point::start(algorithm)),
            latest: Point::of(hasher, self.length),
            whole: self.sealed,
        };
        match file.set_mark(&mark.encode()) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.marks = false,
            marked => marked.map_err(store_error)?,
        }
        self.marked = self.length;
        Ok(())
    }

    /// Refuses once a sync has failed.
    fn sound(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some((kind, why)) => Err(StoreError::Lost(io::Error::new(*kind, why.clone()))),
            None => Ok(()),
        }
    }

    /// Makes all that was written survive a power cut.
    pub(super) fn sync(&mut self, tree: &Tree) -> Result<(), StoreError> {
        self.sound()?;
        if self.dirty {
            self.mark()?;
        }
        self.flush(tree)?;
        self.acknowledged = self.point();
        Ok(())
    }

    /// The sync itself, after which nothing is marked that was not before.
    fn flush(&mut self, tree: &Tree) -> Result<(), StoreError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let wanted = match self.sealed {
            true => tree.syncs.file,
            false => tree.syncs.upload_state,
        };
        let synced = || {
            match self.dirty && wanted {
                // The mark and the permissions too.
                true if self.marks || self.sealed => file.sync_all()?,
                true => file.sync_data()?,
                false => {}
            }
            if !self.entry_durable {
                tree.sync_entry(&self.name)?;
            }
            Ok(())
        };
        if let Err(error) = synced() {
            let error: io::Error = error;
            if is_shortage(&error) {
                return Err(StoreError::Failed(error));
            }
            return Err(self.lose(error));
        }
        self.dirty = false;
        self.entry_durable = true;
        Ok(())
    }

    /// Gives the file up: a part of it was not synced.
    fn lose(&mut self, error: io::Error) -> StoreError {
        // A blob was synced before it became one; only what is not one yet is given up.
        if !self.may_be_blob
            && let Some(file) = &self.file
            && let Err(error) = file.set_mode(BROKEN)
        {
            tracing::error!(name = %self.name, %error, "a file that could not be synced cannot be marked as such");
        }
        self.failed = Some((
            error.kind(),
            format!("{} could not be synced: {error}", self.name),
        ));
        self.file = None;
        StoreError::Lost(error)
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
            self.acknowledged = None;
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

    /// Adds `bytes` at the end, if `epoch` is not over. What was written before a failure counts, unless there is no
    /// room: then only what was acknowledged.
    pub(super) fn write(&mut self, tree: &Tree, epoch: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.holds(epoch)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tree.create(&self.name).map_err(store_error)?),
        };
        let (mut rest, began) = (bytes, self.length);
        while !rest.is_empty() {
            let written = match file.write_at(rest, self.length) {
                Ok(0) => return Err(StoreError::Failed(io::ErrorKind::WriteZero.into())),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let why = store_error(error);
                    if matches!(why, StoreError::Full(_)) {
                        self.give_back();
                    }
                    return Err(why);
                }
            };
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&rest[..written]);
            }
            self.dirty = true;
            self.length += written as u64;
            rest = &rest[written..];
        }
        let due = |length| length - length % WRITE_OUT;
        let is_synced = tree.syncs.file || tree.syncs.upload_state;
        if is_synced
            && due(self.length) > due(began)
            && let Err(error) = file.write_out(due(began)..due(self.length))
        {
            return Err(self.lose(error));
        }
        match self.length - self.marked < MARK_EVERY {
            true => Ok(()),
            false => self.mark(),
        }
    }

    /// Cuts off what was not acknowledged: what found no room must not go on taking room. That is only a help, so
    /// if it fails everything is left as it is.
    fn give_back(&mut self) {
        let (Some(file), Some(hasher)) = (&self.file, &self.hasher) else {
            return;
        };
        let mut hasher = Hasher::new(hasher.algorithm());
        let kept = self.acknowledged.map_or(0, |point| point.length);
        if read_into(&mut hasher, &**file, 0..kept).is_ok() && file.set_len(kept).is_ok() {
            (self.length, self.marked) = (kept, kept);
            self.hasher = Some(hasher);
            // What was acknowledged is durable, and a mark of it is there.
            self.dirty = false;
        }
    }

    /// Keeps what `epoch` wrote from being sent again if this process ends, as far as that costs no sync.
    pub(super) fn keep(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.holds(epoch)?;
        self.mark()
    }

    /// Makes what `epoch` wrote durable, if it is not over. Gives the length.
    pub(super) fn finish(&mut self, tree: &Tree, epoch: u64) -> Result<u64, StoreError> {
        self.holds(epoch)?;
        self.sync(tree)?;
        Ok(self.length)
    }

    /// Seals what `epoch` wrote, if it is not over.
    pub(super) fn finish_sealed(
        &mut self,
        tree: &Tree,
        epoch: u64,
        digest: &Digest,
    ) -> Result<u64, StoreError> {
        self.holds(epoch)?;
        self.seal(tree, digest)
    }

    /// Ends every writer's epoch; checks the content against `digest`, makes it durable, and gives its length.
    pub(super) fn seal(&mut self, tree: &Tree, digest: &Digest) -> Result<u64, StoreError> {
        self.open(tree)?;
        self.epoch += 1;
        let actual = self.digest(digest.algorithm()).map_err(StoreError::Failed)?;
        if actual != *digest {
            return Err(StoreError::DigestMismatch { actual });
        }
        if !self.sealed {
            self.sealed = true;
            if let Err(error) = self.set_sealed(tree, digest.algorithm()) {
                self.sealed = false;
                return Err(error);
            }
            self.dirty = true;
        }
        self.flush(tree)?;
        // Whoever comes again opens the file anew; nothing needs to be held for what is finished.
        self.end();
        Ok(self.length)
    }

    fn set_sealed(&mut self, tree: &Tree, algorithm: Algorithm) -> Result<(), StoreError> {
        if self.file.is_none() {
            self.file = Some(tree.create(&self.name).map_err(store_error)?);
        }
        if self.length == 0 && self.hasher.is_none() {
            self.hasher = Some(Hasher::new(algorithm));
        }
        // The mark first: without it the permissions mean nothing, and with them it could not be set.
        self.mark()?;
        if !self.marks {
            // Nothing but the permissions will tell that the content is whole, so it is before they say so.
            self.dirty = true;
            self.flush(tree)?;
        }
        match &self.file {
            Some(file) => file.set_mode(SEALED).map_err(store_error),
            None => Ok(()),
        }
    }

    /// The digest of all that is there, from the saved state if there is one of this algorithm.
    fn digest(&self, algorithm: Algorithm) -> io::Result<Digest> {
        match (&self.hasher, &self.file) {
            (Some(hasher), _) if hasher.algorithm() == algorithm => Ok(hasher.clone().finish()),
            (_, None) => Ok(Digest::of(algorithm, b"")),
            (_, Some(file)) => {
                let mut hasher = Hasher::new(algorithm);
                read_into(&mut hasher, &**file, 0..self.length)?;
                Ok(hasher.finish())
            }
        }
    }
}

/// Whether there were no descriptors left, which is said of opening a directory, and never of a sync.
fn is_shortage(error: &io::Error) -> bool {
    let means = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|told| means.contains(&told))
}

#[cfg(test)]
mod tests {
    use super::super::disk::FileSystem;
    use super::*;
    use crate::durability::Syncs;
    use crate::testkit::disk::{Fault, FaultyDisk};
    use registry_core::UploadId;
    use std::sync::Arc;

    #[test]
    fn a_sync_that_failed_is_final_for_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("blobs");
        std::fs::create_dir(&root).unwrap();
        let tree = Tree::new(Arc::new(FileSystem), root.clone(), Syncs::ALL);
        let mut session = Session::new(FileName::of(&UploadId::new(7)));
        let epoch = session.begin(&tree, Algorithm::Sha256, Some(0)).unwrap();
        session.write(&tree, epoch, b"bytes").unwrap();

        // The directory that names the file cannot be synced while it is elsewhere.
        let elsewhere = directory.path().join("elsewhere");
        std::fs::rename(&root, &elsewhere).unwrap();
        assert!(matches!(session.finish(&tree, epoch), Err(StoreError::Lost(_))));
        std::fs::rename(&elsewhere, &root).unwrap();

        assert!(matches!(session.finish(&tree, epoch), Err(StoreError::Lost(_))));
        assert!(matches!(
            session.write(&tree, epoch, b"more"),
            Err(StoreError::Lost(_))
        ));
        assert!(matches!(session.received(&tree), Err(StoreError::Lost(_))));
        assert!(matches!(
            session.begin(&tree, Algorithm::Sha256, None),
            Err(StoreError::Lost(_))
        ));
        let sealed = session.seal(&tree, &Digest::sha256(b"bytes"));
        assert!(matches!(sealed, Err(StoreError::Lost(_))), "{sealed:?}");
        assert!(!session.forgettable(), "forgotten, it would be trusted again");
    }

    #[test]
    fn an_error_of_the_disk_that_begins_to_write_is_as_final_as_one_of_the_sync() {
        let directory = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::around(Arc::new(FileSystem));
        let tree = Tree::new(Arc::new(disk.clone()), directory.path().to_owned(), Syncs::ALL);
        let mut session = Session::new(FileName::of(&UploadId::new(7)));
        let epoch = session.begin(&tree, Algorithm::Sha256, Some(0)).unwrap();
        let most = vec![7; WRITE_OUT as usize - 1];
        session.write(&tree, epoch, &most).unwrap();

        disk.fail(1, Fault::Io);
        let written = session.write(&tree, epoch, b"last");
        assert!(matches!(written, Err(StoreError::Lost(_))), "{written:?}");
        assert_eq!(disk.take_failed(), ["write out"]);
        assert!(matches!(session.finish(&tree, epoch), Err(StoreError::Lost(_))));
    }

    #[test]
    fn an_upload_whose_process_was_killed_is_what_its_mark_proves() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::new(Arc::new(FileSystem), directory.path().to_owned(), Syncs::ALL);
        let name = FileName::of(&UploadId::new(8));
        let mut killed = Session::new(name.clone());
        let epoch = killed.begin(&tree, Algorithm::Sha256, Some(0)).unwrap();
        for piece in 0..20 {
            killed.write(&tree, epoch, &[piece; 1 << 20]).unwrap();
        }
        let written = killed.length;
        // Without extended attributes, all of it is taken for what was sent.
        let proven = if killed.marks { 2 * MARK_EVERY } else { written };
        drop(killed);
        assert_eq!(Session::new(name.clone()).received(&tree).unwrap(), proven);
        assert_eq!(tree.info(&name).unwrap().unwrap().length, proven);
    }
}
