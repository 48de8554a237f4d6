//! What a pass does, phase by phase: each takes a share of what it has to do and lets the next have its turn, round after
//! round until nothing is left. So a million manifests that are cleaned up keep no upload from ending and no file from
//! being unlinked.

use std::future::Future;

use registry_core::store::{Collected, Doomed, Expired, Pending, Terms, Untagged};
use registry_core::{Error, Result, Timestamp};

use super::Collector;
use super::pass::{Done, Halt, Pass, Phase};

/// How often a step is tried again in one run when others are faster.
const ATTEMPTS: usize = 3;

/// Records that are cleaned up at once of what was deleted; each counts as a step for the pace.
const PIECE: usize = 100;

/// Where the phases are.
#[derive(Default)]
pub(super) struct Places {
    follow: Left,
    trash: Left,
    manifests: Left,
    repositories: Left,
    untagged: Option<Untagged>,
    uploads: Option<Expired>,
    blobs: Option<Pending>,
    doomed: Option<Doomed>,
    /// Pieces that were taken of what was deleted.
    pieces: u64,
    /// What had put blobs into the queue when it was last read from its beginning.
    stirred: u64,
}

/// What is left of something that is taken in pieces.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Left {
    /// It was not looked at.
    #[default]
    Unknown,
    /// Something.
    Some,
    /// Nothing.
    Nothing,
    /// What this run cannot take.
    Failed,
}

impl Pass<'_> {
    /// Round after round until a whole one finds nothing left.
    pub(super) async fn rounds(&mut self) -> Result<(), Halt> {
        let backlog = self.collector.backlog().await?;
        self.expect(&backlog);
        let kept = self.collector.settings.policy.untagged;
        let untagged_until = kept.map(|kept| backlog.now - kept);
        loop {
            let mut more = false;
            for phase in Phase::ALL {
                if phase == Phase::Untagged && untagged_until.is_none() {
                    continue;
                }
                self.enter(phase);
                more |= match phase {
                    Phase::Untagged => self.delete_untagged(untagged_until.unwrap_or_default()).await?,
                    Phase::Sweep => self.sweep().await?,
                    Phase::Uploads => self.abandon().await?,
                    Phase::Blobs => self.collect().await?,
                    // What a run that is alone removes is doomed in no order: it goes at the end.
                    Phase::Unlink => (self.terms.alone && more) || self.unlink().await?,
                };
            }
            if !more {
                break;
            }
        }
        self.collector.backlog().await?;
        Ok(())
    }

    /// Cleans up in pieces what was deleted. What cannot be swept must not keep anything else from being given back.
    async fn sweep(&mut self) -> Result<bool, Halt> {
        let records = &self.collector.records;
        self.places.trash = self
            .pieces(self.places.trash, || records.purge_trash(PIECE))
            .await?;
        self.places.manifests = self
            .pieces(self.places.manifests, || records.sweep_manifests(PIECE))
            .await?;
        self.places.repositories = self
            .pieces(self.places.repositories, || records.sweep_repositories(PIECE))
            .await?;
        let Places {
            trash,
            manifests,
            repositories,
            ..
        } = &self.places;
        Ok([trash, manifests, repositories].contains(&&Left::Some))
    }

    /// Takes a share in pieces, until there is none or one fails. What is left.
    async fn pieces<F>(&mut self, left: Left, mut piece: impl FnMut() -> F) -> Result<Left, Halt>
    where
        F: Future<Output = Result<bool>>,
    {
        if left == Left::Failed {
            return Ok(left);
        }
        for _ in 0..(self.collector.settings.batch / PIECE).max(1) {
            self.go_on().await?;
            match piece().await {
                Ok(true) => {
                    self.places.pieces += 1;
                    self.pacer.charge(PIECE as u32);
                    self.pacer.wait(&*self.collector.runtime).await;
                    self.settle(Ok(Done::Swept));
                }
                Ok(false) => {
                    // The last of them may have been taken just now.
                    self.places.pieces += u64::from(left == Left::Some);
                    return Ok(Left::Nothing);
                }
                Err(why) => {
                    self.settle(Err(why));
                    return Ok(Left::Failed);
                }
            }
        }
        Ok(Left::Some)
    }

    async fn delete_untagged(&mut self, until: Timestamp) -> Result<bool, Halt> {
        let (records, batch) = (&self.collector.records, self.collector.settings.batch);
        // What the feed says last counts, so all of it comes first.
        if self.places.follow != Left::Nothing {
            self.places.follow = self.pieces(self.places.follow, || records.follow(PIECE)).await?;
        }
        match self.places.follow {
            Left::Nothing => {}
            left => return Ok(left == Left::Some),
        }
        let untagged = records
            .untagged(until, self.places.untagged.as_ref(), batch)
            .await?;
        let more = untagged.len() == batch;
        self.places.untagged = untagged.last().cloned().or(self.places.untagged.take());
        self.each(untagged, |untagged| async move {
            Ok(Done::Untagged(records.delete_untagged(&untagged).await?))
        })
        .await?;
        Ok(more)
    }

    async fn abandon(&mut self) -> Result<bool, Halt> {
        let (records, batch) = (&self.collector.records, self.collector.settings.batch);
        let expired = records
            .expired_uploads(self.places.uploads.as_ref(), batch)
            .await?;
        let more = expired.len() == batch;
        self.places.uploads = expired.last().cloned().or(self.places.uploads.take());
        self.each(expired, |expired| async move {
            Ok(Done::Abandoned(records.abandon(&expired.id).await?))
        })
        .await?;
        Ok(more)
    }

    /// How often this run put blobs into the queue, where its list may be past already. What is condemned by a run that is alone
    /// goes by the next look.
    fn stirred(&self) -> u64 {
        let counts = &self.at.counts;
        let condemned = if self.terms.alone { counts.condemned } else { 0 };
        self.places.pieces + counts.untagged + condemned
    }

    async fn collect(&mut self) -> Result<bool, Halt> {
        let (collector, terms) = (self.collector, self.terms);
        if self.places.blobs.is_none() {
            self.places.stirred = self.stirred();
        }
        let entries = collector.entries(self.places.blobs.as_ref(), &terms).await?;
        let more = entries.len() == collector.settings.batch;
        self.places.blobs = entries.last().cloned().or(self.places.blobs.take());
        self.each(entries, |entry| async move {
            let mut attempts = 0;
            loop {
                let step = collector.records.collect_on(&entry, &terms).await?;
                attempts += 1;
                if step.done != Collected::Conflict || attempts == ATTEMPTS {
                    return Ok(Done::Collected(step));
                }
            }
        })
        .await?;
        // What is due is read in the order in which it became due. On other terms all that is queued is read, also what is due
        // after what was queued meanwhile: then it is read again.
        if !more && terms != Terms::default() && self.places.stirred != self.stirred() {
            self.places.blobs = None;
            return Ok(true);
        }
        Ok(more)
    }

    async fn unlink(&mut self) -> Result<bool, Halt> {
        if self.held {
            return Ok(false);
        }
        let collector = self.collector;
        let doomed = collector.doomed(self.places.doomed.as_ref(), &self.terms).await?;
        let more = doomed.len() == collector.settings.batch;
        self.places.doomed = doomed.last().cloned().or(self.places.doomed.take());
        self.each(doomed, |doomed| async move { unlink(collector, &doomed).await })
            .await?;
        if self.held {
            tracing::info!("a backup is being made; what is doomed is unlinked when it has ended");
        }
        Ok(more && !self.held)
    }
}

impl Collector {
    /// A batch of the queue's entries that a run on these terms looks at.
    pub(super) async fn entries(&self, after: Option<&Pending>, terms: &Terms) -> Result<Vec<Pending>> {
        let batch = self.settings.batch;
        match *terms == Terms::default() {
            true => self.records.due(after, batch).await,
            false => self.records.queued(after, batch).await,
        }
    }

    /// A batch of the locations that a run on these terms unlinks.
    pub(super) async fn doomed(&self, after: Option<&Doomed>, terms: &Terms) -> Result<Vec<Doomed>> {
        let batch = self.settings.batch;
        match terms.alone {
            true => self.records.all_doomed(after, batch).await,
            false => self.records.doomed(after, batch).await,
        }
    }
}

async fn unlink(collector: &Collector, doomed: &Doomed) -> Result<Done> {
    // Asked after the doomed were read: if nobody held then, all of these were doomed before any hold.
    if collector.shared.holds.any() {
        return Ok(Done::Held);
    }
    // The list was read a while ago, and somebody may have found since that something names this location.
    if !collector.records.is_doomed(doomed).await? {
        return Ok(Done::Gone);
    }
    let blobs = &collector.blobs;
    // Only for the count; a location that has no bytes, or does not say how many, goes as well.
    let bytes = blobs.size(&doomed.location).await.ok().flatten().unwrap_or(0);
    blobs.unlink(&doomed.location).await.map_err(Error::internal)?;
    collector.records.clear_doomed(doomed).await?;
    Ok(Done::Unlinked(bytes))
}
