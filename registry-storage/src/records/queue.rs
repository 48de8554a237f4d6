//! What waits for the collector, in the order in which it is due.

use registry_core::store::{Backlog, Doomed, Pending, Reclaim, Stamp};
use registry_core::{Result, Timestamp};

use super::values::decode;
use super::{Records, keys, values};

/// Entries read at once where the first one that is not due ends the list: what is read behind it is read for nothing,
/// and most of what is queued is not due.
const AHEAD: usize = 100;

/// Doomed locations read at once where they are only counted.
const PAGE: usize = 1000;

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

    /// Doomed locations from the first one behind `after`, those that may be unlinked by `until` or all.
    pub(super) async fn doomed_until(
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

    /// How many locations are doomed, and how many of them may be unlinked now. They are listed by name and not by time, so all of them
    /// are looked at unless there are as many as are counted.
    async fn count_doomed(&self, now: Timestamp) -> Result<(u64, u64)> {
        let most = Backlog::MOST as u64;
        let (mut all, mut due, mut after) = (0, 0, None);
        while due < most {
            let page = self.doomed_until(after.as_ref(), PAGE, None).await?;
            all += page.len() as u64;
            due += page.iter().filter(|doomed| doomed.not_before <= now).count() as u64;
            if page.len() < PAGE {
                break;
            }
            after = page.last().cloned();
        }
        Ok((all.min(most), due.min(most)))
    }

    /// How many records are under a prefix, whatever they say.
    async fn count(&self, prefix: &str) -> Result<u64> {
        let past = self.look_past(prefix, None, Backlog::MOST).await?;
        Ok((past.entries.len() + past.damaged.len()) as u64)
    }

    pub(super) async fn look_at_backlog(&self) -> Result<Backlog> {
        let now = self.clock().await?;
        let (doomed, unlinkable) = self.count_doomed(now).await?;
        let purged = self.timed(keys::PURGE, None, Backlog::MOST, Some(now), |at, _, _| Some(at));
        Ok(Backlog {
            now,
            due: self.pending(None, Backlog::MOST, Some(now)).await?.len() as u64,
            next: self.pending(None, 1, None).await?.pop().map(|entry| entry.due),
            doomed,
            unlinkable,
            expired: self.expired_uploads(None, Backlog::MOST).await?.len() as u64,
            trash: purged.await?.len() as u64,
            deleted: self.count(keys::DROPPED).await?
                + self.count(keys::PIECE).await?
                + self.count(keys::TRIM).await?,
        })
    }
}
