//! What clients do to blobs and manifests: HEAD and mount, put, delete, undelete, pull.
//!
//! Each transition is one record transaction, named as the code names it; the `read_for_*` steps before it are what
//! its process remembers when it commits, however much later that is. `None` means that the step is not possible or
//! that the transaction is refused; a refused transaction changes nothing.

use super::BlobContract;
use super::rules::Weakening;
use super::state::*;

impl BlobContract {
    /// HEAD or mount reads: the blob is live, and belongs here or where it is mounted from.
    pub(super) fn read_for_lease(
        &self,
        s: &mut State,
        client: usize,
        repository: usize,
        blob: usize,
    ) -> Option<()> {
        let entitled = self.live_repositories(s).any(|id| self.belongs(s, id, blob));
        (entitled
            && self.serves_leases(s, repository, blob)
            && !self.told_without_write(s, repository, blob))
        .then_some(())?;
        s.clients[client] = ClientStep::Leasing {
            repository: repository as u8,
            blob: blob as u8,
            age: 0,
            outdated: false,
        };
        Some(())
    }

    /// HEAD answers "exists" without a write: an edge, or a lease of the current bucket, is there already.
    pub(super) fn tell_exists(&self, s: &mut State, repository: usize, blob: usize) -> Option<()> {
        (self.serves_leases(s, repository, blob) && self.told_without_write(s, repository, blob))
            .then_some(())?;
        self.promise(s, repository, blob)
    }

    fn serves_leases(&self, s: &State, repository: usize, blob: usize) -> bool {
        s.repositories[repository].naming == Naming::Live && s.blobs[blob].existence == Existence::Live
    }

    fn told_without_write(&self, s: &State, repository: usize, blob: usize) -> bool {
        let here = &s.repositories[repository];
        let opens = here.manifests.iter().any(|m| {
            (m.presence == Presence::Live && m.edges[blob] == Edge::Opens) || m.old_edges[blob] == Edge::Opens
        });
        let suffices = if self.rules.lack(Weakening::OlderLeaseSuffices) {
            1
        } else {
            self.lease_ticks()
        };
        opens || here.leases[blob] >= suffices
    }

    fn promise(&self, s: &mut State, repository: usize, blob: usize) -> Option<()> {
        s.repositories[repository].promises[blob] = self.bounds.timing.lease;
        Some(())
    }

    /// `lease`: asserts name -> id, the blob's stamp, that it is live, and `now() < ` the end of the bucket read.
    pub(super) fn lease(&self, s: &mut State, client: usize) -> Option<()> {
        let ClientStep::Leasing {
            repository,
            blob,
            age,
            ..
        } = s.clients[client]
        else {
            return None;
        };
        self.client_commits(s, client)?;
        let (repository, blob) = (usize::from(repository), usize::from(blob));
        s.clients[client] = ClientStep::Idle;
        self.insert_lease(s, repository, blob, age)?;
        s.repositories[repository].entitled[blob] = self.bounds.deferred;
        self.promise(s, repository, blob)
    }

    /// A lease and its queue entry, for the bucket that was current `age` ticks ago.
    pub(super) fn insert_lease(&self, s: &mut State, repository: usize, blob: usize, age: u8) -> Option<()> {
        let left = self.lease_ticks().saturating_sub(age);
        s.repositories[repository].leases[blob] = s.repositories[repository].leases[blob].max(left);
        s.insert_pending(blob, DUE_NOW + left, self.bounds.entries)
    }

    /// put_manifest reads: which children are live and belong here, and the record that it replaces.
    pub(super) fn read_for_put(
        &self,
        s: &mut State,
        client: usize,
        repository: usize,
        manifest: usize,
        deferred: bool,
    ) -> Option<()> {
        (s.repositories[repository].naming == Naming::Live).then_some(())?;
        let mut edges = [Edge::None; BLOBS];
        if manifest == IMAGE {
            for (blob, edge) in edges.iter_mut().enumerate().take(self.bounds.blobs) {
                let belongs = self.belongs(s, repository, blob);
                let live = s.blobs[blob].existence == Existence::Live;
                (deferred || (belongs && live)).then_some(())?;
                // A suspect blob goes on belonging: the edge that replaces an edge must not open less.
                let counts = live || self.rules.keep(Weakening::DeferredForgetsSuspect);
                *edge = if belongs && counts {
                    Edge::Opens
                } else {
                    Edge::Holds
                };
            }
        } else if s.repositories[repository].manifests[IMAGE].presence != Presence::Live {
            return None;
        }
        let as_is = s.repositories[repository].manifests[manifest];
        if as_is.presence == Presence::Live && as_is.edges == edges && as_is.required != deferred {
            return None; // nothing would change
        }
        s.clients[client] = ClientStep::Putting {
            repository: repository as u8,
            manifest: manifest as u8,
            deferred,
            edges,
            outdated: false,
            replaced: false,
        };
        Some(())
    }

    /// `put_manifest`: asserts name -> id, each child's stamp (and that a required one is live), and the stamp or
    /// absence of the record it replaces; writes the manifest and its edges under a fresh put id, and removes the
    /// edges of the put id that it replaces.
    pub(super) fn put_manifest(&self, s: &mut State, client: usize) -> Option<()> {
        let ClientStep::Putting {
            repository,
            manifest,
            deferred,
            edges,
            ..
        } = s.clients[client]
        else {
            return None;
        };
        self.client_commits(s, client)?;
        let (repository, manifest) = (usize::from(repository), usize::from(manifest));
        s.clients[client] = ClientStep::Idle;
        let record = &mut s.repositories[repository].manifests[manifest];
        record.presence = Presence::Live;
        record.required = !deferred;
        record.edges = edges;
        s.manifest_written(repository, manifest);
        Some(())
    }

    /// `delete_manifest`: asserts name -> id, the record's stamp, and that no live index names it; removes the edges
    /// of that put id (or leaves them for `sweep_manifest`, or to the trash), and leaves a lease and its queue entry.
    pub(super) fn delete_manifest(&self, s: &mut State, repository: usize, manifest: usize) -> Option<()> {
        let here = &s.repositories[repository];
        (here.naming == Naming::Live && here.manifests[manifest].presence == Presence::Live).then_some(())?;
        if manifest == IMAGE && self.rules.keep(Weakening::DeleteIgnoresParents) {
            (here.manifests[INDEX].presence != Presence::Live).then_some(())?;
        }
        let edges = here.manifests[manifest].edges;
        let record = &mut s.repositories[repository].manifests[manifest];
        if self.bounds.trash {
            record.presence = Presence::Trash;
        } else if self.bounds.delete_in_pieces && manifest == IMAGE {
            (!record.swept_later).then_some(())?;
            *record = Manifest {
                swept_later: true,
                old_edges: edges,
                ..Manifest::default()
            };
            s.manifest_written(repository, manifest);
            // The lease is left by whoever removes the edge: until then the edge goes on telling "exists".
            let too_soon = self.rules.lack(Weakening::LeaseLeftBeforeSweep);
            return if too_soon {
                self.dereference(s, repository, edges, true)
            } else {
                Some(())
            };
        } else {
            *record = Manifest::default();
        }
        s.manifest_written(repository, manifest);
        self.dereference(s, repository, edges, true)
    }

    /// `delete_manifest` of what is in the trash: removes its edges, and leaves a queue entry.
    pub(super) fn purge_manifest(&self, s: &mut State, repository: usize, manifest: usize) -> Option<()> {
        let record = &mut s.repositories[repository].manifests[manifest];
        (record.presence == Presence::Trash).then_some(())?;
        let edges = record.edges;
        *record = Manifest::default();
        s.manifest_written(repository, manifest);
        self.dereference(s, repository, edges, false)
    }

    /// `sweep_manifest`: removes the edges of a deleted put id; the lease goes with the edge.
    pub(super) fn sweep_manifest(&self, s: &mut State, repository: usize) -> Option<()> {
        let here = &mut s.repositories[repository];
        let record = &mut here.manifests[IMAGE];
        (here.naming == Naming::Live && record.swept_later).then_some(())?;
        let edges = record.old_edges;
        record.swept_later = false;
        record.old_edges = [Edge::None; BLOBS];
        if self.rules.lack(Weakening::EdgesWithoutPutId) {
            record.edges = [Edge::None; BLOBS];
        }
        self.dereference(
            s,
            repository,
            edges,
            self.rules.keep(Weakening::LeaseLeftBeforeSweep),
        )
    }

    /// What the removal of edges leaves behind: the grace of the dereferenced, and an entry for the collector.
    fn dereference(&self, s: &mut State, repository: usize, edges: [Edge; BLOBS], grace: bool) -> Option<()> {
        let grace = grace && self.rules.keep(Weakening::DeleteLeavesNoLease);
        for (blob, edge) in edges.iter().enumerate() {
            match edge {
                Edge::Opens if grace && self.rules.lack(Weakening::DeleteLeavesNoEntry) => {
                    s.repositories[repository].leases[blob] = self.lease_ticks();
                }
                Edge::Opens if grace => self.insert_lease(s, repository, blob, 0)?,
                Edge::Opens | Edge::Holds => s.insert_pending(blob, DUE_NOW, self.bounds.entries)?,
                Edge::None => {}
            }
        }
        Some(())
    }

    /// `undelete`: asserts name -> id, the trashed record's stamp, and its children as put_manifest does.
    pub(super) fn undelete(&self, s: &mut State, repository: usize, manifest: usize) -> Option<()> {
        let here = &s.repositories[repository];
        let record = &here.manifests[manifest];
        (here.naming == Naming::Live && record.presence == Presence::Trash).then_some(())?;
        if self.rules.keep(Weakening::UndeleteWithoutChildren) {
            let children = if manifest == INDEX {
                here.manifests[IMAGE].presence == Presence::Live
            } else {
                (0..self.bounds.blobs).all(|blob| {
                    record.edges[blob] != Edge::Opens || s.blobs[blob].existence == Existence::Live
                })
            };
            children.then_some(())?;
        }
        s.repositories[repository].manifests[manifest].presence = Presence::Live;
        s.manifest_written(repository, manifest);
        Some(())
    }

    /// `delete_blob` by a client: removes this repository's leases; refused while edges here open the blob. Those that only
    /// hold, deferred ones and those of the trash, go on holding. A manifest that is there with a deferred edge refuses too
    /// in the code, but as a courtesy to whoever deletes: it asserts so only where it saw no such edge at all.
    pub(super) fn delete_blob(&self, s: &mut State, repository: usize, blob: usize) -> Option<()> {
        let here = &mut s.repositories[repository];
        let opened = here.manifests.iter().any(|manifest| {
            manifest.old_edges[blob] == Edge::Opens
                || (manifest.presence != Presence::Trash && manifest.edges[blob] == Edge::Opens)
        });
        (here.naming == Naming::Live && here.leases[blob] > 0 && !opened).then_some(())?;
        here.leases[blob] = 0;
        here.promises[blob] = 0;
        Some(())
    }

    /// A pull finds the record and opens the bytes.
    pub(super) fn start_reading(&self, s: &mut State, client: usize, blob: usize) -> Option<()> {
        let record = s.blobs[blob];
        let belongs = self.live_repositories(s).any(|id| self.belongs(s, id, blob));
        (belongs && record.exists() && s.locations[usize::from(record.location)].bytes == Bytes::Good)
            .then_some(())?;
        s.clients[client] = ClientStep::Reading {
            location: record.location,
            remaining: self.bounds.timing.longest_read,
        };
        Some(())
    }

    /// A pull missed the bytes (or believes so), re-read the record, and found it unchanged.
    pub(super) fn read_for_suspect(&self, s: &mut State, client: usize, blob: usize) -> Option<()> {
        let record = s.blobs[blob];
        let missed =
            s.locations[usize::from(record.location)].bytes == Bytes::Lost || self.bounds.false_alarms;
        (record.existence == Existence::Live && missed).then_some(())?;
        s.clients[client] = ClientStep::Missing {
            blob: blob as u8,
            outdated: false,
        };
        Some(())
    }

    /// `mark_suspect`: asserts the blob's stamp and that it is live.
    pub(super) fn mark_suspect(&self, s: &mut State, client: usize) -> Option<()> {
        let ClientStep::Missing { blob, .. } = s.clients[client] else {
            return None;
        };
        self.client_commits(s, client)?;
        s.clients[client] = ClientStep::Idle;
        s.blobs[usize::from(blob)].existence = Existence::Suspect;
        s.blob_written(usize::from(blob));
        Some(())
    }
}
