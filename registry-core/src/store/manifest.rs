//! The records that give bytes meaning. Each method is one transaction, named as in the model of the blob's life.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest};
use crate::error::Result;
use crate::manifest::ParsedManifest;
use crate::name::{Reference, RepositoryName, Tag};
use crate::registry::{
    BlobInfo, Manifest, ManifestInfo, MountFrom, Page, PutOutcome, UploadId, WriteOptions,
};
use crate::store::{Location, Stamp};
use crate::time::Timestamp;

/// How long things are kept that nothing points at. One set for all nodes on the same records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long a blob is kept after a pusher was told that it exists, or after its last manifest went. A push must
    /// get from its first blob to its manifest within this time.
    pub grace: Duration,
    /// Leases taken within one bucket share one record; a lease lasts to the end of its bucket and then the grace.
    pub bucket: Duration,
    /// Between condemning a blob and removing it: at least the longest read, and the life of a presigned URL.
    pub second_delay: Duration,
    /// How long an upload may go without progress before it is given up.
    pub upload_idle: Duration,
    /// The longest that a writer may go on writing to a location after it last renewed its claim.
    pub longest_write: Duration,
    /// The longest that a reader may go on reading from a location that has been replaced.
    pub longest_read: Duration,
    /// How long a deleted manifest or tag can be undeleted; zero for not at all. What it names takes up its room for as
    /// long.
    pub undo: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Lifetimes {
            grace: 24 * HOUR,
            bucket: 6 * HOUR,
            second_delay: 2 * HOUR,
            upload_idle: 24 * HOUR,
            longest_write: HOUR,
            longest_read: 2 * HOUR,
            // Over a weekend: what goes wrong on a Friday evening can be taken back on Monday.
            undo: 72 * HOUR,
        }
    }
}

/// What is recorded of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRecord {
    /// Its name and length.
    pub info: BlobInfo,
    /// Where its bytes are.
    pub location: Location,
    /// Where it is in its life.
    pub state: BlobState,
    /// Its bytes were found missing or wrong: nobody is told that it exists, and the next push of it replaces them.
    pub suspect: bool,
    /// The write that made it so.
    pub stamp: Stamp,
}

/// Where a blob is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlobState {
    /// May be pointed at.
    Live,
    /// Nothing pointed at it; it goes at `remove_after`, unless somebody revives it first.
    Condemned {
        /// When it may be removed.
        remove_after: Timestamp,
    },
}

/// Bytes to publish.
#[derive(Clone, Debug)]
pub enum Content {
    /// Durable already, at the location that the upload's claim names.
    Uploaded,
    /// To be written inside the records, by the transaction that publishes them.
    Inline(Bytes),
}

/// An upload's claim on a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadClaim {
    /// The upload.
    pub id: UploadId,
    /// The repository in which it was begun.
    pub repository: RepositoryName,
    /// Where its bytes go.
    pub location: Location,
    /// What they are hashed with as they come.
    pub algorithm: Algorithm,
    /// Until when it may be written to, unless it is [touched](ManifestStore::touch).
    pub expires: Timestamp,
    /// The write that made it so.
    pub stamp: Stamp,
}

/// What is recorded of a manifest, beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRecord {
    /// Its name, type and length.
    pub info: ManifestInfo,
}

/// A manifest to write: what a client sent, checked and read.
#[derive(Clone, Debug)]
pub struct ManifestWrite {
    /// What the manifest points at.
    pub parsed: ParsedManifest,
    /// Its verified name.
    pub digest: Digest,
    /// The bytes as pushed.
    pub bytes: Bytes,
    /// Tags to point at it.
    pub tags: Vec<Tag>,
    /// What else must hold.
    pub options: WriteOptions,
}

/// A tag that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMove {
    /// The tag.
    pub tag: Tag,
    /// What it pointed at before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// What it points at now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
}

/// Something that happened, recorded in the transaction that made it happen. Whoever must learn of it (webhooks,
/// audit, replication, caches of other nodes) reads this feed, and a crash loses none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the feed; the next page begins after it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub position: String,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// In which request.
    pub request_id: String,
    /// Where.
    pub repository: RepositoryName,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A manifest was put, or tags were pointed at one that was there.
    ManifestPut {
        /// Its name.
        digest: Digest,
        /// Its type.
        media_type: String,
        /// Its length in bytes.
        size: u64,
        /// The tags that moved.
        tags: Vec<TagMove>,
    },
    /// A manifest was deleted, and with it the tags that pointed at it.
    ManifestDeleted {
        /// Its name.
        digest: Digest,
        /// The tags that went.
        tags: Vec<TagMove>,
    },
    /// A tag was deleted.
    TagDeleted {
        /// The tag and where it pointed.
        tag: TagMove,
    },
    /// A manifest came back from the trash.
    ManifestUndeleted {
        /// Its name.
        digest: Digest,
        /// Its type.
        media_type: String,
        /// Its length in bytes.
        size: u64,
        /// The tags that came back with it.
        tags: Vec<TagMove>,
    },
    /// A tag came back from the trash.
    TagUndeleted {
        /// The tag and where it points again.
        tag: TagMove,
    },
    /// A manifest left the trash for good.
    ManifestPurged {
        /// Its name.
        digest: Digest,
    },
    /// A deleted tag left the trash for good.
    TagPurged {
        /// The tag.
        tag: Tag,
    },
    /// A repository was deleted with all that was in it.
    RepositoryDeleted,
}

/// Manifests, tags, and the records that decide a blob's life.
///
/// Methods that write assert that the repository's name still means the repository they read, make one when it is
/// missing and they add something, and retry by themselves when another writer was faster. A blob **belongs** to a
/// repository while a manifest there names it or an unexpired lease says so; what does not belong is unknown there.
#[async_trait]
pub trait ManifestStore: Send + Sync + 'static {
    /// The records' clock.
    async fn now(&self) -> Result<Timestamp>;

    /// How long things are kept.
    fn lifetimes(&self) -> &Lifetimes;

    /// What is recorded of a blob, whoever it belongs to: for deciding about its bytes, never for answering a caller.
    async fn blob_record(&self, digest: &Digest) -> Result<Option<BlobRecord>>;

    /// `BlobUnknown` unless the blob belongs to the repository and its bytes are not suspect. Writes nothing.
    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<BlobRecord>;

    /// The bytes of a blob whose record says [`Location::Inline`]; `None` once it does not.
    async fn inline_bytes(&self, digest: &Digest) -> Result<Option<Bytes>>;

    /// Like [`blob`](ManifestStore::blob), and makes sure that the blob is held here for the grace: mostly by
    /// finding that it is already. A condemned blob belongs to nobody and is unknown; only publishing revives it.
    async fn lease(&self, repository: &RepositoryName, digest: &Digest) -> Result<BlobRecord>;

    /// Takes a lease here on a blob that belongs to another repository, as `from` and what the caller may see say.
    /// `None` if there is none such.
    async fn mount(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Option<BlobRecord>>;

    /// Gives up the repository's leases on a blob. `InUse` while a manifest here names it, `BlobUnknown` if it does
    /// not belong.
    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<()>;

    /// Records that a blob's bytes at this record's location are missing or wrong, if the record is still the one
    /// that was read.
    async fn mark_suspect(&self, record: &BlobRecord) -> Result<()>;

    /// Claims `location` for an upload, durably, before the first byte is written there.
    async fn claim(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        location: &Location,
        algorithm: Algorithm,
    ) -> Result<UploadClaim>;

    /// The claim of an upload begun in this repository. `UploadUnknown` if there is none, or it has expired.
    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<UploadClaim>;

    /// Renews a claim. `UploadUnknown` if it is gone.
    async fn touch(&self, claim: &UploadClaim) -> Result<UploadClaim>;

    /// Ends an upload and dooms its location. `UploadUnknown` if it is gone.
    async fn cancel(&self, claim: &UploadClaim) -> Result<()>;

    /// Consumes a claim and makes its bytes a blob of the claim's repository. A live record keeps its bytes and the
    /// new ones are doomed; a condemned record is revived; one whose bytes are suspect gets the new ones. Every
    /// location that loses is doomed. `UploadUnknown` if the claim is gone.
    async fn publish(&self, claim: &UploadClaim, blob: &BlobInfo, content: Content) -> Result<BlobRecord>;

    /// Writes a manifest, its edges, its referrer entry, its tags, its charges and its event; or nothing.
    async fn put_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        write: ManifestWrite,
    ) -> Result<PutOutcome>;

    /// What is recorded of a manifest, without its bytes.
    async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<ManifestRecord>;

    /// A manifest with its bytes.
    async fn manifest_bytes(&self, repository: &RepositoryName, reference: &Reference) -> Result<Manifest>;

    /// Deletes a manifest and its tags, into the [trash](crate::store::Undo) if there is one; what it pointed at gets a
    /// lease. It is invisible at once, and if it points at very much, that is cleaned up later, in pieces.
    async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<()>;

    /// Deletes a tag.
    async fn delete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()>;

    /// As [`Registry::list_tags`](crate::Registry::list_tags).
    async fn list_tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>>;

    /// As [`Registry::list_referrers`](crate::Registry::list_referrers).
    async fn list_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Descriptor>>;

    /// As [`Registry::list_repositories`](crate::Registry::list_repositories).
    async fn list_repositories(
        &self,
        ctx: &Context,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>>;

    /// Makes the name mean nothing; what it meant is cleaned up later, in pieces.
    async fn delete_repository(&self, ctx: &Context, repository: &RepositoryName) -> Result<()>;

    /// Events in the order in which they happened, from the first one after `after`.
    async fn events(&self, after: Option<&str>, limit: usize) -> Result<Vec<Event>>;
}
