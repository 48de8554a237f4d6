//! Locations: that each is named once, and that nothing lies where nobody looks.

use std::collections::HashSet;

use registry_core::store::{Location, StoreError};
use registry_core::{Digest, Error, Result};

use super::super::values;
use super::walk::Walk;
use super::{Checker, FindingKind, keys};

const PAGE: usize = 500;
/// Locations listed at once.
const FILES: usize = 10_000;

/// A set of texts, of which it holds about a million at a time: what must be compared as a whole is gone through as
/// often as it takes, each pass covering a part of it.
pub(super) struct Portion {
    pass: u128,
    passes: u128,
    /// The first half of each text's SHA-256.
    held: HashSet<u128>,
}

/// How many texts a set holds, about.
const HELD: u64 = 1 << 20;

impl Portion {
    /// The sets that cover `count` texts between them.
    pub(super) fn passes(count: u64) -> impl Iterator<Item = Portion> {
        let passes = u128::from(count / HELD + 1);
        (0..passes).map(move |pass| Portion {
            pass,
            passes,
            held: HashSet::new(),
        })
    }

    fn fingerprint(text: &str) -> u128 {
        let hash = Digest::sha256(text.as_bytes());
        hash.hash()[..16]
            .iter()
            .fold(0, |all, byte| all << 8 | u128::from(*byte))
    }

    /// Whether this pass is about the text.
    pub(super) fn covers(&self, text: &str) -> bool {
        Self::fingerprint(text) % self.passes == self.pass
    }

    /// Adds a text, if the pass is about it. Whether it is in the set for the first time, or does not belong there.
    pub(super) fn insert(&mut self, text: &str) -> bool {
        !self.covers(text) || self.held.insert(Self::fingerprint(text))
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        self.held.contains(&Self::fingerprint(text))
    }
}

impl Checker<'_> {
    pub(super) async fn locations(&mut self) -> Result<()> {
        let mut walk = Walk::through(keys::DOOMED, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some(doomed) = self.decode::<values::Doomed>(&key, &entry) else {
                continue;
            };
            if keys::doomed(&doomed.location) != key {
                let message = format!("record {key} is about {}", doomed.location);
                self.found(FindingKind::DamagedRecord, &key, message);
            }
        }
        let mut named = 0;
        for table in [keys::BLOB, keys::UPLOAD] {
            let mut walk = Walk::again(table, PAGE);
            while self.next(&mut walk).await?.is_some() {
                named += 1;
            }
        }
        for (pass, mut locations) in Portion::passes(named).enumerate() {
            self.named(&mut locations).await?;
            self.files(&locations, pass == 0).await?;
        }
        Ok(())
    }

    /// Puts every location that a blob or claim names into the set.
    async fn named(&mut self, locations: &mut Portion) -> Result<()> {
        let mut walk = Walk::again(keys::BLOB, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Ok(blob) = values::decode::<values::Blob>(&key, &entry) else {
                continue;
            };
            if blob.location != Location::Inline && !locations.insert(&blob.location.to_string()) {
                let name = &key[keys::BLOB.len()..];
                let message = format!("blob {name} is at {}, where another blob is too", blob.location);
                self.found(FindingKind::LocationShared, &key, message);
            }
        }
        let mut walk = Walk::again(keys::UPLOAD, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Ok(upload) = values::decode::<values::Upload>(&key, &entry) else {
                continue;
            };
            if !locations.insert(&upload.location.to_string()) {
                let name = &key[keys::UPLOAD.len()..];
                let message = format!(
                    "upload {name} writes to {}, which is a blob's or another upload's",
                    upload.location
                );
                self.found(FindingKind::LocationShared, &key, message);
            }
        }
        Ok(())
    }

    /// Looks for locations at which something lies that nothing names.
    async fn files(&mut self, named: &Portion, first: bool) -> Result<()> {
        let unlistable = |why: StoreError| Error::internal(why);
        let mut after = None;
        loop {
            let page = self.blobs.list(after.as_ref(), FILES).await.map_err(unlistable)?;
            for location in &page {
                self.report.files += u64::from(first);
                let text = location.to_string();
                let is_named = !named.covers(&text) || named.contains(&text);
                if !is_named && !self.is_there(&keys::doomed(location)).await? {
                    let message = format!("nothing names {location}, so its room is never given back");
                    self.found(FindingKind::OrphanFile, &text, message);
                }
            }
            self.progress();
            match page.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
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
            for set in covering {
                assert!(set.insert(text) && !set.insert(text) && set.contains(text));
            }
        }
        assert!(sets.iter().all(|set| !set.held.is_empty()), "no pass is idle");
    }
}
