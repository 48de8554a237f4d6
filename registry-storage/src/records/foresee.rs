//! What the collector would make of what is deleted, or goes by a policy: the same reads as when it does it, and no
//! writes.

use registry_core::store::{Cause, Entry, Lone, Release, Untagged, Whose};
use registry_core::{Digest, Error, Result, Tag, Timestamp};

use super::values::{Piece, decode};
use super::{Records, keys, values};

/// Most holders of a blob that are looked at. One that has more is held by something else.
const HOLDERS: usize = 100;

/// What goes: all puts of a repository, or one.
struct Going<'a> {
    repository: &'a str,
    put: Option<&'a str>,
}

impl Going<'_> {
    /// Whether an edge is one of these, by its key behind `table/digest/`.
    fn has(&self, edge: &str) -> bool {
        let put = edge
            .strip_prefix(self.repository)
            .and_then(|rest| rest.strip_prefix('/'));
        put.is_some_and(|put| self.put.is_none_or(|going| going == put))
    }
}

impl Records {
    /// Those of these blobs that nothing holds but what goes.
    async fn lone(&self, blobs: &[Digest], going: Going<'_>) -> Result<Vec<Lone>> {
        let mut lone = Vec::new();
        'blobs: for digest in blobs {
            for table in Records::holding(digest) {
                let found = self.scan(&table, None, HOLDERS).await?;
                if found.len() == HOLDERS || found.iter().any(|(key, _)| !going.has(&key[table.len()..])) {
                    continue 'blobs;
                }
            }
            if let Some((blob, _)) = self.find_blob(digest).await? {
                lone.push(Lone {
                    digest: *digest,
                    size: blob.size,
                });
            }
        }
        Ok(lone)
    }

    /// A manifest that goes with all that is of the put, or of its whole repository.
    async fn release(&self, cause: Cause, repository: Whose, manifest: Digest, put: &str) -> Result<Release> {
        let children = self.children_of(&repository.id, &manifest).await?;
        let going = Going {
            repository: &repository.id,
            put: (cause != Cause::Repository).then_some(put),
        };
        let blobs = self.lone(&children.blobs, going).await?;
        Ok(Release {
            cause,
            repository,
            manifest: Some(manifest),
            tag: None,
            blobs,
        })
    }

    /// Whether the feed was followed to its end.
    pub(super) async fn has_followed(&self) -> Result<bool> {
        let cursor = self.get::<values::Cursor>(keys::FOLLOWED).await?;
        let after = cursor.map(|(cursor, _)| cursor.after);
        let past = self.look_past(keys::EVENT, after.as_deref(), 1).await?;
        Ok(past.entries.is_empty() && past.damaged.is_empty())
    }

    pub(super) async fn do_foresee_untagged(&self, loose: &Untagged) -> Result<Option<Release>> {
        let (id, digest) = (loose.repository.as_str(), &loose.digest);
        let queued = self.entry(&keys::loosened(loose.since, id, digest)).await?;
        let noted = self.get::<values::Loose>(&keys::loose(id, digest)).await?;
        let manifest = self.get::<values::Manifest>(&keys::manifest(id, digest)).await?;
        let repository = self.whose(id).await?;
        let (Some(queued), Some((noted, _)), Some((manifest, _))) = (queued, noted, manifest) else {
            return Ok(None);
        };
        let Some(name) = &repository.name else {
            return Ok(None);
        };
        let is_told = queued.stamp == loose.stamp
            && noted.since == loose.since
            && self
                .is_noted_last(name, digest, manifest.subject.as_ref())
                .await?;
        let is_kept = self.any_under(&keys::tags_at(id, digest)).await?
            || self.any_under(&keys::parents(id, digest)).await?
            || match &manifest.subject {
                Some(subject) => self.entry(&keys::manifest(id, subject)).await?.is_some(),
                None => false,
            };
        if !is_told || is_kept {
            return Ok(None);
        }
        let cause = Cause::Untagged { since: loose.since };
        let release = self.release(cause, repository, *digest, &manifest.put).await?;
        Ok(Some(release))
    }

    /// First what is due in the trash, then the pieces of deleted manifests, then deleted repositories one by one: their
    /// manifests, and their trash. Goes on from a key of one of those tables.
    pub(super) async fn do_foresee_deleted(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Release>, Option<String>)> {
        let limit = limit.max(1);
        let after = after.unwrap_or(keys::PURGE);
        let mut parts = after.splitn(3, '/');
        let (table, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (prefix, then) = match table {
            "purge" => (keys::PURGE.to_owned(), keys::PIECE.to_owned()),
            "piece" => (keys::PIECE.to_owned(), keys::DROPPED.to_owned()),
            "manifest" => (keys::manifests(id), keys::trash_of(id)),
            "trash" => (keys::trash_of(id), keys::dropped(id)),
            _ => {
                let next = self.scan_past(keys::DROPPED, Some(after), 1).await?.pop();
                let manifests = next.map(|(key, _)| keys::manifests(&key[keys::DROPPED.len()..]));
                return Ok((Vec::new(), manifests));
            }
        };
        let (page, now) = (
            self.scan_past(&prefix, Some(after), limit).await?,
            self.clock().await?,
        );
        let last = page.last().map(|(key, _)| key.clone());
        let mut next = last.filter(|_| page.len() == limit);
        let mut found = Vec::new();
        for (key, entry) in &page {
            let release = match table {
                "purge" => match keys::parse_timed(&prefix, key) {
                    Some((until, _)) if until > now => {
                        next = None;
                        break;
                    }
                    Some((until, rest)) => self.purged(rest, until).await,
                    None => Ok(None),
                },
                "piece" => self.piece(key, entry).await.map(Some),
                _ => self.dropped(id, &key[prefix.len()..], key, entry).await.map(Some),
            };
            match release {
                Ok(release) => found.extend(release),
                Err(error) => {
                    tracing::error!(key, %error, "cannot tell what would become of a deleted manifest")
                }
            }
        }
        Ok((found, next.or(Some(then))))
    }

    /// What leaves the trash: none if it came back, was deleted again with a window of its own, or goes with its repository.
    async fn purged(&self, rest: &str, due: Timestamp) -> Result<Option<Release>> {
        let no_entry = || Error::internal(format!("{rest} is no entry of the trash"));
        let (id, what) = rest.split_once('/').ok_or_else(no_entry)?;
        let (repository, cause) = (self.whose(id).await?, Cause::Trash { until: due });
        if repository.name.is_none() {
            return Ok(None);
        }
        if what.contains(':') {
            let manifest = what.parse().map_err(|_| no_entry())?;
            let trashed = self.get::<values::Trashed>(&keys::trash(id, &manifest)).await?;
            return match trashed.filter(|(trashed, _)| trashed.until == due) {
                Some((trashed, _)) => self
                    .release(cause, repository, manifest, &trashed.manifest.put)
                    .await
                    .map(Some),
                None => Ok(None),
            };
        }
        let tag: Tag = what.parse().map_err(|_| no_entry())?;
        let deleted = self.get::<values::Untagged>(&keys::untagged(id, &tag)).await?;
        Ok(deleted
            .filter(|(deleted, _)| deleted.until == due)
            .map(|_| Release {
                cause,
                repository,
                manifest: None,
                tag: Some(tag),
                blobs: Vec::new(),
            }))
    }

    /// Edges that are left of a deleted manifest.
    async fn piece(&self, key: &str, entry: &Entry) -> Result<Release> {
        let parts: Vec<&str> = key[keys::PIECE.len()..].split('/').collect();
        let [id, put, _] = parts[..] else {
            return Err(Error::internal(format!("record {key} is no piece")));
        };
        let piece: Piece = decode(key, entry)?;
        let repository = self.whose(id).await?;
        let cause = match repository.name {
            Some(_) => Cause::Deleted,
            None => Cause::Repository,
        };
        let going = Going {
            repository: id,
            put: (cause == Cause::Deleted).then_some(put),
        };
        let blobs = self.lone(&piece.children.blobs, going).await?;
        Ok(Release {
            cause,
            repository,
            manifest: Some(piece.manifest),
            tag: None,
            blobs,
        })
    }

    /// A manifest of a deleted repository, in its trash or not.
    async fn dropped(&self, id: &str, digest: &str, key: &str, entry: &Entry) -> Result<Release> {
        let put = match key.starts_with(keys::MANIFEST) {
            true => decode::<values::Manifest>(key, entry)?.put,
            false => decode::<values::Trashed>(key, entry)?.manifest.put,
        };
        let digest = digest.parse().map_err(Error::internal)?;
        self.release(Cause::Repository, self.whose(id).await?, digest, &put)
            .await
    }
}
