//! The memory store, with a pause before everything that is asked of it, and with what goes wrong in a world.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use registry_core::store::{
    BlobStore, Entry, Kv, KvError, Location, Mark, Precondition, Stamp, StoreError, Txn, UploadStore, Write,
};
use registry_core::{Algorithm, BlobRead, ByteStream, Digest, Timestamp, UploadId, once};

use super::scheduler::pause;
use super::world::World;

/// Records. Whoever asks lets others go on first, and after a commit again before it hears of it.
pub(super) struct PausingKv(pub(super) Arc<World>);

#[async_trait]
impl Kv for PausingKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        pause().await;
        self.0.trace(|| format!("get {key}"));
        self.0.kv.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        pause().await;
        self.0.trace(|| format!("scan {prefix}"));
        self.0.kv.scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        pause().await;
        self.0.oracle().asked_the_time(self.0.at());
        self.0.kv.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        let collects = self.0.oracle().is_collector(self.0.scheduler.current());
        self.0
            .take_time(|faults| match collects && faults.dozing > 0 {
                true => faults.dozing,
                false => faults.asleep,
            })
            .await;
        let fate = self.0.fate();
        if fate == Fate::Failed {
            self.0.trace(|| format!("{}: fails", txn.name));
            return Err(KvError::Failed("the records are out of reach".into()));
        }
        let outcome = self.0.kv.commit(txn.clone()).await;
        self.0.trace(|| told(&txn, &outcome));
        let stamp = outcome?;
        self.0.committed(&txn, fate == Fate::Unknown);
        pause().await;
        match fate {
            Fate::Unknown => Err(KvError::OutcomeUnknown("the answer was lost".into())),
            _ => Ok(stamp),
        }
    }

    fn mark(&self, key: &str) -> Option<Mark> {
        self.0.kv.mark(key)
    }

    fn is_current(&self, mark: Mark) -> bool {
        self.0.kv.is_current(mark)
    }
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Told,
    /// It happens, and whoever asked for it does not hear of it.
    Unknown,
    /// It does not happen.
    Failed,
}

fn told(txn: &Txn, outcome: &Result<Stamp, KvError>) -> String {
    let name = match txn.name {
        "" => "(unnamed)",
        name => name,
    };
    if let Err(KvError::Conflict(broken)) = outcome {
        return format!("{name}: refused, {}", precondition(broken));
    }
    let writes = txn.writes.iter().map(|write| match write {
        Write::Put(key, _) => format!("+{key}"),
        Write::Delete(key) => format!("-{key}"),
        Write::Append(prefix, _) => format!("+{prefix}…"),
    });
    let asserted = txn.preconditions.iter().map(precondition);
    format!(
        "COMMIT {name}: {} if {}",
        writes.collect::<Vec<_>>().join(" "),
        asserted.collect::<Vec<_>>().join(", ")
    )
}

fn precondition(it: &Precondition) -> String {
    match it {
        Precondition::At(key, stamp) => format!("{key} at {}", stamp.0),
        Precondition::Absent(key) => format!("no {key}"),
        Precondition::Damaged(key) => format!("{key} damaged"),
        Precondition::Empty(prefix) => format!("nothing under {prefix}"),
        Precondition::Before(time) => format!("before {}", time.0),
        Precondition::NotBefore(time) => format!("not before {}", time.0),
    }
}

/// Bytes. What an append brings may land late, though never later than what a store promises to a registry: a
/// request that takes longer than half of the longest write fails.
pub(super) struct PausingBytes(pub(super) Arc<World>);

impl PausingBytes {
    /// As a store does that sends each piece in a request of its own: what lands late may be the first of it.
    async fn by_requests(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        mut bytes: ByteStream,
    ) -> Result<u64, StoreError> {
        let mut length = match at {
            Some(at) => at,
            None => self.0.bytes.received(id).await?,
        };
        while let Some(piece) = bytes.next().await {
            let piece = once(piece.map_err(StoreError::Sender)?);
            length = self.0.bytes.append(id, algorithm, Some(length), piece).await?;
            self.0.wrote();
        }
        Ok(length)
    }

    /// The write that was begun lands late, or not at all.
    fn landing_late(&self, bytes: ByteStream) -> ByteStream {
        let world = self.0.clone();
        Box::pin(bytes.then(move |chunk| {
            let world = world.clone();
            async move {
                let chunk = chunk?;
                let begun = world.scheduler.clock.now();
                world.take_time(|faults| faults.late).await;
                let taken = world.scheduler.clock.now().since(begun);
                if taken > world.setting.lifetimes.longest_write / 2 {
                    return Err(std::io::ErrorKind::TimedOut.into());
                }
                if taken > Duration::ZERO {
                    world.cover("late write");
                }
                world.trace(|| format!("a write lands after {} ms", taken.as_millis()));
                Ok(chunk)
            }
        }))
    }
}

#[async_trait]
impl BlobStore for PausingBytes {
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        pause().await;
        self.0.trace(|| format!("opens {location}"));
        if self.0.false_alarm() {
            return Err(StoreError::Missing(location.clone()));
        }
        let read = self.0.bytes.read(location, range).await?;
        self.0.oracle().opened(self.0.scheduler.current(), location);
        Ok(read)
    }

    async fn size(&self, location: &Location) -> Result<Option<u64>, StoreError> {
        pause().await;
        self.0.trace(|| format!("looks at {location}"));
        match self.0.false_alarm() {
            true => Ok(None),
            false => self.0.bytes.size(location).await,
        }
    }

    async fn unlink(&self, location: &Location) -> Result<(), StoreError> {
        pause().await;
        self.0.trace(|| format!("UNLINKS {location}"));
        self.0.bytes.unlink(location).await?;
        self.0.cover("unlink");
        self.0.unlinked(location);
        pause().await;
        Ok(())
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        pause().await;
        self.0.bytes.list(after, limit).await
    }
}

#[async_trait]
impl UploadStore for PausingBytes {
    fn location(&self, id: &UploadId) -> Location {
        self.0.bytes.location(id)
    }

    async fn received(&self, id: &UploadId) -> Result<u64, StoreError> {
        pause().await;
        self.0.bytes.received(id).await
    }

    async fn append(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<u64, StoreError> {
        pause().await;
        self.0.trace(|| format!("appends to {id}"));
        let bytes = self.landing_late(bytes);
        let appended = match self.0.setting.by_requests {
            true => self.by_requests(id, algorithm, at, bytes).await,
            false => self.0.bytes.append(id, algorithm, at, bytes).await,
        };
        self.0.wrote();
        pause().await;
        appended
    }

    async fn seal(&self, id: &UploadId, digest: &Digest) -> Result<u64, StoreError> {
        pause().await;
        let sealed = self.0.bytes.seal(id, digest).await;
        self.0
            .trace(|| format!("seals {id}: {:?}", sealed.as_ref().map_err(ToString::to_string)));
        pause().await;
        sealed
    }

    async fn discard(&self, id: &UploadId) {
        self.0.trace(|| format!("DISCARDS {id}"));
        self.0.bytes.discard(id).await;
        self.0.unlinked(&self.0.bytes.location(id));
    }
}

/// What the memory store answers at once.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory answers at once")
}
