//! Reading and hashing every blob.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use registry_core::runtime::blocking;
use registry_core::store::{BlobStore, Location, Stamp, StoreError, Txn, forget_cached};
use registry_core::{BlobRead, Digest, Hasher, Result};

use super::super::Records;
use super::super::values::{self, encode};
use super::blobs::{PUSH, lost};
use super::look::Look;
use super::suspicion::{Outcome, Suspicion};
use super::walk::Walk;
use super::{Checker, FindingKind, digest, keys};

const PAGE: usize = 500;
/// Bytes read at once: few enough that they are still in the processor's cache when they are hashed.
const PIECE: usize = 256 << 10;
/// How often progress is told while large blobs are hashed.
const EVERY: Duration = Duration::from_millis(500);

/// What hashing found.
pub(super) enum Hashed {
    Digest(Digest),
    /// Fewer bytes than the record says, or none.
    Missing,
    /// They may be the right ones, as soon as they can be read.
    Unreadable(String),
}

/// Where bytes are read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Wherever the system has them, be it in memory.
    Anywhere,
    /// Off the disk, if the system lets go of what it holds in memory: what was found of them is doubted.
    Disk,
}

/// How much is hashed, and whether to stop.
#[derive(Clone, Default)]
struct Meter(Arc<(AtomicU64, AtomicBool)>);

/// Stops those who hash when the check is dropped.
struct Stopping(Meter);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.0.1.store(true, Relaxed);
    }
}

/// A blob that is hashed.
struct Job {
    digest: Digest,
    blob: values::Blob,
    stamp: Stamp,
    found: Hashed,
}

impl Checker<'_> {
    /// Hashes all blobs, several at a time.
    pub(super) async fn hash_all(&mut self) -> Result<()> {
        let meter = Meter::default();
        let stopping = Stopping(meter.clone());
        let (records, blobs) = (self.records, self.blobs);
        let mut walk = Walk::again(keys::BLOB, PAGE);
        let mut under_way = FuturesUnordered::new();
        let mut ended = false;
        let mut tick = records.runtime.sleep(EVERY);
        loop {
            while !ended && under_way.len() < self.options.workers.max(1) {
                let Some((key, entry)) = self.next(&mut walk).await? else {
                    ended = true;
                    break;
                };
                let digest = digest(&key[keys::BLOB.len()..]);
                let blob = values::decode::<values::Blob>(&key, &entry);
                // What cannot be understood was told where records are checked.
                let (Some(digest), Ok(blob)) = (digest, blob) else {
                    continue;
                };
                let meter = meter.clone();
                under_way.push(async move {
                    let found = hash_twice(records, blobs, &digest, &blob, &meter).await?;
                    let stamp = entry.stamp;
                    Ok::<_, registry_core::Error>(Job {
                        digest,
                        blob,
                        stamp,
                        found,
                    })
                });
            }
            if under_way.is_empty() {
                drop(stopping);
                return Ok(());
            }
            let done = match select(under_way.next(), &mut tick).await {
                Either::Left((done, _)) => done,
                Either::Right(_) => {
                    tick = records.runtime.sleep(EVERY);
                    None
                }
            };
            self.report.hashed = meter.0.0.load(Relaxed);
            self.progress();
            if let Some(job) = done {
                self.hashed(job?).await?;
            }
        }
    }

    /// Tells what hashing a blob found, if its record is still about those bytes.
    async fn hashed(&mut self, mut job: Job) -> Result<()> {
        if self.unread.contains(&job.digest) {
            return Ok(());
        }
        let is_whole = matches!(&job.found, Hashed::Digest(actual) if *actual == job.digest);
        match (is_whole, &job.found) {
            (true, _) => self.wanted.remove(&job.digest),
            (false, Hashed::Unreadable(_)) => {}
            (false, _) => self.wanted.add(&job.digest),
        }
        let key = keys::blob(&job.digest);
        while let Some(suspicion) = suspicion(&key, &job) {
            if let Outcome::Told(_) = self.confirm(&suspicion).await? {
                break;
            }
            // A location never gets other bytes: what was found is true of every record that names it.
            match self.look::<values::Blob>(&key).await? {
                Look::Found(blob, stamp) if blob.location == job.blob.location => {
                    (job.blob, job.stamp) = (blob, stamp);
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// What hashing a blob as its record describes it finds on the disk.
    pub(super) async fn hash_again(&self, digest: &Digest, blob: &values::Blob) -> Result<Hashed> {
        let meter = Meter::default();
        let _stopping = Stopping(meter.clone());
        hash(self.records, self.blobs, digest, blob, (From::Disk, &meter)).await
    }

    /// The digest of what lies at a location, under the algorithm of `like`; or why it cannot be read, which says nothing
    /// about what it is.
    pub(super) async fn digest_at(
        &self,
        location: &Location,
        size: u64,
        like: &Digest,
    ) -> std::result::Result<Digest, String> {
        let meter = Meter::default();
        let _stopping = Stopping(meter.clone());
        let read = self.blobs.read(location, 0..size).await;
        let read = read.map_err(|why| cause(&why))?;
        let hasher = Hasher::new(like.algorithm());
        digest_of(self.records, read, hasher, (From::Disk, &meter))
            .await
            .map_err(|why| why.to_string())
    }
}

/// What is to be told of a blob that was hashed.
fn suspicion(key: &str, job: &Job) -> Option<Suspicion> {
    let Job {
        digest,
        blob,
        stamp,
        found,
    } = job;
    let proof = Txn::new().at(key, *stamp);
    let at = format!("blob {digest} at {}", blob.location);
    let (kind, what) = match found {
        Hashed::Digest(actual) if actual == digest && !blob.suspect => return None,
        Hashed::Digest(actual) if actual == digest => {
            let message = format!("{at} is marked as having lost its bytes, which are whole");
            let whole = values::Blob {
                suspect: false,
                ..blob.clone()
            };
            return Some(
                Suspicion::new(FindingKind::Suspect, key, message, proof)
                    .repair("it can be pulled again", |txn| txn.put(key, encode(&whole))),
            );
        }
        Hashed::Digest(actual) => (
            FindingKind::BytesWrongDigest,
            format!("its bytes have the digest {actual}"),
        ),
        Hashed::Missing => (FindingKind::BytesMissing, "its bytes are missing".to_owned()),
        Hashed::Unreadable(why) => (
            FindingKind::BytesUnreadable,
            format!("its bytes cannot be read: {why}"),
        ),
    };
    Some(if blob.suspect {
        let message = format!("{at} is marked as having lost its bytes, and so it is: {what}");
        Suspicion::new(FindingKind::Suspect, key, message, proof).advise("push it again")
    } else {
        let told = Suspicion::new(kind, key, format!("{at}: {what}"), proof);
        match kind {
            FindingKind::BytesUnreadable => {
                told.advise("see to the disk; if it does not come back, push the blob again")
            }
            _ => told.repair(PUSH, |txn| txn.put(key, lost(blob))).loses(digest),
        }
    })
}

/// Hashes a blob. What is not its record's word is looked at again, past what the system holds of it in memory: a bad page
/// there condemns no bytes, and a good one does not hide that they are gone.
async fn hash_twice(
    records: &Records,
    blobs: &dyn BlobStore,
    digest: &Digest,
    blob: &values::Blob,
    meter: &Meter,
) -> Result<Hashed> {
    if !blob.suspect {
        let found = hash(records, blobs, digest, blob, (From::Anywhere, meter)).await?;
        if matches!(&found, Hashed::Digest(actual) if actual == digest) {
            return Ok(found);
        }
    }
    hash(records, blobs, digest, blob, (From::Disk, meter)).await
}

/// Hashes a blob as its record describes it.
async fn hash(
    records: &Records,
    blobs: &dyn BlobStore,
    digest: &Digest,
    blob: &values::Blob,
    how: (From, &Meter),
) -> Result<Hashed> {
    let read = if blob.location == Location::Inline {
        match records.kv.get(&keys::inline(digest)).await {
            Ok(Some(entry)) => Ok(BlobRead::Bytes(entry.value)),
            Ok(None) | Err(registry_core::store::KvError::Damaged { .. }) => return Ok(Hashed::Missing),
            Err(other) => return Err(super::super::failed(other)),
        }
    } else {
        blobs.read(&blob.location, 0..blob.size).await
    };
    let read = match read {
        Ok(read) => read,
        Err(StoreError::Missing(_)) => return Ok(Hashed::Missing),
        Err(why) => return Ok(Hashed::Unreadable(cause(&why))),
    };
    let hasher = Hasher::new(digest.algorithm());
    Ok(match digest_of(records, read, hasher, how).await {
        Ok(actual) => Hashed::Digest(actual),
        Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => Hashed::Missing,
        Err(why) => Hashed::Unreadable(why.to_string()),
    })
}

fn cause(why: &StoreError) -> String {
    std::error::Error::source(why).map_or_else(|| why.to_string(), ToString::to_string)
}

async fn digest_of(
    records: &Records,
    read: BlobRead,
    mut hasher: Hasher,
    (from, meter): (From, &Meter),
) -> std::io::Result<Digest> {
    match read {
        BlobRead::Bytes(bytes) => {
            hasher.update(&bytes);
            meter.0.0.fetch_add(bytes.len() as u64, Relaxed);
        }
        BlobRead::File(file, range) => {
            let meter = meter.clone();
            return blocking(&*records.runtime, move || {
                if from == From::Disk {
                    forget_cached(&file);
                }
                read_ahead(&file);
                let mut buffer = vec![0; PIECE];
                let mut at = range.start;
                while at < range.end {
                    if meter.0.1.load(Relaxed) {
                        return Err(std::io::Error::other("the check has ended"));
                    }
                    let wanted = buffer.len().min((range.end - at) as usize);
                    file.read_exact_at(&mut buffer[..wanted], at)?;
                    hasher.update(&buffer[..wanted]);
                    at += wanted as u64;
                    meter.0.0.fetch_add(wanted as u64, Relaxed);
                }
                Ok(hasher.finish())
            })
            .await;
        }
        BlobRead::Stream(mut stream) => {
            while let Some(chunk) = stream.next().await {
                let chunk = chunk?;
                hasher.update(&chunk);
                meter.0.0.fetch_add(chunk.len() as u64, Relaxed);
            }
        }
        BlobRead::Redirect(_) => return Err(std::io::Error::other("they are elsewhere")),
    }
    Ok(hasher.finish())
}

/// Has the system read further ahead than it does by itself, so that the disk works while the processor hashes.
fn read_ahead(file: &std::fs::File) {
    #[cfg(target_os = "linux")]
    let _only_a_hint = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}
