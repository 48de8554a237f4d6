//! The one trait in the middle.
//!
//! [`Registry`] is what a registry does, repository by repository. [`LocalRegistry`](crate::LocalRegistry) does it on
//! stores; a remote registry does it over HTTP; a policy is a wrapper that asks first and then calls the registry
//! inside it; the [HTTP service](crate::http) serves any of them. Whatever is built on this trait composes.

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest};
use crate::error::Result;
use crate::name::{Reference, RepositoryName, Tag};
use crate::open_file::OpenFile;

/// Bytes on their way in or out. An error ends the stream: whoever reads it must not take what came before for the whole.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A stream of these bytes, in one piece.
pub fn once(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    Box::pin(futures_util::stream::iter(
        (!bytes.is_empty()).then_some(Ok(bytes)),
    ))
}

/// A stream of no bytes.
pub fn empty() -> ByteStream {
    Box::pin(futures_util::stream::empty())
}

/// What is known of a blob without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A part of a blob that a reader asks for, in the forms of RFC 9110 §14.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first offset to the last, both inclusive; without a last, to the end.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Suffix(u64),
}

impl ByteRange {
    /// The bytes this means in content of `size` bytes; `None` if it means none that exist.
    pub fn resolve(self, size: u64) -> Option<Range<u64>> {
        match self {
            ByteRange::From(first, last) if first < size => {
                let end = last.map_or(size, |last| size.min(last.saturating_add(1)));
                (first < end).then_some(first..end)
            }
            ByteRange::Suffix(length) if length > 0 && size > 0 => Some(size.saturating_sub(length)..size),
            _ => None,
        }
    }
}

/// A blob opened for reading: what it is, which part was asked for, and that part's bytes.
#[derive(Debug)]
pub struct Blob {
    /// The whole blob.
    pub info: BlobInfo,
    /// The part that `read` gives.
    pub range: Range<u64>,
    /// The bytes of `range`.
    pub read: BlobRead,
}

/// How a store hands out bytes. It passes through wrappers untouched, so that a shell can serve each form at its best.
pub enum BlobRead {
    /// In memory.
    Bytes(Bytes),
    /// A part of an open file, for `sendfile` or `pread`.
    File(Arc<OpenFile>, Range<u64>),
    /// As they come.
    Stream(ByteStream),
    /// Elsewhere: the client may fetch them itself, from this URL.
    Redirect(String),
}

impl fmt::Debug for BlobRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlobRead::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            BlobRead::File(_, range) => write!(f, "File({range:?})"),
            BlobRead::Stream(_) => f.write_str("Stream"),
            BlobRead::Redirect(_) => f.write_str("Redirect"),
        }
    }
}

/// Names one upload. Unguessable; valid only in the repository where it was begun.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UploadId(Arc<str>);

impl UploadId {
    /// From sixteen random bytes.
    pub fn new(random: u128) -> Self {
        UploadId(format!("{random:032x}").into())
    }

    /// The id as text, 32 to 512 characters that need no escaping in a URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no upload id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload id is up to 512 letters, digits, `-`, `_` or `=`")]
pub struct InvalidUploadId;

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=');
        if (1..=512).contains(&s.len()) && s.bytes().all(legal) {
            Ok(UploadId(s.into()))
        } else {
            Err(InvalidUploadId)
        }
    }
}

impl TryFrom<String> for UploadId {
    type Error = InvalidUploadId;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<UploadId> for String {
    fn from(id: UploadId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({})", self.0)
    }
}

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadStatus {
    /// Which upload.
    pub id: UploadId,
    /// Bytes received, in order and without gaps, and durable.
    pub received: u64,
}

/// Where a mounted blob is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountFrom {
    /// This repository.
    Repository(RepositoryName),
    /// Any repository that the caller may see, as [`Context::visible`] says.
    Anywhere,
}

/// A manifest and its bytes, exactly as they were pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What it is.
    pub info: ManifestInfo,
    /// The bytes as pushed.
    pub bytes: Bytes,
}

/// What is known of a manifest without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Its name.
    pub digest: Digest,
    /// Its media type, as it was pushed, without parameters.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
}

/// A manifest to write, and the conditions under which.
#[derive(Clone, Debug)]
pub struct PutManifest {
    /// The bytes, kept and served exactly so.
    pub bytes: Bytes,
    /// The `Content-Type` that came with them, if any.
    pub media_type: Option<String>,
    /// The digest that the bytes must have, if the client named it; without it they are stored under SHA-256.
    pub digest: Option<Digest>,
    /// The tags to point at it.
    pub tags: Vec<Tag>,
    /// What the store enforces in the same transaction.
    pub options: WriteOptions,
}

impl PutManifest {
    /// A manifest to be stored under one tag.
    pub fn tagged(tag: Tag, media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        PutManifest {
            bytes: bytes.into(),
            media_type: Some(media_type.into()),
            digest: None,
            tags: vec![tag],
            options: WriteOptions::default(),
        }
    }

    /// A manifest to be stored under its SHA-256 digest only.
    pub fn untagged(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        PutManifest {
            digest: Some(Digest::sha256(&bytes)),
            bytes,
            media_type: Some(media_type.into()),
            tags: Vec::new(),
            options: WriteOptions::default(),
        }
    }
}

/// What must be atomic with a manifest's write. A wrapper sets these; the store's one transaction enforces them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What each tag must point at beforehand.
    pub expect: Expect,
    /// Counters to add to, and the limits they must not pass.
    pub charge: Vec<Charge>,
    /// Whether what the manifest names must be here already.
    pub children: Children,
}

/// The state a tag must be in for a write to happen: immutability and compare-and-set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// No matter.
    #[default]
    Any,
    /// The tag must not exist. Of any number of concurrent writers exactly one wins.
    Absent,
    /// The tag must point at this manifest.
    At(Digest),
}

/// An amount to add to a counter in the same transaction as a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Names the counter; letters, digits, `-`, `_` and `.`.
    pub counter: String,
    /// How much to add; negative to give back.
    pub amount: i64,
    /// The write is refused if the counter would pass this.
    pub limit: Option<u64>,
}

/// Whether a manifest's children must be here when it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Children {
    /// Each must belong to the repository already.
    #[default]
    Required,
    /// They may come later: a proxy holds an index before it holds what the index names. Such a child is kept from
    /// being collected, but opens nothing: it can be read here only once its bytes were brought here.
    Deferred,
}

/// What a manifest write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOutcome {
    /// The manifest's name.
    pub digest: Digest,
    /// The subject it refers to, if any.
    pub subject: Option<Digest>,
    /// The tags that now point at it because of this write.
    pub tags: Vec<Tag>,
}

/// One page of an ordered list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries, in order.
    pub items: Vec<T>,
    /// Whether there is more after the last of them.
    pub more: bool,
}

impl<T> Page<T> {
    /// A page of the first `limit` of `items`, which holds one more than that if there is more.
    pub fn cut(mut items: Vec<T>, limit: usize) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Page { items, more }
    }
}

/// What a registry does. Object-safe: `Arc<dyn Registry>` is the currency of this project.
///
/// Every operation names one repository and takes the [`Context`] of the caller. Beside the errors that each lists,
/// any may answer [`Unavailable`](crate::ErrorKind::Unavailable), [`Internal`](crate::ErrorKind::Internal),
/// [`Unauthorized`](crate::ErrorKind::Unauthorized), [`Denied`](crate::ErrorKind::Denied),
/// [`TooManyRequests`](crate::ErrorKind::TooManyRequests), or — where a wrapper takes an operation away —
/// [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// An operation that writes is durable before it answers. If its future is dropped, it has happened whole or not at
/// all, except that an upload may have received a part of the bytes.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// What is known of a blob. Told to a caller who [may push](Context::may_push), "it exists" is a promise that
    /// holds for the registry's grace: a manifest naming it can be put within that time.
    ///
    /// # Errors
    /// `NameUnknown`, `BlobUnknown`.
    async fn stat_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BlobInfo>;

    /// Opens a blob, or a part of it, for reading.
    ///
    /// # Errors
    /// `NameUnknown`, `BlobUnknown`, `RangeInvalid` if the blob has no byte of `range`.
    async fn read_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob>;

    /// Takes a blob from the repository, unless a manifest in it needs the blob.
    ///
    /// # Errors
    /// `NameUnknown`, `BlobUnknown`, `InUse`.
    async fn delete_blob(&self, ctx: &Context, repository: &RepositoryName, digest: &Digest) -> Result<()>;

    /// Makes a blob of another repository belong to this one, without moving bytes. `None` if it is not to be had
    /// there, whatever the reason: knowing a digest must not tell where it exists.
    ///
    /// # Errors
    /// `NameInvalid`.
    async fn mount_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Option<BlobInfo>>;

    /// Begins an upload. `algorithm` is what the bytes should be hashed with as they come; another can still be
    /// asked for at the end.
    ///
    /// # Errors
    /// None of its own.
    async fn begin_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadStatus>;

    /// How far an upload is.
    ///
    /// # Errors
    /// `UploadUnknown`.
    async fn upload_status(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<UploadStatus>;

    /// Adds bytes to an upload; they are durable when it answers. `at` is the offset that the first of them must
    /// have; without it they go to the end. If the stream fails, what came before may have been kept;
    /// [`upload_status`](Registry::upload_status) says. A second writer supersedes a first that stalls.
    ///
    /// # Errors
    /// `UploadUnknown`, `RangeInvalid` if `at` is not where the upload is, `UploadInvalid` if the stream fails or
    /// another writer took over, `TooLarge`, `Timeout`.
    async fn append_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<UploadStatus>;

    /// Adds the last bytes and makes the blob: it is readable, by its verified digest, when this answers. On
    /// `DigestInvalid` the upload is over and its bytes are given up.
    ///
    /// # Errors
    /// Those of [`append_upload`](Registry::append_upload), and `DigestInvalid`.
    async fn finish_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
        digest: &Digest,
    ) -> Result<BlobInfo>;

    /// Gives an upload up.
    ///
    /// # Errors
    /// `UploadUnknown`.
    async fn cancel_upload(&self, ctx: &Context, repository: &RepositoryName, id: &UploadId) -> Result<()>;

    /// What is known of a manifest.
    ///
    /// # Errors
    /// `NameUnknown`, `ManifestUnknown`.
    async fn stat_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo>;

    /// A manifest, as it was pushed.
    ///
    /// # Errors
    /// `NameUnknown`, `ManifestUnknown`.
    async fn get_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest>;

    /// Writes a manifest and points tags at it, in one step.
    ///
    /// # Errors
    /// `ManifestInvalid`, `ManifestTooLarge`, `DigestInvalid`, `ManifestBlobUnknown` naming every missing child in
    /// its detail, `PreconditionFailed` if a tag is not as [expected](WriteOptions::expect), `QuotaExceeded`.
    async fn put_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<PutOutcome>;

    /// Deletes a manifest and every tag that points at it.
    ///
    /// # Errors
    /// `NameUnknown`, `ManifestUnknown`, `InUse` while an index of this repository needs it.
    async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<()>;

    /// Deletes a tag and nothing else.
    ///
    /// # Errors
    /// `NameUnknown`, `ManifestUnknown`.
    async fn delete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()>;

    /// Tags in ASCII order, from the first one after `after`, at most `limit`. `after` need not exist.
    ///
    /// # Errors
    /// `NameUnknown`.
    async fn list_tags(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>>;

    /// Manifests whose subject is `subject`, in the order of their digests, from the first one after `after`. An
    /// unknown subject or repository has none.
    ///
    /// # Errors
    /// None of its own.
    async fn list_referrers(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Descriptor>>;

    /// Repositories that the caller may [see](Context::visible), in ASCII order, from the first one after `after`.
    ///
    /// # Errors
    /// None of its own.
    async fn list_repositories(
        &self,
        ctx: &Context,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>>;

    /// Deletes a repository and all that is in it. It is gone at once; a repository later made under its name has
    /// nothing of it.
    ///
    /// # Errors
    /// `NameUnknown`.
    async fn delete_repository(&self, ctx: &Context, repository: &RepositoryName) -> Result<()>;
}
