//! One process at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Holds a directory for this process until it is dropped or the process ends, however that happens.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Takes `directory` for this process. `None` if another holds it.
///
/// # Errors
/// Those of creating and locking the file `lock` in it.
pub fn lock(directory: &Path) -> io::Result<Option<DirectoryLock>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(DirectoryLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path()).unwrap().expect("nobody holds it");
        assert!(lock(directory.path()).unwrap().is_none());
        drop(held);
        assert!(lock(directory.path()).unwrap().is_some());
    }
}
