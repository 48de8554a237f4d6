//! Stores that write down what they do.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use registry_core::store::{
    BlobStore, Entry, Kv, KvError, Lifetimes, Location, Stamp, StoreError, Txn, UploadStore,
};
use registry_core::{Algorithm, BlobRead, ByteStream, Digest, Timestamp, UploadId};
use registry_storage::clock::ManualClock;
use registry_storage::testkit::ByteStore;
use tokio::sync::RwLock;

use super::trace::{Event, Happened, Lasting, Trace};
use crate::crash::random::Random;

/// What a run has done so far, and its clock.
pub struct Log {
    clock: ManualClock,
    /// Held by commits while they run and by whoever moves the clock, so that the time of each commit is known.
    gate: RwLock<()>,
    /// The last stamp that anybody has seen.
    seen: AtomicU64,
    events: Mutex<Vec<Event>>,
    random: Mutex<Random>,
    /// In how many of a thousand commits their processes are not told how they ended.
    untold: u64,
}

impl Log {
    /// Nothing yet, at `clock`; `random` decides when others get their turn.
    pub fn new(clock: ManualClock, random: Random, untold: u64) -> Arc<Log> {
        Arc::new(Log {
            clock,
            gate: RwLock::default(),
            seen: AtomicU64::default(),
            events: Mutex::default(),
            random: Mutex::new(random),
            untold,
        })
    }

    fn below(&self, limit: u64) -> u64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.below(limit)
    }

    /// Lets others go on, or not: chance decides, so that processes meet at every point.
    async fn pause(&self) {
        for _ in 0..self.below(3) {
            tokio::task::yield_now().await;
        }
    }

    fn see(&self, stamp: Stamp) {
        self.seen.fetch_max(stamp.0, Ordering::SeqCst);
    }

    fn note(&self, event: Event) {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    }

    /// Notes what happened beside the commits.
    pub fn tell(&self, happened: Happened) {
        self.note(Event {
            stamp: self.seen.load(Ordering::SeqCst),
            now: self.clock.now().0,
            happened,
        });
    }

    /// Moves the clock, between commits.
    pub async fn advance(&self, by: Duration) {
        let _alone = self.gate.write().await;
        self.clock.advance(by);
    }

    /// Takes the bytes at a location away, between commits.
    ///
    /// # Errors
    /// Those of unlinking.
    pub async fn lose(&self, bytes: &dyn ByteStore, location: &Location) -> Result<(), StoreError> {
        let _alone = self.gate.write().await;
        bytes.unlink(location).await?;
        self.tell(Happened::Lost(location.to_string()));
        Ok(())
    }

    /// The records' clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How many commits there have been.
    pub fn commits(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// Everything so far.
    pub fn trace(&self, lifetimes: &Lifetimes) -> Trace {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        Trace::new(Lasting::from(lifetimes), events.clone())
    }
}

/// Records that are written down.
pub struct RecordedKv {
    inner: Arc<dyn Kv>,
    log: Arc<Log>,
}

impl RecordedKv {
    /// `inner`, on the log's clock.
    pub fn new(inner: Arc<dyn Kv>, log: Arc<Log>) -> Self {
        RecordedKv { inner, log }
    }
}

#[async_trait]
impl Kv for RecordedKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.log.pause().await;
        let found = self.inner.get(key).await?;
        if let Some(entry) = &found {
            self.log.see(entry.stamp);
        }
        Ok(found)
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        self.log.pause().await;
        let found = self.inner.scan(prefix, after, limit).await?;
        found.iter().for_each(|(_, entry)| self.log.see(entry.stamp));
        Ok(found)
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.inner.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.log.pause().await;
        let (inner, log) = (self.inner.clone(), self.log.clone());
        // A process that goes away meanwhile takes back neither the commit nor the note of it.
        let committed = tokio::spawn(async move {
            let name = txn.name;
            let _still = log.gate.read().await;
            let now = log.clock.now();
            let stamp = inner.commit(txn.clone()).await?;
            log.see(stamp);
            log.note(Event::commit(&txn, stamp, now));
            if log.below(1000) < log.untold {
                log.tell(Happened::Untold(name.to_owned()));
                return Err(KvError::OutcomeUnknown("the connection broke".into()));
            }
            Ok(stamp)
        });
        let outcome = committed
            .await
            .map_err(|why| KvError::OutcomeUnknown(why.into()))?;
        self.log.pause().await;
        outcome
    }
}

/// Bytes of which it is written down when they are complete, and when they go.
pub struct RecordedBytes {
    inner: Arc<dyn ByteStore>,
    log: Arc<Log>,
}

impl RecordedBytes {
    /// `inner`, noted in `log`.
    pub fn new(inner: Arc<dyn ByteStore>, log: Arc<Log>) -> Self {
        RecordedBytes { inner, log }
    }

    fn sealed(&self, id: &UploadId) {
        self.log
            .tell(Happened::Sealed(self.inner.location(id).to_string()));
    }
}

#[async_trait]
impl BlobStore for RecordedBytes {
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        self.log.pause().await;
        self.inner.read(location, range).await
    }

    async fn size(&self, location: &Location) -> Result<Option<u64>, StoreError> {
        self.log.pause().await;
        self.inner.size(location).await
    }

    async fn unlink(&self, location: &Location) -> Result<(), StoreError> {
        self.log.pause().await;
        self.inner.unlink(location).await?;
        self.log.tell(Happened::Unlinked(location.to_string()));
        Ok(())
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        self.inner.list(after, limit).await
    }
}

#[async_trait]
impl UploadStore for RecordedBytes {
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
        self.log.pause().await;
        self.inner.append(id, algorithm, at, bytes).await
    }

    async fn seal(&self, id: &UploadId, digest: &Digest) -> Result<u64, StoreError> {
        self.log.pause().await;
        let size = self.inner.seal(id, digest).await?;
        self.sealed(id);
        Ok(size)
    }

    async fn finish(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        bytes: ByteStream,
        digest: &Digest,
    ) -> Result<u64, StoreError> {
        self.log.pause().await;
        let size = self.inner.finish(id, algorithm, at, bytes, digest).await?;
        self.sealed(id);
        Ok(size)
    }

    async fn discard(&self, id: &UploadId) {
        self.inner.discard(id).await;
    }
}
