//! What comes back from the trash.

use async_trait::async_trait;
use registry_core::manifest::ParsedManifest;
use registry_core::store::{
    BlobState, DeletedTag, EventKind, KeptTag, Order, TagChange, TagMove, Trashed, Txn, Undeleted, Undo,
};
use registry_core::weakening::{Weakening, keep, lack};
use registry_core::{
    Context, Digest, Error, ErrorKind, Page, Reference, RepositoryName, Result, Tag, Timestamp, error,
};

use super::pieces::Put;
use super::values::{MARK, V1, encode};
use super::{Attempt, Records, attempt, keys, values};

/// A transaction that brings edges back.
struct Restored {
    txn: Txn,
    /// What must be here and is not.
    missing: Vec<Digest>,
    /// Whether some edge opens nothing now.
    deferred: bool,
}

impl Records {
    /// `undelete`: asserts name -> id, the trashed record, and its children as `put_manifest` does; one transaction, as
    /// that is, however much the manifest names.
    async fn try_undelete(
        &self,
        ctx: &Context,
        name: &RepositoryName,
        digest: &Digest,
        wanted: Option<&[Tag]>,
    ) -> Result<Attempt<Undeleted>> {
        let repository = self.known(name).await?;
        let id = repository.id.as_str();
        let key = keys::trash(id, digest);
        let Some((trashed, entry)) = self.get::<values::Trashed>(&key).await? else {
            return Err(not_in_the_trash(&Reference::Digest(*digest)));
        };
        let now = self.clock().await?;
        let content = self.entry(&keys::content(id, digest)).await?;
        let content = content.ok_or_else(|| error::manifest_lost(digest));
        let Attempt::Done(content) = self.unless_gone(&key, &entry, content).await? else {
            return Ok(Attempt::Again);
        };
        let mut manifest = trashed.manifest;
        let txn = self
            .assert_name(Txn::new().named("undelete"), name, &repository, now)
            .at(&key, entry.stamp)
            .absent(keys::manifest(id, digest))
            .delete(&key)
            .delete(keys::purge(trashed.until, id, digest));
        let txn = self.drop_pieces(txn, id, &manifest.put).await?;
        let of = Put {
            repository: id,
            manifest: digest,
            put: &manifest.put,
        };
        let restored = self.restore_edges(txn, of, manifest.deferred).await;
        let Attempt::Done(restored) = self.unless_gone(&key, &entry, restored).await? else {
            return Ok(Attempt::Again);
        };
        if !restored.missing.is_empty() {
            let refused = Err(self.needs(id, digest, &restored.missing).await?);
            return self.unless_gone(&key, &entry, refused).await;
        }
        let mut txn = restored.txn;
        manifest.deferred |= restored.deferred;
        if let Some(subject) = &manifest.subject {
            let parsed = ParsedManifest::parse(Some(&manifest.media_type), &content.value)
                .map_err(|_| error::manifest_lost(digest))?;
            let referrer = parsed.referrer(*digest, manifest.size);
            txn = txn.put(keys::referrer(id, subject, digest), encode(&referrer));
        }
        txn = txn.put(keys::manifest(id, digest), encode(&manifest));

        let (mut moves, mut kept) = (Vec::new(), Vec::new());
        for tag in &trashed.tags {
            if wanted.is_some_and(|wanted| !wanted.contains(tag)) {
                continue;
            }
            if let Some((set, _)) = self.get::<values::Tag>(&keys::tag(id, tag)).await? {
                kept.push(KeptTag {
                    tag: tag.clone(),
                    digest: set.digest,
                });
                continue;
            }
            let moved;
            (txn, moved) = self.set_absent_tag(txn, ctx, id, tag, digest, now);
            moves.push(moved);
        }
        let tags = moves.iter().map(|moved| moved.tag.clone()).collect();
        let event = EventKind::ManifestUndeleted {
            digest: *digest,
            media_type: manifest.media_type,
            size: manifest.size,
            tags: moves,
        };
        let txn = self.tell(txn, ctx, name, now, event);
        let digest = *digest;
        Ok(self.commit(txn).await?.map(|_| Undeleted { digest, tags, kept }))
    }

    /// Brings the edges of a put back, asserting that what they open is live, and that child manifests are here. Those
    /// that a piece has not taken yet are there still; those that are deferred go on holding.
    async fn restore_edges(&self, txn: Txn, of: Put<'_>, may_defer: bool) -> Result<Restored> {
        let children = self.children_of(of.repository, of.manifest).await?;
        let value = encode(&values::Edge {
            v: V1,
            manifest: *of.manifest,
        });
        let mut restored = Restored {
            txn,
            missing: Vec::new(),
            deferred: false,
        };
        for blob in &children.blobs {
            let edge = keys::edge(blob, of.repository, of.put);
            let trashed = keys::trashed(blob, of.repository, of.put);
            let opened = self.entry(&trashed).await?.is_some() || self.entry(&edge).await?.is_some();
            let found = self.find_blob(blob).await?;
            if keep(Weakening::UndeleteWithoutChildren) {
                restored.txn = restored
                    .txn
                    .unchanged(keys::blob(blob), found.as_ref().map(|(_, entry)| entry));
            }
            restored.txn = restored.txn.delete(trashed);
            if !opened {
                // What did not open before does not now. An edge that was lost, since its record was damaged, is made
                // again so too: until the manifest is put once more.
                restored.txn = restored
                    .txn
                    .put(keys::deferred(blob, of.repository, of.put), value.clone());
                restored.deferred = true;
            } else if found.is_some_and(|(blob, _)| !blob.suspect && blob.state == BlobState::Live)
                || lack(Weakening::UndeleteWithoutChildren)
            {
                restored.txn = restored.txn.put(edge, value.clone());
            } else {
                restored.missing.push(*blob);
            }
        }
        for child in &children.manifests {
            let key = keys::manifest(of.repository, child);
            restored.txn = match self.entry(&key).await? {
                Some(entry) => restored.txn.at(key, entry.stamp),
                None if lack(Weakening::UndeleteWithoutChildren) => restored.txn,
                None if may_defer => {
                    restored.deferred = true;
                    restored.txn.absent(key)
                }
                None => {
                    restored.missing.push(*child);
                    continue;
                }
            };
            let parent = keys::parent(of.repository, child, of.put);
            restored.txn = restored.txn.put(parent, value.clone());
        }
        Ok(restored)
    }

    /// Points a tag that there is not at a manifest.
    fn set_absent_tag(
        &self,
        txn: Txn,
        ctx: &Context,
        repository: &str,
        tag: &Tag,
        digest: &Digest,
        now: Timestamp,
    ) -> (Txn, TagMove) {
        let key = keys::tag(repository, tag);
        let value = values::Tag {
            v: V1,
            digest: *digest,
            at: now,
        };
        let moved = TagMove {
            tag: tag.clone(),
            from: None,
            to: Some(*digest),
        };
        let txn = txn
            .absent(&key)
            .put(key, encode(&value))
            .put(keys::tagged(repository, digest, tag), MARK);
        (self.note_move(txn, ctx, repository, &moved, now), moved)
    }

    /// The refusal of an undelete of what is not whole any more.
    async fn needs(&self, repository: &str, digest: &Digest, missing: &[Digest]) -> Result<Error> {
        let mut trash = Vec::new();
        for child in missing {
            if self.entry(&keys::trash(repository, child)).await?.is_some() {
                trash.push(*child);
            }
        }
        let message = match (trash.first(), missing.len()) {
            (Some(child), _) => {
                format!("manifest {digest} needs {child}, which is in the trash itself; undelete that first")
            }
            (None, 1) => format!(
                "manifest {digest} needs {}, which is not here any more; push it first",
                missing[0]
            ),
            (None, count) => format!(
                "manifest {digest} needs {count} things that are not here any more, {} among them; push them first",
                missing[0]
            ),
        };
        Ok(Error::new(ErrorKind::ManifestBlobUnknown, message)
            .with_detail(serde_json::json!({ "missing": missing, "trash": trash })))
    }

    /// `undelete_tag`: asserts name -> id, the deleted tag, that there is none of its name, and its manifest: written
    /// anew, as by a put, so that a delete that read its tags misses none.
    async fn try_undelete_tag(
        &self,
        ctx: &Context,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<Attempt<Digest>> {
        let repository = self.known(name).await?;
        let id = repository.id.as_str();
        let key = keys::untagged(id, tag);
        if let Some((set, _)) = self.get::<values::Tag>(&keys::tag(id, tag)).await? {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!(
                    "tag {tag} is there, at {}; move it if it is to be elsewhere",
                    set.digest
                ),
            )
            .with_detail(serde_json::json!({ "tag": tag, "digest": set.digest })));
        }
        let Some((untagged, entry)) = self.get::<values::Untagged>(&key).await? else {
            return Err(not_in_the_trash(&Reference::Tag(tag.clone())));
        };
        let digest = untagged.digest;
        let of = keys::manifest(id, &digest);
        let Some(manifest) = self.entry(&of).await? else {
            let how = match self.entry(&keys::trash(id, &digest)).await? {
                Some(_) => "deleted; undelete that first",
                None => "gone; push it again",
            };
            return Err(Error::new(
                ErrorKind::ManifestUnknown,
                format!("tag {tag} pointed at manifest {digest}, which is {how}"),
            )
            .with_detail(serde_json::json!({ "tag": tag, "digest": digest })));
        };
        let now = self.clock().await?;
        let txn = self
            .assert_name(Txn::new().named("undelete_tag"), name, &repository, now)
            .at(&key, entry.stamp)
            .delete(key)
            .delete(keys::purge(untagged.until, id, tag))
            .at(&of, manifest.stamp)
            .put(of, manifest.value);
        let (txn, moved) = self.set_absent_tag(txn, ctx, id, tag, &digest, now);
        let txn = self.tell(txn, ctx, name, now, EventKind::TagUndeleted { tag: moved });
        Ok(self.commit(txn).await?.map(|_| digest))
    }
}

fn not_in_the_trash(reference: &Reference) -> Error {
    Error::new(
        ErrorKind::ManifestUnknown,
        format!("{reference} is not in the trash of this repository"),
    )
    .with_detail(serde_json::json!({ "reference": reference.to_string() }))
}

#[async_trait]
impl Undo for Records {
    async fn list_trash(
        &self,
        repository: &RepositoryName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Trashed>> {
        self.page_of_trash(repository, after, limit).await
    }

    async fn list_deleted_tags(
        &self,
        repository: &RepositoryName,
        after: Option<&Tag>,
        limit: usize,
    ) -> Result<Page<DeletedTag>> {
        self.page_of_deleted_tags(repository, after, limit).await
    }

    async fn undelete(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        tags: Option<&[Tag]>,
    ) -> Result<Undeleted> {
        attempt!(self.try_undelete(ctx, repository, digest, tags))
    }

    async fn undelete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<Digest> {
        attempt!(self.try_undelete_tag(ctx, repository, tag))
    }

    async fn purge(&self, ctx: &Context, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        let id = self.known(repository).await?.id;
        let purged: Result<bool> = attempt!(self.try_purge_manifest(ctx, &id, digest, None));
        match purged? {
            true => Ok(()),
            false => Err(not_in_the_trash(&Reference::Digest(*digest))),
        }
    }

    async fn purge_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        let id = self.known(repository).await?.id;
        let purged: Result<bool> = attempt!(self.try_purge_tag(ctx, &id, tag, None));
        match purged? {
            true => Ok(()),
            false => Err(not_in_the_trash(&Reference::Tag(tag.clone()))),
        }
    }

    async fn empty_trash(&self, ctx: &Context, repository: &RepositoryName, limit: usize) -> Result<bool> {
        let id = self.known(repository).await?.id;
        self.purge_all(ctx, &id, limit).await
    }

    async fn tag_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        order: Order,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<TagChange>> {
        self.page_of_history(repository, tag, order, after, limit).await
    }
}
