//! Damage in stores that hand out bytes and streams.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use registry_core::auth::Identity;
use registry_core::store::{BlobStore, Lifetimes, Location, StoreError};
use registry_core::{BlobRead, Context, Digest, ErrorKind, LocalRegistry, Options, Registry, Verify, once};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;
use tokio::sync::Semaphore;

use crate::harness::{Counting, name};

/// A store of streams, which may have lost a bit, and which give their bytes when a test lets them.
struct Streams {
    inner: Arc<MemoryBytes>,
    damaged: AtomicBool,
    as_bytes: bool,
    /// Streams that were read.
    read: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl BlobStore for Streams {
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        let BlobRead::Bytes(bytes) = self.inner.read(location, range).await? else {
            panic!("memory gives bytes");
        };
        let mut bytes = bytes.to_vec();
        if self.damaged.load(Ordering::SeqCst) {
            bytes[0] ^= 1;
        }
        if self.as_bytes {
            return Ok(BlobRead::Bytes(bytes.into()));
        }
        let (read, gate) = (self.read.clone(), self.gate.clone());
        Ok(BlobRead::Stream(Box::pin(futures_util::stream::once(
            async move {
                read.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                Ok(bytes.into())
            },
        ))))
    }

    async fn size(&self, location: &Location) -> Result<Option<u64>, StoreError> {
        self.inner.size(location).await
    }

    async fn unlink(&self, location: &Location) -> Result<(), StoreError> {
        self.inner.unlink(location).await
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        self.inner.list(after, limit).await
    }
}

async fn house(as_bytes: bool) -> (LocalRegistry, Arc<Streams>, Context, Digest) {
    let inner = Arc::new(MemoryBytes::new());
    let streams = Arc::new(Streams {
        inner: inner.clone(),
        damaged: AtomicBool::new(false),
        as_bytes,
        read: Arc::default(),
        gate: Arc::new(Semaphore::new(0)),
    });
    let runtime = Counting::shared();
    let records = Records::new(Arc::new(MemoryKv::new()), runtime.clone(), Lifetimes::default());
    let options = Options {
        inline_max: 0,
        verify: Verify::Full,
        ..Options::default()
    };
    let registry = LocalRegistry::new(Arc::new(records), streams.clone(), inner, runtime, options);
    let ctx = Context::request(Identity::Anonymous, "test");
    let digest = push(&registry, &ctx).await;
    (registry, streams, ctx, digest)
}

async fn push(registry: &LocalRegistry, ctx: &Context) -> Digest {
    let digest = Digest::sha256(b"content");
    let upload = registry.begin_upload(ctx, &name("a"), None).await.unwrap();
    registry
        .finish_upload(ctx, &name("a"), &upload.id, None, once(&b"content"[..]), &digest)
        .await
        .unwrap();
    digest
}

#[test]
fn damaged_bytes_and_streams_are_refused_and_the_next_push_repairs() {
    for as_bytes in [true, false] {
        block_on(async {
            let (registry, streams, ctx, digest) = house(as_bytes).await;
            streams.gate.add_permits(100);
            registry.read_blob(&ctx, &name("a"), &digest, None).await.unwrap();
            streams.damaged.store(true, Ordering::SeqCst);
            let refused = registry.read_blob(&ctx, &name("a"), &digest, None).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::BlobUnknown);
            streams.damaged.store(false, Ordering::SeqCst);
            let marked = registry.read_blob(&ctx, &name("a"), &digest, None).await;
            assert_eq!(marked.unwrap_err().kind(), ErrorKind::BlobUnknown);
            push(&registry, &ctx).await;
            registry.read_blob(&ctx, &name("a"), &digest, None).await.unwrap();
        });
    }
}

#[test]
fn readers_of_one_blob_share_the_check_of_it() {
    block_on(async {
        let (registry, streams, ctx, digest) = house(false).await;
        let a = name("a");
        let readers = join_all((0..16).map(|_| registry.read_blob(&ctx, &a, &digest, None)));
        let release = async {
            // Every reader has been polled before this is, and waits at the gate for the one check.
            streams.gate.add_permits(1);
        };
        let (read, ()) = join(readers, release).await;
        for blob in read {
            blob.unwrap();
        }
        assert_eq!(streams.read.load(Ordering::SeqCst), 1);
        // A later one is checked anew.
        streams.gate.add_permits(1);
        registry.read_blob(&ctx, &a, &digest, None).await.unwrap();
        assert_eq!(streams.read.load(Ordering::SeqCst), 2);
    });
}
