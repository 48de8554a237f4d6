//! Tags, and the mirrors that say which tags point at a manifest.

use registry_core::store::{KvError, Txn};
use registry_core::{Digest, Result, Tag};

use super::super::values::{MARK, V1, decode, encode};
use super::super::{Records, failed, keys, values};
use super::parsed;

impl Records {
    /// A mirror is as true as the tag says. The checksum covers the key, so that one whose key was changed may name a
    /// tag that points elsewhere; it goes.
    pub(super) async fn mended_mirror(
        &self,
        key: &str,
        repository: &str,
        digest: &str,
        tag: &str,
    ) -> Result<Option<Txn>> {
        let gone = Txn::new().delete(key);
        let (Ok(digest), Ok(tag)) = (digest.parse::<Digest>(), tag.parse::<Tag>()) else {
            return Ok(Some(gone));
        };
        let of = keys::tag(repository, &tag);
        let found = match self.kv.get(&of).await {
            Ok(found) => found,
            Err(KvError::Damaged { .. }) => return self.mended_tag(&of, repository).await,
            Err(other) => return Err(failed(other)),
        };
        let points_here = match &found {
            Some(entry) => decode::<values::Tag>(&of, entry)?.digest == digest,
            None => false,
        };
        let txn = match points_here {
            true => Txn::new().put(key, MARK),
            false => gone,
        };
        Ok(Some(txn.unchanged(of, found.as_ref())))
    }

    /// A tag points where its mirror says. If the mirror is damaged too, its key still says it, unless there is no such
    /// manifest: then the key is what was changed. Both are written again.
    pub(super) async fn mended_tag(&self, key: &str, repository: &str) -> Result<Option<Txn>> {
        let tag: Tag = parsed(key, &key[keys::tags(repository).len()..])?;
        let table = format!("tagged/{repository}/");
        let names_it = |mirror: &str| {
            let (digest, named) = mirror.strip_prefix(&table)?.split_once('/')?;
            (named == tag.as_str()).then(|| digest.parse::<Digest>().ok())?
        };
        let now = self.clock().await?;
        let again = |digest| {
            encode(&values::Tag {
                v: V1,
                digest,
                at: now,
            })
        };
        let (mut after, mut uncertain): (Option<String>, Vec<(String, Digest)>) = (None, Vec::new());
        loop {
            let page = self.look_past(&table, after.as_deref(), 1000).await?;
            let named = page.damaged.into_iter().filter_map(|mirror| {
                let digest = names_it(&mirror)?;
                Some((mirror, digest))
            });
            uncertain.extend(named);
            for (mirror, entry) in &page.entries {
                if let Some(digest) = names_it(mirror) {
                    let txn = Txn::new().at(mirror, entry.stamp);
                    return Ok(Some(txn.damaged(key).put(key, again(digest))));
                }
            }
            match page.entries.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => break,
            }
        }
        for (mirror, digest) in uncertain {
            let manifest = keys::manifest(repository, &digest);
            if let Some(entry) = self.kv.get(&manifest).await.map_err(failed)? {
                let txn = Txn::new().at(manifest, entry.stamp).damaged(key).damaged(&mirror);
                return Ok(Some(txn.put(key, again(digest)).put(mirror, MARK)));
            }
        }
        Ok(None)
    }
}
