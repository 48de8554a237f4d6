//! What [`ManifestStore`], [`Reclaim`] and [`Undo`] promise: the contract between push and collector, clause by clause, with
//! the clock in the test's hands.
//!
//! A clause counts on nothing but the store's own [lifetimes](ManifestStore::lifetimes), and lets it hold things a
//! little longer than it must, never shorter.

pub mod blobs;
pub mod claims;
pub mod collect;
pub mod foresee;
pub mod history;
pub mod keeping;
pub mod manifests;
pub mod pieces;
pub mod repositories;
pub mod runs;
pub mod undo;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use registry_core::auth::Identity;
use registry_core::manifest::{OCI_INDEX, OCI_MANIFEST, ParsedManifest};
use registry_core::store::{
    BlobRecord, Collected, Content, Location, ManifestStore, ManifestWrite, Pending, Reclaim, Undo,
    UploadClaim,
};
use registry_core::{
    Algorithm, BlobInfo, Context, Digest, Error, ErrorKind, PutOutcome, RepositoryName, Result, Tag,
    Timestamp, UploadId, WriteOptions,
};

use crate::clock::ManualClock;

/// Stamps one test per clause of the contract of `ManifestStore`, `Reclaim` and `Undo`. The factory gives a [`Fixture`].
/// See [`testkit`](crate::testkit).
#[macro_export]
macro_rules! manifest_store_suite {
    ($name:ident, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::manifest_store_blobs_clauses!(blobs, $factory);
            $crate::manifest_store_claims_clauses!(claims, $factory);
            $crate::manifest_store_collect_clauses!(collect, $factory);
            $crate::manifest_store_manifests_clauses!(manifests, $factory);
            $crate::manifest_store_repositories_clauses!(repositories, $factory);
            $crate::manifest_store_undo_clauses!(undo, $factory);
            $crate::manifest_store_history_clauses!(history, $factory);
            $crate::manifest_store_pieces_clauses!(pieces, $factory);
            $crate::manifest_store_keeping_clauses!(keeping, $factory);
            $crate::manifest_store_runs_clauses!(runs, $factory);
            $crate::manifest_store_foresee_clauses!(foresee, $factory);
        }
    };
}

/// Records that can be collected, and give back what was deleted: what this suite is run on.
pub trait CollectedStore: ManifestStore + Reclaim + Undo {}

impl<T: ManifestStore + Reclaim + Undo> CollectedStore for T {}

/// Longest that a store may hold something beyond what was asked of it.
const SLACK: Duration = Duration::from_secs(300);

/// An empty store and the clock that it goes by.
pub struct Fixture {
    store: Arc<dyn CollectedStore>,
    clock: ManualClock,
    names: AtomicU64,
    _guard: Box<dyn Any + Send>,
}

impl Fixture {
    /// A store that goes by `clock`, which stands still unless a clause moves it.
    pub fn new(store: Arc<dyn CollectedStore>, clock: ManualClock) -> Self {
        Fixture {
            store,
            clock,
            names: AtomicU64::new(1),
            _guard: Box::new(()),
        }
    }

    /// Keeps `guard`, a directory perhaps, for as long as the store is used.
    #[must_use]
    pub fn guarded_by(self, guard: impl Any + Send) -> Self {
        Fixture {
            _guard: Box::new(guard),
            ..self
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A claim on a location of its own.
    async fn claim(&self, repository: &RepositoryName) -> UploadClaim {
        let n = self.names.fetch_add(1, Ordering::SeqCst);
        let id = UploadId::new(u128::from(n));
        let location = Location::Object(format!("bytes-{n}"));
        self.store
            .claim(repository, &id, &location, Algorithm::Sha256)
            .await
            .expect("a claim")
    }

    async fn try_publish(&self, claim: &UploadClaim, bytes: &str) -> Result<BlobRecord> {
        self.store.publish(claim, &info(bytes), Content::Uploaded).await
    }

    /// Pushes a blob: what the record says then, and where the pusher's bytes went.
    async fn publish(&self, repository: &RepositoryName, bytes: &str) -> (BlobRecord, Location) {
        let claim = self.claim(repository).await;
        (
            self.try_publish(&claim, bytes).await.expect("a publish"),
            claim.location,
        )
    }

    async fn record(&self, bytes: &str) -> Option<BlobRecord> {
        self.store
            .blob_record(&digest(bytes))
            .await
            .expect("a look at a record")
    }

    /// Whether the blob can be read in the repository.
    async fn belongs(&self, repository: &RepositoryName, bytes: &str) -> bool {
        match self.store.blob(repository, &digest(bytes)).await {
            Ok(_) => true,
            Err(error) if error.kind().status() == 404 => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn put(&self, repository: &RepositoryName, write: ManifestWrite) -> Result<PutOutcome> {
        self.store.put_manifest(&caller(), repository, write).await
    }

    /// Pushes a manifest of one blob, which is pushed too.
    async fn image(&self, repository: &RepositoryName, bytes: &str, name: &str) -> Digest {
        self.publish(repository, bytes).await;
        self.put(repository, image(&[bytes], &[name]))
            .await
            .expect("an image")
            .digest
    }

    async fn delete(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        self.store.delete_manifest(&caller(), repository, digest).await
    }

    async fn due(&self) -> Vec<Pending> {
        self.store.due(None, 1000).await.expect("the queue")
    }

    /// Lets the clock run until an entry is due. Whether one is, within longer than any lifetime.
    async fn until_due(&self) -> bool {
        let lifetimes = *self.store.lifetimes();
        let longest =
            2 * (lifetimes.grace + lifetimes.bucket + lifetimes.second_delay) + lifetimes.undo + SLACK;
        let started = self.now();
        while self.now().since(started) < longest {
            while self.store.purge_trash(1000).await.expect("a purge") {}
            while self.store.sweep_manifests(1000).await.expect("a sweep") {}
            if !self.due().await.is_empty() {
                return true;
            }
            self.clock.advance(longest / 64);
        }
        false
    }

    /// Takes the step that the oldest entry calls for, once one is due. `None` if none ever is.
    async fn step(&self) -> Option<Collected> {
        self.until_due().await;
        let entry = self.due().await.into_iter().next()?;
        Some(self.store.collect(&entry).await.expect("a step"))
    }

    /// Collects until this has happened to some blob.
    async fn collect_until(&self, wanted: Collected) {
        for _ in 0..100 {
            match self.step().await {
                Some(done) if done == wanted => return,
                Some(_) => {}
                None => break,
            }
        }
        panic!("the collector never got to {wanted:?}");
    }

    /// Collects until there is nothing more to do.
    async fn collect_all(&self) {
        for _ in 0..1000 {
            if self.step().await.is_none() {
                return;
            }
        }
        panic!("the collector never comes to an end");
    }

    /// Collects what is due now, again and again; what is in the trash stays there.
    async fn collect_due(&self) {
        for _ in 0..1000 {
            let Some(entry) = self.due().await.into_iter().next() else {
                return;
            };
            self.store.collect(&entry).await.expect("a step");
        }
        panic!("the collector never comes to an end");
    }

    /// How many leases on the blob are recorded, over or not.
    async fn leases(&self, bytes: &str) -> usize {
        let explained = self.store.explain(&digest(bytes)).await;
        explained.expect("an explanation").leases.len()
    }

    /// What may be unlinked now.
    async fn doomed_now(&self) -> Vec<Location> {
        let doomed = self.store.doomed(None, 1000).await.expect("the doomed");
        doomed.into_iter().map(|doomed| doomed.location).collect()
    }

    async fn expired(&self) -> Vec<UploadId> {
        let expired = self.store.expired_uploads(None, 10).await.expect("a list");
        expired.into_iter().map(|expired| expired.id).collect()
    }

    /// What may be unlinked sooner or later: what a claim named that was given up, not before the claim would have ended.
    async fn doomed(&self) -> Vec<Location> {
        let lifetimes = *self.store.lifetimes();
        let longest = lifetimes.longest_write.max(lifetimes.longest_read);
        self.clock.advance(lifetimes.upload_idle + longest + SLACK);
        let mut doomed = self.doomed_now().await;
        doomed.sort();
        doomed
    }

    /// To a time at which no lease that there is now holds any more.
    fn outlive_leases(&self) {
        let lifetimes = *self.store.lifetimes();
        self.clock
            .advance(lifetimes.bucket + lifetimes.grace + Duration::from_millis(1));
    }
}

fn repo(name: &str) -> RepositoryName {
    name.parse().expect("a test's repository")
}

fn caller() -> Context {
    Context::request(Identity::Named("tester".into()), "contract")
}

fn digest(bytes: &str) -> Digest {
    Digest::sha256(bytes.as_bytes())
}

fn info(bytes: &str) -> BlobInfo {
    BlobInfo {
        digest: digest(bytes),
        size: bytes.len() as u64,
    }
}

fn write(media_type: &str, manifest: &serde_json::Value, tags: &[&str]) -> ManifestWrite {
    let bytes: Bytes = serde_json::to_vec(manifest).expect("a manifest is JSON").into();
    ManifestWrite {
        parsed: ParsedManifest::parse(Some(media_type), &bytes).expect("a manifest"),
        digest: Digest::sha256(&bytes),
        bytes,
        tags: tags
            .iter()
            .map(|tag| tag.parse::<Tag>().expect("a test's tag"))
            .collect(),
        options: WriteOptions::default(),
    }
}

/// A manifest whose config is the first of these blobs, and whose layers are the rest.
fn image(blobs: &[&str], tags: &[&str]) -> ManifestWrite {
    let mut descriptors = blobs
        .iter()
        .map(|bytes| serde_json::json!({ "mediaType": "x/y", "digest": digest(bytes), "size": bytes.len() }));
    let config = descriptors.next().expect("a config");
    let layers: Vec<_> = descriptors.collect();
    write(
        OCI_MANIFEST,
        &serde_json::json!({ "schemaVersion": 2, "config": config, "layers": layers }),
        tags,
    )
}

/// An index of one manifest.
fn index(child: &ManifestWrite) -> ManifestWrite {
    let child =
        serde_json::json!({ "mediaType": OCI_MANIFEST, "digest": child.digest, "size": child.bytes.len() });
    write(
        OCI_INDEX,
        &serde_json::json!({ "schemaVersion": 2, "manifests": [child] }),
        &["index"],
    )
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(outcome: Result<T>, kind: ErrorKind) -> Error {
    match outcome {
        Err(error) if error.kind() == kind => error,
        other => panic!("expected {kind:?}, got {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_clause_is_stamped() {
        for source in [
            include_str!("manifest_store/blobs.rs"),
            include_str!("manifest_store/claims.rs"),
            include_str!("manifest_store/collect.rs"),
            include_str!("manifest_store/manifests.rs"),
            include_str!("manifest_store/repositories.rs"),
            include_str!("manifest_store/undo.rs"),
            include_str!("manifest_store/history.rs"),
            include_str!("manifest_store/pieces.rs"),
            include_str!("manifest_store/keeping.rs"),
            include_str!("manifest_store/runs.rs"),
            include_str!("manifest_store/foresee.rs"),
        ] {
            crate::testkit::assert_every_clause_is_stamped(source);
        }
    }
}
