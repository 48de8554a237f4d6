//! Files that stay open for those who read them next.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use quick_cache::sync::Cache;
use registry_core::OpenFile;

use super::name::FileName;

/// How many stay open, at most.
const FILES: usize = 256;

/// Open files by their names. Whether a directory still names one is asked each time, so none is given out that is gone.
pub(super) struct Opened(Cache<FileName, Arc<OpenFile>>);

impl Opened {
    pub(super) fn new() -> Self {
        Opened(Cache::new(FILES))
    }

    /// An open file and its length.
    pub(super) fn find(&self, name: &FileName) -> Option<(Arc<OpenFile>, u64)> {
        let file = self.0.get(name)?;
        match file.metadata() {
            Ok(known) if known.nlink() > 0 => Some((file, known.len())),
            _ => {
                self.forget(name);
                None
            }
        }
    }

    /// Whether a file of this name is open, so that the system has its path in memory. It may be elsewhere by now.
    pub(super) fn holds(&self, name: &FileName) -> bool {
        self.0.contains_key(name)
    }

    /// Keeps a file open.
    pub(super) fn keep(&self, name: FileName, file: &Arc<OpenFile>) {
        self.0.insert(name.clone(), Arc::clone(file));
        // It may have been unlinked since it was opened, and whoever did so have forgotten it before it was kept.
        _ = self.find(&name);
    }

    /// Lets a file go that was unlinked, so that the disk has its room again.
    pub(super) fn forget(&self, name: &FileName) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn name() -> FileName {
        FileName::of(&registry_core::UploadId::new(7))
    }

    #[test]
    fn a_file_that_is_gone_is_not_given_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"bytes").unwrap();
        let opened = Opened::new();
        let file = Arc::new(OpenFile::from(File::open(&path).unwrap()));
        opened.keep(name(), &file);
        assert_eq!(opened.find(&name()).unwrap().1, 5);
        std::fs::write(&path, b"byte").unwrap();
        assert_eq!(opened.find(&name()).unwrap().1, 4, "a length is not remembered");
        std::fs::remove_file(&path).unwrap();
        assert!(opened.find(&name()).is_none());
        assert_eq!(Arc::strong_count(&file), 1, "it is closed");
    }

    #[test]
    fn a_file_that_went_before_it_was_kept_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = Arc::new(OpenFile::from(File::create(&path).unwrap()));
        std::fs::remove_file(&path).unwrap();
        let opened = Opened::new();
        opened.keep(name(), &file);
        assert_eq!(Arc::strong_count(&file), 1);
    }

    #[test]
    fn no_more_stay_open_than_there_is_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let opened = Opened::new();
        let mut files = Vec::new();
        for number in 0..2 * FILES {
            let path = directory.path().join(number.to_string());
            let file = Arc::new(OpenFile::from(File::create(&path).unwrap()));
            opened.keep(FileName::of(&registry_core::UploadId::new(number as u128)), &file);
            files.push(file);
        }
        let open = files.iter().filter(|file| Arc::strong_count(file) > 1).count();
        assert!(open > 0 && open <= FILES, "{open}");
    }
}
