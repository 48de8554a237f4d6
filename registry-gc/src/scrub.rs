//! Reads again what was stored, slowly and for ever: bytes that nobody has pulled for a year are found damaged while
//! whoever pushed them may still have them.
//!
//! A pass goes over every blob in the order of digests and then over every manifest. How far it is stands in the records,
//! so a restart goes on where it was, and of the nodes that share records one is at it at a time. It unlinks nothing and
//! needs no hold against a backup.
//!
//! Whatever is found is read twice from the disk, and marked suspect by the stamp of the record that was read: what was
//! collected or pushed anew meanwhile is no finding. What this process lacks, such as descriptors or memory, is damage of
//! nothing: the scrub waits, says why, and goes on where it was. That something is *not there*, or cannot be read, may be
//! the fault of the whole volume, so the [volume](registry_core::store::BlobStore::volume) is asked: if it is there, what is
//! missing on it is lost, however much it is; if it is not, nothing is marked, and the scrub goes on when it is back. Where
//! nothing tells, a blob is marked only once another was read whole after it; of [`DOUBTS`] in a row others all over
//! the store are tried, and if none is whole the volume is taken for gone.

mod clock;
mod pace;
mod pass;
mod read;

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use registry_core::store::{
    BlobStore, ManifestStore, Scrub, ScrubCount, ScrubCursor, ScrubFinding, ScrubPlace, Stamp,
};
use registry_core::{Result, Runtime, Timestamp};

use clock::Look;
use pass::{Pass, Stop};

/// How many blobs in a row that are not there or cannot be read are enough to ask for proof that others are, on a volume
/// of which nothing else tells.
pub const DOUBTS: usize = 16;

/// How long a node that says nothing keeps the others from going on with its pass.
const HOLD: Duration = Duration::from_secs(150);

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// How often to look whether there is something to do.
const LOOK: Duration = Duration::from_secs(3600);

/// How fast, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Bytes per second at most. Each blob and manifest counts 16 KiB more than it holds, for the seek.
    pub rate: NonZeroU64,
    /// From the beginning of one pass to that of the next. A pass that takes longer is followed by the next at once.
    pub interval: Duration,
}

impl Default for ScrubOptions {
    /// 20 MiB/s and a week: 12 TB in each pass, for a tenth of what one old disk can read, and a twentieth of a core.
    fn default() -> Self {
        ScrubOptions {
            rate: NonZeroU64::new(20 << 20).expect("is not 0"),
            interval: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// What this scrubber has done since it was made, and how far the pass is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrubStatus {
    /// What was read again, and found.
    pub count: ScrubCount,
    /// How far the pass that this scrubber is at, or was at last, got through the blobs: 0 to 1.
    pub position: f64,
    /// When the last pass ended that went over everything, on whatever node.
    pub finished: Option<Timestamp>,
    /// Why it cannot go on, if it cannot: it tries again.
    pub waits: Option<String>,
}

/// Re-reads everything, a little at a time. Cheap to clone; clones do one and the same work, so only one is to be run.
#[derive(Clone)]
pub struct Scrubber {
    records: Arc<dyn Scrub>,
    manifests: Arc<dyn ManifestStore>,
    blobs: Arc<dyn BlobStore>,
    runtime: Arc<dyn Runtime>,
    options: ScrubOptions,
    /// Tells this scrubber from those of other nodes.
    me: String,
    status: Arc<Mutex<ScrubStatus>>,
    /// The cursor as it was when it was looked at last.
    looked: Arc<Mutex<Option<Look>>>,
    /// Findings that could not be recorded so far.
    untold: Arc<Mutex<Vec<ScrubFinding>>>,
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrubber")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Scrubber {
    /// A scrubber of a registry on these stores. It does nothing by itself.
    pub fn new<R: Scrub + ManifestStore>(
        records: Arc<R>,
        blobs: Arc<dyn BlobStore>,
        runtime: Arc<dyn Runtime>,
        options: ScrubOptions,
    ) -> Self {
        Scrubber {
            manifests: Arc::clone(&records) as _,
            records,
            blobs,
            me: format!("{:032x}", runtime.random()),
            runtime,
            options,
            status: Arc::default(),
            looked: Arc::default(),
            untold: Arc::default(),
        }
    }

    /// How fast, and how often.
    pub fn options(&self) -> ScrubOptions {
        self.options
    }

    /// What was done so far.
    pub fn status(&self) -> ScrubStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn untold(&self) -> MutexGuard<'_, Vec<ScrubFinding>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut ScrubStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Scrubs until it is dropped, which may be at any point.
    pub async fn run(&self) {
        loop {
            let wait = self.run_due().await.unwrap_or(RETRY).min(LOOK);
            self.runtime.sleep(wait).await;
            self.has_slept(wait);
        }
    }

    /// Begins a pass if one is due, or goes on with one that nobody is at, to its end. Gives how long to wait before
    /// there is something to do again, by the records' clock; [`run`](Scrubber::run) also counts what it slept, and so
    /// does without that clock. May be dropped at any point; what was read since the cursor was last saved, half a
    /// minute at most, is then read again.
    ///
    /// # Errors
    /// If the records cannot be read or written, this process lacks what it takes to read, or the volume of the blobs is
    /// gone. Calling it again goes on where it was.
    pub async fn run_due(&self) -> Result<Duration> {
        let ran = self.go_on().await;
        let waits = ran.as_ref().err().map(|error| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "the scrub cannot go on; it tries again"
            );
            error.to_string()
        });
        self.tell(|status| status.waits = waits);
        ran
    }

    async fn go_on(&self) -> Result<Duration> {
        loop {
            let now = self.manifests.now().await?;
            let read = self.records.cursor().await?;
            let finished = read.as_ref().and_then(|(cursor, _)| cursor.finished);
            self.tell(|status| status.finished = finished);
            let (cursor, stamp) = match read {
                Some((cursor, stamp)) if cursor.place == ScrubPlace::End => {
                    let began = self.began(&cursor, stamp, now);
                    let due = began + self.options.interval;
                    if now < due {
                        if began != cursor.began {
                            let counted = ScrubCursor { began, ..cursor };
                            let Some(saved) = self.records.save_cursor(&counted, Some(stamp)).await? else {
                                continue;
                            };
                            self.look(saved, now);
                        }
                        return Ok(due.since(now));
                    }
                    (self.new_pass(now, cursor.finished), Some(stamp))
                }
                Some((cursor, stamp)) => {
                    let left = self.held_for(&cursor, stamp, now);
                    if left > Duration::ZERO {
                        return Ok(left);
                    }
                    (cursor, Some(stamp))
                }
                None => (self.new_pass(now, None), None),
            };
            let cursor = ScrubCursor {
                holder: self.me.clone(),
                held_until: now + HOLD,
                ..cursor
            };
            let Some(stamp) = self.records.save_cursor(&cursor, stamp).await? else {
                continue; // Another node was faster, and is at it now.
            };
            match self.pass(cursor, stamp).await {
                Ok(()) | Err(Stop::Taken) => {}
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
    }

    fn new_pass(&self, now: Timestamp, finished: Option<Timestamp>) -> ScrubCursor {
        ScrubCursor {
            began: now,
            place: ScrubPlace::Blobs(None),
            finished,
            holder: self.me.clone(),
            held_until: now + HOLD,
            done: ScrubCount::default(),
        }
    }

    async fn pass(&self, cursor: ScrubCursor, stamp: Stamp) -> std::result::Result<(), Stop> {
        match &cursor.place {
            ScrubPlace::Blobs(None) => tracing::info!("a scrub begins"),
            _ => tracing::info!("a scrub goes on where it was"),
        }
        let done = Pass::new(self, cursor, stamp).run().await?;
        tracing::info!(
            blobs = done.blobs,
            manifests = done.manifests,
            bytes = done.bytes,
            damaged = done.damaged,
            "a scrub has read everything"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests;
