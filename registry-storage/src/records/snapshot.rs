//! What a dump of the records says about bytes outside them.

use registry_core::Digest;
use registry_core::store::{Entry, Location};

use super::{keys, values};

/// A blob whose bytes lie outside the records.
#[derive(Debug)]
pub(crate) struct NamedBlob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) location: Location,
}

/// The blob that this record is of, if its bytes lie outside the records. What cannot be read is for the check.
pub(crate) fn named_blob(key: &str, entry: &Entry) -> Option<NamedBlob> {
    let digest = key.strip_prefix(keys::BLOB)?.parse().ok()?;
    let blob: values::Blob = values::decode(key, entry).ok()?;
    (blob.location != Location::Inline).then_some(NamedBlob {
        digest,
        size: blob.size,
        location: blob.location,
    })
}

/// Whether a record is about an upload that is under way, whose bytes no backup has.
pub(crate) fn is_of_an_upload(key: &str) -> bool {
    key.starts_with(keys::UPLOAD) || key.starts_with(keys::EXPIRY)
}
