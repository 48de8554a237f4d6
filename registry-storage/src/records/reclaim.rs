//! The collector's steps.

use async_trait::async_trait;
use registry_core::store::{BlobState, Collected, Doomed, Entry, Location, Pending, Reclaim, Txn};
use registry_core::weakening::{Weakening, keep, lack};
use registry_core::{Context, Digest, Error, Result, Timestamp, UploadId};

use super::past::is_whole;
use super::pieces::without_entries;
use super::values::{Fate, MARK, decode, encode};
use super::{Attempt, Records, SLACK, keys, values};

/// Most expired leases removed in one step.
const LEASES: usize = 1000;

/// Most deleted repositories of which one is looked for that can be cleaned up.
const DROPPED: usize = 1000;

impl Records {
    async fn step(&self, txn: Txn, done: Collected) -> Result<Collected> {
        Ok(match self.commit(txn.named(done.name())).await? {
            Attempt::Done(_) => done,
            Attempt::Again => Collected::Conflict,
        })
    }

    /// The transaction that takes this very entry out of the queue. Whoever queued the blob again since has written
    /// a fresh stamp, and is not overheard.
    fn take(&self, entry: &Pending) -> Txn {
        let key = keys::pending(entry.due, &entry.digest);
        Txn::new().at(&key, entry.stamp).delete(key)
    }

    /// The same, of an entry that nothing calls for any more.
    fn drop_pending(&self, entry: &Pending) -> Txn {
        match keep(Weakening::PendingDroppedWithoutStamp) {
            true => self.take(entry),
            false => Txn::new().delete(keys::pending(entry.due, &entry.digest)),
        }
    }

    async fn has_edges(&self, digest: &Digest) -> Result<bool> {
        Ok(self.any_under(&keys::edges(digest)).await?
            || self.any_under(&keys::deferrals(digest)).await?
            || (keep(Weakening::TrashDoesNotHold) && self.any_under(&keys::trashed_edges(digest)).await?))
    }

    /// Removes a batch of leases that have expired. Whether any were found.
    async fn remove_expired_leases(&self, digest: &Digest, now: Timestamp) -> Result<bool> {
        let mut txn = Txn::new().not_before(now);
        let found = self.scan(&keys::leases(digest), None, LEASES).await?;
        let mut any = false;
        for (key, entry) in found {
            if keys::parse_lease(digest, &key).is_some_and(|(end, _)| end <= now) {
                txn = txn.at(&key, entry.stamp).delete(key);
                any = true;
            }
        }
        if any {
            self.commit(txn).await?;
        }
        Ok(any)
    }

    /// What may be removed next, given out as if it had been: for a weakening.
    async fn condemned_locations(&self, now: Timestamp) -> Result<Vec<Doomed>> {
        let mut found = Vec::new();
        for (key, entry) in self.scan(keys::BLOB, None, LEASES).await? {
            let blob: values::Blob = decode(&key, &entry)?;
            if let BlobState::Condemned { remove_after } = blob.state
                && remove_after <= now
            {
                found.push(Doomed {
                    location: blob.location,
                    not_before: remove_after,
                    stamp: entry.stamp,
                });
            }
        }
        Ok(found)
    }

    async fn do_collect(&self, entry: &Pending) -> Result<Collected> {
        let digest = &entry.digest;
        let now = self.clock().await?;
        let Some((blob, read)) = self.find_blob(digest).await? else {
            return self
                .step(
                    self.drop_pending(entry).absent(keys::blob(digest)),
                    Collected::Dropped,
                )
                .await;
        };
        let live = blob.state == BlobState::Live;
        let looks_again = live || keep(Weakening::RemoveWithoutRecheck);
        if looks_again && self.has_edges(digest).await? {
            return self.step(self.drop_pending(entry), Collected::Dropped).await;
        }
        let looks_at_leases = looks_again && (!live || keep(Weakening::CondemnIgnoresLeases));
        let unexpired = self
            .scan(&keys::leases(digest), Some(&keys::leases_ending(digest, now)), 1)
            .await?
            .pop();
        if let Some((key, _)) = unexpired.filter(|_| looks_at_leases) {
            let (end, _) = keys::parse_lease(digest, &key)
                .ok_or_else(|| Error::internal(format!("record {key} is no lease")))?;
            return self
                .step(
                    self.take(entry).put(keys::pending(end, digest), MARK),
                    Collected::Requeued,
                )
                .await;
        }
        // "No unexpired lease" is asserted as "no lease", so the expired ones go first.
        while self.remove_expired_leases(digest, now).await? {}

        let mut nothing_holds_it = self.take(entry).at(keys::blob(digest), read.stamp);
        if looks_again {
            nothing_holds_it = nothing_holds_it
                .nothing_under(keys::edges(digest))
                .nothing_under(keys::deferrals(digest));
        }
        if looks_again && keep(Weakening::TrashDoesNotHold) {
            nothing_holds_it = nothing_holds_it.nothing_under(keys::trashed_edges(digest));
        }
        if looks_at_leases {
            nothing_holds_it = nothing_holds_it.nothing_under(keys::leases(digest));
        }
        match blob.state {
            // `condemn`
            BlobState::Live => {
                let base = now + SLACK;
                let remove_after = base + self.lifetimes.second_delay;
                let condemned = values::Blob {
                    state: BlobState::Condemned { remove_after },
                    ..blob
                };
                let mut txn = nothing_holds_it.put(keys::blob(digest), encode(&condemned));
                if keep(Weakening::CondemnTimedByEarlierRead) {
                    txn = txn.before(base);
                }
                if keep(Weakening::CondemnConsumesEntry) {
                    txn = txn.put(keys::pending(remove_after, digest), MARK);
                }
                self.step(txn, Collected::Condemned).await
            }
            // An older entry of the queue does not shorten the second delay.
            BlobState::Condemned { remove_after }
                if now < remove_after && keep(Weakening::SecondDelaySkipped) =>
            {
                self.step(
                    self.take(entry).put(keys::pending(remove_after, digest), MARK),
                    Collected::Requeued,
                )
                .await
            }
            // `remove`
            BlobState::Condemned { remove_after } => {
                let mut txn = nothing_holds_it;
                if keep(Weakening::SecondDelaySkipped) {
                    txn = txn.not_before(remove_after);
                }
                let txn = txn.delete(keys::blob(digest)).delete(keys::inline(digest));
                // Whoever could still be reading began before the second delay did.
                let txn = self.doom(txn, &blob.location, now, std::time::Duration::ZERO);
                self.step(txn, Collected::Removed).await
            }
        }
    }

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
                    Fate::Gone,
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
        for table in [
            "tag", "tagged", "parent", "referrer", "children", "content", "history", "trim",
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
}

#[async_trait]
impl Reclaim for Records {
    async fn due(&self, limit: usize) -> Result<Vec<Pending>> {
        let now = self.clock().await?;
        let mut due = Vec::new();
        for (key, entry) in self.scan_past(keys::PENDING, None, limit).await? {
            let (at, digest) = keys::parse_timed(keys::PENDING, &key)
                .ok_or_else(|| Error::internal(format!("record {key} is no queue entry")))?;
            if at > now {
                break;
            }
            due.push(Pending {
                due: at,
                digest: digest.parse().map_err(Error::internal)?,
                stamp: entry.stamp,
            });
        }
        Ok(due)
    }

    async fn collect(&self, entry: &Pending) -> Result<Collected> {
        self.do_collect(entry).await
    }

    async fn doomed(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Doomed>> {
        let now = self.clock().await?;
        let mut after = after.map(keys::doomed);
        let mut doomed = Vec::new();
        while doomed.len() < limit {
            let page = self.scan_past(keys::DOOMED, after.as_deref(), limit).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, entry) in &page {
                let value: values::Doomed = decode(key, entry)?;
                if value.not_before <= now {
                    doomed.push(Doomed {
                        location: value.location,
                        not_before: value.not_before,
                        stamp: entry.stamp,
                    });
                }
            }
        }
        if lack(Weakening::UnlinkBeforeRemove) {
            doomed.extend(self.condemned_locations(now).await?);
        }
        doomed.truncate(limit);
        Ok(doomed)
    }

    /// Only this very entry is cleared; one that is gone already is fine.
    async fn clear_doomed(&self, doomed: &Doomed) -> Result<()> {
        let key = keys::doomed(&doomed.location);
        self.commit(
            Txn::new()
                .named("clear_doomed")
                .at(&key, doomed.stamp)
                .delete(key),
        )
        .await?;
        Ok(())
    }

    async fn expired_uploads(&self, limit: usize) -> Result<Vec<UploadId>> {
        let now = self.clock().await?;
        let mut expired = Vec::new();
        for (key, _) in self.scan_past(keys::EXPIRY, None, limit).await? {
            let (at, id) = keys::parse_timed(keys::EXPIRY, &key)
                .ok_or_else(|| Error::internal(format!("record {key} is no expiry")))?;
            if at > now {
                break;
            }
            expired.push(id.parse().map_err(Error::internal)?);
        }
        Ok(expired)
    }

    async fn abandon(&self, id: &UploadId) -> Result<bool> {
        let key = keys::upload(id);
        let Some((upload, entry)) = self.get::<values::Upload>(&key).await? else {
            return Ok(false);
        };
        let now = self.clock().await?;
        if now < upload.expires {
            return Ok(false);
        }
        let mut txn = Txn::new().named("abandon").not_before(upload.expires);
        if keep(Weakening::AbandonWithoutStamp) {
            txn = txn.at(&key, entry.stamp);
        }
        txn = txn.delete(key).delete(keys::expiry(upload.expires, id));
        if keep(Weakening::ClaimSweptWithoutDoom) {
            txn = self.doom(txn, &upload.location, now, self.hold_for_writers());
        }
        Ok(matches!(self.commit(txn).await?, Attempt::Done(_)))
    }

    async fn sweep_repositories(&self, limit: usize) -> Result<bool> {
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

    async fn sweep_manifests(&self, limit: usize) -> Result<bool> {
        self.sweep_pieces(keys::PIECE, limit).await
    }

    async fn purge_trash(&self, limit: usize) -> Result<bool> {
        let trims = self.trim_histories(limit).await?;
        Ok(self.purge_due(limit).await? || trims)
    }
}
