//! Tags, and the index of those at a manifest.

use registry_core::{Result, Tag};

use super::super::values;
use super::walk::{Look, Walk};
use super::{Checker, FindingKind, digest, keys, parts};

const PAGE: usize = 500;

impl Checker<'_> {
    pub(super) async fn tags(&mut self) -> Result<()> {
        let mut walk = Walk::through("tag/", PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some((id, tag)) = parts(&key).and_then(|[id, tag]| Some((id, tag.parse::<Tag>().ok()?)))
            else {
                self.not_a_key(&key);
                continue;
            };
            let status = self.status_for(id, &key).await?;
            let Some(record) = self.decode::<values::Tag>(&key, &entry) else {
                continue;
            };
            // Of a deleted repository, manifests go first.
            if !status.is_named() {
                continue;
            }
            let (shown, digest) = (status.shown(id), &record.digest);
            if !self.is_there(&keys::manifest(id, digest)).await? {
                let message = format!("tag {tag} in {shown} points at manifest {digest}, which is not there");
                self.found(FindingKind::TagToNowhere, &key, message);
            }
            let index = keys::tagged(id, digest, &tag);
            if !self.is_there(&index).await? {
                let message = format!("manifest {digest} in {shown} does not know of its tag {tag}");
                self.found(FindingKind::IndexDisagrees, &index, message);
            }
        }
        let mut walk = Walk::through("tagged/", PAGE);
        while let Some((key, _)) = self.next(&mut walk).await? {
            let parsed =
                parts(&key).and_then(|[id, name, tag]| Some((id, digest(name)?, tag.parse::<Tag>().ok()?)));
            let Some((id, digest, tag)) = parsed else {
                self.not_a_key(&key);
                continue;
            };
            let status = self.status_for(id, &key).await?;
            let agrees = match self.look::<values::Tag>(&keys::tag(id, &tag)).await? {
                Look::Found(record) => record.digest == digest,
                Look::Damaged => true,
                Look::Absent => false,
            };
            if !agrees && status.is_named() {
                let message = format!(
                    "manifest {digest} in {} is said to have the tag {tag}, which does not point at it",
                    status.shown(id)
                );
                self.found(FindingKind::IndexDisagrees, &key, message);
            }
        }
        Ok(())
    }
}
