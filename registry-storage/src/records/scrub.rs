//! What the scrub reads and writes.

use async_trait::async_trait;
use bytes::Bytes;
use registry_core::store::{
    BlobRecord, FINDINGS_KEPT, KvError, NeededBy, Scrub, ScrubCursor, ScrubFinding, ScrubManifest, Stamp, Txn,
};
use registry_core::{Digest, Error, Page, RepositoryName, Result};
use serde::{Deserialize, Serialize};

use super::values::{V1, decode, encode};
use super::{Attempt, Records, failed, keys, values};

/// A value of the scrub's table.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: V1,
    #[serde(flatten)]
    value: T,
}

impl Records {
    async fn name_of(&self, id: &str) -> Result<Option<RepositoryName>> {
        let named = self.get::<values::Named>(&keys::named(id)).await?;
        Ok(named.map(|(named, _)| named.name))
    }

    /// A manifest from its key below the table; `None` if its repository is being cleaned up.
    async fn manifest_at(&self, position: &str, stamp: Stamp) -> Result<Option<ScrubManifest>> {
        let Some((id, digest)) = split(position) else {
            return Err(Error::internal(format!("{position} is no manifest's key")));
        };
        Ok(self.name_of(id).await?.map(|repository| ScrubManifest {
            position: position.to_owned(),
            repository,
            digest,
            stamp,
        }))
    }
}

/// The repository's id and the digest in a manifest's key.
fn split(position: &str) -> Option<(&str, Digest)> {
    let (id, digest) = position.split_once('/')?;
    Some((id, digest.parse().ok()?))
}

#[async_trait]
impl Scrub for Records {
    async fn blobs(&self, after: Option<&Digest>, limit: usize) -> Result<Page<BlobRecord>> {
        let mut after = after.map(keys::blob);
        loop {
            let found = self.scan_past(keys::BLOB, after.as_deref(), limit).await?;
            let more = found.len() >= limit;
            let mut items = Vec::with_capacity(found.len());
            for (key, entry) in &found {
                let digest = key[keys::BLOB.len()..].parse::<Digest>();
                match (digest, decode::<values::Blob>(key, entry)) {
                    (Ok(digest), Ok(blob)) => items.push(blob.record(&digest, entry)),
                    _ => tracing::error!(key, "the scrub steps over a record that is not a blob's"),
                }
            }
            // A page without a blob would leave the caller no place to go on from.
            if !more || !items.is_empty() {
                return Ok(Page { items, more });
            }
            after = found.into_iter().next_back().map(|(key, _)| key);
        }
    }

    async fn manifests(&self, after: Option<&str>, limit: usize) -> Result<Page<ScrubManifest>> {
        let mut after = after.map(|after| format!("{}{after}", keys::MANIFEST));
        loop {
            let found = self.scan_past(keys::MANIFEST, after.as_deref(), limit).await?;
            let more = found.len() >= limit;
            let mut items = Vec::with_capacity(found.len());
            for (key, entry) in &found {
                match self.manifest_at(&key[keys::MANIFEST.len()..], entry.stamp).await {
                    Ok(manifest) => items.extend(manifest),
                    Err(why) => {
                        tracing::error!(
                            key,
                            error = &why as &dyn std::error::Error,
                            "the scrub steps over"
                        )
                    }
                }
            }
            if !more || !items.is_empty() {
                return Ok(Page { items, more });
            }
            after = found.into_iter().next_back().map(|(key, _)| key);
        }
    }

    async fn manifest_content(&self, manifest: &ScrubManifest) -> Result<Option<Bytes>> {
        let Some((id, digest)) = split(&manifest.position) else {
            return Ok(None);
        };
        match self.kv.get(&keys::content(id, &digest)).await {
            Ok(entry) => Ok(entry.map(|entry| entry.value)),
            Err(KvError::Damaged { .. }) => Ok(None),
            Err(other) => Err(failed(other)),
        }
    }

    async fn is_manifest(&self, manifest: &ScrubManifest) -> Result<bool> {
        let Some((id, digest)) = split(&manifest.position) else {
            return Ok(false);
        };
        let entry = self.entry(&keys::manifest(id, &digest)).await?;
        Ok(entry.is_some_and(|entry| entry.stamp == manifest.stamp) && self.name_of(id).await?.is_some())
    }

    async fn needed_by(&self, blob: &Digest, limit: usize) -> Result<Vec<NeededBy>> {
        let mut needed = Vec::new();
        for table in [keys::edges(blob), keys::deferrals(blob)] {
            for (key, entry) in self.scan_past(&table, None, limit - needed.len()).await? {
                let id = key[table.len()..].split('/').next().unwrap_or_default();
                let edge: values::Edge = decode(&key, &entry)?;
                if let Some(repository) = self.name_of(id).await? {
                    needed.push(NeededBy {
                        repository,
                        manifest: edge.manifest,
                    });
                }
            }
        }
        Ok(needed)
    }

    async fn cursor(&self) -> Result<Option<(ScrubCursor, Stamp)>> {
        match self.kv.get(keys::SCRUB_CURSOR).await {
            Ok(None) => Ok(None),
            Ok(Some(entry)) => {
                let cursor: Versioned<ScrubCursor> = decode(keys::SCRUB_CURSOR, &entry)?;
                Ok(Some((cursor.value, entry.stamp)))
            }
            // Where it was is not worth more than beginning anew.
            Err(KvError::Damaged { .. }) => {
                let txn = Txn::new()
                    .named("scrub_cursor")
                    .damaged(keys::SCRUB_CURSOR)
                    .delete(keys::SCRUB_CURSOR);
                self.commit(txn).await?;
                Ok(None)
            }
            Err(other) => Err(failed(other)),
        }
    }

    async fn save_cursor(&self, cursor: &ScrubCursor, read: Option<Stamp>) -> Result<Option<Stamp>> {
        let txn = Txn::new().named("scrub_cursor");
        let txn = match read {
            Some(stamp) => txn.at(keys::SCRUB_CURSOR, stamp),
            None => txn.absent(keys::SCRUB_CURSOR),
        };
        let value = encode(&Versioned { v: V1, value: cursor });
        Ok(match self.commit(txn.put(keys::SCRUB_CURSOR, value)).await? {
            Attempt::Done(stamp) => Some(stamp),
            Attempt::Again => None,
        })
    }

    async fn add_finding(&self, finding: &ScrubFinding) -> Result<()> {
        let past = self.look_past(keys::SCRUB_FOUND, None, 2 * FINDINGS_KEPT).await?;
        let kept = past.entries.len().min(FINDINGS_KEPT - 1);
        let value = encode(&Versioned {
            v: V1,
            value: finding,
        });
        let txn = past.entries[..past.entries.len() - kept]
            .iter()
            .map(|(key, _)| key)
            .fold(Txn::new().named("scrub_finding"), |txn, key| txn.delete(key));
        self.commit(txn.append(keys::SCRUB_FOUND, value)).await?;
        Ok(())
    }

    async fn findings(&self) -> Result<Vec<ScrubFinding>> {
        let past = self.look_past(keys::SCRUB_FOUND, None, 2 * FINDINGS_KEPT).await?;
        past.entries
            .iter()
            .map(|(key, entry)| Ok(decode::<Versioned<ScrubFinding>>(key, entry)?.value))
            .collect()
    }
}
