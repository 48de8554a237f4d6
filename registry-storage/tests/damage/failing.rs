//! Stores that fail while they take bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use registry_core::auth::Identity;
use registry_core::store::{Kv, Lifetimes, Location, StoreError, UploadStore};
use registry_core::{
    Algorithm, ByteStream, Context, Digest, ErrorKind, LocalRegistry, Options, Registry, UploadId, once,
};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

use crate::harness::{Counting, name};

const WORKS: u8 = 0;
const APPEND_FULL: u8 = 1;
const APPEND_FAILS: u8 = 2;
const SEAL_FAILS: u8 = 3;
const SENDER_LEAVES: u8 = 4;

struct Failing {
    inner: Arc<MemoryBytes>,
    next: AtomicU8,
}

#[async_trait]
impl UploadStore for Failing {
    fn location(&self, id: &UploadId) -> Location {
        self.inner.location(id)
    }

    async fn received(&self, id: &UploadId) -> Result<u64, StoreError> {
        self.inner.received(id).await
    }

    async fn append(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<u64, StoreError> {
        let received = self.inner.append(id, algorithm, at, bytes).await?;
        match self.next.load(Ordering::SeqCst) {
            APPEND_FULL => Err(StoreError::Full(io::ErrorKind::StorageFull.into())),
            APPEND_FAILS => Err(StoreError::Failed(io::Error::other("a sync failed"))),
            SENDER_LEAVES => Err(StoreError::Sender(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(received),
        }
    }

    async fn seal(&self, id: &UploadId, digest: &Digest) -> Result<u64, StoreError> {
        match self.next.load(Ordering::SeqCst) {
            SEAL_FAILS => Err(StoreError::Failed(io::Error::other("a sync failed"))),
            _ => self.inner.seal(id, digest).await,
        }
    }

    async fn discard(&self, id: &UploadId) {
        self.inner.discard(id).await;
    }
}

/// After a failed sync nobody knows what is on the disk, and the next process does not even know that it failed.
#[test]
fn an_upload_whose_store_failed_is_over_and_one_whose_sender_left_is_not() {
    for (fault, expected, over) in [
        (APPEND_FULL, ErrorKind::Unavailable, true),
        (APPEND_FAILS, ErrorKind::Internal, true),
        (SEAL_FAILS, ErrorKind::Internal, true),
        (SENDER_LEAVES, ErrorKind::UploadInvalid, false),
    ] {
        block_on(async {
            let (kv, bytes) = (Arc::new(MemoryKv::new()), Arc::new(MemoryBytes::new()));
            let uploads = Arc::new(Failing {
                inner: bytes.clone(),
                next: AtomicU8::new(fault),
            });
            let runtime = Counting::shared();
            let records = Records::new(kv.clone(), runtime.clone(), Lifetimes::default());
            let options = Options {
                inline_max: 0,
                ..Options::default()
            };
            let registry = LocalRegistry::new(Arc::new(records), bytes, uploads.clone(), runtime, options);
            let (ctx, a) = (Context::request(Identity::Anonymous, "test"), name("a"));
            let digest = Digest::sha256(b"content");
            let upload = registry.begin_upload(&ctx, &a, None).await.unwrap();
            let finish = async |bytes| {
                registry
                    .finish_upload(&ctx, &a, &upload.id, None, bytes, &digest)
                    .await
            };

            let refused = finish(once(&b"content"[..])).await.unwrap_err();
            assert_eq!(refused.kind(), expected);
            uploads.next.store(WORKS, Ordering::SeqCst);
            let doomed = kv.scan("doomed/", None, 10).await.unwrap().len();
            if over {
                let again = finish(once(&b"content"[..])).await.unwrap_err();
                assert_eq!(again.kind(), ErrorKind::UploadUnknown);
                assert_eq!(doomed, 1, "its room is given back");
            } else {
                finish(registry_core::empty()).await.unwrap();
                assert_eq!(doomed, 0);
            }
        });
    }
}
