//! Records that count what is asked of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::{Entry, Kv, KvError, Stamp, Txn};
use serde::Serialize;

/// What was asked of records.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Asked {
    /// Records read: one for each get, whether there was any, and one for each entry of each scan.
    pub read: u64,
    /// Scans.
    pub scans: u64,
    /// Transactions.
    pub commits: u64,
    /// What they asserted: a key each, or a prefix.
    pub asserted: u64,
}

/// Counts, and passes on.
pub(super) struct Counting {
    kv: Arc<dyn Kv>,
    read: AtomicU64,
    scans: AtomicU64,
    commits: AtomicU64,
    asserted: AtomicU64,
}

impl Counting {
    pub(super) fn new(kv: Arc<dyn Kv>) -> Self {
        Counting {
            kv,
            read: AtomicU64::new(0),
            scans: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            asserted: AtomicU64::new(0),
        }
    }

    /// What was asked since the last time.
    pub(super) fn take(&self) -> Asked {
        let take = |count: &AtomicU64| count.swap(0, Ordering::SeqCst);
        Asked {
            read: take(&self.read),
            scans: take(&self.scans),
            commits: take(&self.commits),
            asserted: take(&self.asserted),
        }
    }
}

#[async_trait]
impl Kv for Counting {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.read.fetch_add(1, Ordering::SeqCst);
        self.kv.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        let page = self.kv.scan(prefix, after, limit).await?;
        self.scans.fetch_add(1, Ordering::SeqCst);
        self.read.fetch_add(page.len() as u64, Ordering::SeqCst);
        Ok(page)
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.kv.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.asserted
            .fetch_add(txn.preconditions.len() as u64, Ordering::SeqCst);
        self.kv.commit(txn).await
    }
}
