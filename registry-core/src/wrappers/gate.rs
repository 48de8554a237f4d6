//! The one place where operations are forwarded to a registry behind a gate.

use async_trait::async_trait;

use crate::context::Context;
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest};
use crate::error::{ErrorKind, Result};
use crate::name::{Reference, RepositoryName, Tag};
use crate::registry::{
    Blob, BlobInfo, ByteRange, ByteStream, Manifest, ManifestInfo, MountFrom, Page, PutManifest, PutOutcome,
    Registry, UploadId, UploadStatus,
};

/// Which operation a gate is asked about, and the repository that it names.
///
/// Not `non_exhaustive`: a gate that does not decide about a new operation must not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each is the operation of `Registry` that has its name"
)]
pub enum Call<'a> {
    StatBlob(&'a RepositoryName),
    ReadBlob(&'a RepositoryName),
    DeleteBlob(&'a RepositoryName),
    MountBlob(&'a RepositoryName),
    /// Taking a blob from this repository, for mounting it in another.
    MountSource(&'a RepositoryName),
    BeginUpload(&'a RepositoryName),
    UploadStatus(&'a RepositoryName),
    AppendUpload(&'a RepositoryName),
    FinishUpload(&'a RepositoryName),
    CancelUpload(&'a RepositoryName),
    StatManifest(&'a RepositoryName),
    GetManifest(&'a RepositoryName),
    PutManifest(&'a RepositoryName),
    DeleteManifest(&'a RepositoryName),
    DeleteTag(&'a RepositoryName),
    ListTags(&'a RepositoryName),
    ListReferrers(&'a RepositoryName),
    ListRepositories,
    DeleteRepository(&'a RepositoryName),
}

impl<'a> Call<'a> {
    /// The repository that the operation names.
    pub fn repository(self) -> Option<&'a RepositoryName> {
        match self {
            Call::StatBlob(name)
            | Call::ReadBlob(name)
            | Call::DeleteBlob(name)
            | Call::MountBlob(name)
            | Call::MountSource(name)
            | Call::BeginUpload(name)
            | Call::UploadStatus(name)
            | Call::AppendUpload(name)
            | Call::FinishUpload(name)
            | Call::CancelUpload(name)
            | Call::StatManifest(name)
            | Call::GetManifest(name)
            | Call::PutManifest(name)
            | Call::DeleteManifest(name)
            | Call::DeleteTag(name)
            | Call::ListTags(name)
            | Call::ListReferrers(name)
            | Call::DeleteRepository(name) => Some(name),
            Call::ListRepositories => None,
        }
    }
}

/// Decides about operations before they happen.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Lets the call pass, with a context that may be narrower than the caller's, or refuses it. What cannot be
    /// decided is refused.
    ///
    /// # Errors
    /// The refusal.
    async fn admit(&self, ctx: &Context, call: Call<'_>) -> Result<Context>;
}

/// A registry behind a gate.
#[derive(Clone, Debug)]
pub struct Gated<R, G> {
    inner: R,
    gate: G,
}

impl<R: Registry, G: Gate> Gated<R, G> {
    /// Puts `gate` in front of `inner`.
    pub fn new(inner: R, gate: G) -> Self {
        Gated { inner, gate }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<R: Registry, G: Gate> Registry for Gated<R, G> {
    async fn stat_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BlobInfo> {
        let ctx = self.gate.admit(ctx, Call::StatBlob(repository)).await?;
        self.inner.stat_blob(&ctx, repository, digest).await
    }

    async fn read_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob> {
        let ctx = self.gate.admit(ctx, Call::ReadBlob(repository)).await?;
        self.inner.read_blob(&ctx, repository, digest, range).await
    }

    async fn delete_blob(&self, ctx: &Context, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let ctx = self.gate.admit(ctx, Call::DeleteBlob(repository)).await?;
        self.inner.delete_blob(&ctx, repository, digest).await
    }

    /// A source that the caller may not read is the same to it as one that does not hold the blob.
    async fn mount_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Option<BlobInfo>> {
        let admitted = self.gate.admit(ctx, Call::MountBlob(repository)).await?;
        if let MountFrom::Repository(source) = from {
            match self.gate.admit(ctx, Call::MountSource(source)).await {
                Err(refused) if refused.kind().status() < 500 => return Ok(None),
                decided => decided?,
            };
        }
        self.inner.mount_blob(&admitted, repository, digest, from).await
    }

    async fn begin_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadStatus> {
        let ctx = self.gate.admit(ctx, Call::BeginUpload(repository)).await?;
        self.inner.begin_upload(&ctx, repository, algorithm).await
    }

    async fn upload_status(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<UploadStatus> {
        let ctx = self.gate.admit(ctx, Call::UploadStatus(repository)).await?;
        self.inner.upload_status(&ctx, repository, id).await
    }

    async fn append_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<UploadStatus> {
        let ctx = self.gate.admit(ctx, Call::AppendUpload(repository)).await?;
        self.inner.append_upload(&ctx, repository, id, at, bytes).await
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
        let ctx = self.gate.admit(ctx, Call::FinishUpload(repository)).await?;
        self.inner
            .finish_upload(&ctx, repository, id, at, bytes, digest)
            .await
    }

    async fn cancel_upload(&self, ctx: &Context, repository: &RepositoryName, id: &UploadId) -> Result<()> {
        let ctx = self.gate.admit(ctx, Call::CancelUpload(repository)).await?;
        self.inner.cancel_upload(&ctx, repository, id).await
    }

    async fn stat_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo> {
        let ctx = self.gate.admit(ctx, Call::StatManifest(repository)).await?;
        self.inner.stat_manifest(&ctx, repository, reference).await
    }

    async fn get_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest> {
        let ctx = self.gate.admit(ctx, Call::GetManifest(repository)).await?;
        self.inner.get_manifest(&ctx, repository, reference).await
    }

    async fn put_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<PutOutcome> {
        let ctx = self.gate.admit(ctx, Call::PutManifest(repository)).await?;
        self.inner.put_manifest(&ctx, repository, put).await
    }

    async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        let ctx = self.gate.admit(ctx, Call::DeleteManifest(repository)).await?;
        self.inner.delete_manifest(&ctx, repository, digest).await
    }

    async fn delete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        let ctx = self.gate.admit(ctx, Call::DeleteTag(repository)).await?;
        self.inner.delete_tag(&ctx, repository, tag).await
    }

    async fn list_tags(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        let ctx = self.gate.admit(ctx, Call::ListTags(repository)).await?;
        self.inner.list_tags(&ctx, repository, after, limit).await
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
        // A repository that is hidden from the caller is as one that does not exist, which has no referrers.
        let ctx = match self.gate.admit(ctx, Call::ListReferrers(repository)).await {
            Err(hidden) if hidden.kind() == ErrorKind::NameUnknown => {
                return Ok(Page {
                    items: Vec::new(),
                    more: false,
                });
            }
            admitted => admitted?,
        };
        self.inner
            .list_referrers(&ctx, repository, subject, artifact_type, after, limit)
            .await
    }

    async fn list_repositories(
        &self,
        ctx: &Context,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>> {
        let ctx = self.gate.admit(ctx, Call::ListRepositories).await?;
        self.inner.list_repositories(&ctx, after, limit).await
    }

    async fn delete_repository(&self, ctx: &Context, repository: &RepositoryName) -> Result<()> {
        let ctx = self.gate.admit(ctx, Call::DeleteRepository(repository)).await?;
        self.inner.delete_repository(&ctx, repository).await
    }
}
