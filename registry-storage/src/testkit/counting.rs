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
    /// Gets and scans.
    pub reads: u64,
    /// Scans.
    pub scans: u64,
    /// Transactions.
    pub commits: u64,
    /// What they asserted: a key each, or a prefix.
    pub asserted: u64,
}

/// Counts, and passes on. It gives no [marks](Kv::mark), so that whoever reads again is counted again.
pub struct Counting {
    kv: Arc<dyn Kv>,
    gets: AtomicU64,
    scans: AtomicU64,
    listed: AtomicU64,
    commits: AtomicU64,
    asserted: AtomicU64,
}

impl Counting {
    /// Counts what is asked of these records.
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Counting {
            kv,
            gets: AtomicU64::new(0),
            scans: AtomicU64::new(0),
            listed: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            asserted: AtomicU64::new(0),
        }
    }

    /// What was asked since the last time.
    pub fn take(&self) -> Asked {
        let take = |count: &AtomicU64| count.swap(0, Ordering::SeqCst);
        let (gets, scans) = (take(&self.gets), take(&self.scans));
        Asked {
            read: gets + take(&self.listed),
            reads: gets + scans,
            scans,
            commits: take(&self.commits),
            asserted: take(&self.asserted),
        }
    }
}

#[async_trait]
impl Kv for Counting {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.kv.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        let page = self.kv.scan(prefix, after, limit).await?;
        self.listed.fetch_add(page.len() as u64, Ordering::SeqCst);
        Ok(page)
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.kv.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        let asserted = txn.preconditions.len() as u64;
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.asserted.fetch_add(asserted, Ordering::SeqCst);
        self.kv.commit(txn).await
    }
}
