//! Locations: that each is named once, and that none is doomed that is in use.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::store::{Entry, Location, Stamp, Txn};
use registry_core::{Digest, Result, Timestamp, UploadId};

use super::super::values::{self, encode};
use super::look::decode;
use super::suspicion::{Suspicion, of};
use super::walk::Walk;
use super::{Checker, FindingKind, REMEMBERED, digest, keys};

const PAGE: usize = 500;

/// Fingerprints of texts, a bounded number at a time: what must be compared as a whole is gone through as often as it
/// takes, each pass covering a part of it. That two texts have one fingerprint only raises or hides a suspicion.
pub(super) struct Portion {
    pass: u64,
    passes: u64,
    /// The first eighth of each text's SHA-256.
    held: Vec<u64>,
}

/// How many texts one pass is about, roughly: 64 MiB of fingerprints.
const HELD: u64 = 8 << 20;

impl Portion {
    /// The sets that cover `count` texts between them.
    pub(super) fn passes(count: u64) -> impl Iterator<Item = Portion> {
        let passes = count / HELD + 1;
        (0..passes).map(move |pass| Portion {
            pass,
            passes,
            held: Vec::with_capacity((count / passes + count / passes / 64) as usize),
        })
    }

    fn fingerprint(text: &str) -> u64 {
        let hash = Digest::sha256(text.as_bytes());
        hash.hash()[..8]
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte))
    }

    /// Whether this pass is about the text.
    pub(super) fn covers(&self, text: &str) -> bool {
        self.passes == 1 || Self::fingerprint(text) % self.passes == self.pass
    }

    /// Adds a text, if the pass is about it.
    pub(super) fn insert(&mut self, text: &str) {
        let fingerprint = Self::fingerprint(text);
        if fingerprint % self.passes == self.pass {
            self.held.push(fingerprint);
        }
    }

    /// Puts what was added in order, to be looked at; gives the fingerprints that came more than once.
    pub(super) fn sort(&mut self) -> BTreeSet<u64> {
        self.held.sort_unstable();
        let pairs = self.held.windows(2).filter(|pair| pair[0] == pair[1]);
        pairs.map(|pair| pair[0]).take(REMEMBERED).collect()
    }

    /// Whether the text was added, once they are in order.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.held.binary_search(&Self::fingerprint(text)).is_ok()
    }
}

/// Who names a location.
pub(super) struct Namer {
    key: String,
    stamp: Stamp,
    by: By,
}

enum By {
    Blob(Digest, values::Blob),
    Upload(UploadId, Timestamp),
}

impl Checker<'_> {
    pub(super) async fn doomed(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let again = self.records.mended_doomed(key).await?;
        let rewrite = |told: Suspicion| match again {
            Some(again) => told.repair(
                "it is about what its key names, for as long as any is held",
                |mut txn| {
                    txn.writes.extend(again.writes);
                    txn
                },
            ),
            None => told.advise("delete it: nothing can lie at such a location"),
        };
        let doomed = match decode::<values::Doomed>(key, entry) {
            Ok(doomed) => doomed,
            Err(told) => return Ok(vec![rewrite(told)]),
        };
        if keys::doomed(&doomed.location) != key {
            let message = format!("record {key} is about {}", doomed.location);
            let told = Suspicion::new(FindingKind::DamagedRecord, key, message, of(key, entry));
            return Ok(vec![rewrite(told)]);
        }
        let overdue = self.options.overdue.map(|after| doomed.not_before + after);
        let now = self.records.clock().await?;
        Ok(match overdue.filter(|overdue| now >= *overdue) {
            None => Vec::new(),
            Some(overdue) => {
                let location = &doomed.location;
                let message = format!("{location} was to be unlinked from {} on", doomed.not_before);
                let proof = of(key, entry).not_before(overdue);
                vec![
                    Suspicion::new(FindingKind::DoomedOverdue, key, message, proof)
                        .advise("see in the server's log why it cannot be unlinked"),
                ]
            }
        })
    }

    pub(super) async fn count_namers(&mut self) -> Result<u64> {
        let mut named = 0;
        for table in [keys::BLOB, keys::UPLOAD] {
            let mut walk = Walk::again(table, PAGE);
            while self.next(&mut walk).await?.is_some() {
                named += 1;
            }
        }
        Ok(named)
    }

    /// Gives every location that a blob or claim names to `each`.
    pub(super) async fn namers(&mut self, mut each: impl FnMut(&str, Namer) + Send) -> Result<()> {
        let mut walk = Walk::again(keys::BLOB, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let blob = values::decode::<values::Blob>(&key, &entry);
            match (digest(&key[keys::BLOB.len()..]), blob) {
                (Some(_), Ok(blob)) if blob.location == Location::Inline => {}
                (Some(digest), Ok(blob)) => {
                    let (text, stamp) = (blob.location.to_string(), entry.stamp);
                    let by = By::Blob(digest, blob);
                    each(&text, Namer { key, stamp, by });
                }
                _ => self.gaps.unread(&key),
            }
        }
        let mut walk = Walk::again(keys::UPLOAD, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let upload = values::decode::<values::Upload>(&key, &entry);
            match (key[keys::UPLOAD.len()..].parse(), upload) {
                (Ok(id), Ok(upload)) => {
                    let (text, stamp) = (upload.location.to_string(), entry.stamp);
                    let by = By::Upload(id, upload.expires);
                    each(&text, Namer { key, stamp, by });
                }
                _ => self.gaps.unread(&key),
            }
        }
        Ok(())
    }

    /// Locations that are named twice.
    pub(super) async fn shared_locations(&mut self) -> Result<()> {
        let named = self.count_namers().await?;
        for mut locations in Portion::passes(named) {
            self.namers(|text, _| locations.insert(text)).await?;
            let twice = locations.sort();
            if twice.is_empty() {
                continue;
            }
            drop(locations);
            let mut shared: BTreeMap<String, Vec<Namer>> = BTreeMap::new();
            self.namers(|text, namer| {
                if twice.contains(&Portion::fingerprint(text)) {
                    shared.entry(text.to_owned()).or_default().push(namer);
                }
            })
            .await?;
            for (text, namers) in shared {
                self.shared(&text, namers).await?;
            }
        }
        Ok(())
    }

    /// One location: it is the blob's whose bytes lie there.
    async fn shared(&mut self, text: &str, namers: Vec<Namer>) -> Result<()> {
        if namers.len() < 2 {
            return Ok(());
        }
        let mut owner = None;
        for (at, namer) in namers.iter().enumerate() {
            if let By::Blob(digest, blob) = &namer.by
                && let Ok(Some(length)) = self.blobs.size(&blob.location).await
                && self.digest_at(&blob.location, length, digest).await.ok() == Some(*digest)
            {
                owner = Some(at);
            }
        }
        let is_proven = owner.is_some();
        let owner = &namers[owner.unwrap_or(0)];
        for namer in namers.iter().filter(|namer| namer.key != owner.key) {
            let (key, proof) = (
                &namer.key,
                Txn::new().at(&namer.key, namer.stamp).at(&owner.key, owner.stamp),
            );
            let suspect = |message| Suspicion::new(FindingKind::LocationShared, key, message, proof);
            let suspicion = match (&namer.by, &owner.by) {
                (By::Blob(digest, _), By::Blob(other, _)) if !is_proven => {
                    let message = format!("blob {digest} is at {text}, where another blob is too: {other}");
                    suspect(message)
                        .advise("the bytes there are of neither, or cannot be read; push both again")
                }
                (By::Blob(digest, blob), By::Blob(other, _)) => {
                    let message = format!("blob {digest} is at {text}, where another blob is too: {other}");
                    // Should it be pushed again, what it is said to be at now must not be doomed.
                    let placeless = values::Blob {
                        location: Location::Inline,
                        suspect: true,
                        ..blob.clone()
                    };
                    suspect(message)
                        .repair("it is marked as lost, with no place; push it again", |txn| {
                            txn.put(key, encode(&placeless))
                        })
                        .loses(digest)
                }
                (By::Upload(id, expires), By::Blob(..)) => {
                    let message = format!("upload {id} writes to {text}, which is a blob's");
                    suspect(message).repair("the upload is over, and the blob keeps its bytes", |txn| {
                        txn.delete(key).delete(keys::expiry(*expires, id))
                    })
                }
                (By::Upload(id, _), By::Upload(..)) => {
                    let message = format!("upload {id} writes to {text}, which is another upload's too");
                    suspect(message).advise("cancel both and begin again")
                }
                // Blobs come before uploads.
                (By::Blob(..), By::Upload(..)) => continue,
            };
            self.confirm(&suspicion).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passes_cover_every_text_once() {
        let texts: Vec<String> = (0..100).map(|n| format!("file:{n}")).collect();
        let mut sets: Vec<Portion> = Portion::passes(2 * HELD).collect();
        assert_eq!(sets.len(), 3);
        for text in &texts {
            let covering: Vec<_> = sets.iter_mut().filter(|set| set.covers(text)).collect();
            assert_eq!(covering.len(), 1, "{text}");
            sets.iter_mut().for_each(|set| set.insert(text));
        }
        assert!(sets.iter().all(|set| !set.held.is_empty()), "no pass is idle");
        sets[0].insert(&texts[0]);
        let twice: Vec<_> = sets.iter_mut().map(Portion::sort).collect();
        let covered = sets[0].covers(&texts[0]);
        assert_eq!(twice[0].len(), usize::from(covered));
        for text in &texts {
            assert_eq!(sets.iter().filter(|set| set.contains(text)).count(), 1);
        }
    }
}
