//! Cleaning up what deleted repositories have left, in pieces.

use registry_core::store::{Entry, Txn};
use registry_core::weakening::{Weakening, lack};
use registry_core::{Context, Digest, Error, Result};

use super::past::is_whole;
use super::pieces::without_entries;
use super::values::{Fate, decode};
use super::{Attempt, Records, keys, values};

/// Most deleted repositories of which one is looked for that can be cleaned up.
const DROPPED: usize = 1000;

impl Records {
    /// Takes one piece out of what a deleted repository has left. Whether there was any.
    async fn sweep_piece(&self, repository: &str, limit: usize) -> Result<bool> {
        let now = self.clock().await?;
        // Manifests first, one transaction each: what they name has to be queued for the collector as they go.
        let manifests = keys::manifests(repository);
        let found = self.scan(&manifests, None, limit).await?;
        let any = !found.is_empty();
        for (key, entry) in found {
            let digest: Digest = key[manifests.len()..].parse().map_err(Error::internal)?;
            let manifest: values::Manifest = decode(&key, &entry)?;
            let txn = Txn::new()
                .named("sweep_repository")
                .at(&key, entry.stamp)
                .delete(key)
                .delete(keys::content(repository, &digest));
            let removed = self
                .remove_edges(
                    txn,
                    repository,
                    &digest,
                    (&manifest, entry.stamp),
                    Fate::Purged,
                    now,
                )
                .await?;
            if let Attempt::Done(mut txn) = removed {
                if lack(Weakening::SweepLeavesNothing) {
                    txn = without_entries(txn);
                }
                self.commit(txn).await?;
            }
        }
        // Then the trash and what is left in pieces, for the same reason.
        if any
            || self.purge_all(&Context::system(), repository, limit).await?
            || self
                .sweep_pieces(&format!("{}{repository}/", keys::PIECE), limit)
                .await?
        {
            return Ok(true);
        }
        if self.sweep_loose(repository, limit).await? {
            return Ok(true);
        }
        for table in [
            "loose", "tag", "tagged", "parent", "referrer", "children", "content", "history", "trim",
        ] {
            let past = self
                .look_past(&format!("{table}/{repository}/"), None, limit)
                .await?;
            // What they said does not matter any more.
            let damaged = past.damaged.into_iter().filter(|key| is_whole(key));
            let found: Vec<String> = past
                .entries
                .into_iter()
                .map(|(key, _)| key)
                .chain(damaged)
                .collect();
            if !found.is_empty() {
                let txn = found
                    .into_iter()
                    .fold(Txn::new().named("sweep_repository"), Txn::delete);
                self.commit(txn).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes what was noted of manifests without a tag, and its entries in the queue. Whether there was any.
    async fn sweep_loose(&self, repository: &str, limit: usize) -> Result<bool> {
        let table = keys::loose_of(repository);
        let found = self.scan_past(&table, None, limit).await?;
        let mut txn = Txn::new().named("sweep_repository");
        for (key, entry) in &found {
            if let (Ok(digest), Ok(loose)) = (key[table.len()..].parse(), decode::<values::Loose>(key, entry))
            {
                txn = txn.delete(keys::loosened(loose.since, repository, &digest));
            }
            txn = txn.delete(key);
        }
        if !found.is_empty() {
            self.commit(txn).await?;
        }
        Ok(!found.is_empty())
    }

    /// Cleans up a piece of a deleted repository, and at the end takes it off the list. A damaged entry of that list
    /// still says which repository it is of, if there is none of this id any more.
    async fn sweep_dropped(&self, key: &str, entry: Option<&Entry>, limit: usize) -> Result<()> {
        let id = &key[keys::DROPPED.len()..];
        let txn = match entry {
            Some(entry) => Txn::new().named("sweep_repository").at(key, entry.stamp),
            None if self.entry(&keys::named(id)).await?.is_some() => {
                return Err(Error::internal(format!(
                    "record {key} is damaged, and there is a repository of this id"
                )));
            }
            None => Txn::new()
                .named("sweep_repository")
                .damaged(key)
                .absent(keys::named(id)),
        };
        if !self.sweep_piece(id, limit).await? {
            self.commit(txn.delete(key)).await?;
        }
        Ok(())
    }

    /// Takes a piece out of the first deleted repository that can be cleaned up. Whether anything is left.
    pub(super) async fn sweep_first(&self, limit: usize) -> Result<bool> {
        let dropped = self.look_past(keys::DROPPED, None, DROPPED).await?;
        let damaged = dropped.damaged.iter().filter(|key| is_whole(key));
        let listed = dropped.entries.iter().map(|(key, entry)| (key, Some(entry)));
        let mut failed = None;
        for (key, entry) in listed.chain(damaged.map(|key| (key, None))) {
            match self.sweep_dropped(key, entry, limit.max(1)).await {
                Ok(()) => {
                    let left = self.look_past(keys::DROPPED, None, 1).await?;
                    let any = !left.entries.is_empty() || left.damaged.iter().any(|key| is_whole(key));
                    return Ok(any || failed.is_some());
                }
                // Neither must one that cannot be cleaned up keep the others from it.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(false), Err)
    }
}
