//! Records of which nothing is written.

use std::sync::Arc;

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::{Entry, Kv, KvError, Stamp, Txn};

use super::Records;

/// Reads from another, and refuses to write.
struct Reading(Arc<dyn Kv>);

#[async_trait]
impl Kv for Reading {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        self.0.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        self.0.scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.0.now().await
    }

    async fn commit(&self, _txn: Txn) -> Result<Stamp, KvError> {
        Err(KvError::Failed("these records are only read".into()))
    }
}

impl Records {
    /// The same, for whoever only looks. What is damaged is not mended, and is an error to whom it matters.
    pub(super) fn reader(&self) -> Records {
        Records {
            kv: Arc::new(Reading(Arc::clone(&self.kv))),
            ..self.clone()
        }
    }
}
