//! Manifests and tags: putting, reading, deleting.

use registry_core::manifest::{Child, ChildKind};
use registry_core::store::{Entry, EventKind, ManifestWrite, TagMove, Txn};
use registry_core::{
    Charge, Children, Context, Digest, Error, ErrorKind, Expect, Manifest, PutOutcome, Reference,
    RepositoryName, Result, Tag, Timestamp, error,
};

use super::values::{MARK, V1, decode, encode};
use super::{Attempt, Records, Repository, keys, values};

/// Most tags that go in one transaction.
const TAGS_AT_ONCE: usize = 10_000;

/// Shards of a counter: so many writers can charge it at once without getting in each other's way.
const SHARDS: u8 = 16;

/// Parts of a transaction that is being put together: what it asserts and writes, and what it found missing.
struct Edges {
    txn: Txn,
    missing: Vec<Digest>,
    deferred: bool,
}

impl Records {
    /// Resolves a reference. A tag may move, and the manifest that it has left be deleted, between the two reads; so
    /// a tag that led nowhere is looked at again, and unknown only if it has not moved.
    pub(super) async fn find_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<(Repository, Digest, values::Manifest, Entry)> {
        let unknown = || error::manifest_unknown(reference);
        let mut led_nowhere = None;
        loop {
            let repository = self.known(name).await?;
            let (digest, moved) = match reference {
                Reference::Digest(digest) => (*digest, None),
                Reference::Tag(tag) => {
                    let key = keys::tag(&repository.id, tag);
                    let (tag, entry) = self.get::<values::Tag>(&key).await?.ok_or_else(unknown)?;
                    (tag.digest, Some(entry.stamp))
                }
            };
            if let Some((manifest, entry)) = self.get(&keys::manifest(&repository.id, &digest)).await? {
                return Ok((repository, digest, manifest, entry));
            }
            if moved == led_nowhere {
                return Err(unknown());
            }
            led_nowhere = moved;
        }
    }

    pub(super) async fn read_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest> {
        loop {
            let (repository, digest, manifest, _) = self.find_manifest(name, reference).await?;
            let key = keys::content(&repository.id, &digest);
            // Without it, the manifest was deleted between the two reads: the next look says what is there now.
            if let Some(content) = self.kv.get(&key).await.map_err(super::failed)? {
                return Ok(Manifest {
                    info: manifest.info(&digest),
                    bytes: content.value,
                });
            }
        }
    }

    /// `put_manifest`.
    pub(super) async fn try_put_manifest(
        &self,
        ctx: &Context,
        name: &RepositoryName,
        write: &ManifestWrite,
    ) -> Result<Attempt<PutOutcome>> {
        let repository = self.known_or_new(name).await?;
        let now = self.clock().await?;
        let digest = &write.digest;
        let id = repository.id.as_str();
        let key = keys::manifest(id, digest);
        let found = self.get::<values::Manifest>(&key).await?;

        let mut txn = self.assert_name(Txn::new(), name, &repository, now);
        txn = txn.unchanged(&key, found.as_ref().map(|(_, entry)| entry));
        let manifest = match &found {
            // There already, and whole: what it names is held by the edges of the put that made it.
            Some((manifest, _)) if !manifest.deferred && manifest.media_type == write.parsed.media_type => {
                let suspects = self.suspects(&write.parsed.children).await?;
                if !suspects.is_empty() && write.options.children == Children::Required {
                    return Err(missing(&suspects));
                }
                manifest.clone()
            }
            replaced => {
                let put = format!("{:032x}", self.runtime.random());
                if let Some((old, _)) = replaced {
                    txn = self.remove_edges(txn, id, digest, old, now).await?;
                }
                let edges = self.add_edges(txn, id, &put, write, now).await?;
                if !edges.missing.is_empty() {
                    return Err(missing(&edges.missing));
                }
                txn = edges.txn;
                if let Some(subject) = &write.parsed.subject {
                    let referrer = write.parsed.referrer(*digest, write.bytes.len() as u64);
                    txn = txn.put(keys::referrer(id, subject, digest), encode(&referrer));
                }
                txn = txn.put(keys::content(id, digest), write.bytes.clone()).put(
                    keys::children(id, digest),
                    encode(&values::Children::of(&write.parsed.children)),
                );
                values::Manifest {
                    v: V1,
                    media_type: write.parsed.media_type.clone(),
                    size: write.bytes.len() as u64,
                    put,
                    subject: write.parsed.subject,
                    deferred: edges.deferred,
                }
            }
        };
        // Written even when nothing in it changed: a fresh stamp is what keeps a delete, which read the tags that
        // pointed here, from missing the one that this transaction adds.
        txn = txn.put(&key, encode(&manifest));
        let (txn, moves) = self.move_tags(txn, id, write, now).await?;
        let txn = self.charge(txn, &write.options.charge).await?;
        let event = EventKind::ManifestPut {
            digest: *digest,
            media_type: manifest.media_type,
            size: manifest.size,
            tags: moves,
        };
        let txn = self.tell(txn, ctx, name, now, event);
        Ok(match self.commit(txn).await? {
            Attempt::Again => Attempt::Again,
            Attempt::Done(_) => Attempt::Done(PutOutcome {
                digest: *digest,
                subject: write.parsed.subject,
                tags: write.tags.clone(),
            }),
        })
    }

    /// The blobs among these whose bytes are missing or wrong.
    async fn suspects(&self, children: &[Child]) -> Result<Vec<Digest>> {
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

    /// Adds an edge for everything that the manifest names, asserting that it is live and belongs here.
    async fn add_edges(
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
            Some((blob, _)) if blob.suspect && !may_defer => None,
            Some(_) => self.belonging(repository, digest, now).await?,
            None => None,
        };
        match (found, here) {
            (Some((blob, entry)), Some(belonging)) => {
                check_size(child, blob.size)?;
                let txn = self.assert_live(edges.txn, digest, &blob, &entry);
                edges.txn = belonging
                    .assert(txn)
                    .put(keys::edge(digest, repository, put), value);
            }
            (found, _) if may_defer => {
                // Holds the blob, now or once it is there, but opens nothing: that takes bytes brought here. Nor does
                // it revive a condemned one; only a publish does, and that `remove` looks for edges again holds it.
                edges.txn = edges
                    .txn
                    .unchanged(keys::blob(digest), found.as_ref().map(|(_, entry)| entry));
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
                edges.txn = edges.txn.at(key, entry.stamp);
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

    /// Removes exactly the edges of the put that made `manifest`, and its place among its subject's referrers. What an
    /// edge opened keeps a lease: the grace of the dereferenced; and everything it named an entry in the collector's
    /// queue.
    pub(super) async fn remove_edges(
        &self,
        mut txn: Txn,
        repository: &str,
        digest: &Digest,
        manifest: &values::Manifest,
        now: Timestamp,
    ) -> Result<Txn> {
        let key = keys::children(repository, digest);
        let Some((children, _)) = self.get::<values::Children>(&key).await? else {
            return Err(Error::internal(format!("record {key} is missing")));
        };
        for blob in &children.blobs {
            let edge = keys::edge(blob, repository, &manifest.put);
            if self.kv.get(&edge).await.map_err(super::failed)?.is_none() {
                // A deferred edge opened nothing, so it leaves nothing that does.
                let deferred = keys::deferred(blob, repository, &manifest.put);
                txn = self.add_pending(txn.delete(deferred), blob, now);
            } else if let Some((_, entry)) = self.find_blob(blob).await? {
                txn = txn.delete(edge).at(keys::blob(blob), entry.stamp);
                txn = self.add_lease(txn, repository, blob, now);
            } else {
                return Err(Error::internal(format!("blob {blob} has an edge and no record")));
            }
        }
        for child in &children.manifests {
            txn = txn.delete(keys::parent(repository, child, &manifest.put));
        }
        if let Some(subject) = &manifest.subject {
            txn = txn.delete(keys::referrer(repository, subject, digest));
        }
        Ok(txn.delete(key))
    }

    /// Points the tags at the manifest, each as it is expected to be.
    async fn move_tags(
        &self,
        mut txn: Txn,
        repository: &str,
        write: &ManifestWrite,
        now: Timestamp,
    ) -> Result<(Txn, Vec<TagMove>)> {
        let mut moves = Vec::new();
        for tag in &write.tags {
            let key = keys::tag(repository, tag);
            let found = self.get::<values::Tag>(&key).await?;
            let from = found.as_ref().map(|(tag, _)| tag.digest);
            check_expected(tag, from, write.options.expect)?;
            txn = txn.unchanged(&key, found.as_ref().map(|(_, entry)| entry));
            if let Some(old) = from.filter(|old| *old != write.digest) {
                txn = txn.delete(keys::tagged(repository, &old, tag));
            }
            txn = txn
                .put(
                    key,
                    encode(&values::Tag {
                        v: V1,
                        digest: write.digest,
                        at: now,
                    }),
                )
                .put(keys::tagged(repository, &write.digest, tag), MARK);
            moves.push(TagMove {
                tag: tag.clone(),
                from,
                to: Some(write.digest),
            });
        }
        Ok((txn, moves))
    }

    /// Adds charges to their counters. A counter with a limit is read and asserted whole, so the limit is never
    /// passed; one without is only added to, in a shard that few others are writing.
    async fn charge(&self, mut txn: Txn, charges: &[Charge]) -> Result<Txn> {
        for charge in &merged(charges) {
            let shards = self.all_under(&keys::shards(&charge.counter)).await?;
            let mut total = charge.amount;
            for (key, entry) in &shards {
                total = total.saturating_add(decode::<values::Counter>(key, entry)?.amount);
            }
            if let Some(limit) = charge
                .limit
                .filter(|limit| charge.amount > 0 && total > 0 && total as u64 > *limit)
            {
                let counter = &charge.counter;
                return Err(Error::new(
                    ErrorKind::QuotaExceeded,
                    format!("this would bring {counter} to {total}, beyond its limit of {limit}"),
                )
                .with_detail(serde_json::json!({ "counter": counter, "limit": limit, "total": total })));
            }
            let own = keys::shard(
                &charge.counter,
                (self.runtime.random() % u128::from(SHARDS)) as u8,
            );
            for shard in 0..SHARDS {
                let key = keys::shard(&charge.counter, shard);
                if charge.limit.is_none() && key != own {
                    continue;
                }
                let found = shards.iter().find(|(found, _)| *found == key);
                txn = txn.unchanged(&key, found.map(|(_, entry)| entry));
                if key == own {
                    let before = match found {
                        Some((key, entry)) => decode::<values::Counter>(key, entry)?.amount,
                        None => 0,
                    };
                    let amount = before.saturating_add(charge.amount);
                    txn = txn.put(key, encode(&values::Counter { v: V1, amount }));
                }
            }
        }
        Ok(txn)
    }

    /// `delete_manifest`.
    pub(super) async fn try_delete_manifest(
        &self,
        ctx: &Context,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Attempt<()>> {
        let (repository, digest, manifest, entry) =
            self.find_manifest(name, &Reference::Digest(*digest)).await?;
        let id = repository.id.as_str();
        let now = self.clock().await?;
        let parents = keys::parents(id, &digest);
        if let Some((key, parent)) = self.scan(&parents, None, 1).await?.pop() {
            let parent = decode::<values::Edge>(&key, &parent)?.manifest;
            return Err(Error::new(
                ErrorKind::InUse,
                format!("manifest {digest} is listed by index {parent}; delete that first"),
            )
            .with_detail(serde_json::json!({ "digest": digest, "manifests": [parent] })));
        }
        let key = keys::manifest(id, &digest);
        let mut txn = self
            .assert_name(Txn::new(), name, &repository, now)
            .at(&key, entry.stamp)
            .nothing_under(parents)
            .delete(key)
            .delete(keys::content(id, &digest));
        txn = self.remove_edges(txn, id, &digest, &manifest, now).await?;
        let tagged = self
            .scan(&keys::tags_at(id, &digest), None, TAGS_AT_ONCE + 1)
            .await?;
        if tagged.len() > TAGS_AT_ONCE {
            return self
                .delete_some_tags(ctx, name, &repository, &digest, &tagged[..TAGS_AT_ONCE])
                .await;
        }
        let (txn, moves) = delete_tags(txn, id, &digest, &tagged)?;
        let txn = self.tell(
            txn,
            ctx,
            name,
            now,
            EventKind::ManifestDeleted { digest, tags: moves },
        );
        Ok(match self.commit(txn).await? {
            Attempt::Done(_) => Attempt::Done(()),
            Attempt::Again => Attempt::Again,
        })
    }

    /// A manifest with more tags than one transaction takes loses them in pieces, before it goes itself.
    async fn delete_some_tags(
        &self,
        ctx: &Context,
        name: &RepositoryName,
        repository: &Repository,
        digest: &Digest,
        tagged: &[(String, Entry)],
    ) -> Result<Attempt<()>> {
        let now = self.clock().await?;
        let txn = self.assert_name(Txn::new(), name, repository, now);
        let (mut txn, moves) = delete_tags(txn, &repository.id, digest, tagged)?;
        for tag in moves {
            txn = self.tell(txn, ctx, name, now, EventKind::TagDeleted { tag });
        }
        self.commit(txn).await?;
        Ok(Attempt::Again)
    }

    pub(super) async fn try_delete_tag(
        &self,
        ctx: &Context,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<Attempt<()>> {
        let repository = self.known(name).await?;
        let key = keys::tag(&repository.id, tag);
        let Some((record, entry)) = self.get::<values::Tag>(&key).await? else {
            return Err(error::manifest_unknown(&Reference::Tag(tag.clone())));
        };
        let now = self.clock().await?;
        let txn = self
            .assert_name(Txn::new(), name, &repository, now)
            .at(&key, entry.stamp)
            .delete(key)
            .delete(keys::tagged(&repository.id, &record.digest, tag));
        let moved = TagMove {
            tag: tag.clone(),
            from: Some(record.digest),
            to: None,
        };
        let txn = self.tell(txn, ctx, name, now, EventKind::TagDeleted { tag: moved });
        Ok(match self.commit(txn).await? {
            Attempt::Done(_) => Attempt::Done(()),
            Attempt::Again => Attempt::Again,
        })
    }
}

/// One charge for each counter: what several add up to, under the lowest of their limits.
fn merged(charges: &[Charge]) -> Vec<Charge> {
    let mut merged: Vec<Charge> = Vec::new();
    for charge in charges {
        match merged.iter_mut().find(|known| known.counter == charge.counter) {
            Some(known) => {
                known.amount = known.amount.saturating_add(charge.amount);
                known.limit = known.limit.into_iter().chain(charge.limit).min();
            }
            None => merged.push(charge.clone()),
        }
    }
    merged
}

fn check_expected(tag: &Tag, found: Option<Digest>, expect: Expect) -> Result<()> {
    let message = match (expect, found) {
        (Expect::Any, _) | (Expect::Absent, None) => return Ok(()),
        (Expect::At(expected), Some(found)) if expected == found => return Ok(()),
        (Expect::Absent, Some(found)) => {
            format!("tag {tag} exists already, at {found}, and may not be moved")
        }
        (Expect::At(expected), Some(found)) => {
            format!("tag {tag} is at {found}, not at {expected} as expected")
        }
        (Expect::At(expected), None) => format!("tag {tag} does not exist, and was expected at {expected}"),
    };
    Err(Error::new(ErrorKind::PreconditionFailed, message)
        .with_detail(serde_json::json!({ "tag": tag, "digest": found })))
}

/// Takes these tags away from a manifest, asserting that none has moved since it was read.
fn delete_tags(
    mut txn: Txn,
    repository: &str,
    digest: &Digest,
    tagged: &[(String, Entry)],
) -> Result<(Txn, Vec<TagMove>)> {
    let table = keys::tags_at(repository, digest);
    let mut moves = Vec::new();
    for (key, entry) in tagged {
        let tag: Tag = key[table.len()..].parse().map_err(Error::internal)?;
        txn = txn
            .at(key, entry.stamp)
            .delete(key)
            .delete(keys::tag(repository, &tag));
        moves.push(TagMove {
            tag,
            from: Some(*digest),
            to: None,
        });
    }
    Ok((txn, moves))
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

fn missing(digests: &[Digest]) -> Error {
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
