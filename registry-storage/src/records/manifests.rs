//! Manifests and tags: putting, reading, deleting.

use registry_core::store::{Entry, EventKind, KvError, ManifestRecord, ManifestWrite, TagMove, Txn};
use registry_core::weakening::{Weakening, keep};
use registry_core::{
    Children, Context, Digest, Error, ErrorKind, Expect, Manifest, PutOutcome, Reference, RepositoryName,
    Result, Tag, Timestamp, error,
};

use super::edges::missing;
use super::values::{Fate, MARK, V1, decode, encode};
use super::{Attempt, Records, Repository, keys, known, values};

/// Most tags that go in one transaction.
const TAGS_AT_ONCE: usize = 5_000;

/// A manifest that is there.
pub(super) struct FoundManifest {
    pub(super) repository: Repository,
    pub(super) digest: Digest,
    pub(super) manifest: values::Manifest,
    /// The record that says so.
    pub(super) entry: Entry,
    /// Of all records that led to it.
    marks: Option<known::Marks>,
}

impl Records {
    /// Resolves a reference. A tag may move, and the manifest that it has left be deleted, between the two reads; so
    /// a tag that led nowhere is looked at again, and unknown only if it has not moved.
    pub(super) async fn find_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<FoundManifest> {
        let unknown = || error::manifest_unknown(reference);
        let mut led_nowhere = None;
        loop {
            let of_name = self.kv().mark(&keys::repository(name.as_str()));
            let repository = self.known(name).await?;
            let (digest, moved, of_tag) = match reference {
                Reference::Digest(digest) => (*digest, None, of_name),
                Reference::Tag(tag) => {
                    let key = keys::tag(&repository.id, tag);
                    let mark = self.kv().mark(&key);
                    let (tag, entry) = self.get::<values::Tag>(&key).await?.ok_or_else(unknown)?;
                    (tag.digest, Some(entry.stamp), mark)
                }
            };
            let key = keys::manifest(&repository.id, &digest);
            let of_manifest = self.kv().mark(&key);
            if let Some((manifest, entry)) = self.get(&key).await? {
                let marks = [of_name, of_tag, of_manifest];
                return Ok(FoundManifest {
                    repository,
                    digest,
                    manifest,
                    entry,
                    marks: known::all(marks),
                });
            }
            if moved == led_nowhere {
                return Err(unknown());
            }
            led_nowhere = moved;
        }
    }

    /// `manifest`.
    pub(super) async fn manifest_record(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<ManifestRecord> {
        if let Some(known) = self.answers.manifest(self.kv(), name, reference) {
            return Ok(known);
        }
        let found = self.find_manifest(name, reference).await?;
        let record = ManifestRecord {
            info: found.manifest.info(&found.digest),
        };
        self.answers.keep_manifest(name, reference, found.marks, &record);
        Ok(record)
    }

    pub(super) async fn read_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Manifest> {
        let mut without = None;
        loop {
            let found = self.find_manifest(name, reference).await?;
            let key = keys::content(&found.repository.id, &found.digest);
            if let Some(content) = self.entry(&key).await? {
                return Ok(Manifest {
                    info: found.manifest.info(&found.digest),
                    bytes: content.value,
                });
            }
            // The manifest was deleted between the two reads, and the next look says what is there now; or it is the
            // same as before, and has lost its bytes.
            if without == Some(found.entry.stamp) {
                return Err(error::manifest_lost(&found.digest));
            }
            without = Some(found.entry.stamp);
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
        let size = write.bytes.len() as u64;
        if let Err(KvError::Damaged { .. }) = self.kv.get(&key).await {
            self.restore_manifest(id, digest, &write.parsed, size).await?;
        }
        let found = self.get::<values::Manifest>(&key).await?;

        let mut txn = Txn::new().named("put_manifest");
        if keep(Weakening::PutWithoutNameToId) || !repository.exists() {
            txn = self.assert_name(txn, name, &repository, now);
        }
        if keep(Weakening::PutOverwritesBlindly) {
            txn = txn.unchanged(&key, found.as_ref().map(|(_, entry)| entry));
        }
        let manifest = match &found {
            // There already, and whole: what it names is held by the edges of the put that made it.
            Some((manifest, _))
                if !manifest.deferred
                    && manifest.media_type == write.parsed.media_type
                    && self
                        .has_its_edges(id, &manifest.put, &write.parsed.children)
                        .await? =>
            {
                let suspects = self.suspects(&write.parsed.children).await?;
                if !suspects.is_empty() && write.options.children == Children::Required {
                    return Err(missing(&suspects));
                }
                if !self.holds_content(id, write).await? {
                    txn = txn.put(keys::content(id, digest), write.bytes.clone());
                }
                manifest.clone()
            }
            replaced => {
                let put = match keep(Weakening::EdgesWithoutPutId) {
                    true => format!("{:032x}", self.runtime.random()),
                    false => digest.to_string(),
                };
                let cleared = match replaced {
                    Some((old, entry)) => {
                        let old = (old, entry.stamp);
                        self.remove_edges(txn, id, digest, old, Fate::Replaced, now)
                            .await?
                    }
                    None => self.replace_trashed(txn, id, write, now).await?,
                };
                txn = match cleared {
                    Attempt::Done(txn) => txn,
                    Attempt::Again => return Ok(Attempt::Again),
                };
                let edges = self.add_edges(txn, id, &put, write, now).await?;
                if !edges.missing.is_empty() {
                    return Err(missing(&edges.missing));
                }
                txn = edges.txn;
                if let Some(subject) = &write.parsed.subject {
                    let referrer = write.parsed.referrer(*digest, size);
                    txn = txn.put(keys::referrer(id, subject, digest), encode(&referrer));
                }
                txn = txn.put(keys::content(id, digest), write.bytes.clone()).put(
                    keys::children(id, digest),
                    encode(&values::Children::of(&write.parsed.children)),
                );
                values::Manifest {
                    v: V1,
                    media_type: write.parsed.media_type.clone(),
                    size,
                    put,
                    subject: write.parsed.subject,
                    deferred: edges.deferred,
                }
            }
        };
        // Written even when nothing in it changed: a fresh stamp is what keeps a delete, which read the tags that
        // pointed here, from missing the one that this transaction adds.
        txn = txn.put(&key, encode(&manifest));
        let (txn, moves) = self.move_tags(txn, ctx, id, write, now).await?;
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

    /// Whether the manifest's bytes are there as they are pushed now; those that are damaged are written again.
    async fn holds_content(&self, repository: &str, write: &ManifestWrite) -> Result<bool> {
        match self.kv.get(&keys::content(repository, &write.digest)).await {
            Ok(held) => Ok(held.is_some_and(|entry| entry.value == write.bytes)),
            Err(KvError::Damaged { .. }) => Ok(false),
            Err(other) => Err(super::failed(other)),
        }
    }

    /// A manifest that is put while it is in the trash leaves it, with the edges that it has there.
    async fn replace_trashed(
        &self,
        txn: Txn,
        repository: &str,
        write: &ManifestWrite,
        now: Timestamp,
    ) -> Result<Attempt<Txn>> {
        let digest = &write.digest;
        let key = keys::trash(repository, digest);
        if let Err(KvError::Damaged { .. }) = self.kv.get(&key).await {
            let size = write.bytes.len() as u64;
            self.restore_trash(repository, digest, &write.parsed, size)
                .await?;
        }
        let Some((trashed, entry)) = self.get::<values::Trashed>(&key).await? else {
            return Ok(Attempt::Done(txn.absent(key)));
        };
        let taken = self
            .take_from_trash(txn, repository, digest, (&trashed, &entry), Fate::Replaced, now)
            .await;
        self.unless_gone(&key, &entry, taken).await
    }

    /// Points the tags at the manifest, each as it is expected to be.
    async fn move_tags(
        &self,
        mut txn: Txn,
        ctx: &Context,
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
            let moved = TagMove {
                tag: tag.clone(),
                from,
                to: Some(write.digest),
            };
            txn = self.note_move(txn, ctx, repository, &moved, now);
            moves.push(moved);
        }
        Ok((txn, moves))
    }

    /// `delete_manifest`: into the trash, if there is one.
    pub(super) async fn try_delete_manifest_if(
        &self,
        asserting: Txn,
        ctx: &Context,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Attempt<()>> {
        let FoundManifest {
            repository,
            digest,
            manifest,
            entry,
            ..
        } = self.find_manifest(name, &Reference::Digest(*digest)).await?;
        let id = repository.id.as_str();
        let now = self.clock().await?;
        let parents = keys::parents(id, &digest);
        if let Some((key, parent)) = self.scan(&parents, None, 1).await?.pop()
            && keep(Weakening::DeleteIgnoresParents)
        {
            // An index that was deleted lists nothing any more, though that may not all be taken yet.
            if self.sweep_put(id, &key[parents.len()..]).await? || self.entry(&key).await?.is_none() {
                return Ok(Attempt::Again);
            }
            let parent = decode::<values::Edge>(&key, &parent)?.manifest;
            return Err(Error::new(
                ErrorKind::InUse,
                format!("manifest {digest} is listed by index {parent}; delete that first"),
            )
            .with_detail(serde_json::json!({ "digest": digest, "manifests": [parent] })));
        }
        let key = keys::manifest(id, &digest);
        let mut txn = self
            .assert_name(asserting.named("delete_manifest"), name, &repository, now)
            .at(&key, entry.stamp)
            .delete(key);
        if keep(Weakening::DeleteIgnoresParents) {
            txn = txn.nothing_under(parents);
        }
        let fate = match self.has_trash() {
            true => Fate::Trash,
            false => Fate::Gone,
        };
        if fate == Fate::Gone {
            txn = txn.delete(keys::content(id, &digest));
        }
        txn = match self
            .remove_edges(txn, id, &digest, (&manifest, entry.stamp), fate, now)
            .await?
        {
            Attempt::Done(txn) => txn,
            Attempt::Again => return Ok(Attempt::Again),
        };
        let tagged = self
            .scan(&keys::tags_at(id, &digest), None, TAGS_AT_ONCE + 1)
            .await?;
        if tagged.len() > TAGS_AT_ONCE {
            return self
                .delete_some_tags(ctx, name, &repository, &digest, &tagged[..TAGS_AT_ONCE])
                .await;
        }
        let (mut txn, moves) = self.delete_tags(txn, ctx, id, &digest, &tagged, now).await?;
        if fate == Fate::Trash {
            txn = self.add_to_trash(txn, ctx, id, (&digest, manifest), &moves, now);
        }
        let txn = self.tell(
            txn,
            ctx,
            name,
            now,
            EventKind::ManifestDeleted { digest, tags: moves },
        );
        Ok(self.commit(txn).await?.map(|_| ()))
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
        let txn = self.assert_name(Txn::new().named("delete_tag"), name, repository, now);
        let id = repository.id.as_str();
        let (mut txn, moves) = self.delete_tags(txn, ctx, id, digest, tagged, now).await?;
        for tag in moves {
            txn = self.add_untagged(txn, ctx, id, (&tag.tag, digest), now);
            txn = self.tell(txn, ctx, name, now, EventKind::TagDeleted { tag });
        }
        self.commit(txn).await?;
        Ok(Attempt::Again)
    }

    /// Takes these tags away from a manifest, asserting that each is where it was read. A mirror that is not true, since
    /// its key was changed, takes no tag along.
    async fn delete_tags(
        &self,
        mut txn: Txn,
        ctx: &Context,
        repository: &str,
        digest: &Digest,
        tagged: &[(String, Entry)],
        now: Timestamp,
    ) -> Result<(Txn, Vec<TagMove>)> {
        let table = keys::tags_at(repository, digest);
        let mut moves = Vec::new();
        for (mirror, _) in tagged {
            let tag: Tag = mirror[table.len()..].parse().map_err(Error::internal)?;
            let key = keys::tag(repository, &tag);
            let found = self.get::<values::Tag>(&key).await?;
            // Written in one transaction with its mirror, so this says all that the mirror's own stamp would.
            txn = txn
                .unchanged(&key, found.as_ref().map(|(_, entry)| entry))
                .delete(mirror);
            if found.is_some_and(|(tag, _)| tag.digest == *digest) {
                let moved = TagMove {
                    tag,
                    from: Some(*digest),
                    to: None,
                };
                txn = self.note_move(txn.delete(key), ctx, repository, &moved, now);
                moves.push(moved);
            }
        }
        Ok((txn, moves))
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
            .assert_name(Txn::new().named("delete_tag"), name, &repository, now)
            .at(&key, entry.stamp)
            .delete(key)
            .delete(keys::tagged(&repository.id, &record.digest, tag));
        let moved = TagMove {
            tag: tag.clone(),
            from: Some(record.digest),
            to: None,
        };
        let txn = self.note_move(txn, ctx, &repository.id, &moved, now);
        let txn = self.add_untagged(txn, ctx, &repository.id, (tag, &record.digest), now);
        let txn = self.tell(txn, ctx, name, now, EventKind::TagDeleted { tag: moved });
        Ok(self.commit(txn).await?.map(|_| ()))
    }
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
