//! Blobs: that their bytes are there, and as many as they must be.

use registry_core::store::{BlobState, Entry, Location, StoreError};
use registry_core::{Digest, Result};

use super::super::values::{self, V1, encode};
use super::deep::Hashed;
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Suspicion, as_seen, of};
use super::{Checker, FindingKind, REMEMBERED, digest, keys, parts};

/// What to do about a blob whose bytes are lost, once its record says so.
pub(super) const PUSH: &str = "it is marked as lost, so that nobody is told that it is there; push it again";

/// The record of a blob whose bytes are lost: the next push of it brings others.
pub(super) fn lost(blob: &values::Blob) -> bytes::Bytes {
    encode(&values::Blob {
        suspect: true,
        ..blob.clone()
    })
}

impl Checker<'_> {
    pub(super) async fn blob(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some(digest) = digest(&key[keys::BLOB.len()..]) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let blob = match decode::<values::Blob>(key, entry) {
            Ok(blob) => blob,
            Err(told) => {
                self.wanted.add(&digest);
                return Ok(vec![
                    told.advise("push the blob again once this record is deleted"),
                ]);
            }
        };
        let mut told = Vec::new();
        if blob.location != Location::Inline {
            let doomed = keys::doomed(&blob.location);
            let look = self.bytes(&doomed).await?;
            if !matches!(look, Look::Absent) {
                let message = format!("blob {digest} is at {}, which is to be unlinked", blob.location);
                let proof = as_seen(of(key, entry), &doomed, &look);
                told.push(
                    Suspicion::new(FindingKind::DoomedButNamed, &doomed, message, proof)
                        .repair("it is not unlinked", |txn| txn.delete(&doomed)),
                );
            }
        }
        let doomed = told.len();
        if !blob.suspect {
            told.extend(self.length(key, entry, &digest, &blob).await?);
        }
        if blob.suspect || told.len() > doomed {
            // They may lie whole where nothing names them.
            self.wanted.add(&digest);
        }
        if blob.suspect && !self.options.deep {
            let message = format!("blob {digest} is marked as having lost its bytes, and cannot be pulled");
            told.push(
                Suspicion::new(FindingKind::Suspect, key, message, of(key, entry))
                    .advise("push it again, or let --deep --repair see whether its bytes are whole"),
            );
        }
        Ok(told)
    }

    /// What is wrong with the length of a blob's bytes.
    async fn length(
        &mut self,
        key: &str,
        entry: &Entry,
        digest: &Digest,
        blob: &values::Blob,
    ) -> Result<Option<Suspicion>> {
        let mut proof = of(key, entry);
        let length = if blob.location == Location::Inline {
            let inline = keys::inline(digest);
            let look = self.bytes(&inline).await?;
            proof = as_seen(proof, &inline, &look);
            match look {
                Look::Found(bytes, _) => Ok(Some(bytes.len() as u64)),
                _ => Ok(None),
            }
        } else {
            self.blobs.size(&blob.location).await
        };
        let at = format!("blob {digest} at {}", blob.location);
        let suspect = |kind, what: String| Suspicion::new(kind, key, format!("{at}: {what}"), proof);
        let told = match length {
            Ok(Some(length)) if length == blob.size => return Ok(None),
            Ok(Some(length)) => {
                let what = format!("there are {length} bytes, and its record says {}", blob.size);
                let suspicion = suspect(FindingKind::BytesWrongSize, what);
                // Read only if that decides something: they may be many.
                let right = values::Blob {
                    size: length,
                    ..blob.clone()
                };
                let found = match self.options.repair || self.options.deep {
                    true => Some(self.hash_again(digest, &right).await?),
                    false => None,
                };
                match found {
                    Some(Hashed::Digest(actual)) if actual == *digest => suspicion.repair(
                        "its record says how many bytes it has, which are those of its digest",
                        |txn| txn.put(key, encode(&right)),
                    ),
                    Some(Hashed::Digest(_) | Hashed::Missing) => suspicion
                        .repair(PUSH, |txn| txn.put(key, lost(blob)))
                        .loses(digest),
                    // Bytes that cannot be read may be right.
                    Some(Hashed::Unreadable(why)) => suspicion.advise(format!(
                        "they cannot be read ({why}): see to the disk; if it does not come back, push the blob again"
                    )),
                    None => {
                        let does =
                            format!("if they are those of its digest, its record is put right; else {PUSH}");
                        suspicion
                            .repair(does, |txn| txn.put(key, lost(blob)))
                            .loses(digest)
                    }
                }
            }
            Ok(None) | Err(StoreError::Missing(_)) => {
                suspect(FindingKind::BytesMissing, "its bytes are missing".to_owned())
                    .repair(PUSH, |txn| txn.put(key, lost(blob)))
                    .loses(digest)
            }
            Err(why) => {
                let why =
                    std::error::Error::source(&why).map_or_else(|| why.to_string(), ToString::to_string);
                suspect(
                    FindingKind::BytesUnreadable,
                    format!("its bytes cannot be read: {why}"),
                )
                .advise("see to the disk; if it does not come back, push the blob again")
            }
        };
        if self.unread.len() < REMEMBERED {
            self.unread.insert(*digest);
        }
        Ok(Some(told))
    }

    /// Bytes inside the records: they are of a blob that says so, or bring its record back.
    pub(super) async fn inline(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some(digest) = parts(key).and_then(|[name]| digest(name)) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let of_blob = keys::blob(&digest);
        let look = self.look::<values::Blob>(&of_blob).await?;
        let proof = as_seen(of(key, entry), &of_blob, &look);
        let is_whole = Digest::of(digest.algorithm(), &entry.value) == digest;
        let suspect = |message| Suspicion::new(FindingKind::InlineSurplus, key, message, proof);
        Ok(match look {
            Look::Damaged | Look::Illegible(_) => Vec::new(),
            Look::Found(blob, _) if blob.location == Location::Inline => Vec::new(),
            Look::Absent if is_whole => {
                let size = entry.value.len() as u64;
                let message = format!("the records hold the bytes of blob {digest}, which has no record");
                let now = self.records.clock().await?;
                let records = self.records;
                let blob = values::Blob {
                    v: V1,
                    size,
                    location: Location::Inline,
                    state: BlobState::Live,
                    suspect: false,
                };
                vec![suspect(message).repair("the blob has its record again", |txn| {
                    records.add_pending(txn.put(of_blob, encode(&blob)), &digest, now)
                })]
            }
            Look::Found(blob, _) if blob.suspect && is_whole => {
                let message = format!(
                    "the records hold the bytes of blob {digest}, whose record says that they are lost"
                );
                vec![suspect(message).advise("push the blob again")]
            }
            Look::Found(..) | Look::Absent => {
                let message = format!("the records hold bytes of blob {digest}, which are not kept there");
                vec![suspect(message).repair("they are gone", |txn| txn.delete(key))]
            }
        })
    }
}
