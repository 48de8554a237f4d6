//! A blob's whole life on the memory stores, with the clock in the test's hands.

use std::sync::Arc;
use std::time::Duration;

use registry_core::auth::Identity;
use registry_core::runtime::Threads;
use registry_core::store::{BlobStore, Collected, Lifetimes, ManifestStore, Reclaim, Undo};
use registry_core::{
    Blob, BlobInfo, BlobRead, Children, Context, Digest, ErrorKind, LocalRegistry, MountFrom, Options,
    PutManifest, Registry, RepositoryName, Timestamp, once,
};
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

struct House {
    registry: LocalRegistry,
    records: Records,
    bytes: Arc<MemoryBytes>,
    clock: ManualClock,
    ctx: Context,
}

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn house(inline_max: usize) -> House {
    let clock = ManualClock::at(Timestamp(1_700_000_000_000));
    let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
    let records = Records::new(kv, Threads::shared(), Lifetimes::default());
    let bytes = Arc::new(MemoryBytes::new());
    let registry = LocalRegistry::new(
        Arc::new(records.clone()),
        bytes.clone(),
        bytes.clone(),
        Threads::shared(),
        Options {
            inline_max,
            ..Options::default()
        },
    );
    House {
        registry,
        records,
        bytes,
        clock,
        ctx: Context::request(Identity::Anonymous, "test"),
    }
}

fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn image(blob: &Digest, size: usize) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{blob}","size":{size}}},"layers":[]}}"#
    )
}

impl House {
    async fn push(&self, repository: &str, content: &[u8]) -> BlobInfo {
        let (ctx, name, digest) = (&self.ctx, name(repository), Digest::sha256(content));
        let upload = self.registry.begin_upload(ctx, &name, None).await.unwrap();
        self.registry
            .finish_upload(ctx, &name, &upload.id, None, once(content.to_vec()), &digest)
            .await
            .unwrap()
    }

    async fn read(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, ErrorKind> {
        let blob = self
            .registry
            .read_blob(&self.ctx, &name(repository), digest, None)
            .await
            .map_err(|e| e.kind())?;
        let Blob {
            read: BlobRead::Bytes(bytes),
            ..
        } = blob
        else {
            panic!("memory reads are bytes")
        };
        Ok(bytes.to_vec())
    }

    /// Lets the clock run to the next due entry and takes its step.
    async fn step(&self) -> Option<Collected> {
        for _ in 0..200 {
            if let Some(entry) = self.records.due(None, 1).await.unwrap().pop() {
                return Some(self.records.collect(&entry).await.unwrap());
            }
            self.clock.advance(Duration::from_secs(1800));
        }
        None
    }

    async fn collect_until(&self, wanted: Collected) {
        for _ in 0..20 {
            match self.step().await {
                Some(done) if done == wanted => return,
                Some(_) => {}
                None => break,
            }
        }
        panic!("the collector never got to {wanted:?}");
    }

    async fn doomed(&self) -> usize {
        self.clock.advance(Duration::from_secs(4 * 3600));
        self.records.doomed(None, 100).await.unwrap().len()
    }
}

fn at_both_sizes(test: impl AsyncFn(House)) {
    for inline_max in [0, 1 << 20] {
        block_on(test(house(inline_max)));
    }
}

#[test]
fn a_blob_that_nothing_points_at_goes_and_one_in_a_manifest_stays() {
    at_both_sizes(async |house| {
        let kept = house.push("a", b"kept").await;
        let lost = house.push("a", b"lost").await;
        let put = PutManifest::tagged("v1".parse().unwrap(), OCI, image(&kept.digest, 4));
        house
            .registry
            .put_manifest(&house.ctx, &name("a"), put)
            .await
            .unwrap();
        house.collect_until(Collected::Removed).await;
        while house.step().await.is_some() {}
        assert_eq!(house.read("a", &kept.digest).await.unwrap(), b"kept");
        assert_eq!(house.read("a", &lost.digest).await, Err(ErrorKind::BlobUnknown));
    });
}

#[test]
fn a_re_push_succeeds_at_every_stage_of_collection() {
    for stage in [Collected::Requeued, Collected::Condemned, Collected::Removed] {
        at_both_sizes(async |house| {
            let blob = house.push("a", b"again").await;
            if stage == Collected::Requeued {
                // A second lease, in a later bucket, is what an entry is queued again for.
                house.clock.advance(Duration::from_secs(7 * 3600));
                house.push("a", b"again").await;
            }
            house.collect_until(stage).await;
            house.push("b", b"again").await;
            assert_eq!(house.read("b", &blob.digest).await.unwrap(), b"again");
            let put = PutManifest::tagged("v1".parse().unwrap(), OCI, image(&blob.digest, 5));
            house
                .registry
                .put_manifest(&house.ctx, &name("b"), put)
                .await
                .unwrap();
            while house.step().await.is_some() {}
            assert_eq!(house.read("b", &blob.digest).await.unwrap(), b"again");
        });
    }
}

#[test]
fn bytes_that_are_lost_are_replaced_by_the_next_push() {
    block_on(async {
        let house = house(0);
        let blob = house.push("a", b"precious").await;
        let put = PutManifest::tagged("v1".parse().unwrap(), OCI, image(&blob.digest, 8));
        house
            .registry
            .put_manifest(&house.ctx, &name("a"), put)
            .await
            .unwrap();
        let record = house.records.blob_record(&blob.digest).await.unwrap().unwrap();
        house.bytes.unlink(&record.location).await.unwrap();

        let stat = house
            .registry
            .stat_blob(&house.ctx, &name("a"), &blob.digest)
            .await;
        assert_eq!(stat.unwrap_err().kind(), ErrorKind::BlobUnknown);
        assert_eq!(house.read("a", &blob.digest).await, Err(ErrorKind::BlobUnknown));
        house.push("a", b"precious").await;
        assert_eq!(house.read("a", &blob.digest).await.unwrap(), b"precious");
        assert_eq!(house.doomed().await, 1, "the location that was lost is doomed");
    });
}

#[test]
fn the_loser_of_two_pushes_of_one_blob_is_doomed() {
    block_on(async {
        let house = house(0);
        let blob = house.push("a", b"twice").await;
        house.push("b", b"twice").await;
        assert_eq!(house.doomed().await, 1);
        assert_eq!(house.read("b", &blob.digest).await.unwrap(), b"twice");
    });
}

#[test]
fn a_deferred_child_holds_a_blob_but_opens_nothing() {
    block_on(async {
        let house = house(0);
        let blob = house.push("owner", b"secret").await;
        let put = |children| {
            let mut put = PutManifest::tagged("v1".parse().unwrap(), OCI, image(&blob.digest, 6));
            put.options.children = children;
            put
        };
        let required = house
            .registry
            .put_manifest(&house.ctx, &name("proxy"), put(Children::Required))
            .await;
        assert_eq!(required.unwrap_err().kind(), ErrorKind::ManifestBlobUnknown);
        house
            .registry
            .put_manifest(&house.ctx, &name("proxy"), put(Children::Deferred))
            .await
            .unwrap();
        assert_eq!(
            house.read("proxy", &blob.digest).await,
            Err(ErrorKind::BlobUnknown)
        );
        // Long after the owner's lease has ended, the deferred edge still holds it.
        while house.step().await.is_some() {}
        house.push("proxy", b"secret").await;
        assert_eq!(house.read("proxy", &blob.digest).await.unwrap(), b"secret");
        assert_eq!(
            house.doomed().await,
            1,
            "what was pushed again lost to what was held"
        );
        house
            .registry
            .put_manifest(&house.ctx, &name("proxy"), put(Children::Required))
            .await
            .unwrap();
        while house.step().await.is_some() {}
        assert_eq!(house.read("proxy", &blob.digest).await.unwrap(), b"secret");
    });
}

#[test]
fn deleting_a_manifest_with_a_deferred_child_opens_nothing_either() {
    block_on(async {
        let house = house(0);
        let blob = house.push("owner", b"secret").await;
        let mut put = PutManifest::tagged("v1".parse().unwrap(), OCI, image(&blob.digest, 6));
        put.options.children = Children::Deferred;
        let outcome = house
            .registry
            .put_manifest(&house.ctx, &name("proxy"), put)
            .await
            .unwrap();
        house
            .registry
            .delete_manifest(&house.ctx, &name("proxy"), &outcome.digest)
            .await
            .unwrap();
        assert_eq!(
            house.read("proxy", &blob.digest).await,
            Err(ErrorKind::BlobUnknown)
        );
        house
            .records
            .purge(&house.ctx, &name("proxy"), &outcome.digest)
            .await
            .unwrap();
        while house.step().await.is_some() {}
        assert_eq!(
            house.records.blob_record(&blob.digest).await.unwrap(),
            None,
            "nothing holds it any more"
        );
    });
}

#[test]
fn a_repository_made_again_under_a_name_has_nothing_of_the_old() {
    at_both_sizes(async |house| {
        let blob = house.push("a", b"old").await;
        let put = PutManifest::tagged("v1".parse().unwrap(), OCI, image(&blob.digest, 3));
        house
            .registry
            .put_manifest(&house.ctx, &name("a"), put.clone())
            .await
            .unwrap();
        let upload = house
            .registry
            .begin_upload(&house.ctx, &name("a"), None)
            .await
            .unwrap();
        house
            .registry
            .delete_repository(&house.ctx, &name("a"))
            .await
            .unwrap();
        house.push("a", b"new").await;

        assert_eq!(house.read("a", &blob.digest).await, Err(ErrorKind::BlobUnknown));
        assert!(
            house
                .registry
                .list_tags(&house.ctx, &name("a"), None, 10)
                .await
                .unwrap()
                .items
                .is_empty()
        );
        let late = house
            .registry
            .upload_status(&house.ctx, &name("a"), &upload.id)
            .await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::UploadUnknown);
        assert_eq!(
            house
                .registry
                .mount_blob(&house.ctx, &name("b"), &blob.digest, &MountFrom::Anywhere)
                .await
                .unwrap(),
            None
        );
        while house.records.sweep_repositories(10).await.unwrap() {}
        house.collect_until(Collected::Removed).await;
        while house.step().await.is_some() {}
        assert_eq!(house.records.blob_record(&blob.digest).await.unwrap(), None);
    });
}
