//! Manifests and their edges.

use registry_core::manifest::{ChildKind, ParsedManifest};
use registry_core::store::{KvError, Txn};
use registry_core::{Context, Digest, Result};

use super::super::values::{V1, decode, encode};
use super::super::{Records, failed, keys, values};
use super::parsed;

/// The table and the parts of the key of an edge that is damaged.
#[derive(Clone, Copy)]
pub(super) struct DamagedEdge<'k> {
    pub(super) key: &'k str,
    pub(super) table: &'k str,
    pub(super) repository: &'k str,
    pub(super) child: &'k str,
    pub(super) put: &'k str,
}

impl DamagedEdge<'_> {
    /// The key of such an edge from a put to a child.
    fn like(&self, child: &Digest, put: &str) -> String {
        match self.table {
            "parent" => keys::parent(self.repository, child, put),
            "deferred" => keys::deferred(child, self.repository, put),
            "trashed" => keys::trashed(child, self.repository, put),
            _ => keys::edge(child, self.repository, put),
        }
    }
}

impl Records {
    /// An edge is of the manifest that was put with its put id. The checksum covers the key, so that the key may be what
    /// was changed, and the true edge be missing: the manifest that has the put id, and those that name the child, get
    /// the edges that they lack, and what is damaged goes unless it is one of them. Nothing that is named loses its
    /// edge so.
    pub(super) async fn mended_edge(&self, edge: DamagedEdge<'_>) -> Result<Option<Txn>> {
        let named: Option<Digest> = edge.child.parse().ok();
        let of_trash = edge.table == "trashed";
        let manifests = match of_trash {
            true => keys::trash_of(edge.repository),
            false => keys::manifests(edge.repository),
        };
        let (mut txn, mut after): (_, Option<String>) = (Txn::new().delete(edge.key), None);
        // Whether the manifest of the put was found, and whether there are some that cannot be read.
        let (mut its_own, mut unread) = (false, false);
        loop {
            let page = self.look_past(&manifests, after.as_deref(), 1000).await?;
            unread |= !page.damaged.is_empty();
            for (of, entry) in &page.entries {
                let manifest = match of_trash {
                    true => decode::<values::Trashed>(of, entry)?.manifest,
                    false => decode::<values::Manifest>(of, entry)?,
                };
                let digest: Digest = parsed(of, &of[manifests.len()..])?;
                let own = manifest.put == edge.put;
                its_own |= own;
                let children = match self.named_by(&edge, &digest).await {
                    Ok(children) => children,
                    Err(why) if own => return Err(why),
                    Err(_) => {
                        unread = true;
                        continue;
                    }
                };
                let wanted = |child: &Digest| own || named.as_ref() == Some(child);
                for child in children.iter().filter(|child| wanted(child)) {
                    if self.lacks_edge(&edge, child, &manifest.put).await? {
                        let value = encode(&values::Edge {
                            v: V1,
                            manifest: digest,
                        });
                        txn = txn
                            .at(of, entry.stamp)
                            .put(edge.like(child, &manifest.put), value);
                    }
                }
            }
            match page.entries.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => break,
            }
        }
        // It may be of one of those: then it stays, and holds what it holds, until that is put again.
        if unread && !its_own {
            return Ok(None);
        }
        // Should it have been the last that held its child, the collector has something to look at.
        Ok(Some(match named {
            Some(child) if edge.table != "parent" => self.add_pending(txn, &child, self.clock().await?),
            _ => txn,
        }))
    }

    /// What a manifest names that such an edge is for.
    async fn named_by(&self, edge: &DamagedEdge<'_>, manifest: &Digest) -> Result<Vec<Digest>> {
        let key = keys::children(edge.repository, manifest);
        let Some(entry) = self.kv.get(&key).await.map_err(failed)? else {
            return Ok(Vec::new());
        };
        let children: values::Children = decode(&key, &entry)?;
        Ok(match edge.table {
            "parent" => children.manifests,
            _ => children.blobs,
        })
    }

    /// Whether nothing but what is damaged leads from a put to a child.
    async fn lacks_edge(&self, edge: &DamagedEdge<'_>, child: &Digest, put: &str) -> Result<bool> {
        let keys = match edge.table {
            "parent" => vec![keys::parent(edge.repository, child, put)],
            _ => vec![
                keys::edge(child, edge.repository, put),
                keys::deferred(child, edge.repository, put),
                keys::trashed(child, edge.repository, put),
            ],
        };
        for key in keys.iter().filter(|key| *key != edge.key) {
            match self.kv.get(key).await {
                Ok(None) => {}
                // Another damaged one is mended on its own.
                Ok(Some(_)) | Err(KvError::Damaged { .. }) => return Ok(false),
                Err(other) => return Err(failed(other)),
            }
        }
        Ok(true)
    }

    /// The put id of an edge in this table that is a manifest's; those that are damaged do not say whose they are.
    async fn put_of(&self, table: &str, manifest: &Digest) -> Result<Option<String>> {
        let mut after: Option<String> = None;
        loop {
            let page = self.look_past(table, after.as_deref(), 1000).await?.entries;
            for (key, entry) in &page {
                if decode::<values::Edge>(key, entry)?.manifest == *manifest {
                    return Ok(Some(key[table.len()..].to_owned()));
                }
            }
            match page.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => return Ok(None),
            }
        }
    }

    /// The record of a manifest whose content is known: with the put id of the edges that are there, and marked as not
    /// whole, so that the next put makes all edges anew.
    async fn record_again(
        &self,
        repository: &str,
        digest: &Digest,
        parsed: &ParsedManifest,
        size: u64,
    ) -> Result<values::Manifest> {
        let mut put: Option<String> = None;
        for child in &parsed.children {
            let tables = match child.kind {
                ChildKind::Blob => vec![
                    keys::edges_of(&child.digest, repository),
                    keys::deferrals_of(&child.digest, repository),
                    keys::trashed_of(&child.digest, repository),
                ],
                ChildKind::Manifest => vec![keys::parents(repository, &child.digest)],
            };
            for table in tables {
                if put.is_none() {
                    put = self.put_of(&table, digest).await?;
                }
            }
        }
        Ok(values::Manifest {
            v: V1,
            media_type: parsed.media_type.clone(),
            size,
            put: put.unwrap_or_else(|| format!("{:032x}", self.runtime.random())),
            subject: parsed.subject,
            deferred: true,
        })
    }

    pub(in crate::records) async fn manifest_again(
        &self,
        repository: &str,
        digest: &Digest,
        parsed: &ParsedManifest,
        size: u64,
    ) -> Result<Txn> {
        let value = self.record_again(repository, digest, parsed, size).await?;
        let children = values::Children::of(&parsed.children);
        Ok(Txn::new()
            .put(keys::manifest(repository, digest), encode(&value))
            .put(keys::children(repository, digest), encode(&children)))
    }

    /// The record of a manifest in the trash whose content is known: as if it was deleted now, without its tags.
    pub(in crate::records) async fn trash_again(
        &self,
        repository: &str,
        digest: &Digest,
        parsed: &ParsedManifest,
        size: u64,
    ) -> Result<Txn> {
        let manifest = self.record_again(repository, digest, parsed, size).await?;
        let children = values::Children::of(&parsed.children);
        let txn = Txn::new().put(keys::children(repository, digest), encode(&children));
        let (ctx, now) = (Context::system(), self.clock().await?);
        Ok(self.add_to_trash(txn, &ctx, repository, (digest, manifest), &[], now))
    }
}
