//! What is explored: small worlds, each about one part of the contract, that together cover all of it.

#[cfg(feature = "replay")]
use super::state;

/// Durations in ticks. Something that lasts `n` ticks is over when the clock has ticked `n` times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// A lease: the rest of its bucket (one tick is one bucket) plus the grace.
    pub lease: u8,
    /// From condemn to remove: at least the longest read.
    pub second_delay: u8,
    /// The longest read.
    pub longest_read: u8,
    /// The longest write: how long a doomed location is held.
    pub longest_write: u8,
    /// How long a claim lasts without progress.
    pub claim: u8,
}

impl Timing {
    const SHORT: Timing = Timing {
        lease: 2,
        second_delay: 1,
        longest_read: 1,
        longest_write: 1,
        claim: 1,
    };
}

/// One configuration: who is there and what they may do. Nothing bounds how often.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Digests.
    pub blobs: usize,
    /// Repository names.
    pub names: usize,
    /// Repository ids in use at once.
    pub repository_ids: usize,
    /// Client operations in flight at once.
    pub clients: usize,
    /// Collectors.
    pub collectors: usize,
    /// Locations in use at once.
    pub locations: usize,
    /// Queue entries of one digest at once.
    pub entries: usize,
    /// Manifests in a repository: none, an image, an image and the index that names it.
    pub manifests: usize,
    /// HEAD and mount.
    pub leases: bool,
    /// Uploads step by step: writes in flight, claims that expire, resume.
    pub uploads: bool,
    /// put_manifest with `children: Deferred`.
    pub deferred: bool,
    /// Delete to a trash, undelete, purge.
    pub trash: bool,
    /// A deleted manifest's edges are removed by a later transaction.
    pub delete_in_pieces: bool,
    /// Repositories are deleted and re-created.
    pub repository_lifecycle: bool,
    /// DELETE of a blob by a client.
    pub delete_blob: bool,
    /// Bytes of a stored blob vanish.
    pub lost_bytes: bool,
    /// Whoever publishes looks for the record's bytes before it reads the clock, any number of ticks.
    pub looks_earlier: bool,
    /// A pull may take bytes for missing that are there.
    pub false_alarms: bool,
    /// Pulls that take time.
    pub readers: bool,
    /// Whether every state is also followed to the end with the collector alone, which costs some fifty times more.
    pub drains: bool,
    /// Durations.
    pub timing: Timing,
}

impl Bounds {
    const NONE: Bounds = Bounds {
        name: "",
        about: "",
        blobs: 1,
        names: 1,
        repository_ids: 1,
        clients: 2,
        collectors: 2,
        locations: 2,
        entries: 2,
        manifests: 1,
        leases: false,
        uploads: false,
        deferred: false,
        trash: false,
        delete_in_pieces: false,
        repository_lifecycle: false,
        delete_blob: false,
        lost_bytes: false,
        looks_earlier: false,
        false_alarms: false,
        readers: false,
        drains: false,
        timing: Timing::SHORT,
    };

    /// One digest, with all that the code may do to it, in as many slots as there are.
    #[cfg(feature = "replay")]
    pub(super) const fn replay(timing: Timing) -> Bounds {
        Bounds {
            name: "replay",
            about: "what was recorded of the code",
            names: state::REPOSITORIES,
            repository_ids: state::REPOSITORIES,
            clients: state::CLIENTS,
            collectors: state::COLLECTORS,
            locations: state::LOCATIONS,
            entries: state::ENTRIES,
            manifests: 2,
            leases: true,
            uploads: true,
            deferred: true,
            repository_lifecycle: true,
            delete_blob: true,
            lost_bytes: true,
            looks_earlier: true,
            false_alarms: true,
            timing,
            ..Bounds::NONE
        }
    }
}

/// Push against collect: two repositories, two clients, two collectors, crashes and lost bytes together.
const PUSH_AND_COLLECT: Bounds = Bounds {
    name: "push-and-collect",
    about: "publish, HEAD, mount, put, delete, DELETE of a blob, re-push and lost bytes against two collectors",
    names: 2,
    repository_ids: 2,
    leases: true,
    delete_blob: true,
    lost_bytes: true,
    entries: 3,
    ..Bounds::NONE
};

/// Uploads step by step.
const UPLOADS: Bounds = Bounds {
    name: "uploads",
    about: "claim, write, touch, late resume, cancel, abandon and publish, with writes that land late",
    uploads: true,
    locations: 3,
    timing: Timing {
        longest_write: 2,
        claim: 2,
        ..Timing::SHORT
    },
    ..Bounds::NONE
};

/// Repositories deleted and re-created.
const REPOSITORIES: Bounds = Bounds {
    name: "repositories",
    about: "repositories deleted, swept in pieces and re-created under paused clients; mounts between them",
    names: 2,
    repository_ids: 3,
    repository_lifecycle: true,
    leases: true,
    ..Bounds::NONE
};

/// Images, indexes and the trash.
const CHILDREN: Bounds = Bounds {
    name: "children",
    about: "an index over an image over a blob; delete to the trash, undelete, purge; deferred children",
    manifests: 2,
    trash: true,
    leases: true,
    deferred: true,
    delete_blob: true,
    entries: 3,
    ..Bounds::NONE
};

/// Deferred children.
const DEFERRED: Bounds = Bounds {
    name: "deferred",
    about: "manifests put before their children and required later, in two repositories",
    names: 2,
    repository_ids: 2,
    deferred: true,
    delete_blob: true,
    leases: true,
    ..Bounds::NONE
};

/// Lost bytes and long reads.
const LOST_BYTES: Bounds = Bounds {
    name: "lost-bytes",
    about: "bytes vanish or seem to; suspect, swap, and reads that take time",
    lost_bytes: true,
    false_alarms: true,
    readers: true,
    delete_blob: true,
    entries: 3,
    locations: 3,
    timing: Timing {
        second_delay: 2,
        longest_read: 2,
        ..Timing::SHORT
    },
    ..Bounds::NONE
};

/// Deletes in pieces.
const PIECES: Bounds = Bounds {
    name: "pieces",
    about: "a deleted manifest's edges are removed later, while the same manifest is put again",
    names: 2,
    repository_ids: 2,
    delete_in_pieces: true,
    leases: true,
    ..Bounds::NONE
};

/// Two digests.
const TWO_BLOBS: Bounds = Bounds {
    name: "two-blobs",
    about: "a manifest that names two blobs",
    blobs: 2,
    locations: 3,
    ..Bounds::NONE
};

/// What continuous integration explores, in less than five minutes on two cores.
pub const CONTINUOUS: &[Bounds] = &[
    PUSH_AND_COLLECT,
    UPLOADS,
    REPOSITORIES,
    CHILDREN,
    DEFERRED,
    LOST_BYTES,
    PIECES,
    TWO_BLOBS,
];

/// What is explored by command: tens of millions of states each.
pub const LARGE: &[Bounds] = &[
    Bounds {
        name: "push-and-collect-large",
        locations: 3,
        ..PUSH_AND_COLLECT
    },
    Bounds {
        name: "repositories-large",
        about: "repositories deleted and re-created, with lost bytes and DELETE of a blob",
        lost_bytes: true,
        delete_blob: true,
        ..REPOSITORIES
    },
    Bounds {
        name: "children-large",
        lost_bytes: true,
        locations: 3,
        ..CHILDREN
    },
    Bounds {
        name: "uploads-large",
        names: 2,
        repository_ids: 2,
        leases: true,
        ..UPLOADS
    },
    Bounds {
        name: "two-blobs-large",
        leases: true,
        ..TWO_BLOBS
    },
];

/// What the tests explore: each part of the contract, small enough for an unoptimised build.
pub const SMALL: &[Bounds] = &[
    Bounds {
        name: "push-and-collect-small",
        drains: true,
        names: 1,
        repository_ids: 1,
        entries: 2,
        ..PUSH_AND_COLLECT
    },
    Bounds {
        name: "uploads-small",
        drains: true,
        manifests: 0,
        collectors: 1,
        clients: 1,
        ..UPLOADS
    },
    Bounds {
        name: "repositories-small",
        drains: true,
        collectors: 1,
        leases: false,
        ..REPOSITORIES
    },
    Bounds {
        name: "children-small",
        about: "an index over an image over a blob; delete to the trash, undelete, purge",
        drains: true,
        collectors: 1,
        entries: 2,
        deferred: false,
        ..CHILDREN
    },
    Bounds {
        name: "deferred-small",
        about: "manifests put before their children and required later",
        drains: true,
        collectors: 1,
        names: 1,
        repository_ids: 1,
        ..DEFERRED
    },
    Bounds {
        name: "lost-bytes-small",
        drains: true,
        locations: 2,
        entries: 2,
        collectors: 1,
        ..LOST_BYTES
    },
    Bounds {
        name: "looks-small",
        about: "publishes that looked for the bytes of a record long before they commit; bytes vanish meanwhile",
        drains: true,
        looks_earlier: true,
        names: 1,
        repository_ids: 1,
        collectors: 1,
        entries: 2,
        ..PUSH_AND_COLLECT
    },
    Bounds {
        name: "pieces-small",
        drains: true,
        names: 1,
        repository_ids: 1,
        collectors: 1,
        ..PIECES
    },
];

/// Where each weakening does harm: as little as shows it, so that a trace holds nothing else.
pub(crate) mod harm {
    use super::{Bounds, Timing};

    pub(crate) const PUSH: Bounds = Bounds {
        lost_bytes: false,
        ..super::PUSH_AND_COLLECT
    };
    pub(crate) const UPLOAD: Bounds = Bounds {
        manifests: 0,
        ..super::UPLOADS
    };
    pub(crate) const REPOSITORY: Bounds = Bounds {
        collectors: 1,
        leases: false,
        ..super::REPOSITORIES
    };
    pub(crate) const CHILD: Bounds = Bounds {
        collectors: 1,
        deferred: false,
        delete_blob: false,
        entries: 2,
        ..super::CHILDREN
    };
    pub(crate) const DEFER: Bounds = Bounds {
        collectors: 1,
        ..super::DEFERRED
    };
    pub(crate) const DEFER_ALONE: Bounds = Bounds {
        names: 1,
        repository_ids: 1,
        leases: false,
        delete_blob: false,
        ..DEFER
    };
    pub(crate) const DEFER_AND_LOSE: Bounds = Bounds {
        leases: true,
        lost_bytes: true,
        ..DEFER_ALONE
    };
    pub(crate) const LOSS: Bounds = super::LOST_BYTES;
    /// A stamp that repeats harms when a blob is swapped and condemned again under a paused collector.
    pub(crate) const SWAP: Bounds = Bounds {
        readers: false,
        false_alarms: false,
        clients: 1,
        manifests: 0,
        ..super::LOST_BYTES
    };
    /// Long reads against the second delay.
    pub(crate) const READS: Bounds = Bounds {
        lost_bytes: false,
        false_alarms: false,
        collectors: 1,
        manifests: 0,
        locations: 2,
        timing: Timing {
            second_delay: 3,
            longest_read: 3,
            ..Timing::SHORT
        },
        ..super::LOST_BYTES
    };
    pub(crate) const PIECE: Bounds = Bounds {
        names: 1,
        repository_ids: 1,
        ..super::PIECES
    };
}
