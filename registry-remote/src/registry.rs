//! The operations, each sent on.

use async_trait::async_trait;
use registry_core::{
    Algorithm, Blob, BlobInfo, ByteRange, ByteStream, Context, Descriptor, Digest, Error, ErrorKind,
    Manifest, ManifestInfo, MountFrom, Page, PutManifest, PutOutcome, Reference, Registry, RepositoryName,
    Result, Tag, UploadId, UploadStatus,
};

use crate::wire::Wire;
use crate::{BuildError, Builder, blobs, lists, manifests, uploads};

/// A registry that another server keeps. Cheap to clone; clones share their connections.
///
/// What cannot be said over the protocol is refused as [`Unsupported`](ErrorKind::Unsupported) and never left out:
/// charges, deferred children, deleting a repository. Whoever asks here is nobody to the far end, which sees only the
/// credentials that this client was built with; so what the caller may must be decided before
/// ([`Authorized`](registry_core::wrappers::Authorized)), and a blob's `stat` is a promise of the far end's to
/// whoever it takes this client for.
#[derive(Clone, Debug)]
pub struct RemoteRegistry {
    wire: Wire,
}

impl RemoteRegistry {
    /// The registry at `origin`, anonymously and with the settings that [`Builder`] begins with.
    ///
    /// # Errors
    /// [`BuildError`] if it is no origin, or the system has no trusted certificates for an `https` one.
    pub fn new(origin: impl Into<String>) -> Result<Self, BuildError> {
        Builder::new(origin).build()
    }

    /// The registry at `origin`, with settings to choose.
    pub fn builder(origin: impl Into<String>) -> Builder {
        Builder::new(origin)
    }

    pub(crate) fn new_on(wire: Wire) -> Self {
        RemoteRegistry { wire }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for RemoteRegistry {
    async fn stat_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BlobInfo> {
        blobs::stat(&self.wire, ctx, repository, digest).await
    }

    async fn read_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob> {
        blobs::read(&self.wire, ctx, repository, digest, range).await
    }

    async fn delete_blob(&self, ctx: &Context, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        blobs::delete(&self.wire, ctx, repository, digest).await
    }

    async fn mount_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Option<BlobInfo>> {
        blobs::mount(&self.wire, ctx, repository, digest, from).await
    }

    async fn begin_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadStatus> {
        uploads::begin(&self.wire, ctx, repository, algorithm).await
    }

    async fn upload_status(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<UploadStatus> {
        uploads::status(&self.wire, ctx, repository, id).await
    }

    async fn append_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<UploadStatus> {
        uploads::append(&self.wire, ctx, repository, id, at, bytes).await
    }

    async fn finish_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
        digest: &Digest,
    ) -> Result<BlobInfo> {
        uploads::finish(&self.wire, ctx, repository, id, at, bytes, digest).await
    }

    async fn cancel_upload(&self, ctx: &Context, repository: &RepositoryName, id: &UploadId) -> Result<()> {
        uploads::cancel(&self.wire, ctx, repository, id).await
    }

    async fn stat_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo> {
        manifests::stat(&self.wire, ctx, repository, reference).await
    }

    async fn get_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest> {
        manifests::get(&self.wire, ctx, repository, reference).await
    }

    async fn put_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<PutOutcome> {
        manifests::put(&self.wire, ctx, repository, put).await
    }

    async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        manifests::delete(&self.wire, ctx, repository, &Reference::Digest(*digest)).await
    }

    async fn delete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        manifests::delete(&self.wire, ctx, repository, &Reference::Tag(tag.clone())).await
    }

    async fn list_tags(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        lists::tags(&self.wire, ctx, repository, after, limit).await
    }

    async fn list_referrers(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Descriptor>> {
        lists::referrers(&self.wire, ctx, repository, subject, artifact_type, after, limit).await
    }

    async fn list_repositories(
        &self,
        ctx: &Context,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>> {
        lists::repositories(&self.wire, ctx, after, limit).await
    }

    async fn delete_repository(&self, _ctx: &Context, repository: &RepositoryName) -> Result<()> {
        let message = format!("a remote registry cannot be told to delete the repository {repository}");
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}
