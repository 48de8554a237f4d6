//! Records that cannot be read any more, and what the others still say about them.
//!
//! The engine's checksum tells a damaged record from every other; what it said is gone, but mostly not lost: many
//! records say by their key all there is to say, and most others are told by their neighbours. Such a record is written
//! again, asserting that it is still damaged, the moment that somebody comes across it. What only a client has is
//! answered with an error that says what to push again; that push writes it anew.
//!
//! | record | is told by |
//! |---|---|
//! | `lease`, `pending` | its own key, but for the time |
//! | `expiry` | `upload` |
//! | `doomed` | its own key, held as long as any |
//! | `unlink` | `doomed` |
//! | `tagged` | `tag` |
//! | `repository`, `named` | each other |
//! | `tag` | `tagged` |
//! | `edge`, `deferred`, `parent` | `manifest` and `children` |
//! | `trash` | its bytes, if they say their type, and the edges of its put; but for its tags |
//! | `trashed` | `trash` and `children` |
//! | `purge` | `trash` or `untagged` |
//! | `trim` | nothing; another mark comes |
//! | `piece` | the edges of its put that are there, and `trash` |
//! | `loose`, `loosened` | each other; if neither does, from now on |
//! | `cursor` | nothing; the feed is followed from its beginning |
//! | `manifest` | its bytes, if they say their type, and the edges of its put |
//! | `children`, `referrer` | the manifest, in the trash or not, and its bytes |
//! | `blob` | `inline`, if its bytes are there; else it becomes suspect, and the next push of it brings new ones |

mod edges;
mod pieces;
mod tags;
mod timed;

use registry_core::manifest::ParsedManifest;
use registry_core::store::{BlobState, Entry, KvError, Location, Txn};
use registry_core::{Digest, Error, ErrorKind, RepositoryName, Result, error};
use serde::Deserialize;

use edges::DamagedEdge;

use super::past::is_whole;
use super::values::{V1, encode};
use super::{Records, failed, keys, values};

/// What a manifest's bytes may say of their own type.
#[derive(Deserialize)]
struct SelfNamed {
    #[serde(rename = "mediaType")]
    media_type: String,
}

/// The refusal of what only the records knew, and know no more.
pub(super) fn lost(key: &str) -> Error {
    let why = KvError::Damaged {
        key: key.to_owned(),
        more: Vec::new(),
        page: Vec::new(),
    };
    let manifest = match key.split('/').collect::<Vec<_>>()[..] {
        ["manifest" | "content", _, digest] => digest.parse().ok(),
        _ => None,
    };
    match manifest {
        Some(digest) => error::manifest_lost(&digest).with_source(why),
        None => Error::new(
            ErrorKind::Internal,
            format!("the registry's record {key} is damaged, and nothing else tells what it said"),
        )
        .with_detail(serde_json::json!({ "record": key }))
        .with_source(why),
    }
}

impl Records {
    /// Writes a damaged record again from what tells it.
    ///
    /// # Errors
    /// If nothing does; then the error says what to do.
    pub(super) async fn mend(&self, key: &str) -> Result<()> {
        // Some bytes of such a key are unknown, and no read or write can name it.
        if !is_whole(key) {
            return Err(lost(key));
        }
        let txn = match key.split('/').collect::<Vec<_>>()[..] {
            ["tagged", repository, digest, tag] => self.mended_mirror(key, repository, digest, tag).await?,
            ["lease", digest, _, repository] => self.mended_lease(key, digest, repository).await?,
            ["pending", _, digest] => self.mended_pending(key, digest).await?,
            ["purge", _, repository, what] => self.mended_purge(key, repository, what).await?,
            ["trim" | "cursor", ..] => Some(Txn::new().delete(key)),
            ["piece", repository, put, _] => self.mended_piece(key, repository, put).await?,
            ["loose", repository, digest] => {
                Some(self.mended_loose(Txn::new(), key, repository, digest).await?)
            }
            ["loosened", _, repository, digest] => Some(self.mended_loosened(key, repository, digest).await?),
            ["expiry", _, id] => self.mended_expiry(key, id).await?,
            ["doomed", ..] => self.mended_doomed(key).await?,
            ["unlink", ..] => Some(self.disordered(key)),
            ["repository", ..] => self.mended_repository(key).await?,
            ["named", id] => self.mended_named(key, id).await?,
            ["tag", repository, _] => self.mended_tag(key, repository).await?,
            [table @ ("edge" | "deferred" | "trashed"), child, repository, put]
            | [table @ "parent", repository, child, put] => {
                self.mended_edge(DamagedEdge {
                    key,
                    table,
                    repository,
                    child,
                    put,
                })
                .await?
            }
            ["manifest", repository, digest] => {
                self.mended_manifest(repository, &parsed(key, digest)?).await?
            }
            ["trash", repository, digest] => self.mended_trash(repository, &parsed(key, digest)?).await?,
            ["children", repository, digest] | ["referrer", repository, _, digest] => {
                self.mended_note(key, repository, &parsed(key, digest)?).await?
            }
            ["blob", digest] => Some(self.mended_blob(key, &parsed(key, digest)?).await?),
            _ => None,
        };
        self.replace_damaged(key, txn.ok_or_else(|| lost(key))?).await
    }

    /// Commits what replaces a damaged record. That it is not damaged any more is fine: somebody else was here.
    async fn replace_damaged(&self, key: &str, txn: Txn) -> Result<()> {
        match self.kv.commit(txn.damaged(key)).await {
            Ok(_) => {
                tracing::error!(
                    key,
                    "a damaged record was written again from what others say of it"
                );
                Ok(())
            }
            Err(KvError::Conflict(_)) => Ok(()),
            Err(other) => Err(failed(other)),
        }
    }

    /// The first entry of a table that `wanted` takes. Damaged entries of that table are an error, not mended: they
    /// might ask for this very record.
    async fn first<T: serde::de::DeserializeOwned, U>(
        &self,
        table: &str,
        wanted: impl Fn(&str, T, Entry) -> Option<U>,
    ) -> Result<Option<U>> {
        let mut after: Option<String> = None;
        loop {
            let page = self
                .kv
                .scan(table, after.as_deref(), 1000)
                .await
                .map_err(failed)?;
            let Some((last, _)) = page.last() else {
                return Ok(None);
            };
            after = Some(last.clone());
            for (key, entry) in page {
                let value = values::decode(&key, &entry)?;
                if let Some(found) = wanted(&key[table.len()..], value, entry) {
                    return Ok(Some(found));
                }
            }
        }
    }

    async fn mended_repository(&self, key: &str) -> Result<Option<Txn>> {
        let Ok(name) = key[keys::REPOSITORY.len()..].parse::<RepositoryName>() else {
            return Ok(None);
        };
        let found = self.first("named/", |id, named: values::Named, entry| {
            (named.name == name).then(|| (id.to_owned(), entry))
        });
        let Some((id, entry)) = found.await? else {
            return Ok(None);
        };
        let named = keys::named(&id);
        let created = self.clock().await?;
        let value = values::Repository { v: V1, id, created };
        Ok(Some(Txn::new().at(named, entry.stamp).put(key, encode(&value))))
    }

    async fn mended_named(&self, key: &str, id: &str) -> Result<Option<Txn>> {
        let found = self.first(keys::REPOSITORY, |name, repository: values::Repository, entry| {
            (repository.id == id).then(|| (name.to_owned(), entry))
        });
        let Some((name, entry)) = found.await? else {
            return Ok(None);
        };
        let value = values::Named {
            v: V1,
            name: parsed(key, &name)?,
        };
        Ok(Some(
            Txn::new()
                .at(keys::repository(&name), entry.stamp)
                .put(key, encode(&value)),
        ))
    }

    /// A manifest's bytes, if they are the ones that were pushed.
    async fn whole_content(&self, repository: &str, digest: &Digest) -> Result<Option<bytes::Bytes>> {
        let content = match self.kv.get(&keys::content(repository, digest)).await {
            Ok(content) => content.map(|entry| entry.value),
            Err(KvError::Damaged { .. }) => None,
            Err(other) => return Err(failed(other)),
        };
        Ok(content.filter(|bytes| Digest::of(digest.algorithm(), bytes) == *digest))
    }

    /// A manifest's bytes and what they say, if they say their own type: one that came with the push alone is known to
    /// nobody but the pusher.
    async fn self_named(&self, repository: &str, digest: &Digest) -> Result<Option<(ParsedManifest, u64)>> {
        let Some(bytes) = self.whole_content(repository, digest).await? else {
            return Ok(None);
        };
        let Ok(SelfNamed { media_type }) = serde_json::from_slice(&bytes) else {
            return Ok(None);
        };
        let parsed = ParsedManifest::parse(Some(&media_type), &bytes).map_err(Error::internal)?;
        Ok(Some((parsed, bytes.len() as u64)))
    }

    async fn mended_manifest(&self, repository: &str, digest: &Digest) -> Result<Option<Txn>> {
        Ok(match self.self_named(repository, digest).await? {
            Some((parsed, size)) => Some(self.manifest_again(repository, digest, &parsed, size).await?),
            None => None,
        })
    }

    async fn mended_trash(&self, repository: &str, digest: &Digest) -> Result<Option<Txn>> {
        Ok(match self.self_named(repository, digest).await? {
            Some((parsed, size)) => Some(self.trash_again(repository, digest, &parsed, size).await?),
            None => None,
        })
    }

    /// Puts back the record of a manifest in the trash that is being pushed again.
    pub(super) async fn restore_trash(
        &self,
        repository: &str,
        digest: &Digest,
        parsed: &ParsedManifest,
        size: u64,
    ) -> Result<()> {
        let txn = self.trash_again(repository, digest, parsed, size).await?;
        self.replace_damaged(&keys::trash(repository, digest), txn).await
    }

    /// Puts back the record of a manifest that is being pushed again.
    pub(super) async fn restore_manifest(
        &self,
        repository: &str,
        digest: &Digest,
        parsed: &ParsedManifest,
        size: u64,
    ) -> Result<()> {
        let txn = self.manifest_again(repository, digest, parsed, size).await?;
        self.replace_damaged(&keys::manifest(repository, digest), txn)
            .await
    }

    /// What a manifest's put noted beside it.
    async fn mended_note(&self, key: &str, repository: &str, digest: &Digest) -> Result<Option<Txn>> {
        let mut manifest = keys::manifest(repository, digest);
        let mut found = self.kv.get(&manifest).await.map_err(failed)?;
        let in_trash = found.is_none() && key.starts_with("children/");
        if in_trash {
            manifest = keys::trash(repository, digest);
            found = self.kv.get(&manifest).await.map_err(failed)?;
        }
        let Some(entry) = found else {
            return Ok(None);
        };
        let Some(bytes) = self.whole_content(repository, digest).await? else {
            return Ok(None);
        };
        let media_type = match in_trash {
            true => {
                values::decode::<values::Trashed>(&manifest, &entry)?
                    .manifest
                    .media_type
            }
            false => values::decode::<values::Manifest>(&manifest, &entry)?.media_type,
        };
        let parsed = ParsedManifest::parse(Some(&media_type), &bytes).map_err(Error::internal)?;
        let value = match key.starts_with("children/") {
            true => encode(&values::Children::of(&parsed.children)),
            false => encode(&parsed.referrer(*digest, bytes.len() as u64)),
        };
        Ok(Some(Txn::new().at(manifest, entry.stamp).put(key, value)))
    }

    /// A blob whose record is lost is suspect, wherever its bytes were: nobody is told that it exists, and the next
    /// push of it brings bytes that have a place. A file that only the record knew stays behind.
    async fn mended_blob(&self, key: &str, digest: &Digest) -> Result<Txn> {
        let inline = match self.kv.get(&keys::inline(digest)).await {
            Ok(found) => found.filter(|entry| Digest::of(digest.algorithm(), &entry.value) == *digest),
            Err(KvError::Damaged { .. }) => None,
            Err(other) => return Err(failed(other)),
        };
        let value = values::Blob {
            v: V1,
            size: inline.as_ref().map_or(0, |entry| entry.value.len() as u64),
            location: Location::Inline,
            state: BlobState::Live,
            suspect: inline.is_none(),
        };
        let txn = match inline {
            Some(entry) => Txn::new().at(keys::inline(digest), entry.stamp),
            None => Txn::new(),
        };
        Ok(txn.put(key, encode(&value)))
    }
}

/// A part of a record's key.
fn parsed<T: std::str::FromStr>(key: &str, part: &str) -> Result<T> {
    part.parse()
        .map_err(|_| Error::internal(format!("record {key} has no such key as is written here")))
}
