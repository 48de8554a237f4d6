//! One pass over all that is due.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use registry_core::store::{Backlog, Begin, Counts, Lead, RunEnd, Step, Terms, Trigger};
use registry_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::pace::Pacer;
use super::phases::Places;
use super::{Collector, Stop};

/// How many failures of a run are told one by one; all are counted.
const TOLD: u64 = 20;

/// Steps at once of a run that is alone: nobody is held up, and as many commits share a sync.
const WORKERS_ALONE: usize = 64;

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

impl Phase {
    /// All, in the order in which they come.
    pub const ALL: [Phase; 5] = [
        Phase::Untagged,
        Phase::Sweep,
        Phase::Uploads,
        Phase::Blobs,
        Phase::Unlink,
    ];
}

/// How far a run has come. Each phase takes a share and then gives way to the next; they come round until all are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Steps taken in this phase, in all rounds.
    pub done: u64,
    /// Steps that this phase takes, as far as is known: what waited when the run began, where counting ends at
    /// [`Backlog::MOST`](registry_core::store::Backlog::MOST).
    pub of: u64,
    /// What the run did so far.
    pub counts: Counts,
}

/// Why a pass ends before all is done.
pub(super) enum Halt {
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
pub(super) enum Done {
    Collected(Step),
    Abandoned(bool),
    Untagged(bool),
    Unlinked(u64),
    Swept,
    /// Somebody else has done it.
    Gone,
    /// Somebody copies what is there.
    Held,
}

pub(super) struct Pass<'a> {
    pub(super) collector: &'a Collector,
    pub(super) terms: Terms,
    gives_way: bool,
    lead: Lead,
    /// When it was last renewed, by the runtime's clock.
    renewed: Timestamp,
    stop: &'a Stop,
    progress: &'a mut (dyn FnMut(&Progress) + Send),
    pub(super) pacer: Pacer,
    workers: usize,
    pub(super) at: Progress,
    /// Steps taken, and steps that there are as far as is known, of each phase.
    steps: [(u64, u64); Phase::ALL.len()],
    pub(super) places: Places,
    pub(super) held: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        collector: &'a Collector,
        begin: &Begin,
        lead: Lead,
        stop: &'a Stop,
        progress: &'a mut (dyn FnMut(&Progress) + Send),
    ) -> Self {
        let settings = &*collector.settings;
        let alone = begin.terms.alone;
        Pass {
            terms: begin.terms,
            gives_way: begin.trigger == Trigger::Due,
            lead,
            renewed: collector.runtime.now(),
            stop,
            progress,
            // Who is alone holds up nobody.
            pacer: Pacer::new(settings.rate.filter(|_| !alone), settings.interval),
            workers: match alone {
                true => settings.workers.max(WORKERS_ALONE),
                false => settings.workers.max(1),
            },
            at: Progress {
                phase: Phase::Sweep,
                done: 0,
                of: 0,
                counts: Counts::default(),
            },
            steps: Default::default(),
            places: Places::default(),
            held: false,
            collector,
        }
    }

    /// To its end, of whatever kind. What it did, and the lead as it is now.
    pub(super) async fn run(mut self) -> (RunEnd, Counts, Lead) {
        let outcome = match self.rounds().await {
            Ok(()) => RunEnd::Done,
            Err(Halt::Stopped) => RunEnd::Stopped,
            Err(Halt::Overtaken) => RunEnd::Overtaken,
            Err(Halt::Failed(why)) => RunEnd::Failed {
                problem: with_causes(&why),
            },
        };
        (outcome, self.at.counts, self.lead)
    }

    /// What waits when the run begins is what its phases have before them, as far as is known.
    pub(super) fn expect(&mut self, backlog: &Backlog) {
        let unlinkable = match self.terms.alone {
            true => backlog.doomed,
            false => backlog.unlinkable,
        };
        for (phase, of) in [
            (Phase::Sweep, backlog.deleted + backlog.marked + backlog.trash),
            (Phase::Uploads, backlog.expired),
            (Phase::Blobs, backlog.due),
            (Phase::Unlink, unlinkable),
        ] {
            self.steps[phase as usize].1 = of;
        }
    }

    /// Goes on with a phase, and says so.
    pub(super) fn enter(&mut self, phase: Phase) {
        let (done, of) = self.steps[phase as usize];
        (self.at.phase, self.at.done, self.at.of) = (phase, done, of);
        (self.progress)(&self.at);
    }

    /// Before each step: whether to go on. Renews the lead in time, and then says how far the run has come.
    pub(super) async fn go_on(&mut self) -> Result<(), Halt> {
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
    pub(super) async fn each<T, F>(&mut self, items: Vec<T>, mut step: impl FnMut(T) -> F) -> Result<(), Halt>
    where
        F: Future<Output = Result<Done>>,
    {
        let mut under_way = FuturesUnordered::new();
        let mut halted = Ok(());
        for item in items {
            halted = self.go_on().await;
            if halted.is_err() {
                break;
            }
            self.pacer.wait(&*self.collector.runtime).await;
            under_way.push(step(item));
            if under_way.len() >= self.workers
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

    pub(super) fn settle(&mut self, done: Result<Done>) {
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
            Ok(Done::Swept | Done::Gone) => {}
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
        self.steps[self.at.phase as usize] = (self.at.done, self.at.of);
        let now = self.at.counts;
        self.collector
            .observe(|observed| observed.totals.add(&now, &before));
        (self.progress)(&self.at);
    }
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
