//! What the collector would do, and why: the same reads as its steps, and no writes.

use registry_core::store::{
    BlobState, Collected, Entry, Explanation, HeldBy, Holder, Known, LeaseHeld, Location, Outlook, Pending,
    Reclaim, Terms, Whose, Why,
};
use registry_core::{Digest, Result, Timestamp};

use super::reclaim::Verdict;
use super::values::decode;
use super::{Records, keys, values};

/// Most holders, leases and queue entries that are listed.
const LISTED: usize = 100;

/// Most tags that are listed of one manifest.
const TAGS: usize = 10;

/// How much of the queue is read at once.
const PAGE: usize = 1000;

impl Records {
    pub(super) async fn whose(&self, id: &str) -> Result<Whose> {
        let named = self.get::<values::Named>(&keys::named(id)).await?;
        Ok(Whose {
            id: id.to_owned(),
            name: named.map(|(named, _)| named.name),
        })
    }

    /// The manifest that an edge of whatever kind is of. Such a key is `table/digest/repository/…`.
    async fn holder_of(&self, key: &str, entry: &Entry) -> Result<Holder> {
        let mut parts = key.split('/');
        let by = match parts.next() {
            Some("edge") => HeldBy::Edge,
            Some("deferred") => HeldBy::Deferred,
            _ => HeldBy::Trash,
        };
        let repository = parts.nth(1).unwrap_or_default();
        let manifest = decode::<values::Edge>(key, entry)?.manifest;
        let table = keys::tags_at(repository, &manifest);
        let tags = self.scan(&table, None, TAGS).await?;
        Ok(Holder {
            repository: self.whose(repository).await?,
            manifest,
            by,
            tags: tags
                .iter()
                .filter_map(|(key, _)| key[table.len()..].parse().ok())
                .collect(),
        })
    }

    /// Leases on a blob, the first to end first.
    async fn leases_on(&self, digest: &Digest, limit: usize) -> Result<Vec<LeaseHeld>> {
        let mut leases = Vec::new();
        for (key, _) in self.scan(&keys::leases(digest), None, limit).await? {
            if let Some((until, repository)) = keys::parse_lease(digest, &key) {
                let repository = self.whose(repository).await?;
                leases.push(LeaseHeld { repository, until });
            }
        }
        Ok(leases)
    }

    pub(super) async fn do_foresee(&self, entry: &Pending, terms: &Terms) -> Result<Outlook> {
        let digest = &entry.digest;
        let now = self.clock().await?;
        let later = match now < entry.due {
            true => Collected::Waits,
            false => Collected::Requeued,
        };
        let mut last_held_by = Vec::new();
        let (size, step, why) = match self.judge(digest, terms, now).await? {
            Verdict::Gone => (None, Collected::Dropped, Why::Gone),
            Verdict::Named { blob, key, entry } => {
                let holder = self.holder_of(&key, &entry).await?;
                (Some(blob.size), Collected::Dropped, Why::Named(holder))
            }
            Verdict::Leased {
                blob,
                repository,
                until,
            } => {
                let repository = self.whose(&repository).await?;
                (Some(blob.size), later, Why::Leased { repository, until })
            }
            Verdict::Condemned { blob, remove_after } => {
                (Some(blob.size), later, Why::Condemned { remove_after })
            }
            Verdict::Unheld { blob, .. } => {
                let leases = self.leases_on(digest, LISTED).await?;
                last_held_by = leases.into_iter().map(|lease| lease.repository).collect();
                last_held_by.sort();
                last_held_by.dedup();
                let step = match blob.state {
                    BlobState::Live => Collected::Condemned,
                    BlobState::Condemned { .. } => Collected::Removed,
                };
                (Some(blob.size), step, Why::Unheld)
            }
        };
        Ok(Outlook {
            digest: *digest,
            due: entry.due,
            size,
            step,
            why,
            last_held_by,
        })
    }

    async fn holders_of(&self, digest: &Digest, limit: usize) -> Result<Vec<Holder>> {
        let mut holders = Vec::new();
        for table in Records::holding(digest) {
            for (key, entry) in self.scan(&table, None, limit - holders.len()).await? {
                holders.push(self.holder_of(&key, &entry).await?);
            }
            if holders.len() == limit {
                break;
            }
        }
        Ok(holders)
    }

    /// When the queue says that the blob is looked at. The queue is ordered by time, so all of it is read.
    async fn queued_for(&self, digest: &Digest, limit: usize) -> Result<Vec<Timestamp>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.queued(after.as_ref(), PAGE).await?;
            let hits = page.iter().filter(|entry| entry.digest == *digest);
            found.extend(hits.map(|entry| entry.due));
            if page.len() < PAGE || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
            after = page.last().cloned();
        }
    }

    pub(super) async fn do_explain(&self, digest: &Digest) -> Result<Explanation> {
        let now = self.clock().await?;
        let blob = self.find_blob(digest).await?.map(|(blob, _)| blob);
        let mut holders = self.holders_of(digest, LISTED + 1).await?;
        let mut leases = self.leases_on(digest, LISTED + 1).await?;
        let mut queued = self.queued_for(digest, LISTED + 1).await?;
        let more = [holders.len(), leases.len(), queued.len()]
            .iter()
            .any(|n| *n > LISTED);
        let verdict = self.judge(digest, &Terms::default(), now).await?;
        let conclusion = self.conclude(&verdict, &queued, now).await?;
        holders.truncate(LISTED);
        leases.truncate(LISTED);
        queued.truncate(LISTED);
        let known = match blob {
            None => None,
            Some(blob) => Some(Known {
                doomed: self.when_doomed(&blob.location).await?,
                size: blob.size,
                location: blob.location,
                state: blob.state,
                suspect: blob.suspect,
            }),
        };
        Ok(Explanation {
            digest: *digest,
            now,
            blob: known,
            holders,
            leases,
            queued,
            more,
            conclusion,
        })
    }

    async fn when_doomed(&self, location: &Location) -> Result<Option<Timestamp>> {
        let found = self.get::<values::Doomed>(&keys::doomed(location)).await?;
        Ok(found.map(|(doomed, _)| doomed.not_before))
    }

    async fn conclude(&self, verdict: &Verdict, queued: &[Timestamp], now: Timestamp) -> Result<String> {
        let next = match queued.first() {
            None => {
                "the collector has no entry for it, which is for the check of the store to mend".to_owned()
            }
            Some(at) if *at <= now => "the collector looks at it in its next run".to_owned(),
            Some(at) => format!("the collector looks at it at {at}"),
        };
        Ok(match verdict {
            Verdict::Gone => {
                "There is no such blob here: it was never pushed, or it was collected.".to_owned()
            }
            Verdict::Named { key, entry, .. } => {
                format!("It is kept: {}.", self.holder_of(key, entry).await?)
            }
            Verdict::Leased {
                repository, until, ..
            } => {
                let repository = self.whose(repository).await?;
                format!(
                    "No manifest names it. It is kept at least until {until} by a lease in {repository}; {next}."
                )
            }
            Verdict::Condemned { remove_after, .. } => format!(
                "It is condemned, and removed from {remove_after} on unless it is pushed again; {next}."
            ),
            Verdict::Unheld { .. } => format!("Nothing holds it; {next}."),
        })
    }
}
