//! Records that let others go first.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::{Entry, Kv, KvError, Stamp, Txn};

/// A [`Kv`] that steps aside before each operation, for longer or shorter, so that what runs at once really
/// interleaves: between two reads of one transaction, and between its reads and its commit. A fast store hides the
/// races that a slow one has; under this one, a transaction that asserts too little is found out.
#[derive(Debug)]
pub struct Interleaved<K> {
    inner: K,
    operations: AtomicU64,
}

impl<K> Interleaved<K> {
    /// Makes the operations of `inner` interleave.
    pub fn new(inner: K) -> Self {
        Interleaved {
            inner,
            operations: AtomicU64::new(0),
        }
    }

    async fn step_aside(&self) {
        let n = self.operations.fetch_add(1, Ordering::Relaxed);
        // Neighbours wait for different times, so that every order comes up.
        let times = 1 + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61);
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl<K: Kv> Kv for Interleaved<K> {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.step_aside().await;
        self.inner.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        self.step_aside().await;
        self.inner.scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.inner.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.step_aside().await;
        self.inner.commit(txn).await
    }
}
