//! The collector's side of the records: the steps by which a blob that nothing points at goes.
//!
//! Each step is one transaction that asserts what it read, named as in the model. When to take which step, how fast,
//! and on which node, is for the collector.

use async_trait::async_trait;

use crate::digest::Digest;
use crate::error::Result;
use crate::registry::UploadId;
use crate::store::{Location, Stamp};
use crate::time::Timestamp;

/// An entry of the collector's queue: look at this blob, not before this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Not before.
    pub due: Timestamp,
    /// The blob.
    pub digest: Digest,
    /// The write that queued it.
    pub stamp: Stamp,
}

/// A location whose bytes nothing names any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Where they are.
    pub location: Location,
    /// Not before this time may they be unlinked: a late writer or reader may still be at them.
    pub not_before: Timestamp,
    /// The write that doomed it.
    pub stamp: Stamp,
}

/// What a step of collecting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// `drop_pending`: something points at the blob, or it is gone; its entry went. Whoever takes the last pointer away makes another.
    Dropped,
    /// `requeue`: leases hold the blob; look again when the last of them ends.
    Requeued,
    /// `condemn`: nothing holds the blob; it goes after the second delay unless revived.
    Condemned,
    /// `remove`: the record is gone and its location doomed.
    Removed,
    /// Somebody else was faster; look again.
    Conflict,
}

impl Collected {
    /// The transition that did it, by its name in the model; empty if there was none.
    pub fn name(self) -> &'static str {
        match self {
            Collected::Dropped => "drop_pending",
            Collected::Requeued => "requeue",
            Collected::Condemned => "condemn",
            Collected::Removed => "remove",
            Collected::Conflict => "",
        }
    }
}

/// The steps. Every one may be repeated and may be taken by any number of nodes at once.
#[async_trait]
pub trait Reclaim: Send + Sync + 'static {
    /// Queue entries that are due, oldest first.
    async fn due(&self, limit: usize) -> Result<Vec<Pending>>;

    /// Takes the one step that an entry calls for.
    async fn collect(&self, entry: &Pending) -> Result<Collected>;

    /// Doomed locations that may be unlinked now, in no particular order, from the first one after `after`.
    async fn doomed(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Doomed>>;

    /// `clear_doomed`: after the location was unlinked.
    async fn clear_doomed(&self, doomed: &Doomed) -> Result<()>;

    /// Uploads whose claims have expired, oldest first.
    async fn expired_uploads(&self, limit: usize) -> Result<Vec<UploadId>>;

    /// `abandon`: ends an upload whose claim has expired, asserting that it was not touched meanwhile, and dooms
    /// its location. Whether it did.
    async fn abandon(&self, id: &UploadId) -> Result<bool>;

    /// `sweep_repository`: cleans up a piece, at most `limit` records, of repositories that were deleted. Whether
    /// anything is left.
    async fn sweep_repositories(&self, limit: usize) -> Result<bool>;

    /// `sweep_manifest`: takes the edges of manifests that were deleted with too many of them for one transaction, at most
    /// about `limit`; each goes with the lease and the queue entry that it leaves. Whether anything is left.
    async fn sweep_manifests(&self, limit: usize) -> Result<bool>;

    /// `purge_manifest`: purges at most `limit` of what has been in the trash until its window ended, oldest first, and
    /// trims as many histories of tags. Whether more is due.
    async fn purge_trash(&self, limit: usize) -> Result<bool>;
}
