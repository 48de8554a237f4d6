//! The collector's steps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use registry_core::store::{
    Backlog, Begin, BlobState, Collected, Counts, Doomed, Entry, Expired, Explanation, Lead, Lifetimes,
    Location, Outlook, Pending, Reclaim, Release, Run, RunEnd, Step, Terms, Txn, Untagged,
};
use registry_core::weakening::{Weakening, keep, lack};
use registry_core::{Digest, Error, Result, Timestamp, UploadId};

use super::values::{MARK, encode};
use super::{Attempt, Records, attempt, keys, values};

/// Most leases that are removed in one transaction.
const LEASES: usize = 1000;

/// What the records say of a blob.
pub(super) enum Verdict {
    /// It has no record.
    Gone,
    /// A manifest holds it, as this record says.
    Named {
        blob: values::Blob,
        key: String,
        entry: Entry,
    },
    /// A lease holds it.
    Leased {
        blob: values::Blob,
        repository: String,
        until: Timestamp,
    },
    /// The second delay holds it.
    Condemned {
        blob: values::Blob,
        remove_after: Timestamp,
    },
    /// Nothing does.
    Unheld { blob: values::Blob, read: Entry },
}

/// Whether the step on a blob asks what holds it, and for its leases: before it is condemned and again before it is removed.
fn looks_at(blob: &values::Blob) -> (bool, bool) {
    let live = blob.state == BlobState::Live;
    let looks = live || keep(Weakening::RemoveWithoutRecheck);
    (looks, looks && (!live || keep(Weakening::CondemnIgnoresLeases)))
}

/// Removes these leases, each as it was read.
fn without_leases(txn: Txn, ended: Vec<(String, Entry)>) -> Txn {
    ended
        .into_iter()
        .fold(txn, |txn, (key, entry)| txn.at(&key, entry.stamp).delete(key))
}

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

    /// Where whatever a manifest holds a blob by is: nothing of it may be there when the blob is condemned or removed.
    pub(super) fn holding(digest: &Digest) -> [String; 3] {
        [
            keys::edges(digest),
            keys::deferrals(digest),
            match keep(Weakening::TrashDoesNotHold) {
                true => keys::trashed_edges(digest),
                false => keys::edges(digest),
            },
        ]
    }

    /// A record that says that a manifest holds the blob, if there is one.
    async fn holder(&self, digest: &Digest) -> Result<Option<(String, Entry)>> {
        for table in Records::holding(digest) {
            if let Some(found) = self.scan(&table, None, 1).await?.pop() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Leases that end at this time or before it are over. That is now; or, where an operator gives a shorter grace than
    /// leases were taken with, the end that a lease has whose bucket began that long ago.
    fn leases_over(&self, terms: &Terms, now: Timestamp) -> Timestamp {
        let Lifetimes { grace, bucket, .. } = self.lifetimes;
        terms
            .grace
            .map_or(now, |given| now.max(now + grace + bucket - given))
    }

    /// What the records say of a blob: what holds it, or that nothing does.
    pub(super) async fn judge(&self, digest: &Digest, terms: &Terms, now: Timestamp) -> Result<Verdict> {
        let Some((blob, read)) = self.find_blob(digest).await? else {
            return Ok(Verdict::Gone);
        };
        let (looks, looks_at_leases) = looks_at(&blob);
        if looks && let Some((key, entry)) = self.holder(digest).await? {
            return Ok(Verdict::Named { blob, key, entry });
        }
        // The last lease that is not over. Looks once into each bucket.
        let (table, mut last) = (keys::leases(digest), None);
        let mut after = keys::leases_ending(digest, self.leases_over(terms, now));
        while let Some((key, _)) = self.scan(&table, Some(&after), 1).await?.pop() {
            let (until, repository) = keys::parse_lease(digest, &key)
                .ok_or_else(|| Error::internal(format!("record {key} is no lease")))?;
            last = Some((until, repository.to_owned()));
            after = keys::leases_ending(digest, until);
        }
        if let Some((until, repository)) = last.filter(|_| looks_at_leases) {
            return Ok(Verdict::Leased {
                blob,
                repository,
                until,
            });
        }
        Ok(match blob.state {
            BlobState::Condemned { remove_after }
                if now < remove_after && !terms.alone && keep(Weakening::SecondDelaySkipped) =>
            {
                Verdict::Condemned { blob, remove_after }
            }
            _ => Verdict::Unheld { blob, read },
        })
    }

    /// The first leases that are over, at most one batch of them.
    async fn ended_leases(&self, digest: &Digest, over: Timestamp) -> Result<Vec<(String, Entry)>> {
        let mut leases = self.scan(&keys::leases(digest), None, LEASES).await?;
        let ended = leases
            .partition_point(|(key, _)| keys::parse_lease(digest, key).is_some_and(|(end, _)| end <= over));
        leases.truncate(ended);
        Ok(leases)
    }

    /// Removes all leases that are over, in batches.
    async fn remove_leases(&self, digest: &Digest, over: Timestamp, now: Timestamp) -> Result<()> {
        loop {
            let ended = self.ended_leases(digest, over).await?;
            if ended.is_empty() {
                return Ok(());
            }
            self.commit(without_leases(Txn::new().not_before(now), ended))
                .await?;
        }
    }

    /// Adds to a step the removal of leases that ran out, of a blob that something else holds: nobody counts on one from
    /// its end on, and none is taken for a time that is past. All but the last batch go before.
    async fn without_ended_leases(&self, txn: Txn, digest: &Digest, now: Timestamp) -> Result<Txn> {
        loop {
            let ended = self.ended_leases(digest, now).await?;
            if ended.is_empty() {
                return Ok(txn);
            }
            if ended.len() < LEASES {
                return Ok(without_leases(txn.not_before(now), ended));
            }
            self.commit(without_leases(Txn::new().not_before(now), ended))
                .await?;
        }
    }

    /// What may be removed next, given out as if it had been: for a weakening.
    async fn condemned_locations(&self, now: Timestamp) -> Result<Vec<Doomed>> {
        let mut found = Vec::new();
        for (key, entry) in self.scan(keys::BLOB, None, LEASES).await? {
            let blob: values::Blob = super::values::decode(&key, &entry)?;
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

    /// Puts an entry back for when it can be looked at again. One that is not due yet stays as it is.
    async fn requeue(&self, entry: &Pending, at: Timestamp, now: Timestamp) -> Result<Collected> {
        if now < entry.due {
            return Ok(Collected::Waits);
        }
        // Edges are looked for in one table after the other, and one that moved meanwhile (out of the trash, say) may be
        // seen in none; so that there are none is asserted.
        let txn = Records::holding(&entry.digest)
            .into_iter()
            .fold(self.take(entry), Txn::nothing_under)
            .put(keys::pending(at, &entry.digest), MARK);
        let txn = self.without_ended_leases(txn, &entry.digest, now).await?;
        self.step(txn, Collected::Requeued).await
    }

    async fn do_collect(&self, entry: &Pending, terms: &Terms) -> Result<Step> {
        let digest = &entry.digest;
        let now = self.clock().await?;
        let mut freed = 0;
        let done = match self.judge(digest, terms, now).await? {
            Verdict::Gone => {
                let txn = self.drop_pending(entry).absent(keys::blob(digest));
                self.step(txn, Collected::Dropped).await?
            }
            Verdict::Named { .. } => {
                let txn = self.drop_pending(entry);
                let txn = self.without_ended_leases(txn, digest, now).await?;
                self.step(txn, Collected::Dropped).await?
            }
            Verdict::Leased { until, .. } => self.requeue(entry, until, now).await?,
            // An older entry of the queue does not shorten the second delay.
            Verdict::Condemned { remove_after, .. } => self.requeue(entry, remove_after, now).await?,
            Verdict::Unheld { blob, read } => {
                // "No unexpired lease" is asserted as "no lease", so those that are over go first.
                let over = self.leases_over(terms, now);
                self.remove_leases(digest, over, now).await?;
                let (looks, looks_at_leases) = looks_at(&blob);
                let mut nothing_holds_it = self.take(entry).at(keys::blob(digest), read.stamp);
                if looks {
                    nothing_holds_it = Records::holding(digest)
                        .into_iter()
                        .fold(nothing_holds_it, Txn::nothing_under);
                }
                if looks_at_leases {
                    nothing_holds_it = nothing_holds_it.nothing_under(keys::leases(digest));
                }
                match blob.state {
                    BlobState::Live => self.condemn(nothing_holds_it, digest, blob, terms, now).await?,
                    BlobState::Condemned { remove_after } => {
                        let inline = blob.location == Location::Inline;
                        let size = blob.size;
                        let after = if terms.alone { now } else { remove_after };
                        let done = self.remove(nothing_holds_it, digest, &blob, after, now).await?;
                        if inline && done == Collected::Removed {
                            freed = size;
                        }
                        done
                    }
                }
            }
        };
        Ok(Step { done, freed })
    }

    /// `condemn`.
    async fn condemn(
        &self,
        nothing_holds_it: Txn,
        digest: &Digest,
        blob: values::Blob,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Collected> {
        let base = now + self.slack();
        let remove_after = match terms.alone {
            true => now,
            false => base + self.lifetimes.second_delay,
        };
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

    /// `remove`.
    async fn remove(
        &self,
        nothing_holds_it: Txn,
        digest: &Digest,
        blob: &values::Blob,
        not_before: Timestamp,
        now: Timestamp,
    ) -> Result<Collected> {
        let mut txn = nothing_holds_it;
        if keep(Weakening::SecondDelaySkipped) {
            txn = txn.not_before(not_before);
        }
        let txn = txn.delete(keys::blob(digest)).delete(keys::inline(digest));
        // Whoever could still be reading began before the second delay did.
        let txn = self.doom(txn, &blob.location, now, self.lifetimes.longest_write);
        self.step(txn, Collected::Removed).await
    }
}

#[async_trait]
impl Reclaim for Records {
    fn reading(self: Arc<Self>) -> Arc<dyn Reclaim> {
        Arc::new(self.reader())
    }

    async fn time(&self) -> Result<Timestamp> {
        self.clock().await
    }

    async fn due(&self, after: Option<&Pending>, limit: usize) -> Result<Vec<Pending>> {
        let now = self.clock().await?;
        self.pending(after, limit, Some(now)).await
    }

    async fn queued(&self, after: Option<&Pending>, limit: usize) -> Result<Vec<Pending>> {
        self.pending(after, limit, None).await
    }

    async fn collect_on(&self, entry: &Pending, terms: &Terms) -> Result<Step> {
        self.do_collect(entry, terms).await
    }

    async fn foresee(&self, entry: &Pending, terms: &Terms) -> Result<Outlook> {
        self.reader().do_foresee(entry, terms).await
    }

    async fn explain(&self, digest: &Digest) -> Result<Explanation> {
        self.reader().do_explain(digest).await
    }

    async fn doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>> {
        let now = self.clock().await?;
        let mut doomed = self.unlinkable(after, limit, now).await?;
        if lack(Weakening::UnlinkBeforeRemove) {
            doomed.extend(self.condemned_locations(now).await?);
        }
        Ok(doomed)
    }

    async fn all_doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>> {
        self.every_doomed(after, limit).await
    }

    async fn is_doomed(&self, doomed: &Doomed) -> Result<bool> {
        if lack(Weakening::UnlinkBeforeRemove) {
            return Ok(true);
        }
        let entry = self.entry(&keys::doomed(&doomed.location)).await?;
        Ok(entry.is_some_and(|entry| entry.stamp == doomed.stamp))
    }

    /// Only this very entry is cleared; one that is gone already is fine.
    async fn clear_doomed(&self, doomed: &Doomed) -> Result<()> {
        let key = keys::doomed(&doomed.location);
        self.commit(
            Txn::new()
                .named("clear_doomed")
                .at(&key, doomed.stamp)
                .delete(key)
                .delete(keys::unlink(doomed.not_before, &doomed.location)),
        )
        .await?;
        Ok(())
    }

    async fn expired_uploads(&self, after: Option<&Expired>, limit: usize) -> Result<Vec<Expired>> {
        let now = self.clock().await?;
        let after = after.map(|expired| keys::expiry(expired.at, &expired.id));
        self.timed(keys::EXPIRY, after, limit, Some(now), |at, id, _| {
            let id = id.parse().ok()?;
            Some(Expired { at, id })
        })
        .await
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
        self.sweep_first(limit).await
    }

    async fn sweep_manifests(&self, limit: usize) -> Result<bool> {
        self.sweep_pieces(keys::PIECE, limit).await
    }

    async fn purge_trash(&self, limit: usize) -> Result<bool> {
        let trims = self.trim_histories(limit).await?;
        Ok(self.purge_due(limit).await? || trims)
    }

    async fn follow(&self, limit: usize) -> Result<bool> {
        attempt!(self.try_follow(limit))
    }

    async fn untagged(
        &self,
        until: Timestamp,
        after: Option<&Untagged>,
        limit: usize,
    ) -> Result<Vec<Untagged>> {
        self.loose_until(until, after, limit).await
    }

    async fn is_followed(&self) -> Result<bool> {
        self.has_followed().await
    }

    async fn foresee_untagged(&self, untagged: &Untagged) -> Result<Option<Release>> {
        self.reader().do_foresee_untagged(untagged).await
    }

    async fn foresee_deleted(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Release>, Option<String>)> {
        self.reader().do_foresee_deleted(after, limit).await
    }

    async fn delete_untagged(&self, untagged: &Untagged) -> Result<bool> {
        attempt!(self.try_delete_untagged(untagged))
    }

    async fn backlog(&self) -> Result<Backlog> {
        self.look_at_backlog().await
    }

    async fn lead(&self, node: &str, run: &str, lasting: Duration) -> Result<Option<Lead>> {
        attempt!(self.try_lead(node, run, lasting))
    }

    async fn renew(&self, lead: &Lead, lasting: Duration) -> Result<Option<Lead>> {
        self.do_renew(lead, lasting).await
    }

    async fn resign(&self, lead: &Lead) -> Result<()> {
        self.do_resign(lead).await
    }

    async fn leader(&self) -> Result<Option<Lead>> {
        self.find_leader().await
    }

    async fn begin_run(&self, run: &str, begin: &Begin, keep: usize) -> Result<()> {
        attempt!(self.try_begin_run(run, begin, keep))
    }

    async fn note_run(&self, run: &str, counts: &Counts, end: Option<&RunEnd>) -> Result<()> {
        attempt!(self.try_note_run(run, counts, end))
    }

    async fn runs(&self, limit: usize) -> Result<Vec<Run>> {
        self.latest_runs(limit).await
    }
}
