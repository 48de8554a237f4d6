//! The meaning of push, pull, mount, list and delete, on stores.

mod kept;
mod upload;
mod verify;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

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
use crate::runtime::{Runtime, blocking};
use crate::store::{
    BlobRecord, BlobStore, Location, ManifestStore, ManifestWrite, StoreError, UploadStore, is_full,
};

use kept::Kept;
pub use verify::{SAMPLE, Verify};
use verify::{Verdict, Verifier, is_of};

/// How a [`LocalRegistry`] behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Blobs of at most this many bytes that arrive in one piece are kept inside the records: the commit that
    /// publishes them makes them durable, and no file is made.
    pub inline_max: usize,
    /// How many reads of other blobs are checked against the digest before they are answered. Inline blobs and
    /// manifests are always checked.
    pub verify: Verify,
    /// How many bytes of manifests and inline blobs are kept in memory once they were read and found right; zero for
    /// none. Whether they are there, and whose they are, the records say each time.
    pub cache: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            inline_max: 16 << 10,
            verify: Verify::default(),
            cache: 16 << 20,
        }
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
    verifier: Arc<Verifier>,
    kept: Arc<Kept>,
}

/// The largest manifest that is hashed on the thread that polls: some 0.1 ms.
const HASHED_AT_ONCE: usize = 128 << 10;

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
            verifier: Arc::default(),
            kept: Arc::new(Kept::new(options.cache)),
        }
    }

    /// Whether the record's bytes are there: inline ones by their digest, others as far as their length tells. If
    /// not, the record is marked, so that nobody else is told that they are, and the next push replaces them.
    async fn has_bytes(&self, record: &BlobRecord) -> Result<bool> {
        let there = match &record.location {
            Location::Inline => {
                let bytes = self.manifests.inline_bytes(&record.info.digest).await?;
                bytes.is_some_and(|bytes| self.is_whole(record, &bytes))
            }
            location => self.blobs.size(location).await.map_err(store_failed)? == Some(record.info.size),
        };
        if !there {
            self.suspect(record).await?;
        }
        Ok(there)
    }

    /// Marks a blob whose bytes were found missing or wrong, for nobody to be told that it exists.
    async fn suspect(&self, record: &BlobRecord) -> Result<()> {
        tracing::error!(
            digest = %record.info.digest,
            location = %record.location,
            "a blob's bytes are missing or damaged; the next push of it replaces them"
        );
        self.manifests.mark_suspect(record).await
    }

    /// Opens a part of a blob, if its bytes are there and, as far as they are checked, right.
    async fn open(&self, record: &BlobRecord, part: Range<u64>) -> Result<Option<BlobRead>> {
        if record.location == Location::Inline {
            let digest = &record.info.digest;
            let bytes = match self.kept.get(digest) {
                Some(kept) if kept.len() as u64 == record.info.size => Some(kept),
                _ => {
                    let read = self.manifests.inline_bytes(digest).await?;
                    read.filter(|bytes| self.is_whole(record, bytes))
                }
            };
            return Ok(
                bytes.map(|bytes| BlobRead::Bytes(bytes.slice(part.start as usize..part.end as usize)))
            );
        }
        let length = part.end - part.start;
        let read = match self.blobs.read(&record.location, part).await {
            Ok(read) => read,
            Err(StoreError::Missing(_)) => return Ok(None),
            Err(why) => return Err(store_failed(why)),
        };
        if !self.options.verify.asks(&*self.runtime, length, record.info.size) {
            return Ok(Some(read));
        }
        match self.verifier.verify(&self.blobs, &self.runtime, record).await {
            Verdict::Whole | Verdict::Elsewhere => Ok(Some(read)),
            Verdict::Wrong => Ok(None),
            Verdict::Failed(why) => Err(Error::internal(why)),
        }
    }

    /// Whether inline bytes, as they were read, are the blob's. They are few, so this is asked at every turn.
    fn is_whole(&self, record: &BlobRecord, bytes: &Bytes) -> bool {
        let digest = record.info.digest;
        if bytes.len() as u64 != record.info.size {
            return false;
        }
        // To compare is cheaper than to hash.
        if self.kept.get(&digest).is_some_and(|kept| kept == bytes) {
            return true;
        }
        let is_right = is_of(&digest, bytes);
        if is_right {
            self.kept.keep(digest, bytes);
        }
        is_right
    }

    /// Whether a manifest's bytes, as they were read, are the ones that were pushed.
    async fn is_right(&self, manifest: &Manifest) -> bool {
        let digest = manifest.info.digest;
        let bytes = manifest.bytes.clone();
        let is_right = match bytes.len() <= HASHED_AT_ONCE {
            true => is_of(&digest, &bytes),
            false => blocking(&*self.runtime, move || is_of(&digest, &bytes)).await,
        };
        if is_right {
            self.kept.keep(digest, &manifest.bytes);
        }
        is_right
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
    let full = match &why {
        StoreError::Full(_) => true,
        // Some systems look for room only when they write to the disk.
        StoreError::Lost(cause) => is_full(cause),
        _ => false,
    };
    match full {
        true => {
            Error::new(ErrorKind::Unavailable, "the registry has no room left for blobs").with_source(why)
        }
        false => Error::internal(why),
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
            if let Some(read) = self.open(&record, part.clone()).await? {
                return Ok(Blob {
                    info,
                    range: part,
                    read,
                });
            }
            // A collector or a swap may have been between the record and its bytes: then read the record again.
            let now = self.manifests.blob_record(digest).await?;
            if now.as_ref().is_some_and(|now| now.stamp == record.stamp) {
                self.suspect(&record).await?;
                return Err(error::blob_lost(digest));
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
        let claim = self.manifests.upload(repository, id).await?;
        let received = self.received(&claim).await?;
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
        // With its bytes: who is told that it is there can have it.
        Ok(self.get_manifest(ctx, repository, reference).await?.info)
    }

    async fn get_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest> {
        self.check(ctx)?;
        let info = self.manifests.manifest(repository, reference).await?.info;
        if let Some(bytes) = self.kept.get(&info.digest) {
            return Ok(Manifest { info, bytes });
        }
        let manifest = self.manifests.manifest_bytes(repository, reference).await?;
        if !self.is_right(&manifest).await {
            let digest = &manifest.info.digest;
            tracing::error!(%digest, %repository, "a manifest's bytes are damaged; putting it again replaces them");
            return Err(error::manifest_lost(digest));
        }
        Ok(manifest)
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
