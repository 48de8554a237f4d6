//! The trash: deleted manifests and tags, until their window ends.
//!
//! A manifest in the trash keeps its bytes and its list of children where they were; its record moves from `manifest` to
//! `trash`, and the edges by which it opened blobs from `edge` to `trashed`, where they hold and open nothing. Edges that
//! are deferred do that already and stay. It lists no child manifests and refers to no subject.
//!
//! What always holds, for whoever checks it:
//! - A repository has no digest both in `manifest` and in `trash`.
//! - `content` and `children` of a digest in `trash` are there, as for one in `manifest`; `parent`, `referrer`, `tag`
//!   and `tagged` say nothing of it.
//! - For each blob in `children` of a digest in `trash` there is `trashed` or `deferred` of its put id, or `edge` while
//!   a `piece` of that put names the blob.
//! - Each `trashed` is of a digest in `trash` with that put id, or a `piece` of that put names its blob.
//! - An `edge`, `deferred` or `parent` whose put is that of no manifest is of a digest in `trash` (`deferred` only), or
//!   is named in a `piece` of that put.
//! - Each `trash` and `untagged` has an entry in `purge` at its `until`. An entry without one is inert, and goes when
//!   its time comes.
//! - A blob with a `trashed` edge need not be in the collector's queue.
//! - `history` and `trim` of a tag may be there without the tag. All of this is under ids of repositories, which are in
//!   `named` or `dropped`; `purge` alone may outlive its repository.

use registry_core::store::{DeletedTag, Entry, EventKind, TagMove, Trashed, Txn};
use registry_core::{Context, Digest, Error, Page, RepositoryName, Result, Tag, Timestamp};

use super::lists::cut;
use super::pieces::Put;
use super::values::{Fate, MARK, V1, decode, encode};
use super::{Attempt, Records, attempt, keys, values};

impl Records {
    /// Whether what is deleted can come back.
    pub(super) fn has_trash(&self) -> bool {
        !self.lifetimes.undo.is_zero()
    }

    /// Adds a deleted manifest to the trash.
    pub(super) fn add_to_trash(
        &self,
        txn: Txn,
        ctx: &Context,
        repository: &str,
        (digest, manifest): (&Digest, values::Manifest),
        moves: &[TagMove],
        now: Timestamp,
    ) -> Txn {
        let base = now + self.slack();
        let until = base + self.lifetimes.undo;
        let value = values::Trashed {
            v: V1,
            manifest,
            at: now,
            by: ctx.identity.to_string(),
            until,
            tags: moves.iter().map(|moved| moved.tag.clone()).collect(),
        };
        txn.before(base)
            .put(keys::trash(repository, digest), encode(&value))
            .put(keys::purge(until, repository, digest), MARK)
    }

    /// Adds a tag that is deleted on its own, from `digest`.
    pub(super) fn add_untagged(
        &self,
        txn: Txn,
        ctx: &Context,
        repository: &str,
        (tag, digest): (&Tag, &Digest),
        now: Timestamp,
    ) -> Txn {
        if !self.has_trash() {
            return txn;
        }
        let base = now + self.slack();
        let until = base + self.lifetimes.undo;
        let value = values::Untagged {
            v: V1,
            digest: *digest,
            at: now,
            by: ctx.identity.to_string(),
            until,
        };
        txn.before(base)
            .put(keys::untagged(repository, tag), encode(&value))
            .put(keys::purge(until, repository, tag), MARK)
    }

    /// Asserts that a repository's id is as it is: it has a name, which is returned, or is of a deleted one.
    pub(super) async fn assert_id(
        &self,
        txn: Txn,
        repository: &str,
    ) -> Result<(Txn, Option<RepositoryName>)> {
        let key = keys::named(repository);
        let found = self.get::<values::Named>(&key).await?;
        let txn = txn.unchanged(key, found.as_ref().map(|(_, entry)| entry));
        Ok((txn, found.map(|(named, _)| named.name)))
    }

    /// Takes a manifest out of the trash for good, but for its content and children: all of its edges go.
    pub(super) async fn take_from_trash(
        &self,
        txn: Txn,
        repository: &str,
        digest: &Digest,
        (trashed, entry): (&values::Trashed, &Entry),
        fate: Fate,
        now: Timestamp,
    ) -> Result<Txn> {
        let key = keys::trash(repository, digest);
        let put = trashed.manifest.put.as_str();
        let txn =
            txn.at(&key, entry.stamp)
                .delete(key)
                .delete(keys::purge(trashed.until, repository, digest));
        let txn = self.drop_pieces(txn, repository, put).await?;
        let of = Put {
            repository,
            manifest: digest,
            put,
        };
        let children = self.children_of(repository, digest).await?;
        self.take_edges(txn, of, &children, fate, now).await
    }

    /// What failed for want of what belongs to a record is to be tried again if the record has changed: then that is gone
    /// with good reason.
    pub(super) async fn unless_gone<T>(
        &self,
        key: &str,
        read: &Entry,
        outcome: Result<T>,
    ) -> Result<Attempt<T>> {
        match outcome {
            Ok(done) => Ok(Attempt::Done(done)),
            Err(_) if self.entry(key).await?.is_none_or(|now| now.stamp != read.stamp) => Ok(Attempt::Again),
            Err(why) => Err(why),
        }
    }

    /// What a manifest in the trash named.
    pub(super) async fn children_of(&self, repository: &str, digest: &Digest) -> Result<values::Children> {
        let key = keys::children(repository, digest);
        let found = self.get::<values::Children>(&key).await?;
        found
            .map(|(children, _)| children)
            .ok_or_else(|| Error::internal(format!("record {key} is missing")))
    }

    /// `purge_manifest`: whether it was in the trash, if `due` until then.
    pub(super) async fn try_purge_manifest(
        &self,
        ctx: &Context,
        repository: &str,
        digest: &Digest,
        due: Option<Timestamp>,
    ) -> Result<Attempt<bool>> {
        let key = keys::trash(repository, digest);
        let found = self.get::<values::Trashed>(&key).await?;
        let Some((trashed, entry)) = found.filter(|(trashed, _)| due.is_none_or(|due| due == trashed.until))
        else {
            return Ok(Attempt::Done(false));
        };
        let now = self.clock().await?;
        let (mut txn, name) = self.assert_id(Txn::new(), repository).await?;
        if let Some(due) = due {
            txn = txn.not_before(due);
        }
        let read = (&trashed, &entry);
        let fate = match name {
            Some(_) => Fate::Gone,
            None => Fate::Purged,
        };
        let taken = self
            .take_from_trash(txn, repository, digest, read, fate, now)
            .await;
        let Attempt::Done(taken) = self.unless_gone(&key, &entry, taken).await? else {
            return Ok(Attempt::Again);
        };
        txn = taken
            .delete(keys::content(repository, digest))
            .delete(keys::children(repository, digest));
        txn = match &name {
            Some(name) => {
                let kind = EventKind::ManifestPurged { digest: *digest };
                self.tell(txn.named("purge_manifest"), ctx, name, now, kind)
            }
            None => txn.named("sweep_repository"),
        };
        Ok(self.commit(txn).await?.map(|_| true))
    }

    /// `purge_tag`: whether it was in the trash, if `due` until then.
    pub(super) async fn try_purge_tag(
        &self,
        ctx: &Context,
        repository: &str,
        tag: &Tag,
        due: Option<Timestamp>,
    ) -> Result<Attempt<bool>> {
        let key = keys::untagged(repository, tag);
        let found = self.get::<values::Untagged>(&key).await?;
        let Some((untagged, entry)) =
            found.filter(|(untagged, _)| due.is_none_or(|due| due == untagged.until))
        else {
            return Ok(Attempt::Done(false));
        };
        let now = self.clock().await?;
        let (mut txn, name) = self.assert_id(Txn::new(), repository).await?;
        if let Some(due) = due {
            txn = txn.not_before(due);
        }
        txn = txn
            .at(&key, entry.stamp)
            .delete(key)
            .delete(keys::purge(untagged.until, repository, tag));
        txn = match &name {
            Some(name) => {
                let kind = EventKind::TagPurged { tag: tag.clone() };
                self.tell(txn.named("purge_tag"), ctx, name, now, kind)
            }
            None => txn.named("sweep_repository"),
        };
        Ok(self.commit(txn).await?.map(|_| true))
    }

    /// Purges what is due. Whether more is; what cannot be purged does not keep the others from it.
    pub(super) async fn purge_due(&self, limit: usize) -> Result<bool> {
        let (ctx, now) = (Context::system(), self.clock().await?);
        let (mut after, mut done, mut failed) = (None::<String>, 0, None);
        'due: loop {
            let page = self.scan_past(keys::PURGE, after.as_deref(), 1000).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, entry) in &page {
                match keys::parse_timed(keys::PURGE, key) {
                    Some((due, _)) if due > now => break 'due,
                    _ if done >= limit => return Ok(true),
                    _ => {}
                }
                match self.purge_one(&ctx, key, entry).await {
                    Ok(()) => done += 1,
                    Err(error) => failed = Some(error),
                }
            }
        }
        match failed {
            Some(error) if done == 0 => Err(error),
            _ => Ok(false),
        }
    }

    async fn purge_one(&self, ctx: &Context, key: &str, entry: &Entry) -> Result<()> {
        let no_entry = || Error::internal(format!("record {key} is no entry of the trash"));
        let (due, rest) = keys::parse_timed(keys::PURGE, key).ok_or_else(no_entry)?;
        let (repository, what) = rest.split_once('/').ok_or_else(no_entry)?;
        let purged: Result<bool> = match what.contains(':') {
            true => {
                let digest = what.parse().map_err(|_| no_entry())?;
                attempt!(self.try_purge_manifest(ctx, repository, &digest, Some(due)))
            }
            false => {
                let tag = what.parse().map_err(|_| no_entry())?;
                attempt!(self.try_purge_tag(ctx, repository, &tag, Some(due)))
            }
        };
        // It came back, or was deleted again with a window of its own.
        if !purged? {
            self.commit(
                Txn::new()
                    .named("purge_manifest")
                    .at(key, entry.stamp)
                    .delete(key),
            )
            .await?;
        }
        Ok(())
    }

    /// Purges at most `limit` of a repository's trash, before its time. Whether anything is left.
    pub(super) async fn purge_all(&self, ctx: &Context, repository: &str, limit: usize) -> Result<bool> {
        let table = keys::trash_of(repository);
        let manifests = self.scan_past(&table, None, limit.saturating_add(1)).await?;
        for (key, _) in manifests.iter().take(limit) {
            let digest: Digest = key[table.len()..].parse().map_err(Error::internal)?;
            let purged: Result<bool> = attempt!(self.try_purge_manifest(ctx, repository, &digest, None));
            purged?;
        }
        if manifests.len() > limit {
            return Ok(true);
        }
        let (table, limit) = (keys::untagged_of(repository), limit - manifests.len());
        let tags = self.scan_past(&table, None, limit.saturating_add(1)).await?;
        for (key, _) in tags.iter().take(limit) {
            let tag: Tag = key[table.len()..].parse().map_err(Error::internal)?;
            let purged: Result<bool> = attempt!(self.try_purge_tag(ctx, repository, &tag, None));
            purged?;
        }
        Ok(tags.len() > limit)
    }

    pub(super) async fn page_of_trash(
        &self,
        name: &RepositoryName,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Trashed>> {
        let repository = self.known(name).await?;
        let table = keys::trash_of(&repository.id);
        let after = after.map(|after| keys::trash(&repository.id, after));
        let found = self
            .scan_past(&table, after.as_deref(), limit.saturating_add(1))
            .await?;
        let mut items = Vec::with_capacity(found.len());
        for (key, entry) in &found {
            let trashed: values::Trashed = decode(key, entry)?;
            items.push(Trashed {
                digest: key[table.len()..].parse().map_err(Error::internal)?,
                media_type: trashed.manifest.media_type,
                size: trashed.manifest.size,
                at: trashed.at,
                by: trashed.by,
                until: trashed.until,
                tags: trashed.tags,
            });
        }
        Ok(Page::cut(items, limit))
    }

    pub(super) async fn page_of_deleted_tags(
        &self,
        name: &RepositoryName,
        after: Option<&Tag>,
        limit: usize,
    ) -> Result<Page<DeletedTag>> {
        let repository = self.known(name).await?;
        let table = keys::untagged_of(&repository.id);
        let mut after = after.map(|after| format!("{table}{}", cut(after.as_str(), registry_core::TAG_MAX)));
        let mut items = Vec::new();
        while items.len() <= limit {
            let found = self
                .scan_past(&table, after.as_deref(), limit.saturating_add(1))
                .await?;
            let Some((last, _)) = found.last() else { break };
            after = Some(last.clone());
            for (key, entry) in &found {
                let tag: Tag = key[table.len()..].parse().map_err(Error::internal)?;
                if self.entry(&keys::tag(&repository.id, &tag)).await?.is_some() {
                    continue;
                }
                let untagged: values::Untagged = decode(key, entry)?;
                items.push(DeletedTag {
                    tag,
                    digest: untagged.digest,
                    at: untagged.at,
                    by: untagged.by,
                    until: untagged.until,
                });
            }
        }
        Ok(Page::cut(items, limit))
    }
}
