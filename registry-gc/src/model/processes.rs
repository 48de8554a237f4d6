//! What each process holds in its hands between its steps.

use super::state::{BLOBS, Edge, Existence};

/// What a client process remembers between its steps.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ClientStep {
    /// Nothing.
    #[default]
    Idle,
    /// HEAD or mount read a live blob that belongs, and is about to insert a lease.
    Leasing {
        /// Repository that gets the lease.
        repository: u8,
        /// Digest asked for.
        blob: u8,
        /// Ticks since the bucket was read.
        age: u8,
        /// The blob record was written since.
        outdated: bool,
    },
    /// put_manifest read its children and is about to commit.
    Putting {
        /// Repository.
        repository: u8,
        /// Which manifest.
        manifest: u8,
        /// `children: Deferred`.
        deferred: bool,
        /// The edges that the read calls for.
        edges: [Edge; BLOBS],
        /// A child's record was written since.
        outdated: bool,
        /// The manifest's own record was written since.
        replaced: bool,
    },
    /// An upload is complete and the record was read; about to publish.
    Publishing {
        /// Repository that gets the lease.
        repository: u8,
        /// The upload's location.
        location: u8,
        /// State of the record as read.
        seen: Existence,
        /// Whether the record's bytes were found.
        intact: bool,
        /// Ticks since the bucket was read.
        age: u8,
        /// The blob record was written since.
        outdated: bool,
        /// The claim was renewed, consumed or deleted since.
        reclaimed: bool,
    },
    /// A pull reads from a location.
    Reading {
        /// Where.
        location: u8,
        /// Ticks that the longest read has left.
        remaining: u8,
    },
    /// A pull found no bytes, re-read the record, and is about to mark it.
    Missing {
        /// Digest.
        blob: u8,
        /// The blob record was written since.
        outdated: bool,
    },
    /// Took a commit of unknown outcome for a failure (only in that weakening).
    Despairing {
        /// The location it is about to unlink.
        location: u8,
    },
}

/// What a collector decided to do with a due entry.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Decision {
    /// Edges, or no record: drop the entry.
    Drop,
    /// Unexpired leases, or a second delay that is not over: queue again in so many ticks.
    Requeue(u8),
    /// Neither edges nor leases.
    Condemn,
    /// Condemned, and its second delay over.
    Remove,
}

/// What a collector process remembers between its steps.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CollectorStep {
    /// Nothing.
    #[default]
    Idle,
    /// Examined a due entry (the entry remembers by whom it was read).
    Collecting {
        /// Digest.
        blob: u8,
        /// What is to be done.
        decision: Decision,
        /// State of the record as read.
        seen: Existence,
        /// The record's location as read.
        location: u8,
        /// Ticks since now was read.
        age: u8,
        /// The blob record was written since.
        outdated: bool,
    },
    /// Found an expired claim.
    Abandoning {
        /// The claimed location.
        location: u8,
        /// Ticks since now was read.
        age: u8,
        /// The claim was renewed, consumed or deleted since.
        reclaimed: bool,
    },
    /// Found a doomed entry that is due.
    Unlinking {
        /// Its location.
        location: u8,
    },
    /// Unlinked it.
    Clearing {
        /// Its location.
        location: u8,
    },
}
