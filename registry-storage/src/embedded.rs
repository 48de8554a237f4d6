//! All that one machine needs, in one directory.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use registry_core::Runtime;

use crate::fs::FsBytes;
use crate::identity;
use crate::kv::{EmbeddedKv, OpenError, Options};

/// A directory with records and bytes.
#[derive(Debug)]
pub struct Embedded {
    /// The records, in `records/`.
    pub kv: EmbeddedKv,
    /// The bytes, in `blobs/`.
    pub bytes: FsBytes,
}

/// Opens a directory, which is created if it is not there. One process at a time may have it open.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().join("data");
/// use registry_core::runtime::Threads;
/// let stores = registry_storage::open(&directory, Threads::shared())?;
/// assert!(registry_storage::open(&directory, Threads::shared()).is_err(), "it is in use");
/// # drop(stores);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// All of [`OpenError`].
pub fn open(directory: impl AsRef<Path>, runtime: Arc<dyn Runtime>) -> Result<Embedded, OpenError> {
    open_with(directory, runtime, Options::default())
}

/// Opens a directory as [`open`] does, kept as `options` say.
///
/// # Errors
/// All of [`OpenError`].
pub fn open_with(
    directory: impl AsRef<Path>,
    runtime: Arc<dyn Runtime>,
    options: Options,
) -> Result<Embedded, OpenError> {
    let directory = directory.as_ref();
    if directory.join(crate::backup::UNFINISHED).exists() {
        return Err(OpenError::Restoring(directory.to_owned()));
    }
    open_parts(directory, runtime, options)
}

/// Opens the parts of a directory, whatever else is in it.
pub(crate) fn open_parts(
    directory: &Path,
    runtime: Arc<dyn Runtime>,
    options: Options,
) -> Result<Embedded, OpenError> {
    let (records, blobs) = (directory.join("records"), directory.join("blobs"));
    let bytes = FsBytes::open_with(&blobs, runtime, options.durability)?;
    std::fs::create_dir_all(&records).map_err(OpenError::io(&records))?;
    // Before anything in them counts on it.
    sync_entries(directory)?;
    let mut store = None;
    let kv = EmbeddedKv::open_as(&records, options, |found| {
        store = Some(identity::join(&records, &blobs, found)?);
        Ok(store)
    })?;
    let bytes = match store {
        Some(store) => bytes.of(store),
        None => bytes,
    };
    Ok(Embedded { kv, bytes })
}

/// Makes the entries of a directory survive a power cut, and its own: it may be new, and those above it too.
fn sync_entries(directory: &Path) -> Result<(), OpenError> {
    let sync = |path: &Path| {
        File::open(path)
            .and_then(|entries| entries.sync_all())
            .map_err(OpenError::io(path))
    };
    sync(directory)?;
    let whole = std::path::absolute(directory).map_err(OpenError::io(directory))?;
    for above in whole.ancestors().skip(1) {
        // Above what is ours to read nothing was created by us.
        if sync(above).is_err() {
            break;
        }
    }
    Ok(())
}
