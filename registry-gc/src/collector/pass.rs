//! One pass over all that is due.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use registry_core::store::{Begin, Collected, Counts, Doomed, Lead, Pending, RunEnd, Step, Terms, Trigger};
use registry_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::pace::Pacer;
use super::{Collector, Stop};

/// How often a step is tried again in one run when others are faster.
const ATTEMPTS: usize = 3;

/// How many failures of a run are told one by one; all are counted.
const TOLD: u64 = 20;

/// Records that are cleaned up at once of what was deleted; each counts as a step for the pace.
const PIECE: usize = 100;

/// What a run is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Deleting manifests that have had no tag for as long as the policy says.
    Untagged,
    /// Cleaning up what was deleted.
    Sweep,
    /// Ending uploads that make no progress.
    Uploads,
    /// Looking at blobs.
    Blobs,
    /// Giving bytes back.
    Unlink,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Steps taken in this phase.
    pub done: u64,
    /// Steps that this phase takes, as far as is known: what waited when the run began, where counting ends at
    /// [`Backlog::MOST`](registry_core::store::Backlog::MOST).
    pub of: u64,
    /// What the run did so far.
    pub counts: Counts,
}

/// Why a pass ends before all is done.
enum Halt {
    Stopped,
    Overtaken,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(why: Error) -> Self {
        Halt::Failed(why)
    }
}

/// What came of one step.
enum Done {
    Collected(Step),
    Abandoned(bool),
    Untagged(bool),
    Unlinked(u64),
    Swept,
    /// Somebody copies what is there.
    Held,
}

pub(super) struct Pass<'a> {
    collector: &'a Collector,
    terms: Terms,
    gives_way: bool,
    lead: Lead,
    /// When it was last renewed, by the runtime's clock.
    renewed: Timestamp,
    stop: &'a Stop,
    progress: &'a mut (dyn FnMut(&Progress) + Send),
    pacer: Pacer,
    at: Progress,
    held: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        collector: &'a Collector,
        begin: &Begin,
        lead: Lead,
        stop: &'a Stop,
        progress: &'a mut (dyn FnMut(&Progress) + Send),
    ) -> Self {
        Pass {
            terms: begin.terms,
            gives_way: begin.trigger == Trigger::Due,
            lead,
            renewed: collector.runtime.now(),
            stop,
            progress,
            pacer: Pacer::new(collector.settings.rate),
            at: Progress {
                phase: Phase::Sweep,
                done: 0,
                of: 0,
                counts: Counts::default(),
            },
            held: false,
            collector,
        }
    }

    /// To its end, of whatever kind. What it did, and the lead as it is now.
    pub(super) async fn run(mut self) -> (RunEnd, Counts, Lead) {
        let outcome = match self.phases().await {
            Ok(()) => RunEnd::Done,
            Err(Halt::Stopped) => RunEnd::Stopped,
            Err(Halt::Overtaken) => RunEnd::Overtaken,
            Err(Halt::Failed(why)) => RunEnd::Failed {
                problem: with_causes(&why),
            },
        };
        (outcome, self.at.counts, self.lead)
    }

    async fn phases(&mut self) -> Result<(), Halt> {
        let backlog = self.collector.backlog().await?;
        if let Some(kept) = self.collector.settings.policy.untagged {
            self.begin(Phase::Untagged, 0);
            self.delete_untagged(backlog.now - kept).await?;
        }
        self.begin(Phase::Sweep, backlog.deleted + backlog.trash);
        self.sweep().await?;
        self.begin(Phase::Uploads, backlog.expired);
        self.abandon().await?;
        self.begin(Phase::Blobs, backlog.due);
        self.collect().await?;
        let waiting = match self.terms.alone {
            true => backlog.doomed + self.at.counts.removed,
            false => backlog.unlinkable,
        };
        self.begin(Phase::Unlink, waiting);
        self.unlink().await?;
        self.collector.backlog().await?;
        Ok(())
    }

    fn begin(&mut self, phase: Phase, of: u64) {
        (self.at.phase, self.at.done, self.at.of) = (phase, 0, of);
        (self.progress)(&self.at);
    }

    /// Before each step: whether to go on. Renews the lead in time, and then says how far the run has come.
    async fn go_on(&mut self) -> Result<(), Halt> {
        if self.stop.is_stopped() || self.gives_way && self.collector.must_give_way() {
            return Err(Halt::Stopped);
        }
        let (settings, now) = (&self.collector.settings, self.collector.runtime.now());
        if now.since(self.renewed) < settings.lead / 3 && self.renewed <= now {
            return Ok(());
        }
        self.lead = match self.collector.records.renew(&self.lead, settings.lead).await? {
            Some(lead) => lead,
            None => return Err(Halt::Overtaken),
        };
        self.renewed = now;
        let noted = self
            .collector
            .records
            .note_run(&self.lead.run, &self.at.counts, None);
        if let Err(error) = noted.await {
            tracing::error!(run = self.lead.run, %error, "cannot record how far a run has come");
        }
        Ok(())
    }

    /// Takes one step for each of these, some at a time, at the pace that is set. Those that were begun are ended even if
    /// the run is to stop.
    async fn each<T, F>(&mut self, items: Vec<T>, mut step: impl FnMut(T) -> F) -> Result<(), Halt>
    where
        F: Future<Output = Result<Done>>,
    {
        let workers = self.collector.settings.workers.max(1);
        let mut under_way = FuturesUnordered::new();
        let mut halted = Ok(());
        for item in items {
            halted = self.go_on().await;
            if halted.is_err() {
                break;
            }
            self.pacer.wait(&*self.collector.runtime).await;
            under_way.push(step(item));
            if under_way.len() >= workers
                && let Some(done) = under_way.next().await
            {
                self.settle(done);
            }
        }
        while let Some(done) = under_way.next().await {
            self.settle(done);
        }
        halted
    }

    fn settle(&mut self, done: Result<Done>) {
        let before = self.at.counts;
        let counts = &mut self.at.counts;
        match done {
            Ok(Done::Collected(step)) => {
                counts.collected(step.done);
                counts.bytes += step.freed;
            }
            Ok(Done::Abandoned(done)) => counts.abandoned += u64::from(done),
            Ok(Done::Untagged(done)) => counts.untagged += u64::from(done),
            Ok(Done::Unlinked(bytes)) => {
                counts.unlinked += 1;
                counts.bytes += bytes;
            }
            Ok(Done::Swept) => {}
            Ok(Done::Held) => self.held = true,
            Err(why) => {
                counts.failures += 1;
                if counts.failures <= TOLD {
                    tracing::error!(error = &why as &dyn std::error::Error, phase = ?self.at.phase, "cannot collect one thing");
                }
            }
        }
        self.at.done += 1;
        self.at.of = self.at.of.max(self.at.done);
        let now = self.at.counts;
        self.collector
            .observe(|observed| observed.totals.add(&now, &before));
        (self.progress)(&self.at);
    }

    /// Cleans up in pieces what was deleted. What cannot be swept must not keep anything else from being given back.
    async fn sweep(&mut self) -> Result<(), Halt> {
        let records = &self.collector.records;
        self.pieces(|| records.purge_trash(PIECE)).await?;
        self.pieces(|| records.sweep_manifests(PIECE)).await?;
        self.pieces(|| records.sweep_repositories(PIECE)).await?;
        Ok(())
    }

    /// Takes piece after piece until there is none, or one fails. Whether all were taken.
    async fn pieces<F>(&mut self, mut piece: impl FnMut() -> F) -> Result<bool, Halt>
    where
        F: Future<Output = Result<bool>>,
    {
        loop {
            self.go_on().await?;
            match piece().await {
                Ok(true) => {
                    self.pacer.charge(PIECE as u32);
                    self.pacer.wait(&*self.collector.runtime).await;
                    self.settle(Ok(Done::Swept));
                }
                Ok(false) => return Ok(true),
                Err(why) => {
                    self.settle(Err(why));
                    return Ok(false);
                }
            }
        }
    }

    async fn delete_untagged(&mut self, until: Timestamp) -> Result<(), Halt> {
        let (records, batch) = (&self.collector.records, self.collector.settings.batch);
        // What the feed says last counts, so all of it comes first.
        if !self.pieces(|| records.follow(PIECE)).await? {
            return Ok(());
        }
        let mut after = None;
        loop {
            let untagged = records.untagged(until, after.as_ref(), batch).await?;
            after = untagged.last().cloned();
            let last = untagged.len() < batch;
            self.each(untagged, |untagged| async move {
                Ok(Done::Untagged(records.delete_untagged(&untagged).await?))
            })
            .await?;
            if last {
                return Ok(());
            }
        }
    }

    async fn abandon(&mut self) -> Result<(), Halt> {
        let (records, batch) = (&self.collector.records, self.collector.settings.batch);
        let mut after = None;
        loop {
            let expired = records.expired_uploads(after.as_ref(), batch).await?;
            after = expired.last().cloned();
            let last = expired.len() < batch;
            self.each(expired, |expired| async move {
                Ok(Done::Abandoned(records.abandon(&expired.id).await?))
            })
            .await?;
            if last {
                return Ok(());
            }
        }
    }

    /// On terms of its own a run looks at all that is queued, until nothing more is condemned: what is condemned by a run that
    /// is alone goes by the next look.
    async fn collect(&mut self) -> Result<(), Halt> {
        loop {
            let condemned = self.at.counts.condemned;
            self.collect_once().await?;
            if !self.terms.alone || self.at.counts.condemned == condemned {
                return Ok(());
            }
        }
    }

    async fn collect_once(&mut self) -> Result<(), Halt> {
        let (collector, terms) = (self.collector, self.terms);
        let batch = collector.settings.batch;
        let mut after: Option<Pending> = None;
        loop {
            let entries = collector.entries(after.as_ref(), &terms).await?;
            after = entries.last().cloned();
            let last = entries.len() < batch;
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
            if last {
                return Ok(());
            }
        }
    }

    async fn unlink(&mut self) -> Result<(), Halt> {
        let collector = self.collector;
        let batch = collector.settings.batch;
        let mut after = None;
        loop {
            let doomed = collector.doomed(after.as_ref(), &self.terms).await?;
            after = doomed.last().cloned();
            let last = doomed.len() < batch;
            self.each(doomed, |doomed| async move { unlink(collector, &doomed).await })
                .await?;
            if self.held {
                tracing::info!("a backup is being made; what is doomed is unlinked when it has ended");
                return Ok(());
            }
            if last {
                return Ok(());
            }
        }
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
    let blobs = &collector.blobs;
    // Only for the count; a location that has no bytes, or does not say how many, goes as well.
    let bytes = blobs.size(&doomed.location).await.ok().flatten().unwrap_or(0);
    blobs.unlink(&doomed.location).await.map_err(Error::internal)?;
    collector.records.clear_doomed(doomed).await?;
    Ok(Done::Unlinked(bytes))
}

/// An error and all that caused it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        text = format!("{text}: {why}");
        cause = why.source();
    }
    text
}
