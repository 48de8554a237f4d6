//! Reading single records of which some may be damaged.

use bytes::Bytes;
use registry_core::Result;
use registry_core::store::{Entry, KvError, Stamp};
use serde::de::DeserializeOwned;

use super::super::{failed, values};
use super::suspicion::{Suspicion, of};
use super::{Checker, FindingKind};

/// What a look at one key found.
pub(super) enum Look<T> {
    Absent,
    /// There is something that cannot be read, which the walk of its own table tells of.
    Damaged,
    /// There is something that is not what its table holds; told there too.
    Illegible(Stamp),
    Found(T, Stamp),
}

impl Checker<'_> {
    /// The bytes under a key.
    pub(super) async fn bytes(&self, key: &str) -> Result<Look<Bytes>> {
        match self.records.kv.get(key).await {
            Ok(Some(entry)) => Ok(Look::Found(entry.value, entry.stamp)),
            Ok(None) => Ok(Look::Absent),
            Err(error) if is_damage(&error) => Ok(Look::Damaged),
            Err(error) => Err(failed(error)),
        }
    }

    /// What is under a key.
    pub(super) async fn look<T: DeserializeOwned>(&self, key: &str) -> Result<Look<T>> {
        Ok(match self.bytes(key).await? {
            Look::Found(bytes, stamp) => match serde_json::from_slice(&bytes) {
                Ok(value) => Look::Found(value, stamp),
                Err(_) => Look::Illegible(stamp),
            },
            Look::Absent => Look::Absent,
            Look::Damaged => Look::Damaged,
            Look::Illegible(stamp) => Look::Illegible(stamp),
        })
    }

    /// Whether there is anything under a key.
    pub(super) async fn is_there(&self, key: &str) -> Result<bool> {
        Ok(!matches!(self.bytes(key).await?, Look::Absent))
    }

    /// Whether there is anything under a prefix, damaged or not.
    pub(super) async fn any_under(&self, prefix: &str) -> Result<bool> {
        match self.records.kv.scan(prefix, None, 1).await {
            Ok(page) => Ok(!page.is_empty()),
            Err(error) if is_damage(&error) => Ok(true),
            Err(error) => Err(failed(error)),
        }
    }
}

/// What a record that is looked at holds; or what is told if that is none of its table.
pub(super) fn decode<T: DeserializeOwned>(key: &str, entry: &Entry) -> Result<T, Suspicion> {
    values::decode(key, entry).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        let message = format!("record {key} cannot be understood: {why}");
        Suspicion::new(FindingKind::DamagedRecord, key, message, of(key, entry))
    })
}

/// What is told of a key that is not of its table's form.
pub(super) fn not_a_key(key: &str, entry: &Entry) -> Suspicion {
    let message = format!("record {key} has a key that none of its table can have");
    Suspicion::new(FindingKind::DamagedRecord, key, message, of(key, entry))
}

fn is_damage(error: &KvError) -> bool {
    matches!(error, KvError::Damaged { .. })
}
