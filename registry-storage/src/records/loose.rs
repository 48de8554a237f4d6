//! Manifests to which no tag points: which they are, since when, and how they go where a policy says so.
//!
//! They are found by following the feed of events, from where it was left the last time: it says of every put and of every move of a
//! tag what was left without one. So finding them costs what changes and not what exists, no write path knows of it, and
//! who never turns the policy on never pays. Who turns it on later has the feed read from its beginning once. What is noted
//! is only a hint, and may be of a manifest that has a tag again, or is no more: that is looked at when its time comes, and asserted
//! by the transaction that deletes it.

use std::collections::BTreeMap;

use registry_core::store::{Entry, Event, EventKind, KvError, TagMove, Txn, Untagged};
use registry_core::{Context, Digest, ErrorKind, RepositoryName, Result, Timestamp};

use super::values::{MARK, V1, decode, encode};
use super::{Attempt, Records, Repository, failed, is_of_one_record, keys, values};

/// Most referrers of a deleted subject that are noted with it. The others are noted when they are put or lose a tag.
const REFERRERS: usize = 1000;

/// After so many notes a transaction takes no further event. Each is up to three writes.
const NOTES: usize = 1000;

/// What names mean, none of those that mean nothing.
type Names = BTreeMap<RepositoryName, Option<Repository>>;

/// Most events that are looked at behind where the feed was followed to. With more it is followed first.
const UNFOLLOWED: usize = 1000;

/// Whether an event is one from which on a manifest's time without a tag counts anew, or which gave it a tag.
fn is_about(kind: &EventKind, digest: &Digest, subject: Option<&Digest>) -> bool {
    let moves = |moved: &TagMove| moved.from != moved.to && [moved.from, moved.to].contains(&Some(*digest));
    match kind {
        EventKind::ManifestPut {
            digest: put, tags, ..
        }
        | EventKind::ManifestUndeleted {
            digest: put, tags, ..
        } => put == digest || tags.iter().any(moves),
        EventKind::TagDeleted { tag } | EventKind::TagUndeleted { tag } => moves(tag),
        EventKind::ManifestDeleted { digest: gone, .. } => subject == Some(gone),
        _ => false,
    }
}

impl Records {
    /// Follows the feed for at most `limit` events, and no further than one transaction takes. Whether there are more.
    pub(super) async fn try_follow(&self, limit: usize) -> Result<Attempt<bool>> {
        let found = self.get::<values::Cursor>(keys::FOLLOWED).await?;
        let mut txn = Txn::new().unchanged(keys::FOLLOWED, found.as_ref().map(|(_, entry)| entry));
        let after = found.map(|(cursor, _)| cursor.after);
        let events = self.scan_past(keys::EVENT, after.as_deref(), limit).await?;
        let (mut names, mut loose) = (Names::new(), BTreeMap::new());
        let mut followed = 0;
        for (key, entry) in &events {
            if loose.len() >= NOTES {
                break;
            }
            // What a newer version says, and what cannot be read, is nothing to delete anything for.
            if let Ok(event) = decode::<Event>(key, entry) {
                self.loosened_by(&event, &mut names, &mut loose).await?;
            }
            followed += 1;
        }
        let Some((last, _)) = events[..followed].last() else {
            return Ok(Attempt::Done(false));
        };
        let cursor = values::Cursor {
            v: V1,
            after: last.clone(),
        };
        txn = txn.put(keys::FOLLOWED, encode(&cursor));
        for ((name, digest), since) in loose {
            if let Some(repository) = self.named_so(&mut names, &name).await? {
                txn = self.note_loose(txn, &repository.id, &digest, since).await?;
            }
        }
        // One that is deleted meanwhile is not given notes that nobody sweeps.
        for repository in names.values().flatten() {
            txn = txn.unchanged(&repository.key, repository.entry.as_ref());
        }
        let more = followed < events.len() || events.len() == limit;
        Ok(self.commit(txn).await?.map(|_| more))
    }

    /// What a name means now, read once for many events. A record that cannot be read is told, and keeps the feed of the
    /// others from nothing: what was left without a tag there stays until it is put again or loses another.
    async fn named_so<'n>(
        &self,
        names: &'n mut Names,
        name: &RepositoryName,
    ) -> Result<Option<&'n Repository>> {
        if !names.contains_key(name) {
            let found = match self.lookup(name).await {
                Err(error) if is_of_one_record(&error) => {
                    tracing::error!(%error, %name, "what lost its tags in a repository that cannot be read is stepped over");
                    None
                }
                found => found?,
            };
            names.insert(name.clone(), found);
        }
        Ok(names.get(name).and_then(Option::as_ref))
    }

    /// What an event may have left without a tag, or without the subject that kept it: since when. Nothing for what it
    /// gave a tag, of which nothing noted before is true any more.
    async fn loosened_by(
        &self,
        event: &Event,
        names: &mut Names,
        loose: &mut BTreeMap<(RepositoryName, Digest), Option<Timestamp>>,
    ) -> Result<()> {
        let name = &event.repository;
        let mut tell = |digest: &Digest, since| {
            loose.insert((name.clone(), *digest), since);
        };
        // It may have been written that much later than it says.
        let since = event.at + self.slack();
        let mut note = |digest: &Digest| tell(digest, Some(since));
        let left = |moved: &TagMove| moved.from.filter(|from| Some(*from) != moved.to);
        match &event.kind {
            EventKind::ManifestPut { digest, tags, .. }
            | EventKind::ManifestUndeleted { digest, tags, .. } => {
                tags.iter().filter_map(left).for_each(|from| note(&from));
                tell(digest, tags.is_empty().then_some(since));
            }
            EventKind::TagDeleted { tag } => left(tag).iter().for_each(note),
            EventKind::TagUndeleted { tag } => {
                if let Some(to) = &tag.to {
                    tell(to, None);
                }
            }
            EventKind::ManifestDeleted { digest, .. } => {
                let Some(repository) = self.named_so(names, name).await? else {
                    return Ok(());
                };
                let table = keys::referrers(&repository.id, digest);
                for (key, _) in self.scan_past(&table, None, REFERRERS).await? {
                    if let Ok(referrer) = key[table.len()..].parse() {
                        note(&referrer);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes since when a manifest is loose, or that it is not, instead of what was noted before.
    async fn note_loose(&self, txn: Txn, id: &str, digest: &Digest, since: Option<Timestamp>) -> Result<Txn> {
        let key = keys::loose(id, digest);
        let txn = match self.kv.get(&key).await {
            Ok(Some(entry)) => match decode::<values::Loose>(&key, &entry) {
                Ok(before) => txn.delete(keys::loosened(before.since, id, digest)),
                Err(_) => txn,
            },
            // Its entry in the queue stays, and is found not to be the latest.
            Ok(None) | Err(KvError::Damaged { .. }) => txn,
            Err(other) => return Err(failed(other)),
        };
        Ok(match since {
            Some(since) => txn
                .put(key, encode(&values::Loose { v: V1, since }))
                .put(keys::loosened(since, id, digest), MARK),
            None => txn.delete(key),
        })
    }

    /// Whether what is noted of a manifest is all that the feed says of it: none of the events behind where it was followed
    /// to is about it. Looked at after its record, its tags and its subject: what happens to them later is asserted.
    pub(super) async fn is_noted_last(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        subject: Option<&Digest>,
    ) -> Result<bool> {
        let cursor = self.get::<values::Cursor>(keys::FOLLOWED).await?;
        let after = cursor.map(|(cursor, _)| cursor.after);
        let events = self.scan_past(keys::EVENT, after.as_deref(), UNFOLLOWED).await?;
        // What cannot be read may be about it.
        let may = |(key, entry): &(String, Entry)| {
            decode::<Event>(key, entry).map_or(true, |event| {
                event.repository == *name && is_about(&event.kind, digest, subject)
            })
        };
        Ok(events.len() < UNFOLLOWED && !events.iter().any(may))
    }

    pub(super) async fn loose_until(
        &self,
        until: Timestamp,
        after: Option<&Untagged>,
        limit: usize,
    ) -> Result<Vec<Untagged>> {
        let after = after.map(|loose| keys::loosened(loose.since, &loose.repository, &loose.digest));
        self.timed(keys::LOOSENED, after, limit, Some(until), |since, rest, stamp| {
            let (repository, digest) = rest.split_once('/')?;
            Some(Untagged {
                since,
                repository: repository.to_owned(),
                digest: digest.parse().ok()?,
                stamp,
            })
        })
        .await
    }

    /// Deletes a manifest as its repository's clients do, asserting that no tag points at it, no index lists it, and it
    /// is not about a manifest that is there. Whether it did. What the feed says more of it is followed first. What has a
    /// tag is forgotten until it loses it; what an index or a subject keeps is looked at again after as long.
    pub(super) async fn try_delete_untagged(&self, loose: &Untagged) -> Result<Attempt<bool>> {
        let (id, digest) = (loose.repository.as_str(), &loose.digest);
        let now = self.clock().await?;
        let queued = keys::loosened(loose.since, id, digest);
        let key = keys::loose(id, digest);
        let entry = match self.entry(&queued).await? {
            Some(entry) if entry.stamp == loose.stamp => entry,
            _ => return Ok(Attempt::Done(false)),
        };
        let mut txn = Txn::new().at(&queued, entry.stamp).delete(&queued);
        let noted = self.get::<values::Loose>(&key).await?;
        txn = txn.unchanged(&key, noted.as_ref().map(|(_, entry)| entry));
        if noted.is_none_or(|(noted, _)| noted.since != loose.since) {
            return self.forget_loose(txn).await;
        }
        let (txn, name) = self.assert_id(txn, id).await?;
        let manifest = self.get::<values::Manifest>(&keys::manifest(id, digest)).await?;
        let tags = keys::tags_at(id, digest);
        let (Some(name), Some((manifest, written))) = (name, manifest) else {
            return self.forget_loose(txn.delete(key)).await;
        };
        if self.any_under(&tags).await? {
            return self.forget_loose(txn.delete(key)).await;
        }
        let subject = manifest.subject.map(|subject| keys::manifest(id, &subject));
        let is_kept = self.any_under(&keys::parents(id, digest)).await?
            || match &subject {
                Some(subject) => self.entry(subject).await?.is_some(),
                None => false,
            };
        if is_kept {
            let later = values::Loose { v: V1, since: now };
            let txn = txn
                .put(key, encode(&later))
                .put(keys::loosened(now, id, digest), MARK);
            return self.forget_loose(txn).await;
        }
        if !self
            .is_noted_last(&name, digest, manifest.subject.as_ref())
            .await?
        {
            return Ok(Attempt::Done(false));
        }
        let mut txn = txn
            .at(keys::manifest(id, digest), written.stamp)
            .delete(key)
            .nothing_under(tags);
        if let Some(subject) = subject {
            txn = txn.absent(subject);
        }
        let ctx = Context::system();
        match self.try_delete_manifest_if(txn, &ctx, &name, digest).await {
            Ok(attempt) => Ok(attempt.map(|()| true)),
            // It went, or came to be listed, since it was looked at.
            Err(why)
                if matches!(
                    why.kind(),
                    ErrorKind::ManifestUnknown | ErrorKind::NameUnknown | ErrorKind::InUse
                ) =>
            {
                Ok(Attempt::Again)
            }
            Err(why) => Err(why),
        }
    }

    async fn forget_loose(&self, txn: Txn) -> Result<Attempt<bool>> {
        Ok(self.commit(txn).await?.map(|_| false))
    }
}
