//! A house whose records are interrupted where a test wants it.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use registry_core::auth::Identity;
use registry_core::runtime::Threads;
use registry_core::store::{BlobStore, Entry, Kv, KvError, Lifetimes, Reclaim, Stamp, Txn};
use registry_core::{
    Blob, BlobInfo, BlobRead, Children, Context, Digest, ErrorKind, LocalRegistry, Options, PutManifest,
    Reference, Registry, RepositoryName, Result, Runtime, Tag, Timestamp, once,
};
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A map that lets something else happen before one of its calls.
pub(crate) struct Interrupted {
    pub(crate) inner: Arc<MemoryKv>,
    /// How many calls go by before it happens.
    pub(crate) countdown: AtomicUsize,
    pub(crate) interruption: Mutex<Option<BoxFuture<'static, ()>>>,
    /// Writes of the largest transaction that was committed.
    pub(crate) largest: AtomicUsize,
    /// How many records were read.
    pub(crate) read: AtomicUsize,
}

impl Interrupted {
    pub(crate) async fn call(&self) {
        let armed = self.interruption.lock().unwrap().is_some();
        if armed && self.countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
            let interruption = self.interruption.lock().unwrap().take();
            if let Some(interruption) = interruption {
                interruption.await;
            }
        }
    }

    pub(crate) fn arm(&self, after: usize, interruption: BoxFuture<'static, ()>) {
        self.countdown.store(after, Ordering::SeqCst);
        *self.interruption.lock().unwrap() = Some(interruption);
    }

    /// Whether the interruption did not happen; then it never will.
    pub(crate) fn disarm(&self) -> bool {
        self.interruption.lock().unwrap().take().is_some()
    }
}

#[async_trait]
impl Kv for Interrupted {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.call().await;
        self.read.fetch_add(1, Ordering::SeqCst);
        self.inner.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        self.call().await;
        let page = self.inner.scan(prefix, after, limit).await?;
        self.read.fetch_add(page.len(), Ordering::SeqCst);
        Ok(page)
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.call().await;
        self.inner.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.call().await;
        self.largest.fetch_max(txn.writes.len(), Ordering::SeqCst);
        self.inner.commit(txn).await
    }
}

/// Threads on a clock that the test owns.
pub(crate) struct Clocked(ManualClock);

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
pub(crate) struct House {
    pub(crate) kv: Arc<MemoryKv>,
    pub(crate) bytes: Arc<MemoryBytes>,
    pub(crate) clock: ManualClock,
    pub(crate) ctx: Context,
    pub(crate) records: Records,
    pub(crate) registry: LocalRegistry,
    pub(crate) interrupted: Arc<Interrupted>,
    pub(crate) slow_records: Records,
    pub(crate) slow: LocalRegistry,
}

pub(crate) fn house() -> House {
    house_with(0)
}

pub(crate) fn house_with(inline_max: usize) -> House {
    let clock = ManualClock::at(Timestamp(1_700_000_000_000));
    let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
    let bytes = Arc::new(MemoryBytes::new());
    let runtime: Arc<dyn Runtime> = Arc::new(Clocked(clock.clone()));
    let interrupted = Arc::new(Interrupted {
        inner: kv.clone(),
        countdown: AtomicUsize::new(0),
        interruption: Mutex::new(None),
        largest: AtomicUsize::new(0),
        read: AtomicUsize::new(0),
    });
    let stack = |kv: Arc<dyn Kv>| {
        let records = Records::new(kv, runtime.clone(), Lifetimes::default());
        let registry = LocalRegistry::new(
            Arc::new(records.clone()),
            bytes.clone(),
            bytes.clone(),
            runtime.clone(),
            Options {
                inline_max,
                ..Options::default()
            },
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
pub(crate) fn at_every_point(test: impl AsyncFn(House, usize) -> bool) {
    block_on(async {
        let mut at = 0;
        while test(house(), at).await {
            at += 1;
        }
        assert!(at > 0, "nothing was ever interrupted");
    });
}

pub(crate) fn name(name: &str) -> RepositoryName {
    name.parse().unwrap()
}

pub(crate) fn tag(tag: &str) -> Tag {
    tag.parse().unwrap()
}

pub(crate) fn image(blob: &BlobInfo, extra: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{}","size":{}}},"layers":[]{extra}}}"#,
        blob.digest, blob.size
    )
}

/// An image with a layer.
pub(crate) fn image_of(config: &BlobInfo, layer: &BlobInfo) -> String {
    let layers = format!(
        r#"[{{"mediaType":"x/y","digest":"{}","size":{}}}]"#,
        layer.digest, layer.size
    );
    image(config, "").replace("[]", &layers)
}

pub(crate) fn index(child: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{OCI}","digest":"{}","size":{}}}]}}"#,
        Digest::sha256(child.as_bytes()),
        child.len()
    )
}

pub(crate) fn deferred(put: PutManifest) -> PutManifest {
    let mut put = put;
    put.options.children = Children::Deferred;
    put
}

pub(crate) fn info(content: &[u8]) -> BlobInfo {
    BlobInfo {
        digest: Digest::sha256(content),
        size: content.len() as u64,
    }
}

impl House {
    pub(crate) async fn push(&self, repository: &str, content: &[u8]) -> BlobInfo {
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

    pub(crate) async fn put(&self, repository: &str, put: PutManifest) -> Result<Digest, ErrorKind> {
        let put = self
            .registry
            .put_manifest(&self.ctx, &name(repository), put)
            .await;
        put.map(|put| put.digest).map_err(|why| why.kind())
    }

    pub(crate) async fn tag(&self, repository: &str, tag_name: &str, manifest: &str) -> Digest {
        let put = PutManifest::tagged(tag(tag_name), OCI, manifest.to_owned());
        self.put(repository, put).await.unwrap()
    }

    pub(crate) async fn at(&self, repository: &str, tag_name: &str) -> Result<Digest, ErrorKind> {
        let found = self
            .registry
            .stat_manifest(&self.ctx, &name(repository), &Reference::Tag(tag(tag_name)))
            .await;
        found.map(|info| info.digest).map_err(|why| why.kind())
    }

    pub(crate) async fn read(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, ErrorKind> {
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
    pub(crate) async fn collect(&self) {
        while let Some(entry) = self.records.due(None, 1).await.unwrap().pop() {
            self.records.collect(&entry).await.unwrap();
        }
    }

    /// Lets time pass with the collector at work.
    pub(crate) async fn live_for(&self, time: Duration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.clock.advance(HOUR.min(end.since(self.clock.now())));
            self.collect().await;
            self.tidy().await;
        }
    }

    pub(crate) async fn tidy(&self) {
        for expired in self.records.expired_uploads(None, 1000).await.unwrap() {
            self.records.abandon(&expired.id).await.unwrap();
        }
        while self.records.purge_trash(1000).await.unwrap() {}
        while self.records.sweep_manifests(1000).await.unwrap() {}
        while self.records.sweep_repositories(1000).await.unwrap() {}
        for doomed in self.records.doomed(None, 1000).await.unwrap() {
            self.bytes.unlink(&doomed.location).await.unwrap();
            self.records.clear_doomed(&doomed).await.unwrap();
        }
    }

    pub(crate) async fn stored(&self) -> usize {
        self.bytes.list(None, 1000).await.unwrap().len()
    }
}
