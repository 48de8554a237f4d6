//! Whether the bytes behind a blob are still the blob's.
//!
//! A disk may give back other bytes than it was given and not say so. Only the digest tells; and it tells it of the whole
//! blob, so a range is checked by reading all of it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use futures_util::stream::StreamExt;

use crate::digest::{Digest, Hasher};
use crate::registry::{BlobRead, ByteStream};
use crate::runtime::{Runtime, blocking};
use crate::store::{BlobRecord, BlobStore, Location, StoreError};

/// How many of the reads are preceded by reading and hashing the whole blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// None. A client that checks digests finds damage; the registry does not learn of it.
    Off,
    /// One in [`SAMPLE`] of whole blobs, by chance, and of ranges as many fewer as they are shorter.
    #[default]
    Sampled,
    /// Every one: no client is ever sent a byte of a blob that is damaged when it asks.
    Full,
}

/// Of how many reads one is checked when [sampled](Verify::Sampled): so few that the 99th percentile of the time to
/// the first byte does not show it, and what hashing adds to the work of serving is below one part in a hundred. A range
/// is checked by hashing the whole blob, so its chance is as much smaller as it is.
/// By chance rather than by count, since an image of 8 layers would have the same one checked for ever.
pub const SAMPLE: u32 = 128;

/// How much of a file is in memory while it is read, for each blob that is being checked.
const PIECE: usize = 64 << 10;

/// What was found.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// The bytes are the blob's.
    Whole,
    /// They are others, or too few.
    Wrong,
    /// They are elsewhere, and this registry does not read them.
    Elsewhere,
    /// They could not be read to the end.
    Failed(Arc<io::Error>),
}

/// Checks blobs, each location once at a time however many ask.
#[derive(Default)]
pub(super) struct Verifier {
    running: Mutex<HashMap<Location, WeakShared<BoxFuture<'static, Verdict>>>>,
}

impl Verify {
    /// Whether a read of so many of a blob's bytes is one to check.
    pub(super) fn asks(self, runtime: &dyn Runtime, length: u64, size: u64) -> bool {
        match self {
            Verify::Off => false,
            Verify::Sampled => {
                let one_in = u128::from(SAMPLE) * u128::from(size / length.max(1)).max(1);
                runtime.random().is_multiple_of(one_in)
            }
            Verify::Full => true,
        }
    }
}

impl Verifier {
    /// Whether what lies at the record's location is the blob: the check of it that is going on, or a new one.
    pub(super) fn verify(
        &self,
        blobs: &Arc<dyn BlobStore>,
        runtime: &Arc<dyn Runtime>,
        record: &BlobRecord,
    ) -> Shared<BoxFuture<'static, Verdict>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = running.get(&record.location).and_then(WeakShared::upgrade) {
            return check;
        }
        // Whoever waited for these has had the answer, or left.
        running.retain(|_, check| check.upgrade().is_some());
        let check = check(Arc::clone(blobs), Arc::clone(runtime), record.clone())
            .boxed()
            .shared();
        if let Some(weak) = check.downgrade() {
            running.insert(record.location.clone(), weak);
        }
        check
    }
}

/// Whether `bytes` have this digest.
pub(super) fn is_of(digest: &Digest, bytes: &[u8]) -> bool {
    Digest::of(digest.algorithm(), bytes) == *digest
}

async fn check(blobs: Arc<dyn BlobStore>, runtime: Arc<dyn Runtime>, record: BlobRecord) -> Verdict {
    let (digest, size) = (record.info.digest, record.info.size);
    let found = match blobs.read(&record.location, 0..size).await {
        Ok(BlobRead::File(file, range)) => blocking(&*runtime, move || hash_file(digest, &file, range)).await,
        Ok(BlobRead::Bytes(bytes)) => {
            blocking(&*runtime, move || Ok(Digest::of(digest.algorithm(), &bytes))).await
        }
        Ok(BlobRead::Stream(stream)) => hash_stream(&*runtime, digest, stream).await,
        Ok(BlobRead::Redirect(_)) => return Verdict::Elsewhere,
        Err(StoreError::Missing(_)) => return Verdict::Wrong,
        Err(why) => return Verdict::Failed(Arc::new(io::Error::other(why))),
    };
    match found {
        Ok(found) if found == digest => Verdict::Whole,
        Ok(_) => Verdict::Wrong,
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => Verdict::Wrong,
        Err(why) => Verdict::Failed(Arc::new(why)),
    }
}

fn hash_file(digest: Digest, file: &File, range: Range<u64>) -> io::Result<Digest> {
    let mut hasher = Hasher::new(digest.algorithm());
    let mut piece = vec![0; PIECE];
    let mut at = range.start;
    while at < range.end {
        let wanted = piece.len().min(usize::try_from(range.end - at).unwrap_or(PIECE));
        match file.read_at(&mut piece[..wanted], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                hasher.update(&piece[..read]);
                at += read as u64;
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(hasher.finish())
}

async fn hash_stream(runtime: &dyn Runtime, digest: Digest, mut stream: ByteStream) -> io::Result<Digest> {
    let mut hasher = Hasher::new(digest.algorithm());
    while let Some(chunk) = stream.next().await {
        let chunk: Bytes = chunk?;
        hasher = blocking(runtime, move || {
            hasher.update(&chunk);
            hasher
        })
        .await;
    }
    Ok(hasher.finish())
}
