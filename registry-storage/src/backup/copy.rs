//! Copying blobs from one tree of files to another, hashing them on the way.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use registry_core::Hasher;

use super::{BackupError, Copied, Tell, Told, failed, named_blobs, sync};
use crate::fs::SEALED;
use crate::records::snapshot::NamedBlob;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// How one blob went.
enum Outcome {
    /// Its bytes are there now, and durable save for the directory's entry.
    Copied,
    /// A file of its size was there.
    Kept,
    /// Its bytes cannot be had; why.
    Damaged(String),
}

/// Copies all blobs that the records of `dump` name from the tree `from` to the tree `to`, and makes them durable.
pub(super) fn all(dump: &Path, from: &Path, to: &Path, tell: Tell<'_>) -> Result<Copied, BackupError> {
    fs::create_dir_all(to).map_err(failed(to))?;
    let mut done = Copied::default();
    let mut buffer = vec![0; PIECE];
    let mut changed = BTreeSet::new();
    named_blobs(dump, |blob| {
        let (Some(source), Some(target)) = (
            crate::fs::path(from, &blob.location),
            crate::fs::path(to, &blob.location),
        ) else {
            done.damaged += 1;
            tell(Told::Damaged(&format!(
                "blob {} is said to be at {}, which is no file",
                blob.digest, blob.location
            )));
            return Ok(());
        };
        match one(&source, &target, blob, &mut buffer)? {
            Outcome::Copied => {
                done.copied.add(blob.size);
                changed.extend(target.parent().map(Path::to_owned));
            }
            Outcome::Kept => done.kept.add(blob.size),
            Outcome::Damaged(why) => {
                done.damaged += 1;
                tell(Told::Damaged(&format!(
                    "blob {} at {}: {why}",
                    blob.digest, blob.location
                )));
            }
        }
        tell(Told::Copying(&done));
        Ok(())
    })?;
    changed.iter().try_for_each(|directory| sync(directory))?;
    sync(to)?;
    if let Some(above) = to.parent() {
        sync(above)?;
    }
    Ok(done)
}

fn one(source: &Path, target: &Path, blob: &NamedBlob, buffer: &mut [u8]) -> Result<Outcome, BackupError> {
    if fs::metadata(target).is_ok_and(|there| there.len() == blob.size) {
        return Ok(Outcome::Kept);
    }
    let mut input = match File::open(source) {
        Ok(input) => input,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Outcome::Damaged("its bytes are missing".into()));
        }
        Err(error) => return Ok(Outcome::Damaged(format!("its bytes cannot be read: {error}"))),
    };
    let part = part(target);
    let mut output = create(&part)?;
    let mut hasher = Hasher::new(blob.digest.algorithm());
    let mut length = 0;
    let wrong = loop {
        match input.read(buffer) {
            Ok(0) => break None,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                length += read as u64;
                output.write_all(&buffer[..read]).map_err(failed(&part))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(format!("its bytes cannot be read: {error}")),
        }
    };
    let actual = hasher.finish();
    let wrong = wrong.or_else(|| {
        if length != blob.size {
            Some(format!("it has {length} bytes instead of {}", blob.size))
        } else if actual != blob.digest {
            Some(format!("its bytes have the digest {actual}"))
        } else {
            None
        }
    });
    if let Some(wrong) = wrong {
        fs::remove_file(&part).map_err(failed(&part))?;
        return Ok(Outcome::Damaged(wrong));
    }
    output
        .set_permissions(Permissions::from_mode(SEALED))
        .and_then(|()| output.sync_all())
        .and_then(|()| fs::rename(&part, target))
        .map_err(failed(target))?;
    Ok(Outcome::Copied)
}

/// The name of a file until it is whole.
fn part(target: &Path) -> PathBuf {
    target.with_extension("part")
}

fn create(path: &Path) -> Result<File, BackupError> {
    let create = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
    };
    let created = create().or_else(|error| match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(directory)) => {
            fs::create_dir(directory)?;
            create()
        }
        _ => Err(error),
    });
    created.map_err(failed(path))
}
