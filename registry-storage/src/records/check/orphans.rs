//! Files that nothing names, and what becomes of them.
//!
//! Such a file is doomed, as if whoever let go of it had done so: the collector unlinks it after the hold. That is no guess as
//! long as all of this holds. It is in none of the records that there are, which were all seen and understood. Nobody can
//! come to name it: who names a location claims it first, under a new name. It is not of a blob whose bytes are lost, as its
//! hash says. And it is older than any write may take, so that nobody is at it whose claim was lost. Else it is told and left.

use std::collections::BTreeMap;

use registry_core::store::{Location, StoreError, Txn};
use registry_core::{Digest, Error, Result, UploadId};

use super::super::values;
use super::locations::Portion;
use super::suspicion::Suspicion;
use super::walk::Walk;
use super::wanted::Whose;
use super::{Checker, FindingKind, REMEMBERED, keys};

const PAGE: usize = 500;
/// Locations listed at once. A directory is read anew for each page that begins in it.
const FILES: usize = 50_000;

impl Checker<'_> {
    /// Locations at which something lies that nothing names.
    pub(super) async fn orphans(&mut self) -> Result<()> {
        let unlistable = |why: StoreError| Error::internal(why);
        let named = self.count_namers().await?;
        for (pass, mut locations) in Portion::passes(named).enumerate() {
            self.namers(|text, _| locations.insert(text)).await?;
            locations.sort();
            // All that are found are looked for among the records at once: those are not in the order of locations.
            let mut unnamed = BTreeMap::new();
            let mut after = None;
            loop {
                let page = self.blobs.list(after.as_ref(), FILES).await.map_err(unlistable)?;
                self.report.files += if pass == 0 { page.len() as u64 } else { 0 };
                for location in &page {
                    let text = location.to_string();
                    let is_named = !locations.covers(&text) || locations.contains(&text);
                    if !is_named && !self.is_there(&keys::doomed(location)).await? {
                        unnamed.insert(text, location.clone());
                    }
                    if unnamed.len() == REMEMBERED {
                        self.unnamed_locations(std::mem::take(&mut unnamed)).await?;
                    }
                }
                self.progress();
                match page.into_iter().next_back() {
                    Some(last) => after = Some(last),
                    None => break,
                }
            }
            self.unnamed_locations(unnamed).await?;
        }
        Ok(())
    }

    /// Of these locations, which were listed before, tells those that nothing names nor ever will.
    ///
    /// A claim is written before the first byte, and is there once. So the claim of what was listed either still is, or has
    /// been consumed, by a transaction that made a record or doomed the location. Claims are gone through first, then the
    /// records, then the doomed are asked, and at last whether there still is something: each step catches what was moved
    /// on by the time of the one before. What is left was let go of by nobody, and nobody can come to name it.
    async fn unnamed_locations(&mut self, mut unnamed: BTreeMap<String, Location>) -> Result<()> {
        if unnamed.is_empty() {
            return Ok(());
        }
        let mut walk = Walk::again(keys::UPLOAD, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            match values::decode::<values::Upload>(&key, &entry) {
                Ok(upload) => drop(unnamed.remove(&upload.location.to_string())),
                Err(_) => self.gaps.unread(&key),
            }
        }
        let mut walk = Walk::again(keys::BLOB, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            match values::decode::<values::Blob>(&key, &entry) {
                Ok(blob) => drop(unnamed.remove(&blob.location.to_string())),
                Err(_) => self.gaps.unread(&key),
            }
        }
        let likes = self.wanted.one_of_each();
        for (text, location) in unnamed {
            if self.is_there(&keys::doomed(&location)).await? {
                continue;
            }
            if let Ok(Some(size)) = self.blobs.size(&location).await {
                self.orphan(&likes, &text, location, size).await?;
            }
        }
        Ok(())
    }

    async fn orphan(&mut self, likes: &[Digest], text: &str, location: Location, size: u64) -> Result<()> {
        let mut proof = Txn::new().absent(keys::doomed(&location));
        // What is received lies where its claim is called after.
        if let Some(Ok(id)) = text.rsplit(['/', ':']).next().map(str::parse::<UploadId>) {
            proof = proof.absent(keys::upload(&id));
        }
        let message = format!("nothing names {text}, so its room is never given back");
        let left = |proof, advice: String| {
            Suspicion::new(FindingKind::OrphanFile, text, message.clone(), proof).advise(advice)
        };
        let suspicion = match self.whose(likes, &location, size).await? {
            Whose::Lost(blob, look) => {
                return self.recover((text, location, size), (blob, look), proof).await;
            }
            Whose::Unreadable(why) => left(
                proof,
                format!(
                    "it may have the bytes of a blob that lost its own, and cannot be read: {why}; see to the disk"
                ),
            ),
            Whose::Nobodys => match self.why_left(&location).await? {
                Some(why) => left(proof, format!("it is left as it is, since {why}")),
                None => {
                    let now = self.records.clock().await?;
                    let (records, hold) = (self.records, self.records.lifetimes.longest_write);
                    Suspicion::new(FindingKind::OrphanFile, text, message, proof).repair(
                        "it is given to the collector, which unlinks it when nobody can be writing it any more",
                        |txn| records.doom(txn, &location, now, hold),
                    )
                }
            },
        };
        self.confirm(&suspicion).await?;
        Ok(())
    }

    /// Why a file must be left that nothing seems to name; nothing if it need not be.
    async fn why_left(&self, location: &Location) -> Result<Option<String>> {
        if let Some((table, _)) = self.gaps.all().into_iter().next() {
            return Ok(Some(format!(
                "not every record could be read ({table}), and one of those may name it"
            )));
        }
        if self.wanted.forgotten() > 0 {
            return Ok(Some(
                "more blobs lost their bytes than can be remembered, and these may be of one of them"
                    .to_owned(),
            ));
        }
        let hold = self.records.lifetimes.longest_write + self.records.slack();
        Ok(match self.blobs.age(location).await {
            Ok(Some(age)) if age > hold => None,
            Ok(Some(_)) => Some("it was written a short while ago; check again later".to_owned()),
            Ok(None) | Err(_) => Some("nobody knows how old it is".to_owned()),
        })
    }
}
