//! Blobs whose bytes are nowhere that is known, and whose bytes a file has that nothing names.

use std::collections::BTreeSet;

use registry_core::store::{BlobState, Location, Txn};
use registry_core::{Digest, Result};

use super::super::values::{self, MARK, V1, encode};
use super::look::Look;
use super::suspicion::{Outcome, Suspicion, as_seen};
use super::{Checker, FindingKind, REMEMBERED, Repair, keys};

/// Blobs whose bytes are lost, a bounded number.
pub(super) struct Wanted {
    blobs: BTreeSet<Digest>,
    most: usize,
    forgotten: u64,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            blobs: BTreeSet::new(),
            most: REMEMBERED,
            forgotten: 0,
        }
    }
}

impl Wanted {
    /// Remembers a blob whose bytes may still lie somewhere.
    pub(super) fn add(&mut self, blob: &Digest) {
        if self.blobs.len() < self.most {
            self.blobs.insert(*blob);
        } else if !self.blobs.contains(blob) {
            self.forgotten += 1;
        }
    }

    /// Its bytes are where they should be.
    pub(super) fn remove(&mut self, blob: &Digest) {
        self.blobs.remove(blob);
    }

    /// How often a blob was not remembered for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn contains(&self, blob: &Digest) -> bool {
        self.blobs.contains(blob)
    }

    /// One for each algorithm under which there are any.
    pub(super) fn one_of_each(&self) -> Vec<Digest> {
        let mut tried = BTreeSet::new();
        let news = self.blobs.iter().filter(|blob| tried.insert(blob.algorithm()));
        news.copied().collect()
    }
}

/// Whose bytes lie where nothing points.
pub(super) enum Whose {
    /// A blob's that has lost its own; with what its record is.
    Lost(Digest, Look<values::Blob>),
    /// Nobody's who misses them.
    Nobodys,
    /// They cannot be read, which says nothing about whose they are.
    Unreadable(String),
}

impl Checker<'_> {
    /// Whose bytes a location has; `likes` are [one of each](Wanted::one_of_each).
    pub(super) async fn whose(&self, likes: &[Digest], location: &Location, size: u64) -> Result<Whose> {
        for like in likes {
            let actual = match self.digest_at(location, size, like).await {
                Ok(actual) => actual,
                Err(why) => return Ok(Whose::Unreadable(why)),
            };
            if !self.wanted.contains(&actual) {
                continue;
            }
            let look = self.look::<values::Blob>(&keys::blob(&actual)).await?;
            match &look {
                // It has come by others meanwhile.
                Look::Found(blob, _) if !blob.suspect && self.options.repair => {}
                _ => return Ok(Whose::Lost(actual, look)),
            }
        }
        Ok(Whose::Nobodys)
    }

    /// A file that nothing names has the bytes of a blob that lost its own: it gets them back.
    pub(super) async fn recover(
        &mut self,
        (text, location, size): (&str, Location, u64),
        (lost, look): (Digest, Look<values::Blob>),
        proof: Txn,
    ) -> Result<()> {
        let key = keys::blob(&lost);
        let (what, blob) = match &look {
            Look::Found(found, _) => (
                "which has lost its own",
                values::Blob {
                    size,
                    location,
                    suspect: false,
                    ..found.clone()
                },
            ),
            _ => (
                "whose record is lost",
                values::Blob {
                    v: V1,
                    size,
                    location,
                    state: BlobState::Live,
                    suspect: false,
                },
            ),
        };
        let message = format!("nothing names {text}, which has the bytes of blob {lost}, {what}");
        let proof = as_seen(proof, &key, &look);
        let suspicion = Suspicion::new(FindingKind::OrphanFile, text, message, proof);
        let now = self.records.clock().await?;
        let suspicion = match look {
            // What was wrong of them inside the records is no use to anybody.
            Look::Found(..) => suspicion.repair("the blob has its bytes again", |txn| {
                txn.put(&key, encode(&blob)).delete(keys::inline(&lost))
            }),
            _ => suspicion.repair("the blob has its record again", |txn| {
                txn.put(&key, encode(&blob)).put(keys::pending(now, &lost), MARK)
            }),
        };
        if let Outcome::Told(Repair::Done) = self.confirm(&suspicion).await?
            && self.marked.remove(&lost)
        {
            self.report.lost -= 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted_and_what_fits_is_remembered() {
        let mut wanted = Wanted {
            most: 2,
            ..Wanted::default()
        };
        let blobs = [b"a", b"b", b"c"].map(|content| Digest::sha256(content));
        for blob in blobs.iter().chain(&blobs[..2]) {
            wanted.add(blob);
        }
        assert_eq!(blobs.map(|blob| wanted.contains(&blob)), [true, true, false]);
        assert_eq!(wanted.forgotten(), 1);
        wanted.remove(&blobs[0]);
        wanted.add(&blobs[2]);
        assert!(wanted.contains(&blobs[2]));
        assert_eq!(wanted.one_of_each().len(), 1);
    }
}
