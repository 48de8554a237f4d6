//! What [`Registry`] promises, whoever keeps it: on stores, behind a wrapper, at the other end of HTTP.
//!
//! A clause speaks as a named caller who may do everything, in repositories below `suite/`, on a registry that holds
//! nothing yet.

pub mod blobs;
pub mod lists;
pub mod local;
pub mod manifests;
pub mod referrers;
pub mod tags;
pub mod uploads;
pub mod writers;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use registry_core::auth::{Identity, Visible};
use registry_core::manifest::{OCI_INDEX, OCI_MANIFEST};
use registry_core::{
    BlobInfo, Context, Descriptor, Digest, ErrorKind, Manifest, MountFrom, PutManifest, PutOutcome,
    Reference, Registry, RepositoryName, Result, Tag, UploadStatus, once,
};

use super::{Fixture, read_all};

/// Stamps one test per clause of the `Registry` contract. The word `local` before the factory adds the clauses about
/// what the protocol has no words for: deleting a repository, deferred children, charges. See
/// [`testkit`](crate::testkit).
#[macro_export]
macro_rules! registry_suite {
    ($name:ident, local, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::registry_suite!(contract, $factory);
            $crate::registry_local_clauses!(local, $factory);
        }
    };
    ($name:ident, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::registry_blobs_clauses!(blobs, $factory);
            $crate::registry_uploads_clauses!(uploads, $factory);
            $crate::registry_writers_clauses!(writers, $factory);
            $crate::registry_manifests_clauses!(manifests, $factory);
            $crate::registry_tags_clauses!(tags, $factory);
            $crate::registry_lists_clauses!(lists, $factory);
            $crate::registry_referrers_clauses!(referrers, $factory);
        }
    };
}

type F = Fixture<dyn Registry>;

/// Who asks in these clauses.
pub fn caller() -> Context {
    Context::request(Identity::Named("tester".into()), "contract")
}

fn repo(name: &str) -> RepositoryName {
    format!("suite/{name}").parse().expect("a test's repository")
}

fn tag(name: &str) -> Tag {
    name.parse().expect("a test's tag")
}

/// A registry and the caller who uses it.
#[derive(Clone)]
struct User {
    registry: Arc<dyn Registry>,
    ctx: Context,
}

impl User {
    fn of(fixture: &F) -> Self {
        User {
            registry: Arc::clone(&fixture.store),
            ctx: caller(),
        }
    }

    fn seeing(&self, visible: Visible) -> Self {
        User {
            registry: Arc::clone(&self.registry),
            ctx: Context {
                visible,
                ..self.ctx.clone()
            },
        }
    }

    async fn begin(&self, repository: &RepositoryName) -> UploadStatus {
        self.registry
            .begin_upload(&self.ctx, repository, None)
            .await
            .expect("an upload begins")
    }

    async fn push(&self, repository: &RepositoryName, bytes: &Bytes) -> Digest {
        let digest = Digest::sha256(bytes);
        self.push_as(repository, bytes, &digest)
            .await
            .expect("a blob is pushed");
        digest
    }

    async fn push_as(&self, repository: &RepositoryName, bytes: &Bytes, digest: &Digest) -> Result<BlobInfo> {
        let begun = self
            .registry
            .begin_upload(&self.ctx, repository, Some(digest.algorithm()))
            .await?;
        let bytes = once(bytes.clone());
        self.registry
            .finish_upload(&self.ctx, repository, &begun.id, Some(0), bytes, digest)
            .await
    }

    async fn stat(&self, repository: &RepositoryName, digest: &Digest) -> Result<BlobInfo> {
        self.registry.stat_blob(&self.ctx, repository, digest).await
    }

    async fn read(&self, repository: &RepositoryName, digest: &Digest) -> Result<Bytes> {
        let blob = self
            .registry
            .read_blob(&self.ctx, repository, digest, None)
            .await?;
        Ok(read_all(blob.read).await.expect("a blob's bytes"))
    }

    async fn mount(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        from: &RepositoryName,
    ) -> Result<Option<BlobInfo>> {
        let from = MountFrom::Repository(from.clone());
        self.registry
            .mount_blob(&self.ctx, repository, digest, &from)
            .await
    }

    /// Pushes an image's blobs, and gives its manifest, which is not pushed yet.
    async fn prepared(&self, repository: &RepositoryName, seed: &str) -> Bytes {
        let (config, layer) = (format!("config {seed}").into(), format!("layer {seed}").into());
        self.push(repository, &config).await;
        self.push(repository, &layer).await;
        image(&config, &[layer], None)
    }

    /// Pushes an image under a tag.
    async fn image(&self, repository: &RepositoryName, seed: &str, name: &str) -> Digest {
        let manifest = self.prepared(repository, seed).await;
        let put = PutManifest::tagged(tag(name), OCI_MANIFEST, manifest);
        self.put(repository, put)
            .await
            .expect("an image is pushed")
            .digest
    }

    /// Pushes an image without a tag.
    async fn untagged(&self, repository: &RepositoryName, seed: &str) -> Digest {
        let manifest = self.prepared(repository, seed).await;
        let put = PutManifest::untagged(OCI_MANIFEST, manifest);
        self.put(repository, put)
            .await
            .expect("an image is pushed")
            .digest
    }

    async fn put(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        self.registry.put_manifest(&self.ctx, repository, put).await
    }

    async fn get(&self, repository: &RepositoryName, reference: impl Into<Reference>) -> Result<Manifest> {
        self.registry
            .get_manifest(&self.ctx, repository, &reference.into())
            .await
    }

    /// What a tag points at.
    async fn at(&self, repository: &RepositoryName, name: &str) -> Option<Digest> {
        match self
            .registry
            .stat_manifest(&self.ctx, repository, &tag(name).into())
            .await
        {
            Ok(info) => Some(info.digest),
            Err(error) if matches!(error.kind(), ErrorKind::ManifestUnknown | ErrorKind::NameUnknown) => None,
            Err(error) => panic!("{name} cannot be looked up: {error:?}"),
        }
    }

    async fn delete(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        self.registry.delete_manifest(&self.ctx, repository, digest).await
    }

    /// All tags, in one page.
    async fn tags(&self, repository: &RepositoryName) -> Vec<String> {
        let page = self
            .registry
            .list_tags(&self.ctx, repository, None, 1000)
            .await
            .expect("a list of tags");
        page.items.iter().map(Tag::to_string).collect()
    }
}

fn descriptor(media_type: &str, digest: &Digest, size: usize) -> serde_json::Value {
    serde_json::json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// An image of these blobs.
fn image(config: &Bytes, layers: &[Bytes], subject: Option<&Digest>) -> Bytes {
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| {
            descriptor(
                "application/vnd.oci.image.layer.v1.tar",
                &Digest::sha256(layer),
                layer.len(),
            )
        })
        .collect();
    let config_type = "application/vnd.oci.image.config.v1+json";
    let mut manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config_type, &Digest::sha256(config), config.len()),
        "layers": layers,
    });
    if let Some(subject) = subject {
        manifest["subject"] = descriptor(OCI_MANIFEST, subject, 1);
    }
    serde_json::to_vec(&manifest).expect("a manifest is JSON").into()
}

/// An index of these manifests.
fn index(children: &[(Digest, usize)]) -> Bytes {
    let manifests: Vec<_> = children
        .iter()
        .map(|(digest, size)| descriptor(OCI_MANIFEST, digest, *size))
        .collect();
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    serde_json::to_vec(&index).expect("an index is JSON").into()
}

/// Puts an index of one child under the tag `index`.
async fn put_index(user: &User, repository: &RepositoryName, child: &Digest) -> Result<PutOutcome> {
    let size = user
        .get(repository, *child)
        .await
        .map_or(1, |child| child.bytes.len());
    let put = PutManifest::tagged(tag("index"), OCI_INDEX, index(&[(*child, size)]));
    user.put(repository, put).await
}

fn digests(descriptors: &[Descriptor]) -> Vec<Digest> {
    descriptors.iter().map(|descriptor| descriptor.digest).collect()
}

/// Over the wire a refusal to a HEAD request has no body, so that it cannot tell what it is that is unknown.
#[track_caller]
fn assert_unknown<T: std::fmt::Debug>(outcome: Result<T>) {
    match outcome {
        Err(error) => assert_eq!(error.kind().status(), 404, "{error:?}"),
        Ok(known) => panic!("{known:?} is known"),
    }
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(outcome: Result<T>, kind: ErrorKind) -> registry_core::Error {
    match outcome {
        Err(error) if error.kind() == kind => error,
        other => panic!("expected {kind:?}, got {other:?}"),
    }
}

/// Runs tasks at once and gathers what they return.
async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in running {
        results.push(task.await.expect("a task that does not panic"));
    }
    results
}

/// Polls a future so many times at most and then drops it. Whether it came to its end.
async fn polled<T>(future: impl Future<Output = T>, times: usize) -> bool {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        let outcome = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx))).await;
        if outcome.is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_clause_is_stamped() {
        for source in [
            include_str!("registry/blobs.rs"),
            include_str!("registry/lists.rs"),
            include_str!("registry/local.rs"),
            include_str!("registry/manifests.rs"),
            include_str!("registry/referrers.rs"),
            include_str!("registry/tags.rs"),
            include_str!("registry/uploads.rs"),
            include_str!("registry/writers.rs"),
        ] {
            crate::testkit::assert_every_clause_is_stamped(source);
        }
    }
}
