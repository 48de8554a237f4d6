//! The trash, the pieces that are left of deleted manifests, and the history of tags.

use bytes::Bytes;
use registry_core::store::Entry;
use registry_core::{Digest, Result, Tag};

use super::super::values::{self, MARK, V1, encode};
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Suspicion, as_seen, of};
use super::table::Table;
use super::{Checker, FindingKind, digest, keys, parts};

/// An entry of the order in which the trash goes. One for nothing is inert, and goes when its time comes.
pub(super) fn purge(key: &str, entry: &Entry) -> Vec<Suspicion> {
    let parsed = keys::parse_timed(keys::PURGE, key).and_then(|(_, rest)| {
        let (_, what) = rest.split_once('/')?;
        (what.parse::<Digest>().is_ok() || what.parse::<Tag>().is_ok()).then_some(())
    });
    match parsed {
        Some(()) => Vec::new(),
        None => vec![not_a_key(key, entry)],
    }
}

impl Checker<'_> {
    pub(super) async fn trash(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((id, digest)) = parts(key).and_then(|[id, name]| Some((id, digest(name)?))) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let trashed = match decode::<values::Trashed>(key, entry) {
            Ok(trashed) => trashed,
            Err(suspicion) => {
                told.push(suspicion.advise("push the manifest again if it is needed"));
                return Ok(told);
            }
        };
        let shown = format!("manifest {digest} in the trash of {}", status.shown(id));
        let due = keys::purge(trashed.until, id, digest);
        if !self.is_there(&due).await? {
            let message = format!("{shown} is not among those that go at {}", trashed.until);
            told.push(
                Suspicion::new(
                    FindingKind::IndexDisagrees,
                    &due,
                    message,
                    of(key, entry).absent(&due),
                )
                .repair("it goes when its record says", |txn| txn.put(&due, MARK)),
            );
        }
        let live = keys::manifest(id, &digest);
        let look = self.bytes(&live).await?;
        if !matches!(look, Look::Absent) {
            let message = format!("{shown} is in the repository too");
            let proof = as_seen(of(key, entry), &live, &look);
            told.push(
                Suspicion::new(FindingKind::ManifestDisagrees, key, message, proof)
                    .advise("push it again: it leaves the trash then"),
            );
        }
        let content = keys::content(id, &digest);
        let look = self.bytes(&content).await?;
        let proof = as_seen(of(key, entry), &content, &look);
        let wrong = match &look {
            Look::Absent => Some((FindingKind::ManifestWithoutContent, "has no bytes")),
            Look::Found(bytes, _) if Digest::of(digest.algorithm(), bytes) != digest => Some((
                FindingKind::ManifestWrongDigest,
                "has bytes that are not those of its digest",
            )),
            _ => None,
        };
        if let Some((kind, what)) = wrong {
            told.push(
                Suspicion::new(kind, key, format!("{shown} {what}"), proof)
                    .advise("it cannot come back; push it again if it is needed"),
            );
        }
        self.held_in_trash(key, entry, (id, &digest), (&shown, &trashed), &mut told)
            .await?;
        Ok(told)
    }

    /// That what a manifest in the trash named is kept for it.
    async fn held_in_trash(
        &mut self,
        key: &str,
        entry: &Entry,
        (id, digest): (&str, &Digest),
        (shown, trashed): (&str, &values::Trashed),
        told: &mut Vec<Suspicion>,
    ) -> Result<()> {
        let list = keys::children(id, digest);
        let look = self.look::<values::Children>(&list).await?;
        let Look::Found(children, noted) = look else {
            if matches!(look, Look::Absent) {
                let message = format!("{shown} has no record of its children");
                let proof = of(key, entry).absent(&list);
                told.push(
                    Suspicion::new(FindingKind::ManifestDisagrees, key, message, proof)
                        .advise("push it again: it leaves the trash then"),
                );
            }
            return Ok(());
        };
        let put = trashed.manifest.put.as_str();
        let pieces = keys::pieces_of(id, put);
        if self.any_under(&pieces).await? {
            // What is not taken yet is held as it was.
            return Ok(());
        }
        for blob in &children.blobs {
            let (kept, deferred) = (keys::trashed(blob, id, put), keys::deferred(blob, id, put));
            if self.is_there(&kept).await? || self.is_there(&deferred).await? {
                continue;
            }
            let message = format!("{shown} names blob {blob}, which is not kept for it");
            let proof = of(key, entry)
                .at(&list, noted)
                .nothing_under(&pieces)
                .absent(&kept)
                .absent(&deferred);
            let suspicion = Suspicion::new(FindingKind::EdgeMissing, &kept, message, proof);
            let of_blob = keys::blob(blob);
            told.push(match self.look::<values::Blob>(&of_blob).await? {
                Look::Found(found, stamp) => {
                    let read = Entry {
                        value: Bytes::new(),
                        stamp,
                    };
                    let value = encode(&values::Edge {
                        v: V1,
                        manifest: *digest,
                    });
                    let records = self.records;
                    suspicion.repair("it is kept for it again", |txn| {
                        let txn = records.assert_live(txn, blob, &found, &read);
                        // What may never have belonged here must not come back as if it had.
                        match trashed.manifest.deferred {
                            true => txn.put(&deferred, value),
                            false => txn.put(&kept, value),
                        }
                    })
                }
                _ => {
                    self.wanted.add(blob);
                    suspicion.advise(format!(
                        "push blob {blob} again before the manifest is to come back"
                    ))
                }
            });
        }
        Ok(())
    }

    pub(super) async fn untagged(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((id, tag)) = parts(key).and_then(|[id, tag]| Some((id, tag.parse::<Tag>().ok()?))) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let untagged = match decode::<values::Untagged>(key, entry) {
            Ok(untagged) => untagged,
            Err(suspicion) => {
                told.push(suspicion.advise("push the tag again if it is needed"));
                return Ok(told);
            }
        };
        let due = keys::purge(untagged.until, id, &tag);
        if !self.is_there(&due).await? {
            let (shown, until) = (status.shown(id), untagged.until);
            let message = format!("tag {tag} in the trash of {shown} is not among those that go at {until}");
            told.push(
                Suspicion::new(
                    FindingKind::IndexDisagrees,
                    &due,
                    message,
                    of(key, entry).absent(&due),
                )
                .repair("it goes when its record says", |txn| txn.put(&due, MARK)),
            );
        }
        Ok(told)
    }

    pub(super) async fn piece(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some([id, _, number]) = parts(key) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        if number.parse::<u64>().is_err() {
            return Ok(vec![not_a_key(key, entry)]);
        }
        let mut told = Vec::new();
        self.status_for(id, key, entry, &mut told).await?;
        told.extend(decode::<values::Piece>(key, entry).err());
        Ok(told)
    }

    /// What became of tags, and which of them became of too much.
    pub(super) async fn history(&mut self, table: Table, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((id, tag)) = parts(key).map(|[id, rest]| (id, rest.split('/').next().unwrap_or_default()))
        else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        if tag.parse::<Tag>().is_err() {
            return Ok(vec![not_a_key(key, entry)]);
        }
        let mut told = Vec::new();
        self.status_for(id, key, entry, &mut told).await?;
        if table == Table::History {
            let unreadable = decode::<values::Moved>(key, entry).err();
            told.extend(unreadable.map(|told| told.advise("nobody learns of this move any more")));
        }
        Ok(told)
    }
}
