//! Shows what lies below a prefix as a registry of its own.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;

use crate::auth::Visible;
use crate::context::Context;
use crate::descriptor::Descriptor;
use crate::digest::{Algorithm, Digest};
use crate::error::{self, Error, ErrorKind, Result};
use crate::name::{InvalidName, Reference, RepositoryName, Tag};
use crate::registry::{
    Blob, BlobInfo, ByteRange, ByteStream, Manifest, ManifestInfo, MountFrom, Page, PutManifest, PutOutcome,
    Registry, UploadId, UploadStatus,
};

/// A registry whose repository `app` is `prefix/app` of the registry inside. What is not below the prefix does not
/// exist for its callers, who do not learn the prefix from lists either.
#[derive(Clone, Debug)]
pub struct Prefix<R> {
    inner: R,
    /// With its slash.
    prefix: String,
}

impl<R: Registry> Prefix<R> {
    /// Shows what lies below `prefix` in `inner`.
    pub fn around(inner: R, prefix: &RepositoryName) -> Self {
        Prefix {
            inner,
            prefix: format!("{prefix}/"),
        }
    }

    fn inward(&self, name: &RepositoryName) -> Result<RepositoryName> {
        format!("{}{name}", self.prefix)
            .parse()
            .map_err(|why: InvalidName| {
                Error::new(
                    ErrorKind::NameInvalid,
                    format!("repository name {name} is too long here: {why}"),
                )
            })
    }

    /// The same context with what the caller's token opens in the inner registry's names.
    fn inward_context<'c>(&self, ctx: &'c Context) -> Cow<'c, Context> {
        let Some(scope) = &ctx.scope else {
            return Cow::Borrowed(ctx);
        };
        Cow::Owned(Context {
            scope: Some(Arc::new(scope.renamed(|name| self.inward(name).ok()))),
            ..ctx.clone()
        })
    }

    /// The same with what the caller may see in the inner registry's names.
    fn inward_visible(&self, ctx: &Context) -> Context {
        let visible = match &ctx.visible {
            Visible::All => Visible::Only {
                names: Arc::new([]),
                prefixes: Arc::new([self.prefix.clone()]),
            },
            Visible::Only { names, prefixes } => Visible::Only {
                names: names.iter().filter_map(|name| self.inward(name).ok()).collect(),
                prefixes: prefixes
                    .iter()
                    .map(|prefix| format!("{}{prefix}", self.prefix))
                    .collect(),
            },
        };
        Context {
            visible,
            ..self.inward_context(ctx).into_owned()
        }
    }
}

/// The error in the caller's names: one that speaks of the repository would tell the prefix.
fn outward(why: Error, repository: &RepositoryName) -> Error {
    match why.kind() {
        ErrorKind::NameUnknown => error::name_unknown(repository),
        kind @ ErrorKind::Unauthorized => Error::new(
            kind,
            format!("repository {repository} takes an account, or a token that opens it; log in"),
        ),
        _ => why,
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<R: Registry> Registry for Prefix<R> {
    async fn stat_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<BlobInfo> {
        self.inner
            .stat_blob(&self.inward_context(ctx), &self.inward(repository)?, digest)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn read_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<Blob> {
        self.inner
            .read_blob(
                &self.inward_context(ctx),
                &self.inward(repository)?,
                digest,
                range,
            )
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn delete_blob(&self, ctx: &Context, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        self.inner
            .delete_blob(&self.inward_context(ctx), &self.inward(repository)?, digest)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn mount_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Option<BlobInfo>> {
        let from = match from {
            MountFrom::Repository(source) => MountFrom::Repository(self.inward(source)?),
            MountFrom::Anywhere => MountFrom::Anywhere,
        };
        let ctx = self.inward_visible(ctx);
        self.inner
            .mount_blob(&ctx, &self.inward(repository)?, digest, &from)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn begin_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Result<UploadStatus> {
        self.inner
            .begin_upload(&self.inward_context(ctx), &self.inward(repository)?, algorithm)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn upload_status(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Result<UploadStatus> {
        self.inner
            .upload_status(&self.inward_context(ctx), &self.inward(repository)?, id)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn append_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<UploadStatus> {
        self.inner
            .append_upload(
                &self.inward_context(ctx),
                &self.inward(repository)?,
                id,
                at,
                bytes,
            )
            .await
            .map_err(|why| outward(why, repository))
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
        self.inner
            .finish_upload(
                &self.inward_context(ctx),
                &self.inward(repository)?,
                id,
                at,
                bytes,
                digest,
            )
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn cancel_upload(&self, ctx: &Context, repository: &RepositoryName, id: &UploadId) -> Result<()> {
        self.inner
            .cancel_upload(&self.inward_context(ctx), &self.inward(repository)?, id)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn stat_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestInfo> {
        self.inner
            .stat_manifest(&self.inward_context(ctx), &self.inward(repository)?, reference)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn get_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest> {
        self.inner
            .get_manifest(&self.inward_context(ctx), &self.inward(repository)?, reference)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn put_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<PutOutcome> {
        self.inner
            .put_manifest(&self.inward_context(ctx), &self.inward(repository)?, put)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        self.inner
            .delete_manifest(&self.inward_context(ctx), &self.inward(repository)?, digest)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn delete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        self.inner
            .delete_tag(&self.inward_context(ctx), &self.inward(repository)?, tag)
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn list_tags(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        self.inner
            .list_tags(&self.inward_context(ctx), &self.inward(repository)?, after, limit)
            .await
            .map_err(|why| outward(why, repository))
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
        self.inner
            .list_referrers(
                &self.inward_context(ctx),
                &self.inward(repository)?,
                subject,
                artifact_type,
                after,
                limit,
            )
            .await
            .map_err(|why| outward(why, repository))
    }

    async fn list_repositories(
        &self,
        ctx: &Context,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>> {
        let after = after.map(|after| format!("{}{after}", self.prefix));
        let page = self
            .inner
            .list_repositories(&self.inward_visible(ctx), after.as_deref(), limit)
            .await?;
        let outward = |name: &RepositoryName| name.as_str().strip_prefix(&self.prefix)?.parse().ok();
        Ok(Page {
            items: page.items.iter().filter_map(outward).collect(),
            more: page.more,
        })
    }

    async fn delete_repository(&self, ctx: &Context, repository: &RepositoryName) -> Result<()> {
        self.inner
            .delete_repository(&self.inward_context(ctx), &self.inward(repository)?)
            .await
            .map_err(|why| outward(why, repository))
    }
}
