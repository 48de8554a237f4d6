//! A shared registry is a registry: wrappers take `Arc<dyn Registry>` like any other.

use std::sync::Arc;

use async_trait::async_trait;

use crate::context::Context;
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest};
use crate::error::Result;
use crate::name::{Reference, RepositoryName, Tag};
use crate::registry::{
    Blob, BlobInfo, ByteRange, ByteStream, Manifest, ManifestInfo, MountFrom, Page, PutManifest, PutOutcome,
    Registry, UploadId, UploadStatus,
};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<R: Registry + ?Sized> Registry for Arc<R> {
    async fn stat_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BlobInfo> {
        (**self).stat_blob(ctx, repository, digest).await
    }

    async fn read_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob> {
        (**self).read_blob(ctx, repository, digest, range).await
    }

    async fn delete_blob(&self, ctx: &Context, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        (**self).delete_blob(ctx, repository, digest).await
    }

    async fn mount_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Option<BlobInfo>> {
        (**self).mount_blob(ctx, repository, digest, from).await
    }

    async fn begin_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadStatus> {
        (**self).begin_upload(ctx, repository, algorithm).await
    }

    async fn upload_status(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<UploadStatus> {
        (**self).upload_status(ctx, repository, id).await
    }

    async fn append_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<UploadStatus> {
        (**self).append_upload(ctx, repository, id, at, bytes).await
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
        (**self)
            .finish_upload(ctx, repository, id, at, bytes, digest)
            .await
    }

    async fn cancel_upload(&self, ctx: &Context, repository: &RepositoryName, id: &UploadId) -> Result<()> {
        (**self).cancel_upload(ctx, repository, id).await
    }

    async fn stat_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo> {
        (**self).stat_manifest(ctx, repository, reference).await
    }

    async fn get_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest> {
        (**self).get_manifest(ctx, repository, reference).await
    }

    async fn put_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<PutOutcome> {
        (**self).put_manifest(ctx, repository, put).await
    }

    async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        (**self).delete_manifest(ctx, repository, digest).await
    }

    async fn delete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        (**self).delete_tag(ctx, repository, tag).await
    }

    async fn list_tags(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        (**self).list_tags(ctx, repository, after, limit).await
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
        (**self)
            .list_referrers(ctx, repository, subject, artifact_type, after, limit)
            .await
    }

    async fn list_repositories(
        &self,
        ctx: &Context,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>> {
        (**self).list_repositories(ctx, after, limit).await
    }

    async fn delete_repository(&self, ctx: &Context, repository: &RepositoryName) -> Result<()> {
        (**self).delete_repository(ctx, repository).await
    }
}
