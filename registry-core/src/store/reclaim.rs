//! The collector's side of the records: the steps by which a blob that nothing points at goes.
//!
//! Each step is one transaction that asserts what it read, named as in the model. When to take which step, how fast,
//! and on which node, is for the collector. What is known of a blob, and of earlier runs, can be asked without writing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Result;
use crate::registry::UploadId;
use crate::store::explain::{Explanation, Outlook, Release};
use crate::store::runs::{Begin, Counts, Lead, Run, RunEnd};
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

/// An upload whose claim has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// When it did.
    pub at: Timestamp,
    /// The upload.
    pub id: UploadId,
}

/// What an operator may change for one run. The default is what the records' [`Lifetimes`](crate::store::Lifetimes) say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// A lease counts as over once the start of its bucket and this have passed, if that is before its end. What is
    /// known of a lease is its bucket, so the last push to touch a blob had this long, less at most one bucket. Entries
    /// of the queue that are not due yet are looked at too. Whoever pushes meanwhile and loses a lease is told that the
    /// blob is unknown, and pushes it again; nothing that a manifest names is touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
    /// Nobody but this run uses the registry: no server has the store open. So nobody is reading what is condemned, or
    /// writing to what is doomed, and neither the second delay nor the hold of a doomed location is waited for. With a
    /// server running this cuts off pulls that are under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// What a step of collecting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collected {
    /// `drop_pending`: something points at the blob, or it is gone; its entry went. Whoever takes the last pointer away makes another.
    Dropped,
    /// `requeue`: leases hold the blob; look again when the last of them ends.
    Requeued,
    /// `condemn`: nothing holds the blob; it goes after the second delay unless revived.
    Condemned,
    /// `remove`: the record is gone and its location doomed.
    Removed,
    /// Nothing: what holds the blob ends when the entry is due, and not before.
    Waits,
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
            Collected::Waits | Collected::Conflict => "",
        }
    }
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it did.
    pub done: Collected,
    /// Bytes that it gave back at once: those of a blob inside the records. The others are given back by unlinking.
    pub freed: u64,
}

/// What waits to be done. Counts end at [`Backlog::MOST`], since this is asked often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// When this was so.
    pub now: Timestamp,
    /// Entries of the queue that are due.
    pub due: u64,
    /// When the first entry of the queue is or was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// Doomed locations.
    pub doomed: u64,
    /// How many of them may be unlinked.
    pub unlinkable: u64,
    /// Uploads whose claims have expired.
    pub expired: u64,
    /// What has been in the trash until its window ended.
    pub trash: u64,
    /// Deleted repositories, and pieces of deleted manifests, which are to be cleaned up.
    pub deleted: u64,
    /// Histories of tags that are to be looked at, as they may have grown too long.
    pub marked: u64,
}

impl Backlog {
    /// Where counting ends.
    pub const MOST: usize = 10_000;

    /// Whether there is anything to do now.
    pub fn any(&self) -> bool {
        self.due + self.unlinkable + self.expired + self.trash + self.deleted + self.marked > 0
    }
}

/// A manifest that was left without a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untagged {
    /// When, or when it was last looked at.
    pub since: Timestamp,
    /// The id of its repository.
    pub repository: String,
    /// The manifest.
    pub digest: Digest,
    /// The write that noted it.
    pub stamp: Stamp,
}

/// The steps. Every one may be repeated and may be taken by any number of nodes at once.
///
/// Lists go on from the one `after` which they are asked for, so what cannot be dealt with keeps nothing behind it waiting.
#[async_trait]
pub trait Reclaim: Send + Sync + 'static {
    /// The same records, of which nothing is written: not what is asked for, which is an error, nor what a read would mend.
    fn reading(self: Arc<Self>) -> Arc<dyn Reclaim>;

    /// The records' clock.
    async fn time(&self) -> Result<Timestamp>;

    /// Queue entries that are due, oldest first.
    async fn due(&self, after: Option<&Pending>, limit: usize) -> Result<Vec<Pending>>;

    /// Queue entries, due or not, in the order in which they will be.
    async fn queued(&self, after: Option<&Pending>, limit: usize) -> Result<Vec<Pending>>;

    /// Takes the one step that an entry calls for.
    async fn collect(&self, entry: &Pending) -> Result<Collected> {
        Ok(self.collect_on(entry, &Terms::default()).await?.done)
    }

    /// Takes the one step that an entry calls for on these terms.
    async fn collect_on(&self, entry: &Pending, terms: &Terms) -> Result<Step>;

    /// What [`collect_on`](Reclaim::collect_on) would do now, and why. Writes nothing.
    async fn foresee(&self, entry: &Pending, terms: &Terms) -> Result<Outlook>;

    /// All that is known of a blob. Writes nothing; costs the length of the queue.
    async fn explain(&self, digest: &Digest) -> Result<Explanation>;

    /// Doomed locations that may be unlinked now.
    async fn doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>>;

    /// Doomed locations, whether they may be unlinked or not.
    async fn all_doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>>;

    /// Whether a location is still doomed by the very write that it was listed with: to be asked right before it is unlinked.
    async fn is_doomed(&self, doomed: &Doomed) -> Result<bool>;

    /// `clear_doomed`: after the location was unlinked.
    async fn clear_doomed(&self, doomed: &Doomed) -> Result<()>;

    /// Uploads whose claims have expired, oldest first.
    async fn expired_uploads(&self, after: Option<&Expired>, limit: usize) -> Result<Vec<Expired>>;

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

    /// Notes which manifests were left without a tag, by at most `limit` events of the feed after those that were read
    /// before. Whether there are more.
    async fn follow(&self, limit: usize) -> Result<bool>;

    /// Manifests that were left without a tag by `until`, as far as the feed was [followed](Reclaim::follow), the longest ago
    /// first. They may have one again, or something else that keeps them.
    async fn untagged(
        &self,
        until: Timestamp,
        after: Option<&Untagged>,
        limit: usize,
    ) -> Result<Vec<Untagged>>;

    /// Whether the feed was followed to its end, so that [`untagged`](Reclaim::untagged) names all there are.
    async fn is_followed(&self) -> Result<bool>;

    /// What [`delete_untagged`](Reclaim::delete_untagged) would delete now; none if it would leave it. Writes nothing.
    async fn foresee_untagged(&self, untagged: &Untagged) -> Result<Option<Release>>;

    /// What [`purge_trash`](Reclaim::purge_trash), [`sweep_manifests`](Reclaim::sweep_manifests) and
    /// [`sweep_repositories`](Reclaim::sweep_repositories) would take now: at most about `limit`, which may be none, and where to go
    /// on from if there is more. Writes nothing.
    async fn foresee_deleted(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Release>, Option<String>)>;

    /// `delete_manifest`, asserting that no tag points at it, no index lists it, and it is not about a manifest that is
    /// there. Whether it did; what an index or a subject keeps is noted anew, as of now.
    async fn delete_untagged(&self, untagged: &Untagged) -> Result<bool>;

    /// What waits to be done.
    async fn backlog(&self) -> Result<Backlog>;

    /// Takes the lead of collecting for this long from now on. `None` while another node has it. A node takes over from
    /// itself at once, since it was restarted; so no two that run at the same time may have one name.
    async fn lead(&self, node: &str, run: &str, lasting: Duration) -> Result<Option<Lead>>;

    /// Keeps the lead for this long from now on. `None` if it was taken over.
    async fn renew(&self, lead: &Lead, lasting: Duration) -> Result<Option<Lead>>;

    /// Gives up the lead, if it is still this one.
    async fn resign(&self, lead: &Lead) -> Result<()>;

    /// Who has the lead now.
    async fn leader(&self) -> Result<Option<Lead>>;

    /// Records that a run has begun, and forgets all but the latest `keep`.
    async fn begin_run(&self, run: &str, begin: &Begin, keep: usize) -> Result<()>;

    /// Records how far a run has come, and how it ended if it has.
    async fn note_run(&self, run: &str, counts: &Counts, end: Option<&RunEnd>) -> Result<()>;

    /// Runs from the latest back. One that has no end, and whose node lost the lead, was interrupted and says so.
    async fn runs(&self, limit: usize) -> Result<Vec<Run>>;
}
