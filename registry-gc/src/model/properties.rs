//! What must hold in every state.

use super::BlobContract;
use super::rules::Weakening;
use super::state::*;
use super::uploads::Outcome;
use stateright::Property;
use std::sync::atomic::Ordering;

/// A promise of the contract, checked in every state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promise {
    /// I1: what an acknowledged manifest requires is readable in its repository.
    Closure,
    /// I2: nothing with an edge or an unexpired lease is condemned or removed.
    Safety,
    /// I2: who was told "exists" can put_manifest within the grace.
    Grace,
    /// A re-push succeeds at every stage, and the blob is readable after it.
    RePush,
    /// Nothing unlinks a location that a claim or live record names.
    Unlinking,
    /// Whatever is left over will be reclaimed.
    NoLeak,
    /// A pull within the longest read is never cut off by the collector.
    Reads,
    /// Nothing is visible before it is durable, and only with the right bytes.
    Durability,
    /// Knowing a digest opens nothing.
    Belonging,
    /// Collectors that are left alone leave nothing that nobody holds (where [`super::Bounds::drains`] asks for it).
    Residue,
}

impl Promise {
    /// All of them.
    pub const ALL: [Promise; 10] = [
        Promise::Durability,
        Promise::Closure,
        Promise::Safety,
        Promise::Grace,
        Promise::RePush,
        Promise::Unlinking,
        Promise::NoLeak,
        Promise::Reads,
        Promise::Belonging,
        Promise::Residue,
    ];

    /// Its name in summaries and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Promise::Closure => "I1 closure",
            Promise::Safety => "I2 safety",
            Promise::Grace => "I2 grace",
            Promise::RePush => "a re-push always succeeds",
            Promise::Unlinking => "nothing unlinks what a claim or live record names",
            Promise::NoLeak => "no leak that nothing reclaims",
            Promise::Reads => "a read is never cut off",
            Promise::Durability => "durable before visible",
            Promise::Belonging => "knowing a digest opens nothing",
            Promise::Residue => "collectors left alone leave no residue",
        }
    }

    /// Whether it holds in `s`.
    fn holds(self, model: &BlobContract, s: &State) -> bool {
        match self {
            Promise::Closure => closure(model, s),
            Promise::Safety => safety(model, s),
            Promise::Grace => grace(model, s),
            Promise::RePush => re_push(model, s),
            Promise::Unlinking => unlinking(s),
            Promise::NoLeak => no_leak(model, s),
            Promise::Reads => reads(s),
            Promise::Durability => durability(model, s),
            Promise::Belonging => belonging(model, s),
            Promise::Residue => !model.bounds.drains || model.drains(s),
        }
    }
}

/// Checks the promise at `AT`. The checker keeps the last counterexample that it meets; the flag makes it the first.
fn first_broken<const AT: usize>(model: &BlobContract, s: &State) -> bool {
    model.broken.load(Ordering::Relaxed)
        || Promise::ALL[AT].holds(model, s)
        || model.broken.swap(true, Ordering::Relaxed)
}

/// All promises, as the checker wants them.
pub(super) fn properties() -> Vec<Property<BlobContract>> {
    const CONDITIONS: [fn(&BlobContract, &State) -> bool; 10] = [
        first_broken::<0>,
        first_broken::<1>,
        first_broken::<2>,
        first_broken::<3>,
        first_broken::<4>,
        first_broken::<5>,
        first_broken::<6>,
        first_broken::<7>,
        first_broken::<8>,
        first_broken::<9>,
    ];
    let named = Promise::ALL.iter().zip(CONDITIONS);
    named
        .map(|(promise, condition)| Property::always(promise.name(), condition))
        .collect()
}

/// A record that is not condemned, with the right bytes unless the fault action took them.
fn is_readable(s: &State, blob: usize) -> bool {
    let record = &s.blobs[blob];
    matches!(record.existence, Existence::Live | Existence::Suspect)
        && matches!(
            s.locations[usize::from(record.location)].bytes,
            Bytes::Good | Bytes::Lost
        )
}

fn closure(model: &BlobContract, s: &State) -> bool {
    model
        .live_repositories(s)
        .map(|id| &s.repositories[id])
        .all(|here| {
            let [image, index] = &here.manifests;
            let image_closed = (0..model.bounds.blobs).all(|blob| match image.edges[blob] {
                Edge::Opens => is_readable(s, blob),
                Edge::Holds | Edge::None => !image.required,
            });
            (image.presence != Presence::Live || image_closed)
                && (index.presence != Presence::Live || image.presence == Presence::Live)
        })
}

fn safety(model: &BlobContract, s: &State) -> bool {
    let held = |blob: usize| {
        s.repositories.iter().any(|here| {
            here.leases[blob] > 0
                || here
                    .manifests
                    .iter()
                    .any(|manifest| [manifest.edges[blob], manifest.old_edges[blob]].contains(&Edge::Opens))
        })
    };
    s.breach == Breach::None
        && (0..model.bounds.blobs).all(|blob| {
            matches!(s.blobs[blob].existence, Existence::Live | Existence::Suspect) || !held(blob)
        })
}

fn grace(model: &BlobContract, s: &State) -> bool {
    model.live_repositories(s).all(|id| {
        (0..model.bounds.blobs).all(|blob| {
            s.repositories[id].promises[blob] == 0
                || (matches!(s.blobs[blob].existence, Existence::Live | Existence::Suspect)
                    && model.belongs(s, id, blob))
        })
    })
}

fn re_push(model: &BlobContract, s: &State) -> bool {
    (0..model.bounds.blobs).all(|blob| match model.outcome_now(s, blob) {
        // The record goes on with the bytes that it has: they must be right.
        Outcome::Keep | Outcome::Revive => {
            s.locations[usize::from(s.blobs[blob].location)].bytes == Bytes::Good
        }
        Outcome::Fresh | Outcome::Swap => true,
    })
}

fn unlinking(s: &State) -> bool {
    let named = |at: usize| {
        s.locations[at].is_claimed()
            || s.blobs
                .iter()
                .any(|blob| blob.names(at) && blob.existence != Existence::Condemned)
    };
    (0..LOCATIONS).all(|at| s.locations[at].bytes != Bytes::Unlinked || !named(at))
}

fn no_leak(model: &BlobContract, s: &State) -> bool {
    let named = |at: usize| {
        let location = &s.locations[at];
        location.is_claimed() || location.doomed != ABSENT || s.blobs.iter().any(|blob| blob.names(at))
    };
    let every_file_is_named = (0..LOCATIONS).all(|at| !s.locations[at].bytes.on_disk() || named(at));
    let every_blob_is_held_or_queued = (0..model.bounds.blobs).all(|blob| {
        let record = &s.blobs[blob];
        !record.exists() || record.is_pending() || s.held(blob, model.rules.keep(Weakening::TrashDoesNotHold))
    });
    let every_edge_has_an_owner = s.repositories.iter().all(|here| {
        let bare = here.manifests == <[Manifest; 2]>::default();
        let owned = here.manifests.iter().all(|manifest| {
            (manifest.presence != Presence::Absent || manifest.edges == [Edge::None; BLOBS])
                && (manifest.swept_later || manifest.old_edges == [Edge::None; BLOBS])
        });
        (here.naming != Naming::Free || bare) && owned
    });
    every_file_is_named && every_blob_is_held_or_queued && every_edge_has_an_owner
}

fn reads(s: &State) -> bool {
    s.clients.iter().all(|client| match client {
        ClientStep::Reading { location, .. } => s.locations[usize::from(*location)].bytes != Bytes::Unlinked,
        _ => true,
    })
}

fn durability(model: &BlobContract, s: &State) -> bool {
    s.blobs.iter().take(model.bounds.blobs).all(|blob| {
        !blob.exists()
            || !matches!(
                s.locations[usize::from(blob.location)].bytes,
                Bytes::Unwritten | Bytes::Torn
            )
    })
}

fn belonging(model: &BlobContract, s: &State) -> bool {
    !model.bounds.deferred
        || model.live_repositories(s).all(|id| {
            (0..model.bounds.blobs)
                .all(|blob| s.repositories[id].entitled[blob] || !model.belongs(s, id, blob))
        })
}
