//! What a manifest points at: adding its edges, and removing them.

use registry_core::manifest::{Child, ChildKind};
use registry_core::store::{ManifestWrite, Stamp, Txn};
use registry_core::weakening::{Weakening, keep, lack};
use registry_core::{Children, Digest, Error, ErrorKind, Result, Timestamp};

use super::pieces::Put;
use super::values::{Fate, V1, encode};
use super::{Attempt, Records, keys, values};

/// Parts of a transaction that is being put together: what it asserts and writes, and what it found missing.
pub(super) struct Edges {
    pub(super) txn: Txn,
    pub(super) missing: Vec<Digest>,
    pub(super) deferred: bool,
}

impl Records {
    /// The blobs among these whose bytes are missing or wrong.
    pub(super) async fn suspects(&self, children: &[Child]) -> Result<Vec<Digest>> {
        let mut suspects = Vec::new();
        for child in children.iter().filter(|child| child.kind == ChildKind::Blob) {
            if self
                .find_blob(&child.digest)
                .await?
                .is_none_or(|(blob, _)| blob.suspect)
            {
                suspects.push(child.digest);
            }
        }
        Ok(suspects)
    }

    /// Whether every edge of a put is there, as they are unless a record was damaged.
    pub(super) async fn has_its_edges(
        &self,
        repository: &str,
        put: &str,
        children: &[Child],
    ) -> Result<bool> {
        for child in children {
            let edge = match child.kind {
                ChildKind::Blob => keys::edge(&child.digest, repository, put),
                ChildKind::Manifest => keys::parent(repository, &child.digest, put),
            };
            if self.entry(&edge).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds an edge for everything that the manifest names, asserting that it is live and belongs here.
    pub(super) async fn add_edges(
        &self,
        txn: Txn,
        repository: &str,
        put: &str,
        write: &ManifestWrite,
        now: Timestamp,
    ) -> Result<Edges> {
        let mut edges = Edges {
            txn,
            missing: Vec::new(),
            deferred: false,
        };
        let may_defer = write.options.children == Children::Deferred;
        for child in &write.parsed.children {
            edges = match child.kind {
                ChildKind::Blob => {
                    self.add_blob_edge(edges, repository, put, &write.digest, child, may_defer, now)
                        .await?
                }
                ChildKind::Manifest => {
                    self.add_child_manifest(edges, repository, put, &write.digest, child, may_defer)
                        .await?
                }
            };
        }
        Ok(edges)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one edge; a struct for them would be used once"
    )]
    async fn add_blob_edge(
        &self,
        mut edges: Edges,
        repository: &str,
        put: &str,
        manifest: &Digest,
        child: &Child,
        may_defer: bool,
        now: Timestamp,
    ) -> Result<Edges> {
        let digest = &child.digest;
        let value = encode(&values::Edge {
            v: V1,
            manifest: *manifest,
        });
        let found = self.find_blob(digest).await?;
        let here = match &found {
            Some((blob, _)) if blob.suspect && (!may_defer || lack(Weakening::DeferredForgetsSuspect)) => {
                None
            }
            Some(_) => self.belonging(repository, digest, now).await?,
            None => None,
        };
        match (found, here) {
            (Some((blob, entry)), Some(belonging)) => {
                // What a suspect one's record says may be lost too.
                if !blob.suspect {
                    check_size(child, blob.size)?;
                }
                let asserts = match may_defer {
                    true => Weakening::DeferredAssertsNothing,
                    false => Weakening::PutWithoutLive,
                };
                if keep(asserts) {
                    edges.txn = belonging.assert(self.assert_live(edges.txn, digest, &blob, &entry));
                }
                edges.txn = edges.txn.put(keys::edge(digest, repository, put), value);
            }
            (found, _) if may_defer => {
                // Holds the blob, now or once it is there, but opens nothing: that takes bytes brought here. Nor does
                // it revive a condemned one; only a publish does, and that `remove` looks for edges again holds it.
                if keep(Weakening::DeferredAssertsNothing) {
                    edges.txn = edges
                        .txn
                        .unchanged(keys::blob(digest), found.as_ref().map(|(_, entry)| entry));
                }
                edges.txn = edges.txn.put(keys::deferred(digest, repository, put), value);
                edges.deferred = true;
            }
            _ => edges.missing.push(*digest),
        }
        Ok(edges)
    }

    async fn add_child_manifest(
        &self,
        mut edges: Edges,
        repository: &str,
        put: &str,
        manifest: &Digest,
        child: &Child,
        may_defer: bool,
    ) -> Result<Edges> {
        let key = keys::manifest(repository, &child.digest);
        match self.get::<values::Manifest>(&key).await? {
            Some((found, entry)) => {
                check_size(child, found.size)?;
                if keep(Weakening::IndexWithoutChildManifest) {
                    edges.txn = edges.txn.at(key, entry.stamp);
                }
            }
            None if may_defer => {
                edges.txn = edges.txn.absent(key);
                edges.deferred = true;
            }
            None => {
                edges.missing.push(child.digest);
                return Ok(edges);
            }
        }
        let value = encode(&values::Edge {
            v: V1,
            manifest: *manifest,
        });
        edges.txn = edges.txn.put(keys::parent(repository, &child.digest, put), value);
        Ok(edges)
    }

    /// Takes exactly the edges of the put that made `manifest`, which was read at `stamp`, and its place among its
    /// subject's referrers. Into the trash its list of children goes along, and stays.
    pub(super) async fn remove_edges(
        &self,
        txn: Txn,
        repository: &str,
        digest: &Digest,
        (manifest, stamp): (&values::Manifest, Stamp),
        fate: Fate,
        now: Timestamp,
    ) -> Result<Attempt<Txn>> {
        let key = keys::children(repository, digest);
        let Some((children, _)) = self.get::<values::Children>(&key).await? else {
            // What belongs to a manifest that was deleted or put again meanwhile is gone with good reason.
            let now = self.entry(&keys::manifest(repository, digest)).await?;
            return match now.is_some_and(|entry| entry.stamp == stamp) {
                true => Err(Error::internal(format!("record {key} is missing"))),
                false => Ok(Attempt::Again),
            };
        };
        let of = Put {
            repository,
            manifest: digest,
            put: &manifest.put,
        };
        let mut txn = self.take_edges(txn, of, &children, fate, now).await?;
        if let Some(subject) = &manifest.subject {
            txn = txn.delete(keys::referrer(repository, subject, digest));
        }
        if fate != Fate::Trash {
            txn = txn.delete(key);
        }
        Ok(Attempt::Done(txn))
    }
}

fn check_size(child: &Child, size: u64) -> Result<()> {
    if child.size == size {
        return Ok(());
    }
    let (digest, named) = (&child.digest, child.size);
    let message = format!("the manifest says that {digest} has {named} bytes; it has {size}");
    Err(Error::new(ErrorKind::SizeInvalid, message)
        .with_detail(serde_json::json!({ "digest": digest, "size": size })))
}

/// The refusal of a manifest that names what is not here.
pub(super) fn missing(digests: &[Digest]) -> Error {
    let count = digests.len();
    let shown = digests[0];
    let message = match count {
        1 => format!("the manifest names {shown}, which this repository does not hold; push it first"),
        _ => format!(
            "the manifest names {count} things that this repository does not hold, {shown} among them; push them first"
        ),
    };
    Error::new(ErrorKind::ManifestBlobUnknown, message).with_detail(serde_json::json!({ "missing": digests }))
}
