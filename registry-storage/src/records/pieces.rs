//! The edges of a deleted put: how they are taken, all at once or in pieces.
//!
//! A manifest that names very much is deleted by one small transaction, which makes it invisible and writes down its
//! edges in pieces. Each piece is taken later in one transaction that consumes it, by put id, so that nobody's edges
//! go but those of the put that was deleted; a crash leaves the pieces that are not taken yet. An edge goes on telling
//! "exists" until its piece is taken; so the lease of the dereferenced goes with the edge, not with the delete.

use std::collections::BTreeMap;

use registry_core::store::{Entry, Txn, Write};
use registry_core::weakening::{Weakening, keep, lack};
use registry_core::{Digest, Error, Result, Timestamp};

use super::past::is_whole;
use super::values::{Fate, Piece, V1, decode, encode};
use super::{Attempt, Records, attempt, keys, values};

/// Most edges that go in one transaction: each is up to five writes. An image has some tens.
pub(super) const EDGES_AT_ONCE: usize = 500;

/// Pieces that are read at once.
const PAGE: usize = 16;

/// More pieces than the largest manifest has.
const OF_ONE_PUT: usize = 10_000;

/// Which put of which manifest.
#[derive(Clone, Copy)]
pub(super) struct Put<'a> {
    pub(super) repository: &'a str,
    pub(super) manifest: &'a Digest,
    pub(super) put: &'a str,
}

impl Records {
    /// Takes the edges of a put, or if there are too many leaves them in pieces for [`sweep_manifests`]. What an edge
    /// opened keeps a lease: the grace of the dereferenced; and everything it named an entry in the collector's queue.
    ///
    /// [`sweep_manifests`]: registry_core::store::Reclaim::sweep_manifests
    pub(super) async fn take_edges(
        &self,
        mut txn: Txn,
        of: Put<'_>,
        children: &values::Children,
        fate: Fate,
        now: Timestamp,
    ) -> Result<Txn> {
        if children.blobs.len() + children.manifests.len() <= self.edges_at_once {
            return self.take_now(txn, of, children, fate, now).await;
        }
        // Pieces are taken later, when the other put's edges may have gone too.
        let fate = match fate {
            Fate::Replaced => Fate::Gone,
            fate => fate,
        };
        if lack(Weakening::LeaseLeftBeforeSweep) {
            for blob in &children.blobs {
                txn = self.add_lease(txn, of.repository, blob, now);
            }
        }
        let blobs = children
            .blobs
            .chunks(self.edges_at_once)
            .map(|blobs| values::Children {
                blobs: blobs.to_vec(),
                ..values::Children::default()
            });
        let manifests = children
            .manifests
            .chunks(self.edges_at_once)
            .map(|manifests| values::Children {
                manifests: manifests.to_vec(),
                ..values::Children::default()
            });
        for (number, children) in blobs.chain(manifests).enumerate() {
            let piece = Piece {
                v: V1,
                manifest: *of.manifest,
                fate,
                children,
            };
            txn = txn.put(keys::piece(of.repository, of.put, number), encode(&piece));
        }
        Ok(txn)
    }

    async fn take_now(
        &self,
        mut txn: Txn,
        of: Put<'_>,
        children: &values::Children,
        fate: Fate,
        now: Timestamp,
    ) -> Result<Txn> {
        for blob in &children.blobs {
            let edge = keys::edge(blob, of.repository, of.put);
            let trashed = keys::trashed(blob, of.repository, of.put);
            let opened = self.entry(&edge).await?.is_some();
            // Deleted in any case: one that was damaged may be mended before this is committed.
            txn = txn.delete(edge);
            if fate != Fate::Trash {
                txn = txn
                    .delete(&trashed)
                    .delete(keys::deferred(blob, of.repository, of.put));
            } else if opened {
                let value = values::Edge {
                    v: V1,
                    manifest: *of.manifest,
                };
                txn = txn.put(trashed, encode(&value));
            }
            if fate == Fate::Replaced {
                continue;
            }
            // With its repository goes what nobody can have been told of any more. Whatever else goes gives its grace,
            // also what is purged before it went into the trash.
            let gives_grace = opened && fate != Fate::Purged;
            txn = match self.find_blob(blob).await? {
                Some((_, entry)) if gives_grace && keep(Weakening::DeleteLeavesNoLease) => {
                    self.add_lease(txn.at(keys::blob(blob), entry.stamp), of.repository, blob, now)
                }
                // What opened nothing leaves nothing that does: so too what went into the trash, for which the grace was
                // given then.
                _ => self.add_pending(txn, blob, now),
            };
        }
        for child in &children.manifests {
            txn = txn.delete(keys::parent(of.repository, child, of.put));
        }
        match keep(Weakening::DeleteLeavesNoEntry) {
            true => Ok(txn),
            false => Ok(without_entries(txn)),
        }
    }

    /// Consumes the pieces that are left of a put: whoever takes them meanwhile is faster. What a damaged one said does
    /// not matter: whoever consumes them all has the put's edges from elsewhere.
    pub(super) async fn drop_pieces(&self, mut txn: Txn, repository: &str, put: &str) -> Result<Txn> {
        let past = self
            .look_past(&keys::pieces_of(repository, put), None, OF_ONE_PUT)
            .await?;
        for (key, entry) in past.entries {
            txn = txn.at(&key, entry.stamp).delete(key);
        }
        for key in past.damaged.into_iter().filter(|key| is_whole(key)) {
            txn = txn.damaged(&key).delete(key);
        }
        Ok(txn)
    }

    /// Takes what is left of the edges of a deleted put, now. Whether there was any.
    pub(super) async fn sweep_put(&self, repository: &str, put: &str) -> Result<bool> {
        let table = keys::pieces_of(repository, put);
        let pieces = self.scan_past(&table, None, OF_ONE_PUT).await?;
        for (key, entry) in &pieces {
            self.sweep_one(key, entry).await?;
        }
        Ok(!pieces.is_empty())
    }

    /// `sweep_manifest`: takes one piece. How many edges it had; none if whoever was faster has taken it.
    async fn sweep_one(&self, key: &str, entry: &Entry) -> Result<usize> {
        attempt!(self.try_sweep_one(key, entry))
    }

    async fn try_sweep_one(&self, key: &str, entry: &Entry) -> Result<Attempt<usize>> {
        let found = self.entry(key).await?;
        if found.is_none_or(|found| found.stamp != entry.stamp) {
            return Ok(Attempt::Done(0));
        }
        let parts: Vec<&str> = key[keys::PIECE.len()..].split('/').collect();
        let [repository, put, _] = parts[..] else {
            return Err(Error::internal(format!("record {key} is no piece")));
        };
        let piece: Piece = decode(key, entry)?;
        let now = self.clock().await?;
        let of = Put {
            repository,
            manifest: &piece.manifest,
            put,
        };
        let (txn, name) = self.assert_id(Txn::new(), repository).await?;
        // Of a deleted repository nothing comes back.
        let (transition, fate) = match name {
            Some(_) => ("sweep_manifest", piece.fate),
            None => ("sweep_repository", Fate::Purged),
        };
        let txn = txn.named(transition).at(key, entry.stamp).delete(key);
        let mut txn = self.take_now(txn, of, &piece.children, fate, now).await?;
        if lack(Weakening::LeaseLeftBeforeSweep) {
            txn.writes.retain(|write| !is_put_under(write, "lease/"));
        }
        if lack(Weakening::SweepLeavesNothing) && transition == "sweep_repository" {
            txn = without_entries(txn);
        }
        let edges = piece.children.blobs.len() + piece.children.manifests.len();
        Ok(self.commit(txn).await?.map(|_| edges.max(1)))
    }

    /// Takes pieces under a prefix until `limit` edges went. Whether any piece is left; one that cannot be taken does
    /// not keep the others from it, and is an error once it is the only kind.
    pub(super) async fn sweep_pieces(&self, prefix: &str, limit: usize) -> Result<bool> {
        let (mut taken, mut failed, mut after) = (0, None, None::<String>);
        let mut tried = BTreeMap::new();
        while taken < limit.max(1) {
            let page = self.scan_past(prefix, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else {
                break;
            };
            after = Some(last.clone());
            for (key, entry) in page {
                if taken >= limit.max(1) {
                    break;
                }
                match self.sweep_one(&key, &entry).await {
                    Ok(edges) => taken += edges,
                    Err(error) => failed = Some(error),
                }
                tried.insert(key, entry.stamp);
            }
        }
        let left = self.look_past(prefix, None, PAGE).await?;
        let lost = left.damaged.iter().find(|key| is_whole(key));
        let lost = lost.map(|key| super::mend::lost(key));
        // A key that was changed can hide its neighbours from whoever asks for them, so that they are listed for ever.
        let mut listed = left.entries.iter();
        let hidden = listed.any(|(key, entry)| tried.get(key) == Some(&entry.stamp));
        match failed.or(lost).or(hidden.then(super::busy)) {
            Some(error) if taken == 0 => Err(error),
            _ => Ok(!left.entries.is_empty()),
        }
    }
}

fn is_put_under(write: &Write, table: &str) -> bool {
    matches!(write, Write::Put(key, _) if key.starts_with(table))
}

/// The same, queueing nothing for the collector: for weakenings.
pub(super) fn without_entries(mut txn: Txn) -> Txn {
    txn.writes.retain(|write| !is_put_under(write, keys::PENDING));
    txn
}
