//! What waits for the collector, in the order in which it is due.

use std::sync::atomic::Ordering;

use registry_core::store::{Backlog, Doomed, Entry, Pending, Reclaim, Stamp, Txn};
use registry_core::{Result, Timestamp};

use super::values::{MARK, decode};
use super::{Attempt, Records, is_of_one_record, keys, values};

/// Entries read at once where the first one that is not due ends the list: what is read behind it is read for nothing,
/// and most of what is queued is not due.
const AHEAD: usize = 100;

/// Doomed locations that are looked at together.
const PAGE: usize = 1000;

/// What a record of a doomed location says; what cannot be read is told and left out.
fn doomed(key: &str, entry: &Entry) -> Option<Doomed> {
    match decode::<values::Doomed>(key, entry) {
        Ok(value) => Some(Doomed {
            location: value.location,
            not_before: value.not_before,
            stamp: entry.stamp,
        }),
        Err(error) => {
            tracing::error!(%error, "a doomed location is stepped over");
            None
        }
    }
}

impl Records {
    /// What lies under a table of times, in order: the time, the rest of the key, and the write. What is no such record
    /// is told and stepped over.
    pub(super) async fn timed<T>(
        &self,
        table: &str,
        mut after: Option<String>,
        limit: usize,
        until: Option<Timestamp>,
        read: impl Fn(Timestamp, &str, Stamp) -> Option<T>,
    ) -> Result<Vec<T>> {
        let at_once = until.map_or(limit, |_| limit.min(AHEAD));
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.scan_past(table, after.as_deref(), at_once).await?;
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

    pub(super) async fn pending(
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

    /// Doomed locations, whether they may be unlinked or not, in the order of their names.
    pub(super) async fn every_doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>> {
        let mut after = after.map(|doomed| keys::doomed(&doomed.location));
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.scan_past(keys::DOOMED, after.as_deref(), limit).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page.iter().filter_map(|(key, entry)| doomed(key, entry)));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Doomed locations that may be unlinked now, in the order of their times.
    pub(super) async fn unlinkable(
        &self,
        after: Option<&Doomed>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Doomed>> {
        self.order_doomed().await?;
        let mut after = after.map(|doomed| keys::unlink(doomed.not_before, &doomed.location));
        let mut found = Vec::new();
        while found.len() < limit {
            let wanted = limit - found.len();
            let queued = |at, location: &str, stamp| Some((at, location.to_owned(), stamp));
            let due = self
                .timed(keys::UNLINK, after.clone(), wanted, Some(now), queued)
                .await?;
            for (at, location, stamp) in &due {
                let queued = format!("{}{}/{location}", keys::UNLINK, keys::time(*at));
                found.extend(self.still_doomed(&queued, *at, location, *stamp).await?);
                after = Some(queued);
            }
            if due.len() < wanted {
                break;
            }
        }
        Ok(found)
    }

    /// The doomed location that an entry of the queue is of. An entry whose location is not doomed any more, or for another
    /// time, goes: that one has an entry of its own.
    async fn still_doomed(
        &self,
        queued: &str,
        at: Timestamp,
        location: &str,
        stamp: Stamp,
    ) -> Result<Option<Doomed>> {
        let key = format!("{}{location}", keys::DOOMED);
        let entry = match self.entry(&key).await {
            Err(error) if is_of_one_record(&error) => {
                tracing::error!(%error, "a doomed location is stepped over");
                return Ok(None);
            }
            entry => entry?,
        };
        let is_stale = match &entry {
            Some(entry) => match doomed(&key, entry) {
                Some(doomed) if doomed.not_before == at => return Ok(Some(doomed)),
                read => read.is_some(),
            },
            None => true,
        };
        if is_stale {
            self.commit(Txn::new().at(queued, stamp).delete(queued)).await?;
        }
        Ok(None)
    }

    /// What replaces a damaged entry among the doomed in the order of their times: nothing, until the next look.
    pub(super) fn disordered(&self, key: &str) -> Txn {
        self.is_doomed_ordered.store(false, Ordering::Relaxed);
        Txn::new().delete(key)
    }

    /// Puts what is doomed in the order of its times where it is not: what an earlier version doomed, which knew none, and
    /// what is damaged. Once in the life of a process, and after damage.
    async fn order_doomed(&self) -> Result<()> {
        if self.is_doomed_ordered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut after: Option<String> = None;
        loop {
            let page = self.scan_past(keys::DOOMED, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            let mut txn = Txn::new();
            for (key, entry) in &page {
                let Some(doomed) = doomed(key, entry) else {
                    continue;
                };
                let queued = keys::unlink(doomed.not_before, &doomed.location);
                if self.entry(&queued).await?.is_none() {
                    txn = txn.at(key, entry.stamp).put(queued, MARK);
                }
            }
            // If one of them was cleared meanwhile, the others are looked at again.
            if txn.writes.is_empty() || matches!(self.commit(txn).await?, Attempt::Done(_)) {
                after = Some(last.clone());
            }
        }
        self.is_doomed_ordered.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// How many records are under a prefix, whatever they say.
    async fn count(&self, prefix: &str) -> Result<u64> {
        let past = self.look_past(prefix, None, Backlog::MOST).await?;
        Ok((past.entries.len() + past.damaged.len()) as u64)
    }

    pub(super) async fn look_at_backlog(&self) -> Result<Backlog> {
        self.order_doomed().await?;
        let now = self.clock().await?;
        let unlinkable = self.timed(keys::UNLINK, None, Backlog::MOST, Some(now), |at, _, _| Some(at));
        let purged = self.timed(keys::PURGE, None, Backlog::MOST, Some(now), |at, _, _| Some(at));
        Ok(Backlog {
            now,
            due: self.pending(None, Backlog::MOST, Some(now)).await?.len() as u64,
            next: self.pending(None, 1, None).await?.pop().map(|entry| entry.due),
            doomed: self.count(keys::DOOMED).await?,
            unlinkable: unlinkable.await?.len() as u64,
            expired: self.expired_uploads(None, Backlog::MOST).await?.len() as u64,
            trash: purged.await?.len() as u64,
            deleted: self.count(keys::DROPPED).await? + self.count(keys::PIECE).await?,
            marked: self.count(keys::TRIM).await?,
        })
    }
}
