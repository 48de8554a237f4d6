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

    /// A manifest from its key, in the trash or not; `None` if its repository is being cleaned up.
    async fn manifest_at(&self, key: &str, stamp: Stamp) -> Result<Option<ScrubManifest>> {
        let Some((id, digest)) = split(key) else {
            return Err(Error::internal(format!("{key} is no manifest's key")));
        };
        Ok(self.name_of(id).await?.map(|repository| ScrubManifest {
            position: key.to_owned(),
            repository,
            digest,
            stamp,
            trashed: key.starts_with(keys::TRASH),
        }))
    }
}

/// The tables of manifests, in the order in which they are read.
const TABLES: [&str; 2] = [keys::MANIFEST, keys::TRASH];

/// The key that a position stands for. Those of berth before it read the trash are without a table.
fn key_of(position: &str) -> String {
    match TABLES.iter().any(|table| position.starts_with(table)) {
        true => position.to_owned(),
        false => format!("{}{position}", keys::MANIFEST),
    }
}

/// The repository's id and the digest in the key of a manifest, in the trash or not.
fn split(key: &str) -> Option<(&str, Digest)> {
    let (id, digest) = TABLES
        .iter()
        .find_map(|table| key.strip_prefix(table))?
        .split_once('/')?;
    Some((id, digest.parse().ok()?))
}

#[async_trait]
impl Scrub for Records {
    // A page of the records may be short where they are damaged: only one without an entry is the end of a table.
    async fn blobs(&self, after: Option<&Digest>, limit: usize) -> Result<Page<BlobRecord>> {
        let mut after = after.map(keys::blob);
        let mut items = Vec::new();
        while items.len() < limit {
            let room = limit - items.len();
            let found = self.scan_past(keys::BLOB, after.as_deref(), room).await?;
            let Some((last, _)) = found.last() else {
                return Ok(Page { items, more: false });
            };
            after = Some(last.clone());
            for (key, entry) in &found {
                let digest = key[keys::BLOB.len()..].parse::<Digest>();
                match (digest, decode::<values::Blob>(key, entry)) {
                    (Ok(digest), Ok(blob)) => items.push(blob.record(&digest, entry)),
                    _ => tracing::error!(key, "the scrub steps over a record that is not a blob's"),
                }
            }
        }
        Ok(Page { items, more: true })
    }

    async fn manifests(&self, after: Option<&str>, limit: usize) -> Result<Page<ScrubManifest>> {
        let mut after = after.map(key_of);
        let mut items = Vec::new();
        for table in TABLES {
            if after
                .as_deref()
                .is_some_and(|after| after >= table && !after.starts_with(table))
            {
                continue;
            }
            while items.len() < limit {
                let room = limit - items.len();
                let found = self.scan_past(table, after.as_deref(), room).await?;
                let Some((last, _)) = found.last() else { break };
                after = Some(last.clone());
                for (key, entry) in &found {
                    match self.manifest_at(key, entry.stamp).await {
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
            }
        }
        let more = items.len() >= limit;
        Ok(Page { items, more })
    }

    async fn manifest_content(&self, manifest: &ScrubManifest) -> Result<Option<Bytes>> {
        let key = key_of(&manifest.position);
        let Some((id, digest)) = split(&key) else {
            return Ok(None);
        };
        match self.kv.get(&keys::content(id, &digest)).await {
            Ok(entry) => Ok(entry.map(|entry| entry.value)),
            Err(KvError::Damaged { .. }) => Ok(None),
            Err(other) => Err(failed(other)),
        }
    }

    async fn is_manifest(&self, manifest: &ScrubManifest) -> Result<bool> {
        let key = key_of(&manifest.position);
        let Some((id, _)) = split(&key) else {
            return Ok(false);
        };
        let entry = self.entry(&key).await?;
        Ok(entry.is_some_and(|entry| entry.stamp == manifest.stamp) && self.name_of(id).await?.is_some())
    }

    async fn needed_by(&self, blob: &Digest, limit: usize) -> Result<Vec<NeededBy>> {
        let mut needed = Vec::new();
        for (table, trashed) in [
            (keys::edges(blob), false),
            (keys::deferrals(blob), false),
            (keys::trashed_edges(blob), true),
        ] {
            let room = limit - needed.len();
            for (key, entry) in self.scan_past(&table, None, room).await? {
                let id = key[table.len()..].split('/').next().unwrap_or_default();
                let edge: values::Edge = decode(&key, &entry)?;
                if let Some(repository) = self.name_of(id).await? {
                    needed.push(NeededBy {
                        repository,
                        manifest: edge.manifest,
                        trashed,
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
        let mut findings = Vec::with_capacity(past.entries.len());
        for (key, entry) in &past.entries {
            match decode::<Versioned<ScrubFinding>>(key, entry) {
                Ok(found) => findings.push(found.value),
                Err(error) => tracing::error!(key, %error, "a finding of the scrub cannot be read"),
            }
        }
        Ok(findings)
    }
}
