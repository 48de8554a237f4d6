//! What is recorded of the collector's runs, and of who runs.

use serde::{Deserialize, Serialize};

use crate::store::{Collected, Stamp, Terms};
use crate::time::Timestamp;

/// Who collects, and until when unless they renew it. It spares nodes the same work; what keeps them from harm is what
/// each step asserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The node.
    pub node: String,
    /// Its run.
    pub run: String,
    /// When another node may take over.
    pub until: Timestamp,
    /// The write that made it so.
    pub stamp: Stamp,
}

/// Why a run was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The always-on loop found something due.
    Due,
    /// An operator, or an embedder's scheduler, asked for it.
    Asked,
}

/// What is known of a run when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The node that it is on.
    pub node: String,
    /// Why.
    pub trigger: Trigger,
    /// What was changed for it.
    #[serde(default)]
    pub terms: Terms,
}

/// What a run has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Entries of the queue that were looked at.
    pub looked_at: u64,
    /// Entries whose blob something points at, or that is gone: they were taken off the queue.
    pub dropped: u64,
    /// Entries that were put back, since leases or the second delay hold their blob.
    pub requeued: u64,
    /// Blobs that nothing held: they go after the second delay, unless they are pushed again.
    pub condemned: u64,
    /// Blobs whose records were removed.
    pub removed: u64,
    /// Steps that were given up because somebody else was faster; a later run takes them.
    pub conflicts: u64,
    /// Uploads that had made no progress for too long, and were ended.
    pub abandoned: u64,
    /// Untagged manifests that were deleted, as the policy says.
    pub untagged: u64,
    /// Locations whose bytes were given back.
    pub unlinked: u64,
    /// Bytes that were given back: of files and objects, by their length when they were unlinked, and of removed blobs inside the records.
    pub bytes: u64,
    /// What could not be done, and is tried again by the next run.
    pub failures: u64,
}

impl Counts {
    /// Counts a step.
    pub fn collected(&mut self, done: Collected) {
        self.looked_at += 1;
        match done {
            Collected::Dropped => self.dropped += 1,
            Collected::Requeued => self.requeued += 1,
            Collected::Condemned => self.condemned += 1,
            Collected::Removed => self.removed += 1,
            Collected::Conflict => self.conflicts += 1,
            Collected::Waits => {}
        }
    }

    /// Adds what was counted between `before` and `now`.
    pub fn add(&mut self, now: &Counts, before: &Counts) {
        self.looked_at += now.looked_at - before.looked_at;
        self.dropped += now.dropped - before.dropped;
        self.requeued += now.requeued - before.requeued;
        self.condemned += now.condemned - before.condemned;
        self.removed += now.removed - before.removed;
        self.conflicts += now.conflicts - before.conflicts;
        self.abandoned += now.abandoned - before.abandoned;
        self.untagged += now.untagged - before.untagged;
        self.unlinked += now.unlinked - before.unlinked;
        self.bytes += now.bytes - before.bytes;
        self.failures += now.failures - before.failures;
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum RunEnd {
    /// All that was due is done.
    Done,
    /// It was told to stop, or to give way to another.
    Stopped,
    /// Another node took the lead.
    Overtaken,
    /// The records could not be read.
    Failed {
        /// What they said.
        problem: String,
    },
    /// Its process ended without a word. Said of a run that has no end and whose node has not the lead any more.
    Interrupted,
}

/// A run of the collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name; later runs have greater ones.
    pub id: String,
    /// What was known when it began.
    #[serde(flatten)]
    pub begin: Begin,
    /// When it began.
    pub started: Timestamp,
    /// When it last said how far it had come, or ended.
    pub noted: Timestamp,
    /// How it ended; none if it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RunEnd>,
    /// What it did.
    #[serde(default)]
    pub counts: Counts,
}
