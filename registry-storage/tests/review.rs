//! What must hold however two operations meet: the second happens before every single look and write of the first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use registry_core::auth::{Access, Authorizer, Decision, Identity, Visible};
use registry_core::runtime::Threads;
use registry_core::store::{
    BlobStore, Collected, Content, Entry, Kv, KvError, Lifetimes, ManifestStore, Reclaim, Stamp, Txn,
};
use registry_core::wrappers::{Authorized, Prefix, Select};
use registry_core::{
    Blob, BlobInfo, BlobRead, Charge, Children, Context, Digest, ErrorKind, Expect, LocalRegistry, MountFrom,
    Options, PutManifest, Reference, Registry, RepositoryName, Result, Runtime, Tag, Timestamp, UploadId,
    once,
};
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const HOUR: Duration = Duration::from_secs(3600);

/// A map that lets something else happen before one of its calls.
struct Interrupted {
    inner: Arc<MemoryKv>,
    /// How many calls go by before it happens.
    countdown: AtomicUsize,
    interruption: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Interrupted {
    async fn call(&self) {
        let armed = self.interruption.lock().unwrap().is_some();
        if armed && self.countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
            let interruption = self.interruption.lock().unwrap().take();
            if let Some(interruption) = interruption {
                interruption.await;
            }
        }
    }

    fn arm(&self, after: usize, interruption: BoxFuture<'static, ()>) {
        self.countdown.store(after, Ordering::SeqCst);
        *self.interruption.lock().unwrap() = Some(interruption);
    }

    /// Whether the interruption did not happen; then it never will.
    fn disarm(&self) -> bool {
        self.interruption.lock().unwrap().take().is_some()
    }
}

#[async_trait]
impl Kv for Interrupted {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.call().await;
        self.inner.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        self.call().await;
        self.inner.scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.call().await;
        self.inner.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.call().await;
        self.inner.commit(txn).await
    }
}

/// Threads on a clock that the test owns.
struct Clocked(ManualClock);

impl Runtime for Clocked {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Threads.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        Threads.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        Threads.spawn_blocking(work);
    }
}

/// One registry, reached by a caller who can be interrupted and by one who cannot.
#[derive(Clone)]
struct House {
    kv: Arc<MemoryKv>,
    bytes: Arc<MemoryBytes>,
    clock: ManualClock,
    ctx: Context,
    records: Records,
    registry: LocalRegistry,
    interrupted: Arc<Interrupted>,
    slow_records: Records,
    slow: LocalRegistry,
}

fn house() -> House {
    house_with(0)
}

fn house_with(inline_max: usize) -> House {
    let clock = ManualClock::at(Timestamp(1_700_000_000_000));
    let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
    let bytes = Arc::new(MemoryBytes::new());
    let runtime: Arc<dyn Runtime> = Arc::new(Clocked(clock.clone()));
    let interrupted = Arc::new(Interrupted {
        inner: kv.clone(),
        countdown: AtomicUsize::new(0),
        interruption: Mutex::new(None),
    });
    let stack = |kv: Arc<dyn Kv>| {
        let records = Records::new(kv, runtime.clone(), Lifetimes::default());
        let registry = LocalRegistry::new(
            Arc::new(records.clone()),
            bytes.clone(),
            bytes.clone(),
            runtime.clone(),
            Options { inline_max },
        );
        (records, registry)
    };
    let (records, registry) = stack(kv.clone());
    let (slow_records, slow) = stack(interrupted.clone());
    House {
        kv,
        bytes,
        clock,
        ctx: Context::request(Identity::Anonymous, "test"),
        records,
        registry,
        interrupted,
        slow_records,
        slow,
    }
}

/// Runs `test` with its interruption before the first call of what it interrupts, then before the second, and so on.
/// A test arms the house it is given with `at`, and says whether the interruption happened.
fn at_every_point(test: impl AsyncFn(House, usize) -> bool) {
    block_on(async {
        let mut at = 0;
        while test(house(), at).await {
            at += 1;
        }
        assert!(at > 0, "nothing was ever interrupted");
    });
}

fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

fn image(blob: &BlobInfo, extra: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{}","size":{}}},"layers":[]{extra}}}"#,
        blob.digest, blob.size
    )
}

fn index(child: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI}","digest":"{}","size":{}}}]}}"#,
        Digest::sha256(child.as_bytes()),
        child.len()
    )
}

fn deferred(put: PutManifest) -> PutManifest {
    let mut put = put;
    put.options.children = Children::Deferred;
    put
}

fn info(content: &[u8]) -> BlobInfo {
    BlobInfo {
        digest: Digest::sha256(content),
        size: content.len() as u64,
    }
}

impl House {
    async fn push(&self, repository: &str, content: &[u8]) -> BlobInfo {
        let (name, blob) = (name(repository), info(content));
        let upload = self.registry.begin_upload(&self.ctx, &name, None).await.unwrap();
        self.registry
            .finish_upload(
                &self.ctx,
                &name,
                &upload.id,
                None,
                once(content.to_vec()),
                &blob.digest,
            )
            .await
            .unwrap()
    }

    async fn put(&self, repository: &str, put: PutManifest) -> Result<Digest, ErrorKind> {
        let put = self
            .registry
            .put_manifest(&self.ctx, &name(repository), put)
            .await;
        put.map(|put| put.digest).map_err(|why| why.kind())
    }

    async fn tag(&self, repository: &str, tag_name: &str, manifest: &str) -> Digest {
        let put = PutManifest::tagged(tag(tag_name), OCI, manifest.to_owned());
        self.put(repository, put).await.unwrap()
    }

    async fn at(&self, repository: &str, tag_name: &str) -> Result<Digest, ErrorKind> {
        let found = self
            .registry
            .stat_manifest(&self.ctx, &name(repository), &Reference::Tag(tag(tag_name)))
            .await;
        found.map(|info| info.digest).map_err(|why| why.kind())
    }

    async fn read(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, ErrorKind> {
        let blob = self
            .registry
            .read_blob(&self.ctx, &name(repository), digest, None)
            .await
            .map_err(|why| why.kind())?;
        let Blob {
            read: BlobRead::Bytes(bytes),
            ..
        } = blob
        else {
            panic!("memory reads are bytes")
        };
        Ok(bytes.to_vec())
    }

    /// Takes every step that is due.
    async fn collect(&self) {
        while let Some(entry) = self.records.due(1).await.unwrap().pop() {
            self.records.collect(&entry).await.unwrap();
        }
    }

    /// Lets time pass with the collector and the janitor at work.
    async fn live_for(&self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.clock.advance(HOUR.min(end.since(self.clock.now())));
            self.collect().await;
            self.tidy().await;
        }
    }

    async fn tidy(&self) {
        for id in self.records.expired_uploads(1000).await.unwrap() {
            self.records.abandon(&id).await.unwrap();
        }
        while self.records.sweep_repositories(1000).await.unwrap() {}
        for doomed in self.records.doomed(None, 1000).await.unwrap() {
            self.bytes.unlink(&doomed.location).await.unwrap();
            self.records.clear_doomed(&doomed).await.unwrap();
        }
    }

    async fn stored(&self) -> usize {
        self.bytes.list(None, 1000).await.unwrap().len()
    }
}

// Tags and manifests.

#[test]
fn a_tag_that_moves_while_the_manifest_it_leaves_is_deleted_stays() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let old = house.tag("a", "t", &image(&blob, "")).await;
        let other = house.clone();
        let new = image(&blob, r#","annotations":{"new":"yes"}"#);
        let moved = new.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.tag("a", "t", &moved).await;
            }),
        );
        house
            .slow
            .delete_manifest(&house.ctx, &name("a"), &old)
            .await
            .unwrap();
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(
                house.at("a", "t").await,
                Ok(Digest::sha256(new.as_bytes())),
                "interrupted at {at}"
            );
        }
        interrupted
    });
}

#[test]
fn a_tag_that_moves_while_it_is_resolved_is_never_unknown() {
    for with_bytes in [false, true] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            let old = house.tag("a", "t", &image(&blob, "")).await;
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    other
                        .tag("a", "t", &image(&blob, r#","annotations":{"new":"yes"}"#))
                        .await;
                    other
                        .registry
                        .delete_manifest(&other.ctx, &name("a"), &old)
                        .await
                        .unwrap();
                }),
            );
            let reference = Reference::Tag(tag("t"));
            let found = match with_bytes {
                false => house
                    .slow
                    .stat_manifest(&house.ctx, &name("a"), &reference)
                    .await
                    .map(drop),
                true => house
                    .slow
                    .get_manifest(&house.ctx, &name("a"), &reference)
                    .await
                    .map(drop),
            };
            assert_eq!(found.map_err(|why| why.kind()), Ok(()), "interrupted at {at}");
            !house.interrupted.disarm()
        });
    }
}

#[test]
fn a_tag_that_must_be_absent_is_not_overwritten() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let other = house.clone();
        let theirs = image(&blob, r#","annotations":{"by":"them"}"#);
        let first = theirs.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.tag("a", "t", &first).await;
            }),
        );
        let mut put = PutManifest::tagged(tag("t"), OCI, image(&blob, ""));
        put.options.expect = Expect::Absent;
        let ours = house.slow.put_manifest(&house.ctx, &name("a"), put).await;
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(ours.unwrap_err().kind(), ErrorKind::PreconditionFailed);
            assert_eq!(house.at("a", "t").await, Ok(Digest::sha256(theirs.as_bytes())));
        }
        interrupted
    });
}

#[test]
fn an_index_and_the_deletion_of_what_it_lists_do_not_both_happen() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let child = image(&blob, "");
        let digest = house.tag("a", "child", &child).await;
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other
                    .registry
                    .delete_manifest(&other.ctx, &name("a"), &digest)
                    .await
                    .unwrap();
            }),
        );
        let put = PutManifest::tagged(tag("all"), INDEX, index(&child));
        let put = house.slow.put_manifest(&house.ctx, &name("a"), put).await;
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(put.unwrap_err().kind(), ErrorKind::ManifestBlobUnknown);
        }
        interrupted
    });
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let child = image(&blob, "");
        let digest = house.tag("a", "child", &child).await;
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                let put = PutManifest::tagged(tag("all"), INDEX, index(&child));
                other.put("a", put).await.unwrap();
            }),
        );
        let deleted = house.slow.delete_manifest(&house.ctx, &name("a"), &digest).await;
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(deleted.unwrap_err().kind(), ErrorKind::InUse);
            assert_eq!(house.at("a", "child").await, Ok(digest));
        }
        interrupted
    });
}

#[test]
fn a_manifest_with_very_many_tags_can_be_deleted() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let manifest = image(&blob, "");
        for hundred in 0..501 {
            let mut put = PutManifest::untagged(OCI, manifest.clone());
            put.tags = (0..100).map(|n| tag(&format!("t{hundred}-{n}"))).collect();
            house.put("a", put).await.unwrap();
        }
        let deleted = house
            .registry
            .delete_manifest(&house.ctx, &name("a"), &Digest::sha256(manifest.as_bytes()))
            .await;
        assert_eq!(deleted.map_err(|why| why.to_string()), Ok(()));
    });
}

#[test]
fn a_manifest_is_acknowledged_only_while_what_it_names_can_be_read() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let manifest = image(&blob, "");
        house.tag("a", "first", &manifest).await;
        let record = house.records.blob_record(&blob.digest).await.unwrap().unwrap();
        house.records.mark_suspect(&record).await.unwrap();
        let another = PutManifest::tagged(tag("other"), OCI, image(&blob, r#","annotations":{}"#));
        assert_eq!(house.put("a", another).await, Err(ErrorKind::ManifestBlobUnknown));
        let again = PutManifest::tagged(tag("second"), OCI, manifest);
        assert_eq!(house.put("a", again).await, Err(ErrorKind::ManifestBlobUnknown));
    });
}

// Belonging.

#[test]
fn a_deferred_child_opens_nothing_when_its_manifest_is_put_again() {
    block_on(async {
        let house = house();
        let secret = house.push("owner", b"secret").await;
        let put = deferred(PutManifest::tagged(tag("t"), OCI, image(&secret, "")));
        house.put("proxy", put.clone()).await.unwrap();
        house.put("proxy", put).await.unwrap();
        assert_eq!(
            house.read("proxy", &secret.digest).await,
            Err(ErrorKind::BlobUnknown)
        );
    });
}

#[test]
fn a_deferred_child_opens_nothing_when_its_manifest_is_deleted() {
    block_on(async {
        let house = house();
        let secret = house.push("owner", b"secret").await;
        let put = deferred(PutManifest::tagged(tag("t"), OCI, image(&secret, "")));
        let digest = house.put("proxy", put).await.unwrap();
        house
            .registry
            .delete_manifest(&house.ctx, &name("proxy"), &digest)
            .await
            .unwrap();
        assert_eq!(
            house.read("proxy", &secret.digest).await,
            Err(ErrorKind::BlobUnknown)
        );
        house.live_for(40 * HOUR).await;
        assert_eq!(house.records.blob_record(&secret.digest).await.unwrap(), None);
    });
}

#[test]
fn a_deleted_blob_does_not_belong_though_its_lease_was_renewed_meanwhile() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.clock.advance(7 * HOUR);
                // Told or refused, whichever comes first: it does not matter to the deletion.
                let _either = other
                    .registry
                    .stat_blob(&other.ctx, &name("a"), &blob.digest)
                    .await;
            }),
        );
        house
            .slow
            .delete_blob(&house.ctx, &name("a"), &blob.digest)
            .await
            .unwrap();
        assert_eq!(
            house.read("a", &blob.digest).await,
            Err(ErrorKind::BlobUnknown),
            "interrupted at {at}"
        );
        !house.interrupted.disarm()
    });
}

#[test]
fn an_anonymous_mount_draws_only_from_what_may_be_pulled() {
    /// Everybody may know of every repository, and read and write only `mine`.
    struct MineOnly;

    #[async_trait]
    impl Authorizer for MineOnly {
        async fn authorize(&self, _identity: &Identity, accesses: &[Access]) -> Result<Decision> {
            let mine = |access: &Access| match access {
                Access::Repository(name, _) => name.as_str() == "mine",
                Access::Catalog => true,
            };
            Ok(match accesses.iter().all(mine) {
                true => Decision::Allowed,
                false => Decision::Denied { visible: true },
            })
        }

        async fn visible(&self, _identity: &Identity) -> Result<Visible> {
            Ok(Visible::All)
        }
    }
    block_on(async {
        let house = house();
        let secret = house.push("theirs", b"secret").await;
        let front = Authorized::around(house.registry.clone(), MineOnly);
        let named = MountFrom::Repository(name("theirs"));
        for from in [named, MountFrom::Anywhere] {
            let mounted = front
                .mount_blob(&house.ctx, &name("mine"), &secret.digest, &from)
                .await
                .unwrap();
            assert_eq!(mounted, None, "{from:?}");
        }
    });
}

// Collecting.

#[test]
fn what_is_published_while_it_is_being_collected_stays() {
    for stage in [Collected::Condemned, Collected::Removed] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            let entry = to(&house, stage).await;
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    other.push("b", b"layer").await;
                }),
            );
            house.slow_records.collect(&entry).await.unwrap();
            let interrupted = !house.interrupted.disarm();
            if interrupted {
                house.live_for(23 * HOUR).await;
                assert_eq!(house.read("b", &blob.digest).await.as_deref(), Ok(&b"layer"[..]));
                house.tag("b", "t", &image(&blob, "")).await;
                house.live_for(100 * HOUR).await;
                assert_eq!(house.read("b", &blob.digest).await.as_deref(), Ok(&b"layer"[..]));
                assert_eq!(house.stored().await, 1, "the other location was given back");
            }
            interrupted
        });
    }
}

#[test]
fn what_a_deferred_edge_names_while_it_is_being_collected_stays() {
    for stage in [Collected::Condemned, Collected::Removed] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            let entry = to(&house, stage).await;
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    let put = deferred(PutManifest::tagged(tag("t"), OCI, image(&blob, "")));
                    other.put("proxy", put).await.unwrap();
                }),
            );
            house.slow_records.collect(&entry).await.unwrap();
            let interrupted = !house.interrupted.disarm();
            if interrupted {
                house.live_for(100 * HOUR).await;
                assert!(house.records.blob_record(&blob.digest).await.unwrap().is_some());
            }
            interrupted
        });
    }
}

/// The entry whose step is `stage`, when it is due.
async fn to(house: &House, stage: Collected) -> registry_core::store::Pending {
    house.clock.advance(40 * HOUR);
    if stage == Collected::Removed {
        house.collect().await;
        house.clock.advance(3 * HOUR);
    }
    house.records.due(1).await.unwrap().pop().unwrap()
}

#[test]
fn a_manifest_put_while_its_blob_is_collected_is_whole_or_refused() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        house.clock.advance(23 * HOUR);
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.live_for(20 * HOUR).await;
            }),
        );
        let put = PutManifest::tagged(tag("t"), OCI, image(&blob, ""));
        let put = house.slow.put_manifest(&house.ctx, &name("a"), put).await;
        let interrupted = !house.interrupted.disarm();
        match put {
            Ok(_) => {
                house.live_for(40 * HOUR).await;
                assert_eq!(house.read("a", &blob.digest).await.as_deref(), Ok(&b"layer"[..]));
            }
            Err(why) => assert_eq!(why.kind(), ErrorKind::ManifestBlobUnknown),
        }
        interrupted
    });
}

#[test]
fn a_pusher_told_that_a_blob_exists_has_the_grace_whatever_the_collector_does() {
    for mount in [false, true] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            house.clock.advance(23 * HOUR);
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    other.live_for(20 * HOUR).await;
                }),
            );
            let (ctx, a, b) = (&house.ctx, name("a"), name("b"));
            let told = match mount {
                false => house
                    .slow
                    .stat_blob(ctx, &a, &blob.digest)
                    .await
                    .ok()
                    .map(|_| "a"),
                true => house
                    .slow
                    .mount_blob(ctx, &b, &blob.digest, &MountFrom::Anywhere)
                    .await
                    .unwrap()
                    .map(|_| "b"),
            };
            let interrupted = !house.interrupted.disarm();
            if let Some(repository) = told {
                house.live_for(23 * HOUR).await;
                assert_eq!(
                    house.read(repository, &blob.digest).await.as_deref(),
                    Ok(&b"layer"[..])
                );
            }
            interrupted
        });
    }
}

#[test]
fn what_a_deleted_manifest_deferred_is_collected_when_it_came_meanwhile() {
    at_every_point(async |house, at| {
        let blob = info(b"late");
        let put = deferred(PutManifest::tagged(tag("t"), OCI, image(&blob, "")));
        let digest = house.put("proxy", put).await.unwrap();
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.push("owner", b"late").await;
                other.live_for(40 * HOUR).await;
            }),
        );
        house
            .slow
            .delete_manifest(&house.ctx, &name("proxy"), &digest)
            .await
            .unwrap();
        let interrupted = !house.interrupted.disarm();
        house.live_for(60 * HOUR).await;
        assert_eq!(
            house.records.blob_record(&blob.digest).await.unwrap(),
            None,
            "interrupted at {at}"
        );
        interrupted
    });
}

// Claims.

#[test]
fn an_upload_that_makes_progress_does_not_expire() {
    block_on(async {
        let house = house();
        let upload = house
            .registry
            .begin_upload(&house.ctx, &name("a"), None)
            .await
            .unwrap();
        let mut whole = Vec::new();
        for part in [&b"one"[..], b"two", b"three", b"four"] {
            // Less than the day that an upload may rest.
            house.live_for(20 * HOUR).await;
            whole.extend_from_slice(part);
            let appended = house
                .registry
                .append_upload(&house.ctx, &name("a"), &upload.id, None, once(part))
                .await;
            assert_eq!(
                appended.map_err(|why| why.to_string()).map(|now| now.received),
                Ok(whole.len() as u64)
            );
        }
    });
}

#[test]
fn an_upload_of_a_deleted_repository_does_not_make_it_again() {
    for recreated in [false, true] {
        at_every_point(async |house, at| {
            house.push("a", b"first").await;
            let upload = house
                .registry
                .begin_upload(&house.ctx, &name("a"), None)
                .await
                .unwrap();
            let claim = house.records.upload(&name("a"), &upload.id).await.unwrap();
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    other
                        .registry
                        .delete_repository(&other.ctx, &name("a"))
                        .await
                        .unwrap();
                    if recreated {
                        other.push("a", b"new").await;
                    }
                }),
            );
            let blob = info(b"late");
            let content = Content::Inline(Bytes::from_static(b"late"));
            let published = house.slow_records.publish(&claim, &blob, content).await;
            let interrupted = !house.interrupted.disarm();
            if interrupted {
                assert_eq!(
                    published.map(drop).map_err(|why| why.kind()),
                    Err(ErrorKind::UploadUnknown),
                    "interrupted at {at}"
                );
            }
            interrupted
        });
    }
}

#[test]
fn a_published_location_is_never_doomed_by_ending_its_upload() {
    for publish_is_interrupted in [false, true] {
        for by_cancelling in [false, true] {
            at_every_point(async |house, at| {
                let (ctx, a) = (&house.ctx, name("a"));
                let upload = house.registry.begin_upload(ctx, &a, None).await.unwrap();
                house
                    .registry
                    .append_upload(ctx, &a, &upload.id, None, once(&b"layer"[..]))
                    .await
                    .unwrap();
                let claim = house.records.upload(&a, &upload.id).await.unwrap();
                if !by_cancelling {
                    house.clock.set(claim.expires);
                }
                let publish = async |records: &Records| {
                    records
                        .publish(&claim, &info(b"layer"), Content::Uploaded)
                        .await
                        .is_ok()
                };
                let end = async |records: &Records| match by_cancelling {
                    true => records.cancel(&claim).await.is_ok(),
                    false => records.abandon(&claim.id).await.unwrap(),
                };
                let (records, claimed) = (house.records.clone(), claim.clone());
                house.interrupted.arm(
                    at,
                    Box::pin(async move {
                        let _either = match (publish_is_interrupted, by_cancelling) {
                            (false, _) => records
                                .publish(&claimed, &info(b"layer"), Content::Uploaded)
                                .await
                                .is_ok(),
                            (true, true) => records.cancel(&claimed).await.is_ok(),
                            (true, false) => records.abandon(&claimed.id).await.unwrap(),
                        };
                    }),
                );
                let done = match publish_is_interrupted {
                    true => publish(&house.slow_records).await,
                    false => end(&house.slow_records).await,
                };
                let interrupted = !house.interrupted.disarm();
                assert_eq!(done, !interrupted, "one of the two happens");
                house.clock.advance(2 * HOUR);
                let doomed = house.records.doomed(None, 10).await.unwrap();
                let record = house.records.blob_record(&info(b"layer").digest).await.unwrap();
                assert_eq!(doomed.len() + usize::from(record.is_some()), 1);
                interrupted
            });
        }
    }
}

#[test]
fn two_renewals_of_one_claim_at_once_do_not_end_it() {
    at_every_point(async |house, at| {
        let upload = house
            .registry
            .begin_upload(&house.ctx, &name("a"), None)
            .await
            .unwrap();
        let claim = house.records.upload(&name("a"), &upload.id).await.unwrap();
        let (records, theirs) = (house.records.clone(), claim.clone());
        house.interrupted.arm(
            at,
            Box::pin(async move {
                records.touch(&theirs).await.unwrap();
            }),
        );
        let touched = house.slow_records.touch(&claim).await;
        assert_eq!(
            touched.map(drop).map_err(|why| why.kind()),
            Ok(()),
            "interrupted at {at}"
        );
        !house.interrupted.disarm()
    });
}

#[test]
fn a_writer_that_slept_before_its_first_large_piece_leaves_nothing_behind() {
    block_on(async {
        let house = house_with(1000);
        let upload = house
            .registry
            .begin_upload(&house.ctx, &name("a"), None)
            .await
            .unwrap();
        let (other, id): (House, UploadId) = (house.clone(), upload.id.clone());
        let late = stream::once(async move {
            other
                .registry
                .cancel_upload(&other.ctx, &name("a"), &id)
                .await
                .unwrap();
            other.live_for(3 * HOUR).await;
            Ok(Bytes::from(vec![0; 2000]))
        });
        let bytes = Box::pin(once(&b"small"[..]).chain(late));
        let finished = house
            .registry
            .finish_upload(
                &house.ctx,
                &name("a"),
                &upload.id,
                None,
                bytes,
                &Digest::sha256(b""),
            )
            .await;
        assert!(finished.is_err());
        house.live_for(100 * HOUR).await;
        assert_eq!(house.stored().await, 0, "bytes that no record names");
    });
}

// Counters.

fn charge(amount: i64, limit: Option<u64>) -> Charge {
    Charge {
        counter: "quota".to_owned(),
        amount,
        limit,
    }
}

#[test]
fn charges_to_one_counter_in_one_write_do_not_pass_its_limit_together() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let mut put = PutManifest::tagged(tag("t"), OCI, image(&blob, ""));
        put.options.charge = vec![charge(6, Some(10)), charge(6, Some(10))];
        assert_eq!(house.put("a", put).await, Err(ErrorKind::QuotaExceeded));
    });
}

#[test]
fn charges_to_one_counter_in_one_write_add_up() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let mut put = PutManifest::tagged(tag("t"), OCI, image(&blob, ""));
        // Often enough that two charges meet in one shard.
        put.options.charge = vec![charge(1, None), charge(1, None)];
        for _ in 0..200 {
            house.put("a", put.clone()).await.unwrap();
        }
        let shards = house.kv.scan("counter/quota/", None, 100).await.unwrap();
        let amount = |entry: &Entry| {
            let counter: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
            counter["amount"].as_i64().unwrap()
        };
        assert_eq!(shards.iter().map(|(_, entry)| amount(entry)).sum::<i64>(), 400);
    });
}

// Wrappers.

#[test]
fn the_errors_of_a_prefixed_registry_do_not_tell_the_prefix() {
    block_on(async {
        let house = house();
        let front = Prefix::around(house.registry.clone(), &name("tenants/one"));
        let refused = front
            .list_tags(&house.ctx, &name("app"), None, 10)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NameUnknown);
        let told = format!("{} {:?}", refused.message(), refused.detail());
        assert!(!told.contains("tenants/one"), "{told}");
    });
}

#[test]
fn a_hidden_repository_has_no_referrers_like_one_that_does_not_exist() {
    block_on(async {
        let house = house();
        let only = Visible::Only {
            names: [].into(),
            prefixes: ["shown/".to_owned()].into(),
        };
        let front = Select::around(house.registry.clone(), only);
        let subject = Digest::sha256(b"subject");
        for repository in ["shown/nothing", "hidden"] {
            let page = front
                .list_referrers(&house.ctx, &name(repository), &subject, None, None, 10)
                .await;
            assert!(
                page.is_ok_and(|page| page.items.is_empty() && !page.more),
                "{repository}"
            );
        }
    });
}
