//! The collector's steps.

use std::time::Duration;

use async_trait::async_trait;
use registry_core::store::{
    Backlog, Begin, BlobState, Collected, Counts, Doomed, Entry, Expired, Explanation, Lead, Lifetimes,
    Location, Outlook, Pending, Reclaim, Run, RunEnd, Stamp, Step, Terms, Txn,
};
use registry_core::{Digest, Error, Result, Timestamp, UploadId};

use super::past::is_whole;
use super::values::{MARK, decode, encode};
use super::{Attempt, Records, SLACK, attempt, keys, values};

/// Most expired leases removed in one step.
const LEASES: usize = 1000;

/// Most deleted repositories of which one is looked for that can be cleaned up.
const DROPPED: usize = 1000;

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

    /// Where whatever a manifest holds a blob by is: nothing of it may be there when the blob is condemned or removed.
    pub(super) fn holding(digest: &Digest) -> [String; 2] {
        [keys::edges(digest), keys::deferrals(digest)]
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
        if let Some((key, entry)) = self.holder(digest).await? {
            return Ok(Verdict::Named { blob, key, entry });
        }
        let over = self.leases_over(terms, now);
        let table = keys::leases(digest);
        if let Some((key, _)) = self
            .scan(&table, Some(&keys::leases_ending(digest, over)), 1)
            .await?
            .pop()
        {
            let (until, repository) = keys::parse_lease(digest, &key)
                .ok_or_else(|| Error::internal(format!("record {key} is no lease")))?;
            let repository = repository.to_owned();
            return Ok(Verdict::Leased {
                blob,
                repository,
                until,
            });
        }
        Ok(match blob.state {
            BlobState::Condemned { remove_after } if now < remove_after && !terms.alone => {
                Verdict::Condemned { blob, remove_after }
            }
            _ => Verdict::Unheld { blob, read },
        })
    }

    /// Removes a batch of leases that are over. Whether any were found.
    async fn remove_leases(&self, digest: &Digest, over: Timestamp, now: Timestamp) -> Result<bool> {
        let mut txn = Txn::new().not_before(now);
        let found = self.scan(&keys::leases(digest), None, LEASES).await?;
        let mut any = false;
        for (key, entry) in found {
            if keys::parse_lease(digest, &key).is_some_and(|(end, _)| end <= over) {
                txn = txn.at(&key, entry.stamp).delete(key);
                any = true;
            }
        }
        if any {
            self.commit(txn).await?;
        }
        Ok(any)
    }

    /// Puts an entry back for when it can be looked at again. One that is not due yet stays as it is.
    async fn requeue(&self, entry: &Pending, at: Timestamp, now: Timestamp) -> Result<Collected> {
        if now < entry.due {
            return Ok(Collected::Waits);
        }
        let txn = self.take(entry).put(keys::pending(at, &entry.digest), MARK);
        self.step(txn, Collected::Requeued).await
    }

    async fn do_collect(&self, entry: &Pending, terms: &Terms) -> Result<Step> {
        let digest = &entry.digest;
        let now = self.clock().await?;
        let mut freed = 0;
        let done = match self.judge(digest, terms, now).await? {
            Verdict::Gone => {
                let txn = self.take(entry).absent(keys::blob(digest));
                self.step(txn, Collected::Dropped).await?
            }
            Verdict::Named { .. } => self.step(self.take(entry), Collected::Dropped).await?,
            Verdict::Leased { until, .. } => self.requeue(entry, until, now).await?,
            // An older entry of the queue does not shorten the second delay.
            Verdict::Condemned { remove_after, .. } => self.requeue(entry, remove_after, now).await?,
            Verdict::Unheld { blob, read } => {
                // "No unexpired lease" is asserted as "no lease", so those that are over go first.
                let over = self.leases_over(terms, now);
                while self.remove_leases(digest, over, now).await? {}
                let nothing_holds_it = Records::holding(digest).into_iter().fold(
                    self.take(entry)
                        .at(keys::blob(digest), read.stamp)
                        .nothing_under(keys::leases(digest)),
                    Txn::nothing_under,
                );
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
        let base = now + SLACK;
        let remove_after = match terms.alone {
            true => now,
            false => base + self.lifetimes.second_delay,
        };
        let condemned = values::Blob {
            state: BlobState::Condemned { remove_after },
            ..blob
        };
        let txn = nothing_holds_it
            .before(base)
            .put(keys::blob(digest), encode(&condemned))
            .put(keys::pending(remove_after, digest), MARK);
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
        let txn = nothing_holds_it
            .not_before(not_before)
            .delete(keys::blob(digest))
            .delete(keys::inline(digest));
        // Whoever could still be reading began before the second delay did.
        let txn = self.doom(txn, &blob.location, now, Duration::ZERO);
        self.step(txn, Collected::Removed).await
    }

    /// What lies under a table of times, in order: the time, the rest of the key, and the write. What is no such record
    /// is told and stepped over.
    async fn timed<T>(
        &self,
        table: &str,
        mut after: Option<String>,
        limit: usize,
        until: Option<Timestamp>,
        read: impl Fn(Timestamp, &str, Stamp) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.scan_past(table, after.as_deref(), limit).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, entry) in &page {
                let parsed = keys::parse_timed(table, key);
                if let (Some((at, _)), Some(until)) = (parsed, until)
                    && at > until
                {
                    found.truncate(limit);
                    return Ok(found);
                }
                match parsed.and_then(|(at, rest)| read(at, rest, entry.stamp)) {
                    Some(value) => found.push(value),
                    None => tracing::error!(key, "a record whose key says nothing is stepped over"),
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn pending(
        &self,
        after: Option<&Pending>,
        limit: usize,
        until: Option<Timestamp>,
    ) -> Result<Vec<Pending>> {
        let after = after.map(|entry| keys::pending(entry.due, &entry.digest));
        self.timed(keys::PENDING, after, limit, until, |due, digest, stamp| {
            let digest = digest.parse().ok()?;
            Some(Pending { due, digest, stamp })
        })
        .await
    }

    /// Doomed locations from the first one behind `after`, those that may be unlinked by `until` or all.
    async fn doomed_until(
        &self,
        after: Option<&Doomed>,
        limit: usize,
        until: Option<Timestamp>,
    ) -> Result<Vec<Doomed>> {
        let mut after = after.map(|doomed| keys::doomed(&doomed.location));
        let mut doomed = Vec::new();
        while doomed.len() < limit {
            let page = self.scan_past(keys::DOOMED, after.as_deref(), limit).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, entry) in &page {
                match decode::<values::Doomed>(key, entry) {
                    Ok(value) if until.is_none_or(|until| value.not_before <= until) => doomed.push(Doomed {
                        location: value.location,
                        not_before: value.not_before,
                        stamp: entry.stamp,
                    }),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "a doomed location is stepped over"),
                }
            }
        }
        doomed.truncate(limit);
        Ok(doomed)
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
                .remove_edges(txn, repository, &digest, (&manifest, entry.stamp), now)
                .await?;
            if let Attempt::Done(txn) = removed {
                self.commit(txn).await?;
            }
        }
        if any {
            return Ok(true);
        }
        for table in ["tag", "tagged", "parent", "referrer", "children", "content"] {
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
        self.do_foresee(entry, terms).await
    }

    async fn explain(&self, digest: &Digest) -> Result<Explanation> {
        self.do_explain(digest).await
    }

    async fn doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>> {
        let now = self.clock().await?;
        self.doomed_until(after, limit, Some(now)).await
    }

    async fn all_doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>> {
        self.doomed_until(after, limit, None).await
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
        let txn = Txn::new()
            .named("abandon")
            .at(&key, entry.stamp)
            .not_before(upload.expires)
            .delete(key)
            .delete(keys::expiry(upload.expires, id));
        let txn = self.doom(txn, &upload.location, now, self.lifetimes.longest_write);
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

    async fn backlog(&self) -> Result<Backlog> {
        let now = self.clock().await?;
        let doomed = self.doomed_until(None, Backlog::MOST, None).await?;
        let dropped = self.look_past(keys::DROPPED, None, Backlog::MOST).await?;
        Ok(Backlog {
            now,
            due: self.pending(None, Backlog::MOST, Some(now)).await?.len() as u64,
            next: self.pending(None, 1, None).await?.pop().map(|entry| entry.due),
            doomed: doomed.len() as u64,
            unlinkable: doomed.iter().filter(|doomed| doomed.not_before <= now).count() as u64,
            expired: self.expired_uploads(None, Backlog::MOST).await?.len() as u64,
            dropped: (dropped.entries.len() + dropped.damaged.len()) as u64,
        })
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
