//! The steps that somebody may take, and their names.

use super::state::INDEX;
use std::fmt;

/// One step. The numbers are slots of the state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "each variant is the transition of the same name")]
pub enum Action {
    Tick,
    CreateRepository,
    DeleteRepository {
        repository: usize,
    },
    SweepRepository {
        repository: usize,
        manifest: usize,
    },
    FinishSweep {
        repository: usize,
    },
    ReadForLease {
        client: usize,
        repository: usize,
        blob: usize,
    },
    Lease {
        client: usize,
    },
    TellExists {
        repository: usize,
        blob: usize,
    },
    ReadForPut {
        client: usize,
        repository: usize,
        manifest: usize,
        deferred: bool,
    },
    PutManifest {
        client: usize,
    },
    DeleteManifest {
        repository: usize,
        manifest: usize,
    },
    PurgeManifest {
        repository: usize,
        manifest: usize,
    },
    SweepManifest {
        repository: usize,
    },
    Undelete {
        repository: usize,
        manifest: usize,
    },
    DeleteBlob {
        repository: usize,
        blob: usize,
    },
    Claim {
        blob: usize,
    },
    BeginWrite {
        location: usize,
    },
    LandWrite {
        location: usize,
    },
    LandStaleWrite {
        location: usize,
    },
    Touch {
        location: usize,
    },
    Resume {
        location: usize,
    },
    Cancel {
        location: usize,
    },
    ReadForPublish {
        client: usize,
        repository: usize,
        location: usize,
    },
    ReadClock {
        client: usize,
    },
    Publish {
        client: usize,
    },
    PublishOutcomeUnknown {
        client: usize,
    },
    Despair {
        client: usize,
    },
    StartReading {
        client: usize,
        blob: usize,
    },
    ReadForSuspect {
        client: usize,
        blob: usize,
    },
    MarkSuspect {
        client: usize,
    },
    LoseBytes {
        location: usize,
    },
    CrashClient {
        client: usize,
    },
    CrashCollector {
        collector: usize,
    },
    Examine {
        collector: usize,
        blob: usize,
        entry: usize,
    },
    DropPending {
        collector: usize,
    },
    Requeue {
        collector: usize,
    },
    Condemn {
        collector: usize,
    },
    Remove {
        collector: usize,
    },
    UnlinkCondemned {
        collector: usize,
    },
    ExamineClaim {
        collector: usize,
        location: usize,
    },
    Abandon {
        collector: usize,
    },
    ExamineDoomed {
        collector: usize,
        location: usize,
    },
    Unlink {
        collector: usize,
    },
    ClearDoomed {
        collector: usize,
    },
}

/// What was exercised at least once in an exploration; the transitions carry the names that the code uses.
pub const COVERED: [&str; 30] = [
    "claim",
    "touch",
    "touch (resume)",
    "abandon",
    "cancel",
    "publish (fresh)",
    "publish (keep)",
    "publish (revive)",
    "publish (swap)",
    "publish (outcome unknown)",
    "lease",
    "put_manifest",
    "put_manifest (deferred)",
    "delete_manifest",
    "delete_manifest (in pieces)",
    "delete_blob",
    "undelete",
    "create_repository",
    "delete_repository",
    "sweep_repository",
    "drop_pending",
    "requeue",
    "condemn",
    "remove",
    "mark_suspect",
    "unlink",
    "clear_doomed",
    "lose bytes",
    "late write",
    "crash",
];

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Action::*;
        let manifest_name = |manifest: usize| if manifest == INDEX { "index" } else { "image" };
        match *self {
            Tick => write!(f, "clock: tick"),
            CreateRepository => write!(f, "client: create_repository"),
            DeleteRepository { repository } => {
                write!(f, "client: delete_repository(repository {repository})")
            }
            SweepRepository { repository, manifest } => {
                write!(
                    f,
                    "collector: sweep_repository(repository {repository}, {})",
                    manifest_name(manifest)
                )
            }
            FinishSweep { repository } => write!(
                f,
                "collector: sweep_repository(repository {repository}, last piece)"
            ),
            ReadForLease {
                client,
                repository,
                blob,
            } => {
                write!(
                    f,
                    "client {client}: reads blob {blob} for a lease in repository {repository}"
                )
            }
            Lease { client } => write!(f, "client {client}: lease"),
            TellExists { repository, blob } => {
                write!(
                    f,
                    "client: told that blob {blob} exists in repository {repository}, without a write"
                )
            }
            ReadForPut {
                client,
                repository,
                manifest,
                deferred,
            } => {
                let children = if deferred { "Deferred" } else { "Required" };
                let name = manifest_name(manifest);
                write!(
                    f,
                    "client {client}: reads the children of the {name} in repository {repository}, {children}"
                )
            }
            PutManifest { client } => write!(f, "client {client}: put_manifest"),
            DeleteManifest { repository, manifest } => {
                write!(
                    f,
                    "client: delete_manifest({} in repository {repository})",
                    manifest_name(manifest)
                )
            }
            PurgeManifest { repository, manifest } => {
                write!(
                    f,
                    "policy: delete_manifest({} in the trash of repository {repository})",
                    manifest_name(manifest)
                )
            }
            SweepManifest { repository } => write!(
                f,
                "collector: delete_manifest(edges left in repository {repository})"
            ),
            Undelete { repository, manifest } => {
                write!(
                    f,
                    "client: undelete({} in repository {repository})",
                    manifest_name(manifest)
                )
            }
            DeleteBlob { repository, blob } => {
                write!(f, "client: delete_blob(blob {blob} in repository {repository})")
            }
            Claim { blob } => write!(f, "client: claim(a location for blob {blob})"),
            BeginWrite { location } => write!(f, "client: begins to write location {location}"),
            LandWrite { location } => write!(f, "disk: the write to location {location} lands"),
            LandStaleWrite { location } => write!(
                f,
                "disk: the write of an earlier session to location {location} lands"
            ),
            Touch { location } => write!(f, "client: touch(claim on location {location})"),
            Resume { location } => write!(
                f,
                "client: touch(claim on location {location}, resumed by another session)"
            ),
            Cancel { location } => write!(f, "client: cancel(claim on location {location})"),
            ReadForPublish {
                client,
                repository,
                location,
            } => {
                write!(
                    f,
                    "client {client}: reads the record to publish location {location} in repository {repository}"
                )
            }
            ReadClock { client } => write!(f, "client {client}: reads the clock once more"),
            Publish { client } => write!(f, "client {client}: publish"),
            PublishOutcomeUnknown { client } => {
                write!(f, "client {client}: publish commits, but the outcome is unknown")
            }
            Despair { client } => write!(f, "client {client}: unlink(its upload)"),
            StartReading { client, blob } => write!(f, "client {client}: starts to read blob {blob}"),
            ReadForSuspect { client, blob } => write!(f, "client {client}: misses the bytes of blob {blob}"),
            MarkSuspect { client } => write!(f, "client {client}: mark_suspect"),
            LoseBytes { location } => write!(f, "disk: loses the bytes of location {location}"),
            CrashClient { client } => write!(f, "client {client}: crashes"),
            CrashCollector { collector } => write!(f, "collector {collector}: crashes"),
            Examine {
                collector,
                blob,
                entry,
            } => write!(f, "collector {collector}: examines entry {entry} of blob {blob}"),
            DropPending { collector } => write!(f, "collector {collector}: drop_pending"),
            Requeue { collector } => write!(f, "collector {collector}: requeue"),
            Condemn { collector } => write!(f, "collector {collector}: condemn"),
            Remove { collector } => write!(f, "collector {collector}: remove"),
            UnlinkCondemned { collector } => {
                write!(f, "collector {collector}: unlink(a condemned blob's location)")
            }
            ExamineClaim { collector, location } => {
                write!(
                    f,
                    "collector {collector}: finds the expired claim on location {location}"
                )
            }
            Abandon { collector } => write!(f, "collector {collector}: abandon"),
            ExamineDoomed { collector, location } => {
                write!(f, "collector {collector}: finds location {location} doomed")
            }
            Unlink { collector } => write!(f, "collector {collector}: unlink"),
            ClearDoomed { collector } => write!(f, "collector {collector}: clear_doomed"),
        }
    }
}
