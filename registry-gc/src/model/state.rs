//! What the model remembers: the records, the bytes on disk, and what each process holds in its hands.
//!
//! Every time is relative to now, so that the state space is finite without a last tick. Every stamp, put id and
//! repository id is represented by what it is for: an operation in flight remembers only whether the thing that
//! it read has been written since, because a stamp that never repeats can never match again.

pub use super::processes::{ClientStep, CollectorStep, Decision};

/// Traces of the code need more slots than the worlds that are explored; more would only slow those down.
const fn slots(explored: usize, replayed: usize) -> usize {
    if cfg!(feature = "replay") {
        replayed
    } else {
        explored
    }
}

/// Largest number of digests in a configuration.
pub const BLOBS: usize = 2;
/// Largest number of locations that may be in use at once.
pub const LOCATIONS: usize = slots(5, 32);
/// Largest number of repository ids that may be in use at once (live, dropped, or held by a paused process).
pub const REPOSITORIES: usize = slots(3, 12);
/// Client processes (nodes serving one request each).
pub const CLIENTS: usize = slots(2, 4);
/// Collector processes.
pub const COLLECTORS: usize = slots(2, 4);
/// Largest number of entries in the queue of one digest.
pub const ENTRIES: usize = slots(4, 16);

/// The `image` manifest, which names the blobs.
pub const IMAGE: usize = 0;
/// The `index` manifest, which names the image manifest as its child.
pub const INDEX: usize = 1;

/// A countdown that may be absent: for claims and doomed entries.
///
/// `0` is absent, `1` is reached (expired, due), and `1 + n` is reached in `n` ticks.
pub type Countdown = u8;
/// The countdown of something that is not there.
pub const ABSENT: Countdown = 0;
/// The countdown of something whose time has come.
pub const REACHED: Countdown = 1;
/// A claim that does not expire, in configurations that leave the upload protocol to another one.
pub const NEVER: Countdown = u8::MAX;

/// When a queue entry is due: `0` no entry, `1` in an earlier tick, `2` in this very tick, `2 + n` in `n` ticks.
///
/// This tick and earlier ones are kept apart because an entry written now has the same key as another of this
/// tick, and never the key of an older one.
pub type Due = u8;
/// An entry whose time came in an earlier tick.
pub const OVERDUE: Due = 1;
/// An entry whose time is this tick.
pub const DUE_NOW: Due = 2;

/// State of `blob/{digest}`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Existence {
    /// There is no record.
    #[default]
    Absent,
    /// Edges and leases may be inserted.
    Live,
    /// Nobody may insert; removed when its second delay is over, unless a publish revives it.
    Condemned,
    /// A reader missed its bytes: the next publish swaps in its own.
    Suspect,
}

/// `blob/{digest}` and the entries of `pending/{due}/{digest}`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Blob {
    /// State of the record.
    pub existence: Existence,
    /// The location that the record names; meaningless when absent.
    pub location: u8,
    /// Ticks until a condemned record may be removed.
    pub remove_after: u8,
    /// The collector's queue for this digest.
    pub pending: [Entry; ENTRIES],
}

/// One entry of the collector's queue.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    /// Its key.
    pub due: Due,
    /// Collectors (a bit each) that have read it as it is.
    pub read_by: u8,
    /// Collectors that have read it before it was last rewritten under the same key.
    pub outdated_for: u8,
}

/// What is at a location.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Bytes {
    /// Nothing was written yet.
    #[default]
    Unwritten,
    /// The right bytes, durable.
    Good,
    /// Bytes of two writers.
    Torn,
    /// Gone by the fault action.
    Lost,
    /// Unlinked by berth.
    Unlinked,
}

/// A location: its bytes, and the claim or doomed entry that names it (a blob record names it by index).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Location {
    /// Whether the slot stands for a location at all; a freed slot is a fresh location when next used.
    pub used: bool,
    /// The digest that is uploaded or stored here.
    pub blob: u8,
    /// What a reader finds.
    pub bytes: Bytes,
    /// `upload/{id}` claiming this location, and when the claim expires.
    pub claim: Countdown,
    /// `doomed/{location}`, and when it may be unlinked.
    pub doomed: Countdown,
    /// Ticks for which the session that writes here takes its claim for valid: it knows when the claim expires and
    /// does not read the record again before it writes.
    pub session: u8,
    /// Ticks within which a write that was begun lands or fails; 0 when there is none.
    pub write: u8,
    /// The same for the write of an earlier session on the same location (only without epochs).
    pub stale_write: u8,
}

/// `edge/{digest}/{repo}/{put id}`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Edge {
    /// No edge.
    #[default]
    None,
    /// Holds the blob and makes it belong to the repository.
    Opens,
    /// A deferred child that did not belong when it was put: holds the blob, opens nothing.
    Holds,
}

/// State of a manifest record in a repository.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Presence {
    /// There is no record.
    #[default]
    Absent,
    /// Acknowledged and served.
    Live,
    /// Deleted, and may be undeleted.
    Trash,
}

/// A manifest record, the edges of its put id, and what a delete in pieces has still to clean.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Manifest {
    /// State of the record.
    pub presence: Presence,
    /// Whether it was put with its children required.
    pub required: bool,
    /// Edges under the current put id.
    pub edges: [Edge; BLOBS],
    /// Whether a deleted put id waits to be swept.
    pub swept_later: bool,
    /// Edges under the deleted put id.
    pub old_edges: [Edge; BLOBS],
}

/// Whether a repository id has a name.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Naming {
    /// A name maps to this id.
    Live,
    /// Deleted; its contents are swept in pieces.
    Dropped,
    /// Not in use: a fresh id when next used.
    #[default]
    Free,
}

/// A repository id: ids never repeat, so a slot is reused only when nothing remembers it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Repository {
    /// Whether a name maps here.
    pub naming: Naming,
    /// The image manifest and the index.
    pub manifests: [Manifest; 2],
    /// Ticks until the longest lease on each blob expires; 0 when there is none.
    pub leases: [u8; BLOBS],
    /// Ghost: ticks for which somebody may rely on having been told "exists".
    pub promises: [u8; BLOBS],
    /// Ghost: blobs that this repository came by honestly (upload, mount from where they belong).
    pub entitled: [bool; BLOBS],
}

/// Ghost: something happened that no later state shows.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Breach {
    /// Nothing did.
    #[default]
    None,
    /// A record was removed while an edge or an unexpired lease held it.
    CollectedWhileHeld,
}

/// One state of the world.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct State {
    /// Blob records and their queues.
    pub blobs: [Blob; BLOBS],
    /// Locations.
    pub locations: [Location; LOCATIONS],
    /// Repositories.
    pub repositories: [Repository; REPOSITORIES],
    /// Clients in flight.
    pub clients: [ClientStep; CLIENTS],
    /// Collectors in flight.
    pub collectors: [CollectorStep; COLLECTORS],
    /// Ghost.
    pub breach: Breach,
}

impl Bytes {
    /// Whether there is a file.
    pub fn on_disk(self) -> bool {
        matches!(self, Bytes::Good | Bytes::Torn)
    }
}

impl Location {
    /// Whether `upload/{id}` names it.
    pub fn is_claimed(&self) -> bool {
        self.claim != ABSENT
    }

    /// Writes `doomed`, to be held for `hold` ticks.
    pub fn doom(&mut self, hold: u8) {
        self.doomed = self.doomed.max(hold + REACHED);
    }
}

impl Manifest {
    /// Whether any edge to `blob` is recorded, of the current put id or of one to be swept.
    pub fn has_edge(&self, blob: usize) -> bool {
        self.edges[blob] != Edge::None || self.old_edges[blob] != Edge::None
    }
}

impl Repository {
    /// Whether `blob` may be read, mounted from and named as a child here.
    pub fn has(&self, blob: usize, deferred_opens: bool) -> bool {
        let opens = |edge: Edge| edge == Edge::Opens || (deferred_opens && edge == Edge::Holds);
        self.leases[blob] > 0
            || self
                .manifests
                .iter()
                .any(|m| (m.presence == Presence::Live && opens(m.edges[blob])) || opens(m.old_edges[blob]))
    }

    /// Whether nothing of the repository is recorded.
    pub fn is_bare(&self) -> bool {
        self.manifests == <[Manifest; 2]>::default() && self.leases == [0; BLOBS]
    }
}

impl Blob {
    /// Whether a record exists.
    pub fn exists(&self) -> bool {
        self.existence != Existence::Absent
    }

    /// Whether the record names `location`.
    pub fn names(&self, location: usize) -> bool {
        self.exists() && usize::from(self.location) == location
    }

    /// Whether any entry waits in the queue.
    pub fn is_pending(&self) -> bool {
        self.pending.iter().any(|entry| entry.due != 0)
    }
}

impl State {
    /// Whether any edge holds `blob`; `trash_counts` is clause 4's last sentence.
    pub fn held(&self, blob: usize, trash_counts: bool) -> bool {
        self.repositories
            .iter()
            .flat_map(|repository| &repository.manifests)
            .any(|manifest| {
                manifest.old_edges[blob] != Edge::None
                    || (manifest.edges[blob] != Edge::None
                        && (trash_counts || manifest.presence != Presence::Trash))
            })
    }

    /// Ticks until the last lease on `blob` expires.
    pub fn leased_for(&self, blob: usize) -> u8 {
        self.repositories
            .iter()
            .map(|repository| repository.leases[blob])
            .max()
            .unwrap_or(0)
    }

    /// Inserts `pending/{due}/{digest}`. `None` when the configuration's queue is full.
    pub fn insert_pending(&mut self, blob: usize, due: Due, capacity: usize) -> Option<()> {
        let pending = &mut self.blobs[blob].pending;
        if let Some(entry) = pending
            .iter_mut()
            .find(|entry| entry.due == due && due != OVERDUE)
        {
            entry.outdated_for |= entry.read_by;
            entry.read_by = 0;
            return Some(());
        }
        let free = pending[..capacity].iter_mut().find(|entry| entry.due == 0)?;
        *free = Entry {
            due,
            ..Entry::default()
        };
        Some(())
    }

    /// The entry that `collector` has read, and whether it is still as it was read.
    pub fn entry_of(&self, blob: usize, collector: usize) -> Option<(usize, bool)> {
        let bit = 1 << collector;
        let pending = &self.blobs[blob].pending;
        let find = |bits: fn(&Entry) -> u8| pending.iter().position(|entry| bits(entry) & bit != 0);
        find(|entry| entry.read_by)
            .map(|at| (at, true))
            .or_else(|| find(|entry| entry.outdated_for).map(|at| (at, false)))
    }

    /// Tells every process that has read the record of `blob` that it was written since.
    pub fn blob_written(&mut self, written: usize) {
        for client in &mut self.clients {
            match client {
                ClientStep::Leasing { blob, outdated, .. } | ClientStep::Missing { blob, outdated }
                    if usize::from(*blob) == written =>
                {
                    *outdated = true;
                }
                ClientStep::Putting {
                    manifest, outdated, ..
                } if usize::from(*manifest) == IMAGE => {
                    *outdated = true;
                }
                ClientStep::Publishing {
                    location, outdated, ..
                } if usize::from(self.locations[usize::from(*location)].blob) == written => {
                    *outdated = true;
                }
                _ => {}
            }
        }
        for collector in &mut self.collectors {
            if let CollectorStep::Collecting { blob, outdated, .. } = collector
                && usize::from(*blob) == written
            {
                *outdated = true;
            }
        }
    }

    /// Tells every process that has read the claim on `location` that it was written since.
    pub fn claim_written(&mut self, written: usize) {
        for client in &mut self.clients {
            if let ClientStep::Publishing {
                location, reclaimed, ..
            } = client
                && usize::from(*location) == written
            {
                *reclaimed = true;
            }
        }
        for collector in &mut self.collectors {
            if let CollectorStep::Abandoning {
                location, reclaimed, ..
            } = collector
                && usize::from(*location) == written
            {
                *reclaimed = true;
            }
        }
    }

    /// Tells every process that has read a manifest record that it was written since.
    pub fn manifest_written(&mut self, written_in: usize, written: usize) {
        for client in &mut self.clients {
            if let ClientStep::Putting {
                repository,
                manifest,
                replaced,
                outdated,
                ..
            } = client
                && usize::from(*repository) == written_in
            {
                if usize::from(*manifest) == written {
                    *replaced = true;
                } else if usize::from(*manifest) == INDEX {
                    *outdated = true;
                }
            }
        }
    }

    /// A slot that stands for a location never used before.
    pub fn free_location(&self, slots: usize) -> Option<usize> {
        self.locations[..slots].iter().position(|location| !location.used)
    }
}
