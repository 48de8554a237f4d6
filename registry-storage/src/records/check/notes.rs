//! What is noted beside manifests: lists of children, parents, referrers. That each is a note of something.

use registry_core::manifest::ParsedManifest;
use registry_core::store::{Entry, Txn};
use registry_core::{Descriptor, Digest, Result};

use super::super::values;
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Suspicion, as_seen, of};
use super::table::Table;
use super::{Checker, FindingKind, digest, keys, parts};

impl Checker<'_> {
    pub(super) async fn children(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((id, digest)) = parts(key).and_then(|[id, name]| Some((id, digest(name)?))) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let legible = decode::<values::Children>(key, entry);
        let (manifest, content) = (keys::manifest(id, &digest), keys::content(id, &digest));
        let trash = keys::trash(id, &digest);
        if self.is_there(&manifest).await? || self.is_there(&trash).await? {
            // Those of a manifest whose bytes can be read were compared with them.
            if let Err(suspicion) = legible
                && matches!(self.bytes(&content).await?, Look::Absent | Look::Damaged)
            {
                told.push(suspicion.advise("push the manifest again"));
            }
            return Ok(told);
        }
        if status.is_named() {
            let message = format!(
                "there is a list of children of manifest {digest} in {}, and no manifest",
                status.shown(id)
            );
            let proof = status.assert(of(key, entry), id).absent(manifest).absent(trash);
            let suspicion = Suspicion::new(FindingKind::ContentWithoutManifest, key, message, proof);
            told.push(match self.is_there(&content).await? {
                true => suspicion.advise("push the manifest again"),
                false => suspicion.repair("the list is gone", |txn| txn.absent(content).delete(key)),
            });
        }
        Ok(told)
    }

    pub(super) async fn parent(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let parsed = parts(key).and_then(|[id, child, put]| Some((id, digest(child)?, put)));
        let Some((id, child, put)) = parsed else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let edge = match decode::<values::Edge>(key, entry) {
            Ok(edge) => edge,
            Err(suspicion) => {
                told.push(suspicion);
                return Ok(told);
            }
        };
        let unnamed = self
            .unnamed(Table::Parents, id, &edge.manifest, put, |children| {
                children.manifests.contains(&child)
            })
            .await?;
        if let Some(proof) = unnamed
            && status.is_named()
        {
            let message = format!(
                "manifest {child} in {} is kept for index {}, which does not list it",
                status.shown(id),
                edge.manifest
            );
            let proof = status.assert(proof, id).at(key, entry.stamp);
            told.push(
                Suspicion::new(FindingKind::EdgeSurplus, key, message, proof)
                    .repair("it is kept for that index no more", |txn| txn.delete(key)),
            );
        }
        Ok(told)
    }

    pub(super) async fn referrer(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let parsed = parts(key).and_then(|[id, subject, name]| Some((id, digest(subject)?, digest(name)?)));
        let Some((id, subject, referrer)) = parsed else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let of_referrer = keys::manifest(id, &referrer);
        let look = self.look::<values::Manifest>(&of_referrer).await?;
        let agrees = match &look {
            Look::Found(manifest, _) => manifest.subject == Some(subject),
            Look::Damaged | Look::Illegible(_) => true,
            Look::Absent => false,
        };
        if !agrees && status.is_named() {
            let message = format!(
                "manifest {referrer} is listed among the referrers of {subject} in {}, and does not refer to it",
                status.shown(id)
            );
            let proof = as_seen(status.assert(of(key, entry), id), &of_referrer, &look);
            told.push(
                Suspicion::new(FindingKind::IndexDisagrees, key, message, proof)
                    .repair("it is listed there no more", |txn| txn.delete(key)),
            );
        } else if let Err(suspicion) = decode::<Descriptor>(key, entry) {
            told.push(suspicion.advise("push the manifest that refers again"));
        }
        Ok(told)
    }

    /// The proof that an edge in `table` is of no manifest that was put by that put and names what `names` looks for, nor
    /// still to be taken; nothing if it is, and in doubt. The list of children is asked first, and the bytes before
    /// anything is said.
    pub(super) async fn unnamed(
        &self,
        table: Table,
        id: &str,
        manifest: &Digest,
        put: &str,
        names: impl Fn(&values::Children) -> bool + Send,
    ) -> Result<Option<Txn>> {
        let (live, trash) = (keys::manifest(id, manifest), keys::trash(id, manifest));
        let mut proof = Txn::new();
        let (mut record, mut is_known) = (None, false);
        // In the trash a manifest keeps what is deferred, and what its edges have become.
        if table != Table::Trashed {
            let look = self.look::<values::Manifest>(&live).await?;
            proof = as_seen(proof, &live, &look);
            is_known |= matches!(look, Look::Found(..));
            match look {
                Look::Found(found, _) if found.put == put => record = Some(found),
                Look::Found(..) | Look::Absent => {}
                Look::Damaged | Look::Illegible(_) => return Ok(None),
            }
        }
        if matches!(table, Table::Trashed | Table::Deferred) && record.is_none() {
            let look = self.look::<values::Trashed>(&trash).await?;
            proof = as_seen(proof, &trash, &look);
            is_known |= matches!(look, Look::Found(..));
            match look {
                Look::Found(found, _) if found.manifest.put == put => record = Some(found.manifest),
                Look::Found(..) | Look::Absent => {}
                Look::Damaged | Look::Illegible(_) => return Ok(None),
            }
        }
        let pieces = keys::pieces_of(id, put);
        if self.any_under(&pieces).await? {
            return Ok(None);
        }
        proof = proof.nothing_under(pieces);
        let Some(record) = record else {
            // A manifest that has lost its record and not its bytes comes back, and needs what it named.
            let content = keys::content(id, manifest);
            return match is_known {
                true => Ok(Some(proof)),
                false if self.is_there(&content).await? => Ok(None),
                false => Ok(Some(proof.absent(content))),
            };
        };
        let noted = self
            .look::<values::Children>(&keys::children(id, manifest))
            .await?;
        if let Look::Found(children, _) = noted
            && names(&children)
        {
            return Ok(None);
        }
        let content = keys::content(id, manifest);
        let look = self.bytes(&content).await?;
        let proof = as_seen(proof, &content, &look);
        let Look::Found(bytes, _) = look else {
            return Ok(None);
        };
        // Bytes that are not the manifest's say nothing about it.
        if Digest::of(manifest.algorithm(), &bytes) != *manifest {
            return Ok(None);
        }
        let Ok(parsed) = ParsedManifest::parse(Some(&record.media_type), &bytes) else {
            return Ok(None);
        };
        Ok((!names(&values::Children::of(&parsed.children))).then_some(proof))
    }
}
