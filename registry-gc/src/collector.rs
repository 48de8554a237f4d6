//! The collector: takes what nothing points at from the queue to the unlink.
//!
//! It is driven by what the records queue (blobs to look at, expired uploads, deleted repositories, doomed locations)
//! and never lists the store, so a run costs what the garbage costs. Every step is one transaction that asserts what it
//! read: a run may be cut off anywhere and begun again by anybody, and any number may run at once on any number of nodes. That they do
//! not is only so that none repeats what another has done: a record says who leads.

mod hold;
mod pace;
mod pass;
mod phases;
mod plan;
mod settings;
mod stop;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use registry_core::store::{
    Backlog, Begin, BlobStore, Counts, Explanation, Lead, Reclaim, Run, RunEnd, Trigger,
};
use registry_core::{Digest, Error, ErrorKind, Result, Runtime, Timestamp};
use serde::{Deserialize, Serialize};

pub use hold::Hold;
pub use pass::{Phase, Progress};
pub use plan::{Plan, Planned, Tally};
pub use settings::{Policy, RunOptions, Settings};
pub use stop::Stop;

use hold::Holds;
use pass::Pass;

/// The shortest that the always-on loop sleeps, unless its interval is shorter.
const SHORTEST_SLEEP: Duration = Duration::from_secs(1);

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its name in the list of runs.
    pub run: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: RunEnd,
    /// What it did.
    pub counts: Counts,
    /// How long it took.
    pub took: Duration,
}

/// What a collector and its clones have done since they were made: for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What all runs did.
    pub totals: Counts,
    /// How many runs there were.
    pub runs: u64,
    /// What waited when it was last looked at; `now` says when that was.
    pub backlog: Backlog,
    /// When the last run ended, by the records' clock, how long it took, and how it ended.
    pub last: Option<(Timestamp, Duration, RunEnd)>,
}

/// Collects. Clones share holds, and take turns.
///
/// ```no_run
/// # async fn example(collector: registry_gc::Collector) -> registry_core::Result<()> {
/// use registry_gc::{RunOptions, Stop};
/// let summary = collector.run(&RunOptions::default(), &Stop::new(), &mut |_| {}).await?;
/// println!("{} bytes given back", summary.counts.bytes);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Collector {
    records: Arc<dyn Reclaim>,
    blobs: Arc<dyn BlobStore>,
    runtime: Arc<dyn Runtime>,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
}

/// What clones share.
#[derive(Default)]
struct Shared {
    holds: Holds,
    /// Whoever runs has it.
    turn: futures_util::lock::Mutex<()>,
    /// How many runs that were asked for wait for their turn: the always-on loop gives way to them.
    asked: AtomicUsize,
    observed: Mutex<Observed>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Collector {
    /// A collector for a registry on these stores.
    pub fn new(
        records: Arc<dyn Reclaim>,
        blobs: Arc<dyn BlobStore>,
        runtime: Arc<dyn Runtime>,
        settings: Settings,
    ) -> Self {
        Collector {
            records,
            blobs,
            runtime,
            settings: Arc::new(settings),
            shared: Arc::default(),
        }
    }

    /// The same collector with other settings. It shares holds and turns with this one.
    #[must_use]
    pub fn with(&self, settings: Settings) -> Self {
        Collector {
            settings: Arc::new(settings),
            ..self.clone()
        }
    }

    /// How it collects.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// From now on unlinks nothing that is doomed later than this, until the hold is dropped. So what the records name
    /// at any moment while it lives stays readable. What is doomed meanwhile waits in the records.
    pub fn hold(&self) -> Hold {
        self.shared.holds.hold()
    }

    /// One pass over all that is due, or, on terms other than the default, over all that is queued. Waits for its turn if a clone
    /// runs; the always-on loop gives way. It is recorded as a run. `progress` is called after each step.
    ///
    /// It may be dropped at any point; it is then listed as interrupted.
    ///
    /// # Errors
    /// `Unavailable` while another node leads, naming it; those of the records when it begins. What goes wrong later ends the run,
    /// and the summary says so; what goes wrong with one thing is counted, and the rest is done.
    pub async fn run(
        &self,
        options: &RunOptions,
        stop: &Stop,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Summary> {
        let asked = Asked::new(&self.shared.asked);
        let _turn = self.shared.turn.lock().await;
        drop(asked);
        let begin = Begin {
            node: self.settings.node.clone(),
            trigger: Trigger::Asked,
            terms: options.terms,
        };
        match self.begin(&begin, stop, progress).await? {
            Some(summary) => Ok(summary),
            None => {
                let who = match self.records.leader().await? {
                    Some(lead) => format!("node {} collects, until {} or longer", lead.node, lead.until),
                    None => "another node has just collected".to_owned(),
                };
                Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("{who}; try again later"),
                ))
            }
        }
    }

    /// Collects what becomes due, until told to stop. Sleeps until the next entry of the queue is due, at most an interval; a look
    /// that finds nothing writes nothing.
    pub async fn work(&self, stop: &Stop) {
        while !stop.is_stopped() {
            let sleep = match self.look_and_run(stop).await {
                Ok(sleep) => sleep,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot collect; trying again later"
                    );
                    self.settings.interval
                }
            };
            let slept = self.runtime.sleep(sleep);
            if let Either::Left(_) = select(Box::pin(stop.stopped()), slept).await {
                return;
            }
        }
    }

    /// Runs if anything is due. How long until the next look.
    async fn look_and_run(&self, stop: &Stop) -> Result<Duration> {
        let interval = self.settings.interval;
        let backlog = self.backlog().await?;
        if !backlog.any() && !self.policy_is_due(backlog.now).await? {
            let next = backlog.next.map_or(interval, |next| next.since(backlog.now));
            return Ok(next.max(SHORTEST_SLEEP).min(interval));
        }
        let Some(_turn) = self.shared.turn.try_lock() else {
            return Ok(SHORTEST_SLEEP.min(interval));
        };
        let begin = Begin {
            node: self.settings.node.clone(),
            trigger: Trigger::Due,
            terms: Default::default(),
        };
        if let Some(summary) = self.begin(&begin, stop, &mut |_| {}).await? {
            let counts = summary.counts;
            tracing::info!(
                looked_at = counts.looked_at,
                condemned = counts.condemned,
                removed = counts.removed,
                abandoned = counts.abandoned,
                unlinked = counts.unlinked,
                bytes = counts.bytes,
                failures = counts.failures,
                "collected"
            );
            if summary.outcome == RunEnd::Stopped && !stop.is_stopped() {
                return Ok(SHORTEST_SLEEP.min(interval));
            }
        }
        Ok(interval)
    }

    /// Whether something may go as the policy says, or there is more of the feed to follow than a look's share.
    async fn policy_is_due(&self, now: Timestamp) -> Result<bool> {
        let Some(kept) = self.settings.policy.untagged else {
            return Ok(false);
        };
        let more = self.records.follow(self.settings.batch).await?;
        Ok(more || !self.records.untagged(now - kept, None, 1).await?.is_empty())
    }

    /// Takes the lead and runs; `None` if another node has it.
    async fn begin(
        &self,
        begin: &Begin,
        stop: &Stop,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Option<Summary>> {
        let started = self.records.time().await?;
        let run = format!("{:016}-{:08x}", started.0, self.runtime.random() as u32);
        let settings = &self.settings;
        let Some(lead) = self.records.lead(&settings.node, &run, settings.lead).await? else {
            return Ok(None);
        };
        if let Err(why) = self.records.begin_run(&run, begin, settings.keep_runs).await {
            self.resign(&run, &lead).await;
            return Err(why);
        }
        let (outcome, counts, lead) = Pass::new(self, begin, lead, stop, progress).run().await;
        if let RunEnd::Failed { problem } = &outcome {
            tracing::error!(run, problem, "a run of the collector failed");
        }
        // The list of runs may be wrong; the run is over all the same.
        if let Err(error) = self.records.note_run(&run, &counts, Some(&outcome)).await {
            tracing::error!(run, %error, "cannot record how a run ended");
        }
        self.resign(&run, &lead).await;
        let ended = self.records.time().await.unwrap_or(started);
        let summary = Summary {
            run,
            outcome,
            counts,
            took: ended.since(started),
        };
        let end = (ended, summary.took, summary.outcome.clone());
        self.observe(|observed| {
            observed.runs += 1;
            observed.last = Some(end);
        });
        Ok(Some(summary))
    }

    async fn resign(&self, run: &str, lead: &Lead) {
        if let Err(error) = self.records.resign(lead).await {
            tracing::error!(run, %error, "cannot give up the lead; it ends by itself");
        }
    }

    /// What waits to be done.
    ///
    /// # Errors
    /// Those of the records.
    pub async fn backlog(&self) -> Result<Backlog> {
        let backlog = self.records.backlog().await?;
        self.observe(|observed| observed.backlog = backlog);
        Ok(backlog)
    }

    /// All that is known of a blob, and what follows. Writes nothing.
    ///
    /// # Errors
    /// Those of the records.
    pub async fn explain(&self, digest: &Digest) -> Result<Explanation> {
        Arc::clone(&self.records).reading().explain(digest).await
    }

    /// Runs from the latest back, of all nodes.
    ///
    /// # Errors
    /// Those of the records.
    pub async fn runs(&self, limit: usize) -> Result<Vec<Run>> {
        self.records.runs(limit).await
    }

    /// What this collector and its clones have done since they were made.
    pub fn observed(&self) -> Observed {
        let observed = self.shared.observed.lock();
        observed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn observe(&self, change: impl FnOnce(&mut Observed)) {
        let observed = self.shared.observed.lock();
        change(&mut observed.unwrap_or_else(PoisonError::into_inner));
    }

    fn must_give_way(&self) -> bool {
        self.shared.asked.load(Ordering::SeqCst) > 0
    }
}

/// A run that was asked for and waits for its turn, or gives up waiting.
struct Asked<'a>(&'a AtomicUsize);

impl<'a> Asked<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Asked(count)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
