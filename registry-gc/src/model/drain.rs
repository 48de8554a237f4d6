//! What collectors make of a state when they are left alone.

use super::BlobContract;
use super::rules::Weakening;
use super::state::*;

/// More rounds than the longest chain of durations: a lease, a second delay, a doomed entry.
const ROUNDS: usize = 24;

impl BlobContract {
    /// Every process crashes, nobody comes any more, the clock goes on and one collector works: whether nothing is
    /// left in the end but live manifests, the blobs that edges hold, and their locations.
    pub fn drains(&self, s: &State) -> bool {
        let mut s = *s;
        s.clients = <[ClientStep; CLIENTS]>::default();
        s.collectors = <[CollectorStep; COLLECTORS]>::default();
        self.settle(&mut s);
        for _ in 0..ROUNDS {
            self.collect_once(&mut s);
            self.tick(&mut s);
            self.settle(&mut s);
        }
        self.is_tidy(&s)
    }

    /// One pass over everything that is due. A step that is refused leaves its work to the next pass.
    fn collect_once(&self, s: &mut State) {
        for id in 0..self.bounds.repository_ids {
            for manifest in 0..2 {
                self.attempt(s, |s| self.sweep_repository(s, id, manifest));
            }
            self.attempt(s, |s| self.finish_sweep(s, id));
            self.attempt(s, |s| self.sweep_manifest(s, id));
        }
        for blob in 0..self.bounds.blobs {
            for entry in 0..ENTRIES {
                self.attempt(s, |s| self.examine(s, 0, blob, entry));
                self.attempt(s, |s| self.drop_pending(s, 0));
                self.attempt(s, |s| self.requeue(s, 0));
                self.attempt(s, |s| self.condemn(s, 0));
                self.attempt(s, |s| self.remove(s, 0));
                s.collectors[0] = CollectorStep::Idle;
                self.forget_refused(s);
            }
        }
        for location in 0..self.bounds.locations {
            if s.locations[location].claim == NEVER {
                // An upload that another configuration would abandon.
                self.attempt(s, |s| self.cancel(s, location));
            }
            self.attempt(s, |s| self.examine_claim(s, 0, location));
            self.attempt(s, |s| self.abandon(s, 0));
            self.attempt(s, |s| self.examine_doomed(s, 0, location));
            self.attempt(s, |s| self.unlink(s, 0));
            self.attempt(s, |s| self.clear_doomed(s, 0));
        }
    }

    fn attempt(&self, s: &mut State, transaction: impl FnOnce(&mut State) -> Option<()>) {
        let mut next = *s;
        if transaction(&mut next).is_some() {
            *s = next;
        }
    }

    fn is_tidy(&self, s: &State) -> bool {
        let blobs = s
            .blobs
            .iter()
            .enumerate()
            .all(|(at, blob)| !blob.exists() || s.held(at, self.rules.keep(Weakening::TrashDoesNotHold)));
        let locations =
            (0..LOCATIONS).all(|at| !s.locations[at].used || s.blobs.iter().any(|blob| blob.names(at)));
        let repositories = s.repositories.iter().all(|here| match here.naming {
            Naming::Live => here.manifests.iter().all(|manifest| !manifest.swept_later),
            Naming::Dropped => false,
            Naming::Free => here.is_bare(),
        });
        blobs && locations && repositories && !s.blobs.iter().any(Blob::is_pending)
    }
}
