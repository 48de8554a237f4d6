//! Records that let others go first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::{Entry, Kv, KvError, Stamp, Txn};

/// A [`Kv`] as slow as one at the other end of a network: it waits before each operation, so that what runs at once
/// really interleaves, between two reads of one transaction, and between its reads and its commit. A fast store hides the
/// races that a slow one has; under this one, a transaction that asserts too little is found out.
#[derive(Debug)]
pub struct Interleaved<K> {
    inner: K,
    operations: AtomicU64,
}

impl<K> Interleaved<K> {
    /// Makes the operations of `inner` take their time.
    pub fn new(inner: K) -> Self {
        Interleaved {
            inner,
            operations: AtomicU64::new(0),
        }
    }

    async fn step_aside(&self) {
        // Mostly for nothing, now and then for long: so one overtakes the other in every place.
        let milliseconds = match scattered(self.operations.fetch_add(1, Ordering::Relaxed)) % 8 {
            0..=4 => return tokio::task::yield_now().await,
            5 => 1,
            6 => 2,
            _ => 5,
        };
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// A number that looks unlike its neighbours' (SplitMix64).
fn scattered(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
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
