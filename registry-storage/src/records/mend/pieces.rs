//! The pieces of deleted manifests.

use registry_core::store::Txn;
use registry_core::{Digest, Result};

use super::super::values::{Children, Fate, Piece, V1, decode, encode};
use super::super::{Records, failed, keys, values};

impl Records {
    /// A piece names the edges that are there of a put that was deleted, and that no other piece names. They are ordered
    /// by what they lead to, so finding them reads all edges there are; a piece is damaged seldom enough. None goes by a
    /// key that was changed: then no edge has its put id, and those of the true one are for the check of the store.
    pub(super) async fn mended_piece(&self, key: &str, repository: &str, put: &str) -> Result<Option<Txn>> {
        let suffix = format!("/{repository}/{put}");
        let (mut children, mut manifest) = (Children::default(), None);
        for table in ["edge/", "deferred/", "trashed/"] {
            let digest = |key: &str| key.strip_prefix(table)?.strip_suffix(&suffix)?.parse().ok();
            children
                .blobs
                .extend(self.led_to(table, digest, &mut manifest).await?);
        }
        children.blobs.sort();
        children.blobs.dedup();
        let (table, suffix) = (keys::parents_in(repository), format!("/{put}"));
        let digest = |key: &str| key.strip_prefix(&table)?.strip_suffix(&suffix)?.parse().ok();
        children.manifests = self.led_to(&table, digest, &mut manifest).await?;
        let Some(manifest) = manifest else {
            return Ok(Some(Txn::new().delete(key)));
        };
        let others = keys::pieces_of(repository, put);
        for (key, entry) in self.look_past(&others, None, 1000).await?.entries {
            let other: Piece = decode(&key, &entry)?;
            children.blobs.retain(|blob| !other.children.blobs.contains(blob));
            children
                .manifests
                .retain(|child| !other.children.manifests.contains(child));
        }
        // Whether it went into the trash is for the trash to say.
        let (live, trash) = (
            keys::manifest(repository, &manifest),
            keys::trash(repository, &manifest),
        );
        let is_of = |found: &values::Manifest| found.put == put;
        let found = self.kv.get(&live).await.map_err(failed)?;
        if let Some(entry) = &found
            && is_of(&decode(&live, entry)?)
        {
            return Ok(None);
        }
        let txn = Txn::new().unchanged(&live, found.as_ref());
        let found = self.kv.get(&trash).await.map_err(failed)?;
        let fate = match &found {
            Some(entry) if is_of(&decode::<values::Trashed>(&trash, entry)?.manifest) => Fate::Trash,
            _ => Fate::Gone,
        };
        let piece = Piece {
            v: V1,
            manifest,
            fate,
            children,
        };
        Ok(Some(
            txn.unchanged(&trash, found.as_ref()).put(key, encode(&piece)),
        ))
    }

    /// What the edges of a table lead to whose key `digest` takes. All of one put are of one manifest.
    async fn led_to(
        &self,
        table: &str,
        digest: impl Fn(&str) -> Option<Digest>,
        manifest: &mut Option<Digest>,
    ) -> Result<Vec<Digest>> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self.look_past(table, after.as_deref(), 1000).await?.entries;
            for (key, entry) in &page {
                if let Some(child) = digest(key) {
                    *manifest = Some(decode::<values::Edge>(key, entry)?.manifest);
                    found.push(child);
                }
            }
            match page.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => return Ok(found),
            }
        }
    }
}
