//! Bytes in memory, arriving and finished.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use registry_core::store::{BlobStore, Location, StoreError, UploadStore, Volume};
use registry_core::weakening::{Weakening, lack};
use registry_core::{Algorithm, BlobRead, ByteStream, Digest, Hasher, UploadId};

/// Bytes in memory, as objects named by the uploads that brought them.
#[derive(Default)]
pub struct MemoryBytes {
    objects: Mutex<BTreeMap<String, Arc<Mutex<Object>>>>,
}

#[derive(Default)]
struct Object {
    /// Whether there is something to be read, be it nothing but the empty content.
    exists: bool,
    parts: Vec<Bytes>,
    length: u64,
    /// Of all parts, if the appends so far agreed on an algorithm.
    hasher: Option<Hasher>,
    /// Counts the writers that there have been; only the last may write.
    epoch: u64,
    /// The content is complete; nothing is added to it.
    sealed: bool,
    /// Nothing more is written: the object has left the map.
    ended: bool,
}

impl MemoryBytes {
    /// An empty store.
    pub fn new() -> Self {
        MemoryBytes::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<Object>>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &str) -> Option<Arc<Mutex<Object>>> {
        self.objects().get(key).cloned()
    }

    fn find_or_create(&self, id: &UploadId) -> Arc<Mutex<Object>> {
        self.objects().entry(id.as_str().to_owned()).or_default().clone()
    }
}

impl fmt::Debug for MemoryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBytes({} objects)", self.objects().len())
    }
}

fn lock(object: &Mutex<Object>) -> MutexGuard<'_, Object> {
    object.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Object {
    /// Ends every writer's epoch and begins one.
    fn begin_epoch(&mut self) -> Result<u64, StoreError> {
        if self.ended {
            return Err(StoreError::Superseded);
        }
        self.epoch += 1;
        Ok(self.epoch)
    }

    fn is_current(&self, epoch: u64) -> bool {
        self.epoch == epoch || lack(Weakening::ResumeWithoutEpoch)
    }

    fn append(&mut self, epoch: u64, chunk: &[u8]) -> Result<(), StoreError> {
        if self.ended || !self.is_current(epoch) {
            return Err(StoreError::Superseded);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(chunk);
        }
        // A copy, since the chunk may be a small view of a large buffer.
        self.exists = true;
        self.parts.push(Bytes::copy_from_slice(chunk));
        self.length += chunk.len() as u64;
        Ok(())
    }

    /// The content in one piece.
    fn content(&mut self) -> Bytes {
        if self.parts.len() != 1 {
            let mut whole = BytesMut::with_capacity(self.length as usize);
            self.parts.iter().for_each(|part| whole.extend_from_slice(part));
            self.parts = vec![whole.freeze()];
        }
        self.parts[0].clone()
    }

    fn digest(&mut self, algorithm: Algorithm) -> Digest {
        match &self.hasher {
            Some(hasher) if hasher.algorithm() == algorithm => hasher.clone().finish(),
            _ => Digest::of(algorithm, &self.content()),
        }
    }
}

fn key(location: &Location) -> Option<&str> {
    match location {
        Location::Object(key) => Some(key),
        _ => None,
    }
}

#[async_trait]
impl BlobStore for MemoryBytes {
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        let missing = || StoreError::Missing(location.clone());
        let object = key(location).and_then(|key| self.find(key)).ok_or_else(missing)?;
        let mut object = lock(&object);
        if !object.exists || range.end > object.length || range.start > range.end {
            return Err(missing());
        }
        Ok(BlobRead::Bytes(
            object.content().slice(range.start as usize..range.end as usize),
        ))
    }

    async fn size(&self, location: &Location) -> Result<Option<u64>, StoreError> {
        let object = key(location).and_then(|key| self.find(key));
        Ok(object.and_then(|object| {
            let object = lock(&object);
            object.exists.then_some(object.length)
        }))
    }

    async fn unlink(&self, location: &Location) -> Result<(), StoreError> {
        let object = key(location).and_then(|key| self.objects().remove(key));
        if let Some(object) = object {
            lock(&object).ended = true;
        }
        Ok(())
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        let from = match after {
            None => Bound::Unbounded,
            Some(Location::Object(key)) => Bound::Excluded(key.as_str()),
            // Other kinds of location order before objects.
            Some(_) => Bound::Unbounded,
        };
        let objects = self.objects();
        let existing = objects
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(_, object)| lock(object).exists);
        Ok(existing
            .take(limit)
            .map(|(key, _)| Location::Object(key.clone()))
            .collect())
    }

    async fn volume(&self) -> Volume {
        Volume::There
    }
}

#[async_trait]
impl UploadStore for MemoryBytes {
    fn location(&self, id: &UploadId) -> Location {
        Location::Object(id.as_str().to_owned())
    }

    async fn received(&self, id: &UploadId) -> Result<u64, StoreError> {
        Ok(self.find(id.as_str()).map_or(0, |object| lock(&object).length))
    }

    async fn append(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        mut bytes: ByteStream,
    ) -> Result<u64, StoreError> {
        let object = self.find_or_create(id);
        let epoch = {
            let mut object = lock(&object);
            if object.sealed {
                return Err(StoreError::Superseded);
            }
            if let Some(at) = at
                && at != object.length
            {
                return Err(StoreError::OutOfOrder { at: object.length });
            }
            if object.length == 0 {
                object.hasher = Some(Hasher::new(algorithm));
            }
            object.begin_epoch()?
        };
        while let Some(chunk) = bytes.next().await {
            let chunk = chunk.map_err(StoreError::Sender)?;
            lock(&object).append(epoch, &chunk)?;
        }
        let object = lock(&object);
        if object.ended || !object.is_current(epoch) {
            return Err(StoreError::Superseded);
        }
        Ok(object.length)
    }

    async fn seal(&self, id: &UploadId, digest: &Digest) -> Result<u64, StoreError> {
        let object = self.find_or_create(id);
        let mut object = lock(&object);
        object.begin_epoch()?;
        let actual = object.digest(digest.algorithm());
        if actual != *digest {
            return Err(StoreError::DigestMismatch { actual });
        }
        object.content();
        (object.exists, object.sealed) = (true, true);
        Ok(object.length)
    }

    async fn discard(&self, id: &UploadId) {
        let object = self.objects().remove(id.as_str());
        if let Some(object) = object {
            let mut object = lock(&object);
            *object = Object {
                ended: true,
                ..Object::default()
            };
        }
    }
}
