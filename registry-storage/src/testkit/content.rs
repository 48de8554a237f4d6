//! Content to send, senders that can be stopped, and what a reader gets.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_channel::{mpsc, oneshot};
use futures_util::{StreamExt, stream};
use registry_core::store::StoreError;
use registry_core::{Algorithm, BlobRead, ByteStream, UploadId};

use super::ByteStore;

/// `length` bytes that differ from place to place and by `seed`.
pub fn content(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// A stream of `bytes` in chunks of at most `chunk` bytes.
pub fn chunked(bytes: &Bytes, chunk: usize) -> ByteStream {
    let pieces: Vec<_> = bytes
        .chunks(chunk)
        .map(|piece| Ok(bytes.slice_ref(piece)))
        .collect();
    Box::pin(stream::iter(pieces))
}

/// All the bytes that a reader gets.
///
/// # Errors
/// Those of reading.
///
/// # Panics
/// If the bytes are elsewhere.
pub async fn read_all(read: BlobRead) -> io::Result<Bytes> {
    match read {
        BlobRead::Bytes(bytes) => Ok(bytes),
        BlobRead::File(file, range) => {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes.into())
        }
        BlobRead::Stream(mut stream) => {
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.next().await {
                bytes.extend_from_slice(&chunk?);
            }
            Ok(bytes.into())
        }
        BlobRead::Redirect(url) => panic!("the bytes are elsewhere, at {url}"),
    }
}

/// An append whose sender does what the test says, while it runs.
pub(super) struct Stalling {
    chunks: mpsc::UnboundedSender<io::Result<Bytes>>,
    append: tokio::task::JoinHandle<Result<u64, StoreError>>,
}

impl Stalling {
    /// Begins an append; returns once it has taken the upload over and waits for bytes.
    pub(super) async fn begin(store: &Arc<dyn ByteStore>, id: &UploadId, at: Option<u64>) -> Stalling {
        let (chunks, received) = mpsc::unbounded();
        let (begun, has_begun) = oneshot::channel();
        let first = stream::once(async move {
            let _waits = begun.send(());
            Ok(Bytes::new())
        });
        let (store, id) = (store.clone(), id.clone());
        let append = tokio::spawn(async move {
            let bytes: ByteStream = Box::pin(first.chain(received));
            store.append(&id, Algorithm::Sha256, at, bytes).await
        });
        has_begun.await.expect("the append asks for bytes");
        Stalling { chunks, append }
    }

    /// Sends bytes in pieces; it does not matter whether they are still wanted.
    pub(super) fn send(&self, bytes: &Bytes) {
        for piece in bytes.chunks(10_000) {
            let _unwanted = self.chunks.unbounded_send(Ok(bytes.slice_ref(piece)));
        }
    }

    /// Ends the stream and tells how the append ended.
    pub(super) async fn end(self) -> Result<u64, StoreError> {
        drop(self.chunks);
        self.append.await.expect("an append does not panic")
    }

    /// The caller of the append goes away.
    pub(super) async fn leave(self) {
        self.append.abort();
        let cancelled = self.append.await;
        assert!(
            cancelled.is_err(),
            "the append ended before it could be left: {cancelled:?}"
        );
    }
}

/// The ids of a test's uploads.
pub(super) fn upload(n: u8) -> UploadId {
    UploadId::new(u128::from_le_bytes([n.wrapping_mul(37).wrapping_add(1); 16]) ^ u128::from(n))
}

/// Puts content at a location, complete.
pub(super) async fn stored(store: &dyn ByteStore, n: u8, bytes: &Bytes) -> registry_core::store::Location {
    let id = upload(n);
    store
        .append(&id, Algorithm::Sha256, Some(0), chunked(bytes, 70_000))
        .await
        .expect("an append");
    store
        .seal(&id, &registry_core::Digest::sha256(bytes))
        .await
        .expect("the right digest");
    store.location(&id)
}
