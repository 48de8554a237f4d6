//! Tags, and the index of those at a manifest.

use registry_core::store::Entry;
use registry_core::{Result, Tag};

use super::super::values::{self, MARK};
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Suspicion, as_seen, of};
use super::{Checker, FindingKind, digest, keys, parts};

impl Checker<'_> {
    pub(super) async fn tag(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((id, tag)) = parts(key).and_then(|[id, tag]| Some((id, tag.parse::<Tag>().ok()?))) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let record = match decode::<values::Tag>(key, entry) {
            Ok(record) => record,
            Err(suspicion) => {
                told.push(suspicion.advise("push the tag again"));
                return Ok(told);
            }
        };
        // Of a deleted repository, manifests go first.
        if !status.is_named() {
            return Ok(told);
        }
        let (shown, digest) = (status.shown(id), &record.digest);
        let manifest = keys::manifest(id, digest);
        if !self.is_there(&manifest).await? {
            let message = format!("tag {tag} in {shown} points at manifest {digest}, which is not there");
            let proof = status.assert(of(key, entry), id).absent(manifest);
            told.push(
                Suspicion::new(FindingKind::TagToNowhere, key, message, proof)
                    .advise("push that manifest again, or move or delete the tag"),
            );
        }
        let index = keys::tagged(id, digest, &tag);
        if !self.is_there(&index).await? {
            let message = format!("manifest {digest} in {shown} does not know of its tag {tag}");
            let proof = status.assert(of(key, entry), id).absent(&index);
            told.push(
                Suspicion::new(FindingKind::IndexDisagrees, &index, message, proof)
                    .repair("the manifest knows of it again", |txn| txn.put(&index, MARK)),
            );
        }
        Ok(told)
    }

    pub(super) async fn mirror(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let parsed =
            parts(key).and_then(|[id, name, tag]| Some((id, digest(name)?, tag.parse::<Tag>().ok()?)));
        let Some((id, digest, tag)) = parsed else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let of_tag = keys::tag(id, &tag);
        let look = self.look::<values::Tag>(&of_tag).await?;
        let agrees = match &look {
            Look::Found(record, _) => record.digest == digest,
            Look::Damaged | Look::Illegible(_) => true,
            Look::Absent => false,
        };
        if !agrees && status.is_named() {
            let message = format!(
                "manifest {digest} in {} is said to have the tag {tag}, which does not point at it",
                status.shown(id)
            );
            let proof = as_seen(status.assert(of(key, entry), id), &of_tag, &look);
            told.push(
                Suspicion::new(FindingKind::IndexDisagrees, key, message, proof)
                    .repair("the manifest knows of it no more", |txn| txn.delete(key)),
            );
        }
        Ok(told)
    }
}
