//! What a run would do, without doing it.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use registry_core::store::{Collected, Doomed, Expired, Outlook, Terms, Whose};
use registry_core::{Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Collector, RunOptions, Stop};

/// Most blobs that are remembered so as to count none twice, at eight bytes each.
const REMEMBERED: usize = 1_000_000;

/// Most repositories that are told apart.
const REPOSITORIES: usize = 10_000;

/// Something that a run would do, or leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Planned {
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When this was so, by the records' clock.
    pub now: Timestamp,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// Uploads that would be ended.
    pub uploads: u64,
    /// Locations that would be unlinked.
    pub unlink: Tally,
    /// What would go, by the repositories that last held it. A blob that several held counts with each. Blobs that were condemned
    /// by an earlier run are not in here: whose they were is not recorded.
    pub repositories: BTreeMap<String, Tally>,
    /// Whether some blobs may have been counted twice, or some repositories left out, as there are too many.
    pub rough: bool,
}

impl Collector {
    /// What a run with these options would do now, without writing. Each thing is told as it is found; memory is
    /// bounded, whatever is queued.
    ///
    /// # Errors
    /// Those of the records. What cannot be told about one blob is logged and left out.
    pub async fn plan(
        &self,
        options: &RunOptions,
        stop: &Stop,
        each: &mut (dyn FnMut(Planned) + Send),
    ) -> Result<Plan> {
        let terms = &options.terms;
        let mut plan = Plan {
            now: self.records.time().await?,
            ..Plan::default()
        };
        self.plan_blobs(terms, stop, &mut plan, each).await?;
        self.plan_uploads(stop, &mut plan, each).await?;
        self.plan_unlinks(terms, stop, &mut plan, each).await?;
        Ok(plan)
    }

    async fn plan_blobs(
        &self,
        terms: &Terms,
        stop: &Stop,
        plan: &mut Plan,
        each: &mut (dyn FnMut(Planned) + Send),
    ) -> Result<()> {
        let (hasher, mut seen) = (RandomState::new(), HashSet::new());
        let (batch, mut after) = (self.settings.batch, None);
        loop {
            let entries = self.entries(after.as_ref(), terms).await?;
            for entry in &entries {
                if stop.is_stopped() {
                    return Ok(());
                }
                plan.looked_at += 1;
                if seen.len() == REMEMBERED {
                    seen.clear();
                    plan.rough = true;
                }
                if !seen.insert(hasher.hash_one(entry.digest)) {
                    continue;
                }
                match self.records.foresee(entry, terms).await {
                    Ok(outlook) => {
                        plan.add(&outlook);
                        each(Planned::Blob(Box::new(outlook)));
                    }
                    Err(error) => {
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

    async fn plan_uploads(
        &self,
        stop: &Stop,
        plan: &mut Plan,
        each: &mut (dyn FnMut(Planned) + Send),
    ) -> Result<()> {
        let (batch, mut after) = (self.settings.batch, None::<Expired>);
        loop {
            let expired = self.records.expired_uploads(after.as_ref(), batch).await?;
            for Expired { at, id } in &expired {
                if stop.is_stopped() {
                    return Ok(());
                }
                plan.uploads += 1;
                each(Planned::Upload {
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

    async fn plan_unlinks(
        &self,
        terms: &Terms,
        stop: &Stop,
        plan: &mut Plan,
        each: &mut (dyn FnMut(Planned) + Send),
    ) -> Result<()> {
        let (batch, mut after) = (self.settings.batch, None::<Doomed>);
        loop {
            let doomed = self.doomed(after.as_ref(), terms).await?;
            for entry in &doomed {
                if stop.is_stopped() {
                    return Ok(());
                }
                let size = self.blobs.size(&entry.location).await.ok().flatten();
                plan.unlink.add(size.unwrap_or(0));
                each(Planned::Unlink {
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
        for Whose { id, name } in &outlook.last_held_by {
            let name = name
                .as_ref()
                .map_or_else(|| format!("deleted:{id}"), ToString::to_string);
            if self.repositories.len() == REPOSITORIES && !self.repositories.contains_key(&name) {
                self.rough = true;
                continue;
            }
            self.repositories.entry(name).or_default().add(size);
        }
    }

    /// Whether the run would do anything.
    pub fn any(&self) -> bool {
        self.condemn.count + self.remove.count + self.uploads + self.unlink.count > 0
    }
}
