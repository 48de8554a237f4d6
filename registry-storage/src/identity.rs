//! Which records and which blobs belong together.
//!
//! A store has a random identity, which is among its records and in a file beside its blobs. Without it, a volume
//! that is not mounted would look like a registry without blobs, or blobs without records like garbage.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::Path;

use crate::kv::{Apart, Found, OpenError};

/// The file beside the blobs, and its name while it is written.
const FILE: &str = "STORE";
const UNFINISHED: &str = "STORE.new";

/// A store's identity. It is written in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreId(pub(crate) [u8; 16]);

impl StoreId {
    fn random() -> io::Result<Self> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(StoreId(id))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
        Some(StoreId(id.to_be_bytes()))
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The identity of the store whose records were `found` and whose blobs are in `blobs`, which is locked. It is beside
/// the blobs, durably, before it is returned, and so before it is among the records: a crash in between is repaired
/// at the next opening.
pub(crate) fn join(records: &Path, blobs: &Path, found: Found) -> Result<StoreId, OpenError> {
    let apart = |how| OpenError::Apart {
        records: records.to_owned(),
        blobs: blobs.to_owned(),
        how,
    };
    match (found.store, read(blobs)?) {
        (Some(recorded), Some(beside)) if recorded == beside => Ok(recorded),
        (Some(_), Some(_)) => Err(apart(Apart::Different)),
        (Some(_), None) => Err(apart(Apart::NoBlobs)),
        (None, _) if found.new && has_blobs(blobs).map_err(OpenError::io(blobs))? => {
            Err(apart(Apart::NoRecords))
        }
        // The records were to get it when the process ended.
        (None, Some(beside)) => Ok(beside),
        (None, None) => StoreId::random()
            .and_then(|id| write(blobs, id).map(|()| id))
            .map_err(OpenError::io(blobs)),
    }
}

/// The identity beside the blobs, if there is one.
fn read(blobs: &Path) -> Result<Option<StoreId>, OpenError> {
    let path = blobs.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(&path)(error)),
    };
    let id = str::from_utf8(&text)
        .ok()
        .and_then(|text| StoreId::parse(text.trim_end()));
    match id {
        Some(id) => Ok(Some(id)),
        None => Err(OpenError::Damaged {
            path,
            source: "it has no identity of a store in it".into(),
        }),
    }
}

/// An error unless this identity is beside the blobs, on the disk itself: a disk that is gone may be remembered.
pub(crate) fn is_beside(blobs: &Path, store: StoreId) -> io::Result<()> {
    let path = blobs.join(FILE);
    let said = |why: String| io::Error::other(format!("{}: {why}; is its volume mounted?", path.display()));
    let mut file = File::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => said("it is not there".to_owned()),
        _ => error,
    })?;
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    let _not_forgotten = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    match StoreId::parse(text.trim_end()) {
        Some(found) if found == store => Ok(()),
        _ => Err(said("it is not that of this registry".to_owned())),
    }
}

fn write(blobs: &Path, id: StoreId) -> io::Result<()> {
    let unfinished = blobs.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&unfinished, blobs.join(FILE))?;
    File::open(blobs)?.sync_all()
}

fn has_blobs(blobs: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(blobs)? {
        // What else there may be beside the 256 directories is nobody's bytes.
        let name = entry?.file_name();
        if name.len() == 2 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit) {
            return Ok(true);
        }
    }
    Ok(false)
}
