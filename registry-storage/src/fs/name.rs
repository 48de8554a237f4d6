//! Where a file lies below the root, and the directories on the way.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use registry_core::store::Location;
use registry_core::{Digest, UploadId};

use super::disk::{Access, Disk, DiskFile, FileInfo};
use crate::durability::Syncs;

/// Permissions of a file that is still written.
pub(super) const ARRIVING: u32 = 0o600;

/// A file below the root: two hex digits, a slash, and a name of 32 or 64 hex digits that begins with those two.
/// Nothing else ever becomes a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileName(String);

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl FileName {
    /// The file of an upload. An id that is not in the form in which they are made is hashed, so that any has a name
    /// and no two have the same.
    pub(super) fn of(id: &UploadId) -> Self {
        let id = id.as_str();
        if id.len() == 32 && is_hex(id) {
            FileName(format!("{}/{id}", &id[..2]))
        } else {
            let hash = Digest::sha256(id.as_bytes()).hex();
            FileName(format!("{}/{hash}", &hash[..2]))
        }
    }

    /// The file that a location names; `None` if it names none that could be here.
    pub(super) fn at(location: &Location) -> Option<Self> {
        match location {
            Location::File(name) => Self::parse(name),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (directory, file) = text.split_once('/')?;
        let legal = matches!(file.len(), 32 | 64)
            && directory.len() == 2
            && is_hex(file)
            && file.starts_with(directory);
        legal.then(|| FileName(text.to_owned()))
    }

    pub(super) fn location(&self) -> Location {
        Location::File(self.0.clone())
    }

    /// Which of the 256 directories.
    fn fan(&self) -> u8 {
        u8::from_str_radix(&self.0[..2], 16).expect("two hex digits, by the type's grammar")
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The directory with its 256 subdirectories, which are made when they are first needed.
pub(super) struct Tree {
    disk: Arc<dyn Disk>,
    /// Which syncs are made here.
    pub(super) syncs: Syncs,
    root: PathBuf,
    /// Which directory the root was at the beginning.
    which: Option<(u64, u64)>,
    /// Which subdirectories this process knows to survive a power cut.
    durable: [AtomicBool; 256],
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({})", self.root.display())
    }
}

impl Tree {
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf, syncs: Syncs) -> Self {
        Tree {
            which: disk.which(&root).ok(),
            disk,
            syncs,
            root,
            durable: [const { AtomicBool::new(false) }; 256],
        }
    }

    fn path(&self, name: &FileName) -> PathBuf {
        self.root.join(&name.0)
    }

    /// Takes "not there" for an answer only if it was the right place to look: when a volume is unmounted under a server,
    /// nothing is there, and it must not be taken for lost, nor anything be put there.
    fn at_home<T>(&self, result: io::Result<T>) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.is_home()?;
                Err(error)
            }
            other => other,
        }
    }

    /// An error if the root is not the directory that it was.
    pub(super) fn is_home(&self) -> io::Result<()> {
        match self.disk.which(&self.root).ok() == self.which {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{} is not the directory that it was when it was opened; is its volume mounted?",
                self.root.display()
            ))),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Nothing there is as good as gone.
    fn if_found<T>(&self, result: io::Result<T>) -> io::Result<Option<T>> {
        match self.at_home(result) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn directory(&self, name: &FileName) -> PathBuf {
        self.root.join(&name.0[..2])
    }

    /// Opens a file to be read, and tells how long it is.
    pub(super) fn read(&self, name: &FileName) -> io::Result<(Box<dyn DiskFile>, u64)> {
        let file = self.at_home(self.disk.open(&self.path(name), Access::Read))?;
        let length = file.info()?.length;
        Ok((file, length))
    }

    /// The same, if it takes no waiting. The file is found by its path each time, so this never tells of one that is gone.
    pub(super) fn read_at_once(&self, name: &FileName) -> Option<(Box<dyn DiskFile>, u64)> {
        let file = self.disk.open_at_once(&self.path(name)).ok()?;
        let length = file.info().ok()?.length;
        Some((file, length))
    }

    /// What is known of a file, if it is there.
    pub(super) fn info(&self, name: &FileName) -> io::Result<Option<FileInfo>> {
        self.if_found(self.disk.info(&self.path(name)))
    }

    /// How long ago a file was last written, if it is there and the disk tells.
    pub(super) fn age(&self, name: &FileName) -> io::Result<Option<Duration>> {
        Ok(self.if_found(self.disk.age(&self.path(name)))?.flatten())
    }

    /// Opens a file that is there, for reading and writing.
    pub(super) fn open(&self, name: &FileName) -> io::Result<Option<Box<dyn DiskFile>>> {
        let path = self.path(name);
        self.if_found(match self.disk.open(&path, Access::Write) {
            // A sealed file, which is only to be read again.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.disk.open(&path, Access::Read)
            }
            opened => opened,
        })
    }

    /// Creates a file that is not there.
    pub(super) fn create(&self, name: &FileName) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path(name);
        match self.at_home(self.disk.create_new(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match self.disk.create_dir(&self.directory(name)) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => self.disk.create_new(&path),
                }
            }
            created => created,
        }
    }

    /// Lets a file be written again that was sealed, and opens it.
    pub(super) fn unseal(&self, name: &FileName) -> io::Result<Box<dyn DiskFile>> {
        let path = self.path(name);
        self.disk.set_mode(&path, ARRIVING)?;
        self.disk.open(&path, Access::Write)
    }

    /// Makes the entry that names a file survive a power cut, and the one that names its directory.
    pub(super) fn sync_entry(&self, name: &FileName) -> io::Result<()> {
        if !self.syncs.directory {
            return Ok(());
        }
        self.disk.sync_dir(&self.directory(name))?;
        let durable = &self.durable[usize::from(name.fan())];
        if !durable.load(Ordering::Acquire) {
            self.disk.sync_dir(&self.root)?;
            durable.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Removes a file if it is there, so that it stays removed.
    pub(super) fn unlink(&self, name: &FileName) -> io::Result<()> {
        self.if_found(self.disk.unlink(&self.path(name)))?;
        // Also if it was gone: an earlier removal may not have got as far as this.
        if self.syncs.directory {
            self.if_found(self.disk.sync_dir(&self.directory(name)))?;
        }
        Ok(())
    }

    /// Empties a file if it is there.
    pub(super) fn truncate(&self, name: &FileName) -> io::Result<()> {
        let path = self.path(name);
        // A sealed file lost to one that was there before.
        match self.if_found(self.disk.set_mode(&path, ARRIVING))? {
            Some(()) => self.disk.open(&path, Access::Write)?.set_len(0),
            None => Ok(()),
        }
    }

    /// Files in order, from the first after `after`, at most `limit`. What is no file of this tree is passed over.
    pub(super) fn list(&self, after: Option<&str>, limit: usize) -> io::Result<Vec<FileName>> {
        let after = after.unwrap_or("");
        let mut page = Vec::new();
        for fan in 0..=255_u8 {
            let directory = format!("{fan:02x}");
            // Everything in a directory is greater than its name, and less than that name with a `0` (after `/`).
            if page.len() >= limit || format!("{directory}0").as_str() <= after {
                continue;
            }
            let Some(entries) = self.if_found(self.disk.read_dir(&self.root.join(&directory)))? else {
                continue;
            };
            let mut names = Vec::new();
            for file in entries {
                let name = file
                    .to_str()
                    .and_then(|file| FileName::parse(&format!("{directory}/{file}")));
                names.extend(name.filter(|name| name.0.as_str() > after));
            }
            names.sort();
            names.truncate(limit - page.len());
            page.append(&mut names);
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_but_a_name_of_its_own_becomes_a_path() {
        let hex = "ab0123456789abcdef0123456789abcd";
        assert!(FileName::parse(&format!("ab/{hex}")).is_some());
        for bad in [
            "".to_owned(),
            "ab".into(),
            "ab/".into(),
            "../../etc/passwd".into(),
            format!("/ab/{hex}"),
            format!("ab/../ab/{hex}"),
            format!("ab//{hex}"),
            format!("ac/{hex}"),
            format!("AB/{}", hex.to_uppercase()),
            format!("ab/{hex}0"),
            format!("ab/{hex}/"),
            format!("ab/{hex}\0"),
            format!("./{hex}"),
        ] {
            assert!(FileName::parse(&bad).is_none(), "{bad:?} was taken");
        }
        assert_eq!(FileName::at(&Location::Object(format!("ab/{hex}"))), None);
        assert_eq!(FileName::at(&Location::Inline), None);
    }

    proptest! {
        #[test]
        fn every_upload_has_a_name_that_reads_back(id in "[A-Za-z0-9_=-]{1,512}") {
            let name = FileName::of(&id.parse().unwrap());
            prop_assert_eq!(FileName::at(&name.location()), Some(name));
        }
    }
}
