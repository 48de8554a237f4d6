//! Taking back what was deleted, and what a tag pointed at before.
//!
//! A manifest that is deleted, with the tags that went with it, and a tag that is deleted on its own stay in the trash
//! of their repository for [`Lifetimes::undo`](crate::store::Lifetimes). What is in the trash is invisible at once and
//! opens nothing; what it names is kept from the collector, so that it comes back whole. When its time is over the
//! collector [purges](crate::store::Reclaim::purge_trash) it. Deleting a repository deletes its trash and its history.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::name::{Reference, RepositoryName, Tag};
use crate::registry::{Expect, ManifestInfo, Page, PutManifest, PutOutcome, Registry, WriteOptions};
use crate::time::Timestamp;

/// Moves of one tag that are kept at least; older ones are trimmed in the background.
pub const HISTORY_MAX: usize = 1000;

/// A deleted manifest that can come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trashed {
    /// Its name.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was deleted.
    pub at: Timestamp,
    /// Who deleted it.
    pub by: String,
    /// Until when it can be undeleted, at least: it goes when the collector comes by after that.
    pub until: Timestamp,
    /// The tags that went with it.
    pub tags: Vec<Tag>,
}

impl Trashed {
    /// What is known of the manifest.
    pub fn info(&self) -> ManifestInfo {
        ManifestInfo {
            digest: self.digest,
            media_type: self.media_type.clone(),
            size: self.size,
        }
    }
}

/// A tag that was deleted on its own and can come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTag {
    /// The tag.
    pub tag: Tag,
    /// What it pointed at.
    pub digest: Digest,
    /// When it was deleted.
    pub at: Timestamp,
    /// Who deleted it.
    pub by: String,
    /// Until when it can be undeleted, at least.
    pub until: Timestamp,
}

/// What an undelete of a manifest did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undeleted {
    /// The manifest that is back.
    pub digest: Digest,
    /// The tags that point at it again.
    pub tags: Vec<Tag>,
    /// Tags that were asked for and set again since: they stay where they are.
    pub kept: Vec<KeptTag>,
}

/// A tag that an undelete left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTag {
    /// The tag.
    pub tag: Tag,
    /// What it points at.
    pub digest: Digest,
}

/// One move of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChange {
    /// Its position in the tag's history; the next page begins after it.
    pub position: String,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
    /// What the tag pointed at before; none if it is new or was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// What it points at since; none if it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
}

/// The order of a list of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The last move first.
    #[default]
    NewestFirst,
    /// The first move first.
    OldestFirst,
}

/// The trash of repositories, and the history of their tags.
///
/// Who may do this is decided before it is called, as with [`ManifestStore`](crate::store::ManifestStore). Every
/// method fails with `NameUnknown` if there is no such repository. What is done is one transaction each, with its event
/// in the feed.
#[async_trait]
pub trait Undo: Send + Sync + 'static {
    /// Deleted manifests that can come back, by digest, from the first after `after`.
    async fn list_trash(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Trashed>>;

    /// Tags that were deleted on their own and can come back, by name, from the first after `after`. Those that went
    /// with a manifest are [listed with it](Trashed::tags). One that was set again since is left out.
    async fn list_deleted_tags(
        &self,
        repository: &RepositoryName,
        after: Option<&Tag>,
        limit: usize,
    ) -> Result<Page<DeletedTag>>;

    /// `undelete`: brings a manifest back, among the referrers of its subject too, and with it the tags that it lost
    /// (or of these only `tags`). A tag that has been set since is not moved; the answer says which.
    ///
    /// # Errors
    /// `ManifestUnknown` if it is not in the trash; `ManifestBlobUnknown` if something that it needs is not here any
    /// more, a manifest that an index lists perhaps: the message names it, the detail has it under `missing`, and under
    /// `trash` what of that is itself in the trash and can be undeleted first.
    async fn undelete(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        tags: Option<&[Tag]>,
    ) -> Result<Undeleted>;

    /// Brings back a tag that was deleted on its own. What it points at then.
    ///
    /// # Errors
    /// `ManifestUnknown` if it is not in the trash, or its manifest is deleted: then the message says whether that can
    /// be undeleted; `PreconditionFailed` if the tag has been set since.
    async fn undelete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<Digest>;

    /// `purge_manifest`: takes one manifest out of the trash for good, before its time.
    ///
    /// # Errors
    /// `ManifestUnknown` if it is not in the trash.
    async fn purge(&self, ctx: &Context, repository: &RepositoryName, digest: &Digest) -> Result<()>;

    /// `purge_tag`: takes one tag that was deleted on its own out of the trash for good, before its time.
    ///
    /// # Errors
    /// `ManifestUnknown` if it is not in the trash.
    async fn purge_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()>;

    /// Purges at most `limit` of what is in the trash of a repository, manifests and tags, before its time. Whether
    /// anything is left.
    async fn empty_trash(&self, ctx: &Context, repository: &RepositoryName, limit: usize) -> Result<bool>;

    /// The moves of a tag, whether there is such a tag now or was once; nothing if there never was. From the first
    /// after the [position](TagChange::position) `after`, in the order asked for. At least the last [`HISTORY_MAX`]
    /// moves are kept, as long as the repository is.
    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        order: Order,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<TagChange>>;
}

/// Points a tag at a manifest where it pointed before, or at any other that is here. If that is in the trash it is
/// undeleted first, without the tags it lost. It is a write like any other: through every policy that `registry` has,
/// only if the tag is as `expect`ed, and in the tag's history.
///
/// # Errors
/// As of [`Undo::undelete`] and [`Registry::put_manifest`]; `PreconditionFailed` if the tag is not as expected;
/// `ManifestUnknown` if the manifest is neither there nor in the trash.
pub async fn roll_back(
    registry: &dyn Registry,
    undo: &dyn Undo,
    ctx: &Context,
    repository: &RepositoryName,
    tag: &Tag,
    to: &Digest,
    expect: Expect,
) -> Result<PutOutcome> {
    let reference = Reference::Digest(*to);
    let manifest = match registry.get_manifest(ctx, repository, &reference).await {
        Err(unknown) if unknown.kind() == ErrorKind::ManifestUnknown => {
            undo.undelete(ctx, repository, to, Some(&[])).await?;
            registry.get_manifest(ctx, repository, &reference).await?
        }
        found => found?,
    };
    let put = PutManifest {
        bytes: manifest.bytes,
        media_type: Some(manifest.info.media_type),
        digest: Some(*to),
        tags: vec![tag.clone()],
        options: WriteOptions {
            expect,
            ..WriteOptions::default()
        },
    };
    registry.put_manifest(ctx, repository, put).await
}
