//! Repositories: names map to ids that never repeat, so a delete is one record and the rest is swept in pieces.

use super::BlobContract;
use super::rules::Weakening;
use super::state::*;

impl BlobContract {
    /// `create_repository`: a fresh id for a name that has none.
    pub(super) fn create_repository(&self, s: &mut State) -> Option<()> {
        (self.live_repositories(s).count() < self.bounds.names).then_some(())?;
        let slot = (0..self.bounds.repository_ids)
            .find(|&id| s.repositories[id].naming == Naming::Free && !self.is_remembered(s, id))?;
        (s.repositories[slot] == Repository::default()).then_some(())?;
        s.repositories[slot].naming = Naming::Live;
        Some(())
    }

    /// Whether a paused process still holds this repository id.
    fn is_remembered(&self, s: &State, id: usize) -> bool {
        s.clients.iter().any(|client| match client {
            ClientStep::Leasing { repository, .. }
            | ClientStep::Putting { repository, .. }
            | ClientStep::Publishing { repository, .. } => usize::from(*repository) == id,
            _ => false,
        })
    }

    /// `delete_repository`: the name maps to nothing; what the id holds is invisible at once.
    pub(super) fn delete_repository(&self, s: &mut State, id: usize) -> Option<()> {
        (s.repositories[id].naming == Naming::Live).then_some(())?;
        s.repositories[id].naming = Naming::Dropped;
        s.repositories[id].promises = [0; BLOBS];
        s.repositories[id].entitled = [false; BLOBS];
        Some(())
    }

    /// `sweep_repository`, one piece: a manifest of a dropped id with its edges, and a queue entry for each blob.
    pub(super) fn sweep_repository(&self, s: &mut State, id: usize, manifest: usize) -> Option<()> {
        let here = &mut s.repositories[id];
        (here.naming == Naming::Dropped && here.manifests[manifest] != Manifest::default()).then_some(())?;
        let swept = here.manifests[manifest];
        here.manifests[manifest] = Manifest::default();
        s.manifest_written(id, manifest);
        for blob in 0..self.bounds.blobs {
            if swept.has_edge(blob) && self.rules.keep(Weakening::SweepLeavesNothing) {
                s.insert_pending(blob, DUE_NOW, self.bounds.entries)?;
            }
        }
        Some(())
    }

    /// `sweep_repository`, the last piece: the leases, and the dropped id itself.
    pub(super) fn finish_sweep(&self, s: &mut State, id: usize) -> Option<()> {
        let here = &mut s.repositories[id];
        (here.naming == Naming::Dropped && here.manifests == <[Manifest; 2]>::default()).then_some(())?;
        *here = Repository::default();
        Some(())
    }
}
