//! Files of certificates and keys that are whole or not there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// It is no secret.
    Anyone,
    /// It is one.
    Owner,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Readers::Anyone => 0o644,
            Readers::Owner => 0o600,
        }
    }
}

/// Makes a directory that is there after a power cut, and its parents.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    DirBuilder::new().mode(0o755).create(directory)?;
    File::open(parent)?.sync_all()
}

/// Puts a file there that has its mode from the first on, is whole before it has its name, and outlives a power cut.
pub(super) fn keep(directory: &Path, name: &str, text: &str, readers: Readers) -> io::Result<()> {
    let making = directory.join(format!("{name}.new"));
    match fs::remove_file(&making) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(readers.mode())
        .open(&making)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&making, directory.join(name))?;
    File::open(directory)?.sync_all()
}

/// Takes a secret file away from all but its owner, if others may use it. There need not be one.
pub(super) fn own_secret(path: &Path) -> io::Result<()> {
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.mode(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(Readers::Owner.mode()))?;
        tracing::warn!(
            "{}: others than its owner could use this key; its mode is 0600 now",
            path.display()
        );
    }
    Ok(())
}
