//! What a run would do, without doing it.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use registry_core::store::{Cause, Collected, Doomed, Expired, Outlook, Release, Terms, Whose};
use registry_core::{Digest, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Collector, RunOptions, Stop};

/// Most blobs that are remembered so as to count none twice, at eight bytes each.
const REMEMBERED: usize = 1_000_000;

/// Most repositories that are told apart.
const REPOSITORIES: usize = 10_000;

/// Deleted manifests that are looked at together; each comes with the blobs that it alone holds.
const RELEASES: usize = 100;

/// Something that a run would do, or leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Planned {
    /// A manifest that it would delete or clean up, or a deleted tag that it would purge, and why.
    Release(Box<Release>),
    /// A blob that is queued: the step that the run would take, and why.
    Blob(Box<Outlook>),
    /// An upload that it would end.
    Upload {
        /// The upload.
        id: String,
        /// When its claim expired.
        expired: Timestamp,
    },
    /// A location that it would unlink.
    Unlink {
        /// Where.
        location: String,
        /// Bytes there; none if the store does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// Since when it may be.
        not_before: Timestamp,
    },
}

/// How many, and how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What a run would do, in sum.
///
/// The bytes of manifests are those of the blobs that nothing else holds. These blobs are not among the condemned ones, though the
/// same run may condemn some: they follow when nothing leases them, and those of an untagged manifest not before it has left the trash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// When this was so, by the records' clock.
    pub now: Timestamp,
    /// Manifests that would be deleted, since they have had no tag for as long as the policy says.
    pub untagged: Tally,
    /// Deleted manifests and tags that can be brought back no longer, and would be purged.
    pub trash: Tally,
    /// Deleted manifests, or pieces of them, that would be cleaned up.
    pub deleted: Tally,
    /// Manifests of deleted repositories that would be cleaned up.
    pub swept: Tally,
    /// Deleted repositories and pieces of deleted manifests that would be cleaned up, as far as is counted.
    pub cleanups: u64,
    /// Entries of the queue that were looked at.
    pub looked_at: u64,
    /// Blobs that would be condemned: they go after the second delay, unless they are pushed again. A run that is alone
    /// removes them as well.
    pub condemn: Tally,
    /// Blobs whose second delay is over: they would be removed, and their bytes given back.
    pub remove: Tally,
    /// Queued blobs that would be kept.
    pub keep: Tally,
    /// When the first of those that are kept for a while is looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// Uploads that would be ended.
    pub uploads: u64,
    /// Locations that would be unlinked.
    pub unlink: Tally,
    /// What would go, by the repositories that hold it or held it last, with what only the manifests hold that go. A blob that several
    /// held counts with each. Blobs that were condemned by an earlier run are not in here: whose they were is not recorded.
    pub repositories: BTreeMap<String, Tally>,
    /// Whether some blobs may have been counted twice, or some repositories left out, as there are too many.
    pub rough: bool,
    /// Whether there may be more untagged manifests: a run first reads on in the feed of events, which tells them.
    pub unfollowed: bool,
    /// Queued blobs of which nothing can be told, as their records are damaged.
    pub untold: u64,
}

/// A plan as it is made.
struct Planning<'a> {
    plan: Plan,
    terms: &'a Terms,
    stop: &'a Stop,
    each: &'a mut (dyn FnMut(Planned) + Send),
    hasher: RandomState,
    seen: HashSet<u64>,
}

impl Planning<'_> {
    /// Whether a blob comes for the first time, as far as is remembered.
    fn is_new(&mut self, digest: &Digest) -> bool {
        if self.seen.len() == REMEMBERED {
            self.seen.clear();
            self.plan.rough = true;
        }
        self.seen.insert(self.hasher.hash_one(digest))
    }

    fn release(&mut self, release: Release) {
        let new = release.blobs.iter().filter(|blob| self.is_new(&blob.digest));
        let sizes: Vec<u64> = new.map(|blob| blob.size).collect();
        let plan = &mut self.plan;
        let tally = match release.cause {
            Cause::Untagged { .. } => &mut plan.untagged,
            Cause::Trash { .. } => &mut plan.trash,
            Cause::Deleted => &mut plan.deleted,
            Cause::Repository => &mut plan.swept,
        };
        tally.add(sizes.iter().sum());
        for size in sizes {
            plan.repository(&release.repository, size);
        }
        (self.each)(Planned::Release(Box::new(release)));
    }
}

impl Collector {
    /// What a run with these options would do now. Writes nothing, and mends nothing that is damaged. Each thing is told as it is found; memory is
    /// bounded, whatever is queued.
    ///
    /// # Errors
    /// Those of the records. What cannot be told about one thing is logged and left out.
    pub async fn plan(
        &self,
        options: &RunOptions,
        stop: &Stop,
        each: &mut (dyn FnMut(Planned) + Send),
    ) -> Result<Plan> {
        let reader = Collector {
            records: Arc::clone(&self.records).reading(),
            ..self.clone()
        };
        let backlog = reader.records.backlog().await?;
        let mut planning = Planning {
            plan: Plan {
                now: backlog.now,
                cleanups: backlog.deleted,
                ..Plan::default()
            },
            terms: &options.terms,
            stop,
            each,
            hasher: RandomState::new(),
            seen: HashSet::new(),
        };
        reader.plan_untagged(&mut planning).await?;
        reader.plan_deleted(&mut planning).await?;
        reader.plan_blobs(&mut planning).await?;
        reader.plan_uploads(&mut planning).await?;
        reader.plan_unlinks(&mut planning).await?;
        Ok(planning.plan)
    }

    async fn plan_untagged(&self, planning: &mut Planning<'_>) -> Result<()> {
        let Some(kept) = self.settings.policy.untagged else {
            return Ok(());
        };
        // A place in the feed that cannot be read is begun anew by a run.
        planning.plan.unfollowed = !self.records.is_followed().await.unwrap_or(false);
        let (batch, mut after) = (self.settings.batch, None);
        loop {
            let until = planning.plan.now - kept;
            let untagged = self.records.untagged(until, after.as_ref(), batch).await?;
            for untagged in &untagged {
                if planning.stop.is_stopped() {
                    return Ok(());
                }
                match self.records.foresee_untagged(untagged).await {
                    Ok(Some(release)) => planning.release(release),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(digest = %untagged.digest, %error, "cannot tell what would become of a manifest");
                    }
                }
            }
            if untagged.len() < batch {
                return Ok(());
            }
            after = untagged.last().cloned();
        }
    }

    async fn plan_deleted(&self, planning: &mut Planning<'_>) -> Result<()> {
        let mut after = None;
        loop {
            if planning.stop.is_stopped() {
                return Ok(());
            }
            let (found, next) = self.records.foresee_deleted(after.as_deref(), RELEASES).await?;
            found.into_iter().for_each(|release| planning.release(release));
            if next.is_none() {
                return Ok(());
            }
            after = next;
        }
    }

    async fn plan_blobs(&self, planning: &mut Planning<'_>) -> Result<()> {
        // A blob that comes twice in the queue counts once, and those that manifests hold are kept by them still.
        planning.seen.clear();
        let (batch, mut after) = (self.settings.batch, None);
        loop {
            let entries = self.entries(after.as_ref(), planning.terms).await?;
            for entry in &entries {
                if planning.stop.is_stopped() {
                    return Ok(());
                }
                planning.plan.looked_at += 1;
                if !planning.is_new(&entry.digest) {
                    continue;
                }
                match self.records.foresee(entry, planning.terms).await {
                    Ok(outlook) => {
                        planning.plan.add(&outlook);
                        (planning.each)(Planned::Blob(Box::new(outlook)));
                    }
                    Err(error) => {
                        planning.plan.untold += 1;
                        tracing::error!(digest = %entry.digest, %error, "cannot tell what would become of a blob");
                    }
                }
            }
            if entries.len() < batch {
                return Ok(());
            }
            after = entries.last().cloned();
        }
    }

    async fn plan_uploads(&self, planning: &mut Planning<'_>) -> Result<()> {
        let (batch, mut after) = (self.settings.batch, None::<Expired>);
        loop {
            let expired = self.records.expired_uploads(after.as_ref(), batch).await?;
            for Expired { at, id } in &expired {
                if planning.stop.is_stopped() {
                    return Ok(());
                }
                planning.plan.uploads += 1;
                (planning.each)(Planned::Upload {
                    id: id.to_string(),
                    expired: *at,
                });
            }
            if expired.len() < batch {
                return Ok(());
            }
            after = expired.last().cloned();
        }
    }

    async fn plan_unlinks(&self, planning: &mut Planning<'_>) -> Result<()> {
        let (batch, mut after) = (self.settings.batch, None::<Doomed>);
        loop {
            let doomed = self.doomed(after.as_ref(), planning.terms).await?;
            for entry in &doomed {
                if planning.stop.is_stopped() {
                    return Ok(());
                }
                let size = self.blobs.size(&entry.location).await.ok().flatten();
                planning.plan.unlink.add(size.unwrap_or(0));
                (planning.each)(Planned::Unlink {
                    location: entry.location.to_string(),
                    size,
                    not_before: entry.not_before,
                });
            }
            if doomed.len() < batch {
                return Ok(());
            }
            after = doomed.last().cloned();
        }
    }
}

impl Plan {
    fn add(&mut self, outlook: &Outlook) {
        let size = outlook.size.unwrap_or(0);
        match outlook.step {
            Collected::Condemned => self.condemn.add(size),
            Collected::Removed => self.remove.add(size),
            Collected::Dropped if outlook.size.is_none() => return,
            Collected::Dropped | Collected::Requeued | Collected::Waits | Collected::Conflict => {
                self.keep.add(size);
                let until = outlook.why.until();
                self.next = self.next.into_iter().chain(until).min();
                return;
            }
        }
        for whose in &outlook.last_held_by {
            self.repository(whose, size);
        }
    }

    /// Counts a blob with the repository that holds it, or held it last.
    fn repository(&mut self, Whose { id, name }: &Whose, size: u64) {
        let name = name
            .as_ref()
            .map_or_else(|| format!("deleted:{id}"), ToString::to_string);
        if self.repositories.len() == REPOSITORIES && !self.repositories.contains_key(&name) {
            self.rough = true;
            return;
        }
        self.repositories.entry(name).or_default().add(size);
    }

    /// Whether the run would do anything.
    pub fn any(&self) -> bool {
        let manifests = self.untagged.count + self.trash.count + self.deleted.count + self.swept.count;
        let blobs = self.condemn.count + self.remove.count + self.unlink.count;
        manifests + self.cleanups + blobs + self.uploads > 0
    }
}
