//! The collector's queue: that every blob that no edge holds is in it, or its room is never given back.

use std::collections::BTreeSet;

use registry_core::store::{BlobState, Entry, Txn};
use registry_core::{Digest, Result};

use super::super::values::{self, MARK};
use super::locations::Portion;
use super::look::{Look, not_a_key};
use super::suspicion::{Outcome, Suspicion};
use super::walk::Walk;
use super::{Checker, FindingKind, digest, keys};

const PAGE: usize = 500;
/// How many blobs are looked for at once when the queue is gone through a second time.
const MISSED: usize = 10_000;
/// Most leases of a blob that are looked at for when the collector will come.
const LEASES: usize = 100;
/// How often a blob is looked at that others write meanwhile.
const LOOKS: usize = 100;

/// An entry of the queue. That it names a blob that is gone is fine: the collector drops it when it is due.
pub(super) fn entry(key: &str, entry: &Entry) -> Vec<Suspicion> {
    match keys::parse_timed(keys::PENDING, key).and_then(|(_, blob)| digest(blob)) {
        Some(_) => Vec::new(),
        None => vec![not_a_key(key, entry).advise("delete it: the collector cannot get past it")],
    }
}

impl Checker<'_> {
    pub(super) async fn unqueued(&mut self) -> Result<()> {
        let mut entries = 0;
        let mut walk = Walk::again(keys::PENDING, PAGE);
        while self.next(&mut walk).await?.is_some() {
            entries += 1;
        }
        for mut queued in Portion::passes(entries) {
            let mut walk = Walk::again(keys::PENDING, PAGE);
            while let Some((key, _)) = self.next(&mut walk).await? {
                if let Some((_, blob)) = keys::parse_timed(keys::PENDING, &key) {
                    queued.insert(blob);
                }
            }
            queued.sort();
            let mut missed = BTreeSet::new();
            let mut walk = Walk::again(keys::BLOB, PAGE);
            while let Some((key, _)) = self.next(&mut walk).await? {
                let name = &key[keys::BLOB.len()..];
                let Some(blob) = digest(name).filter(|_| queued.covers(name) && !queued.contains(name))
                else {
                    continue;
                };
                if !self.has_edges(&blob).await? && !self.any(&self.entries_of(&blob).await?).await? {
                    missed.insert(blob);
                }
                if missed.len() == MISSED {
                    self.missed(std::mem::take(&mut missed)).await?;
                }
            }
            self.missed(missed).await?;
        }
        Ok(())
    }

    async fn has_edges(&self, blob: &Digest) -> Result<bool> {
        Ok(self.any_under(&keys::edges(blob)).await?
            || self.any_under(&keys::deferrals(blob)).await?
            || self.any_under(&keys::trashed_edges(blob)).await?)
    }

    async fn any(&self, keys: &[String]) -> Result<bool> {
        for key in keys {
            if self.is_there(key).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The entries that a blob may have by what is recorded of it: at the end of each lease, when it is to be removed,
    /// and where one is made that somebody makes now.
    async fn entries_of(&self, blob: &Digest) -> Result<Vec<String>> {
        let table = keys::leases(blob);
        let leases = self.records.look_past(&table, None, LEASES).await?;
        let ends = leases
            .entries
            .iter()
            .filter_map(|(key, _)| keys::parse_lease(blob, key));
        let mut entries: Vec<String> = ends.map(|(end, _)| keys::pending(end, blob)).collect();
        entries.dedup();
        if let Look::Found(found, _) = self.look::<values::Blob>(&keys::blob(blob)).await?
            && let BlobState::Condemned { remove_after } = found.state
        {
            entries.push(keys::pending(remove_after, blob));
        }
        let now = self.records.clock().await?;
        entries.push(keys::pending(self.records.bucket(now).1, blob));
        Ok(entries)
    }

    /// Looks for blobs in the queue a second time: entries are moved while it is gone through.
    async fn missed(&mut self, mut missed: BTreeSet<Digest>) -> Result<()> {
        if missed.is_empty() {
            return Ok(());
        }
        let mut walk = Walk::again(keys::PENDING, PAGE);
        while let Some((key, _)) = self.next(&mut walk).await? {
            if let Some((_, blob)) =
                keys::parse_timed(keys::PENDING, &key).and_then(|(at, blob)| Some((at, digest(blob)?)))
            {
                missed.remove(&blob);
            }
        }
        for blob in missed {
            self.leaked(&blob).await?;
        }
        Ok(())
    }

    async fn leaked(&mut self, blob: &Digest) -> Result<()> {
        let key = keys::blob(blob);
        for _ in 0..LOOKS {
            let look = self.bytes(&key).await?;
            let Look::Found(_, stamp) = look else {
                return Ok(());
            };
            let entries = self.entries_of(blob).await?;
            if self.has_edges(blob).await? || self.any(&entries).await? {
                return Ok(());
            }
            let mut proof = Txn::new()
                .at(&key, stamp)
                .nothing_under(keys::edges(blob))
                .nothing_under(keys::deferrals(blob))
                .nothing_under(keys::trashed_edges(blob));
            for entry in entries {
                proof = proof.absent(entry);
            }
            let message = format!("nothing needs blob {blob}, and the collector does not know of it");
            let now = self.records.clock().await?;
            let suspicion = Suspicion::new(FindingKind::Unqueued, &key, message, proof)
                .repair("the collector looks at it", |txn| {
                    txn.put(keys::pending(now, blob), MARK)
                });
            if let Outcome::Told(_) = self.confirm(&suspicion).await? {
                return Ok(());
            }
        }
        self.report.unsettled += 1;
        Ok(())
    }
}
