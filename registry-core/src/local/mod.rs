//! The meaning of push, pull, mount, list and delete, on stores.

mod upload;

use std::sync::Arc;

use async_trait::async_trait;

use crate::context::Context;
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest};
use crate::error::{self, Error, ErrorKind, Result};
use crate::manifest::ParsedManifest;
use crate::name::{Reference, RepositoryName, Tag};
use crate::registry::{
    Blob, BlobInfo, BlobRead, ByteRange, ByteStream, Manifest, ManifestInfo, MountFrom, Page, PutManifest,
    PutOutcome, Registry, UploadId, UploadStatus,
};
use crate::runtime::Runtime;
use crate::store::{BlobRecord, BlobStore, Location, ManifestStore, ManifestWrite, StoreError, UploadStore};

/// How a [`LocalRegistry`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Blobs of at most this many bytes that arrive in one piece are kept inside the records: the commit that
    /// publishes them makes them durable, and no file is made.
    pub inline_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { inline_max: 16 << 10 }
    }
}

/// The registry that keeps what it is given, on stores.
#[derive(Clone)]
pub struct LocalRegistry {
    manifests: Arc<dyn ManifestStore>,
    blobs: Arc<dyn BlobStore>,
    uploads: Arc<dyn UploadStore>,
    runtime: Arc<dyn Runtime>,
    options: Options,
}

impl LocalRegistry {
    /// A registry on these stores. `blobs` reads what `uploads` has written.
    pub fn new(
        manifests: Arc<dyn ManifestStore>,
        blobs: Arc<dyn BlobStore>,
        uploads: Arc<dyn UploadStore>,
        runtime: Arc<dyn Runtime>,
        options: Options,
    ) -> Self {
        LocalRegistry {
            manifests,
            blobs,
            uploads,
            runtime,
            options,
        }
    }

    /// Whether the record's bytes are there, as far as their length tells. If not, the record is marked, so that
    /// nobody else is told that they are, and the next push replaces them.
    async fn has_bytes(&self, record: &BlobRecord) -> Result<bool> {
        if record.location == Location::Inline
            || self.blobs.size(&record.location).await.map_err(store_failed)? == Some(record.info.size)
        {
            return Ok(true);
        }
        tracing::error!(digest = %record.info.digest, location = %record.location, "a blob's bytes are missing");
        self.manifests.mark_suspect(record).await?;
        Ok(false)
    }

    /// Finds a record with `find` whose bytes are there. A collector or a swap may have been between the record and
    /// the look at its bytes, so the record is read again before the answer is no.
    async fn with_bytes<F>(&self, digest: &Digest, find: impl Fn() -> F) -> Result<BlobRecord>
    where
        F: Future<Output = Result<BlobRecord>>,
    {
        loop {
            let record = find().await?;
            if self.has_bytes(&record).await? {
                return Ok(record);
            }
            // Marked suspect by now, if the record was still the same; then the next look ends this.
            if self
                .manifests
                .blob_record(digest)
                .await?
                .is_none_or(|now| now.suspect)
            {
                return Err(error::blob_unknown(digest));
            }
        }
    }

    fn check(&self, ctx: &Context) -> Result<()> {
        ctx.check_deadline(self.runtime.now())
    }
}

/// A store's own failure, as the caller sees it.
fn store_failed(why: StoreError) -> Error {
    match why {
        StoreError::Full(_) => {
            Error::new(ErrorKind::Unavailable, "the registry has no room left for blobs").with_source(why)
        }
        _ => Error::internal(why),
    }
}

#[async_trait]
impl Registry for LocalRegistry {
    async fn stat_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BlobInfo> {
        self.check(ctx)?;
        let record = match ctx.may_push {
            true => {
                self.with_bytes(digest, || self.manifests.lease(repository, digest))
                    .await?
            }
            false => {
                self.with_bytes(digest, || self.manifests.blob(repository, digest))
                    .await?
            }
        };
        Ok(record.info)
    }

    async fn read_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob> {
        self.check(ctx)?;
        loop {
            let record = self.manifests.blob(repository, digest).await?;
            let info = record.info;
            let part = match range {
                None => 0..info.size,
                Some(range) => range.resolve(info.size).ok_or_else(|| {
                    Error::new(
                        ErrorKind::RangeInvalid,
                        format!("blob {digest} has {} bytes", info.size),
                    )
                    .with_detail(serde_json::json!({ "digest": digest, "size": info.size }))
                })?,
            };
            let read = match &record.location {
                // Gone from the records since: read the blob's record again.
                Location::Inline => self.manifests.inline_bytes(digest).await?.and_then(|bytes| {
                    (bytes.len() as u64 == info.size)
                        .then(|| BlobRead::Bytes(bytes.slice(part.start as usize..part.end as usize)))
                }),
                location => match self.blobs.read(location, part.clone()).await {
                    Ok(read) => Some(read),
                    Err(StoreError::Missing(_)) => None,
                    Err(why) => return Err(store_failed(why)),
                },
            };
            if let Some(read) = read {
                return Ok(Blob {
                    info,
                    range: part,
                    read,
                });
            }
            let now = self.manifests.blob_record(digest).await?;
            if now.as_ref().is_some_and(|now| now.stamp == record.stamp) {
                tracing::error!(%digest, location = %record.location, "a blob's bytes are missing");
                self.manifests.mark_suspect(&record).await?;
                return Err(error::blob_unknown(digest));
            }
        }
    }

    async fn delete_blob(&self, ctx: &Context, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        self.check(ctx)?;
        self.manifests.delete_blob(repository, digest).await
    }

    async fn mount_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Option<BlobInfo>> {
        self.check(ctx)?;
        let Some(record) = self.manifests.mount(ctx, repository, digest, from).await? else {
            return Ok(None);
        };
        Ok(self.has_bytes(&record).await?.then_some(record.info))
    }

    async fn begin_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadStatus> {
        self.check(ctx)?;
        let id = UploadId::new(self.runtime.random());
        let location = self.uploads.location(&id);
        let algorithm = algorithm.unwrap_or(Algorithm::Sha256);
        self.manifests
            .claim(repository, &id, &location, algorithm)
            .await?;
        Ok(UploadStatus { id, received: 0 })
    }

    async fn upload_status(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<UploadStatus> {
        self.check(ctx)?;
        self.manifests.upload(repository, id).await?;
        let received = self.uploads.received(id).await.map_err(store_failed)?;
        Ok(UploadStatus {
            id: id.clone(),
            received,
        })
    }

    async fn append_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<UploadStatus> {
        self.check(ctx)?;
        self.append(repository, id, at, bytes).await
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
        self.check(ctx)?;
        self.finish(repository, id, at, bytes, digest).await
    }

    async fn cancel_upload(&self, ctx: &Context, repository: &RepositoryName, id: &UploadId) -> Result<()> {
        self.check(ctx)?;
        let claim = self.manifests.upload(repository, id).await?;
        self.give_up(&claim).await
    }

    async fn stat_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo> {
        self.check(ctx)?;
        Ok(self.manifests.manifest(repository, reference).await?.info)
    }

    async fn get_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest> {
        self.check(ctx)?;
        self.manifests.manifest_bytes(repository, reference).await
    }

    async fn put_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<PutOutcome> {
        self.check(ctx)?;
        let parsed = ParsedManifest::parse(put.media_type.as_deref(), &put.bytes)?;
        let algorithm = put.digest.map_or(Algorithm::Sha256, |digest| digest.algorithm());
        let digest = Digest::of(algorithm, &put.bytes);
        if let Some(named) = put.digest.filter(|named| *named != digest) {
            return Err(digest_mismatch(&named, &digest));
        }
        let write = ManifestWrite {
            parsed,
            digest,
            bytes: put.bytes,
            tags: put.tags,
            options: put.options,
        };
        self.manifests.put_manifest(ctx, repository, write).await
    }

    async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        self.check(ctx)?;
        self.manifests.delete_manifest(ctx, repository, digest).await
    }

    async fn delete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        self.check(ctx)?;
        self.manifests.delete_tag(ctx, repository, tag).await
    }

    async fn list_tags(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        self.check(ctx)?;
        self.manifests.list_tags(repository, after, limit).await
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
        self.check(ctx)?;
        self.manifests
            .list_referrers(repository, subject, artifact_type, after, limit)
            .await
    }

    async fn list_repositories(
        &self,
        ctx: &Context,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>> {
        self.check(ctx)?;
        self.manifests.list_repositories(ctx, after, limit).await
    }

    async fn delete_repository(&self, ctx: &Context, repository: &RepositoryName) -> Result<()> {
        self.check(ctx)?;
        self.manifests.delete_repository(ctx, repository).await
    }
}

fn digest_mismatch(named: &Digest, actual: &Digest) -> Error {
    Error::new(
        ErrorKind::DigestInvalid,
        format!("the content's digest is {actual}, not {named}"),
    )
    .with_detail(serde_json::json!({ "digest": named, "actual": actual }))
}
