//! Manifests: their bytes, what they name, and that it is held for them.

use registry_core::manifest::ParsedManifest;
use registry_core::{Descriptor, Digest, Result};

use super::super::values;
use super::walk::{Look, Status, Walk};
use super::{Checker, FindingKind, digest, keys, parts};

const PAGE: usize = 500;
/// Records that may hold megabytes.
const LARGE: usize = 4;

impl Checker<'_> {
    pub(super) async fn manifests(&mut self) -> Result<()> {
        let mut walk = Walk::through("manifest/", PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some((id, digest)) = parts(&key).and_then(|[id, name]| Some((id, digest(name)?))) else {
                self.not_a_key(&key);
                continue;
            };
            let status = self.status_for(id, &key).await?;
            let Some(manifest) = self.decode::<values::Manifest>(&key, &entry) else {
                continue;
            };
            self.manifest(id, &status, &digest, &manifest).await?;
        }
        for table in ["content/", "children/"] {
            let mut walk = Walk::through(table, LARGE);
            while let Some((key, entry)) = self.next(&mut walk).await? {
                let Some((id, digest)) = parts(&key).and_then(|[id, name]| Some((id, digest(name)?))) else {
                    self.not_a_key(&key);
                    continue;
                };
                let status = self.status_for(id, &key).await?;
                if table == "children/" {
                    self.decode::<values::Children>(&key, &entry);
                }
                if !self.is_there(&keys::manifest(id, &digest)).await?
                    && !self.is_there(&keys::trash(id, &digest)).await?
                    && status.is_named()
                {
                    let what = if table == "content/" {
                        "bytes"
                    } else {
                        "a list of children"
                    };
                    let message = format!(
                        "there are {what} of manifest {digest} in {}, and no manifest",
                        status.shown(id)
                    );
                    self.found(FindingKind::ContentWithoutManifest, &key, message);
                }
            }
        }
        self.parents().await?;
        self.referrers().await
    }

    async fn manifest(
        &mut self,
        id: &str,
        status: &Status,
        digest: &Digest,
        manifest: &values::Manifest,
    ) -> Result<()> {
        let key = keys::manifest(id, digest);
        let shown = format!("manifest {digest} in {}", status.shown(id));
        let bytes = match self.bytes(&keys::content(id, digest)).await? {
            Look::Found(bytes) => bytes,
            Look::Damaged => return Ok(()),
            Look::Absent => {
                self.found(
                    FindingKind::ManifestWithoutContent,
                    &key,
                    format!("{shown} has no bytes"),
                );
                return Ok(());
            }
        };
        if bytes.len() as u64 != manifest.size {
            let message = format!(
                "{shown} has {} bytes, and its record says {}",
                bytes.len(),
                manifest.size
            );
            self.found(FindingKind::ManifestWrongSize, &key, message);
        }
        let actual = Digest::of(digest.algorithm(), &bytes);
        if actual != *digest {
            let message = format!("{shown} has bytes of the digest {actual}");
            self.found(FindingKind::ManifestWrongDigest, &key, message);
            return Ok(());
        }
        let parsed = match ParsedManifest::parse(Some(&manifest.media_type), &bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                let message = format!(
                    "{shown} cannot be read as a {}: {}",
                    manifest.media_type,
                    error.message()
                );
                self.found(FindingKind::ManifestDisagrees, &key, message);
                return Ok(());
            }
        };
        let named = values::Children::of(&parsed.children);
        match self.look::<values::Children>(&keys::children(id, digest)).await? {
            Look::Found(recorded)
                if recorded.blobs == named.blobs && recorded.manifests == named.manifests => {}
            Look::Damaged => {}
            Look::Found(_) => {
                let message = format!("{shown} names other things than its record of children");
                self.found(FindingKind::ManifestDisagrees, &key, message);
            }
            Look::Absent => {
                let message = format!("{shown} has no record of its children, and so cannot be deleted");
                self.found(FindingKind::ManifestDisagrees, &key, message);
            }
        }
        for blob in &named.blobs {
            let held = self.is_there(&keys::edge(blob, id, &manifest.put)).await?
                || (manifest.deferred && self.is_there(&keys::deferred(blob, id, &manifest.put)).await?);
            if !held {
                let message = format!("{shown} names blob {blob}, which is not kept for it");
                self.found(
                    FindingKind::EdgeMissing,
                    &keys::edge(blob, id, &manifest.put),
                    message,
                );
            }
        }
        for child in &named.manifests {
            let parent = keys::parent(id, child, &manifest.put);
            if !self.is_there(&parent).await? {
                let message =
                    format!("{shown} lists manifest {child}, which does not know of it and could be deleted");
                self.found(FindingKind::EdgeMissing, &parent, message);
            }
            let needed = !manifest.deferred && status.is_named();
            if needed && !self.is_there(&keys::manifest(id, child)).await? {
                let message = format!("{shown} lists manifest {child}, which is not there");
                self.found(FindingKind::ChildMissing, &key, message);
            }
        }
        if parsed.subject != manifest.subject {
            let message = format!("{shown} has another subject than its record says");
            self.found(FindingKind::ManifestDisagrees, &key, message);
        }
        if let Some(subject) = &manifest.subject {
            let referrer = keys::referrer(id, subject, digest);
            let expected = parsed.referrer(*digest, manifest.size);
            let wrong = match self.look::<Descriptor>(&referrer).await? {
                Look::Found(found) => found != expected,
                Look::Damaged => false,
                Look::Absent => true,
            };
            if wrong {
                let message = format!("{shown} is not among the referrers of {subject} as it should be");
                self.found(FindingKind::IndexDisagrees, &referrer, message);
            }
        }
        Ok(())
    }

    async fn parents(&mut self) -> Result<()> {
        let mut walk = Walk::through("parent/", PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some((id, child, put)) =
                parts(&key).and_then(|[id, child, put]| Some((id, digest(child)?, put)))
            else {
                self.not_a_key(&key);
                continue;
            };
            let status = self.status_for(id, &key).await?;
            let Some(edge) = self.decode::<values::Edge>(&key, &entry) else {
                continue;
            };
            let named = self
                .is_named_by(id, &edge.manifest, put, |children| {
                    children.manifests.contains(&child)
                })
                .await?;
            if !named && status.is_named() {
                let message = format!(
                    "manifest {child} in {} is kept for index {}, which does not list it",
                    status.shown(id),
                    edge.manifest
                );
                self.found(FindingKind::EdgeSurplus, &key, message);
            }
        }
        Ok(())
    }

    /// Whether the manifest is there, put by that put, and names what `names` looks for. In doubt it is.
    pub(super) async fn is_named_by(
        &self,
        id: &str,
        manifest: &Digest,
        put: &str,
        names: impl FnOnce(&values::Children) -> bool,
    ) -> Result<bool> {
        match self
            .look::<values::Manifest>(&keys::manifest(id, manifest))
            .await?
        {
            Look::Found(manifest) if manifest.put == put => {}
            // Deleted: it may be in the trash, and its edges be taken later, in pieces.
            Look::Absent | Look::Found(_) if self.any_under(&keys::pieces_of(id, put)).await? => {
                return Ok(true);
            }
            Look::Absent | Look::Found(_) => {
                let trash = keys::trash(id, manifest);
                match self.look::<values::Trashed>(&trash).await? {
                    Look::Found(trashed) if trashed.manifest.put == put => {}
                    Look::Damaged => return Ok(true),
                    Look::Found(_) | Look::Absent => return Ok(false),
                }
            }
            Look::Damaged => return Ok(true),
        }
        Ok(
            match self
                .look::<values::Children>(&keys::children(id, manifest))
                .await?
            {
                Look::Found(children) => names(&children),
                Look::Damaged | Look::Absent => true,
            },
        )
    }

    async fn referrers(&mut self) -> Result<()> {
        let mut walk = Walk::through("referrer/", LARGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some((id, subject, referrer)) =
                parts(&key).and_then(|[id, subject, name]| Some((id, digest(subject)?, digest(name)?)))
            else {
                self.not_a_key(&key);
                continue;
            };
            let status = self.status_for(id, &key).await?;
            if self.decode::<Descriptor>(&key, &entry).is_none() {
                continue;
            }
            let agrees = match self
                .look::<values::Manifest>(&keys::manifest(id, &referrer))
                .await?
            {
                Look::Found(manifest) => manifest.subject == Some(subject),
                Look::Damaged => true,
                Look::Absent => false,
            };
            if !agrees && status.is_named() {
                let message = format!(
                    "manifest {referrer} is listed among the referrers of {subject} in {}, and does not refer to it",
                    status.shown(id)
                );
                self.found(FindingKind::IndexDisagrees, &key, message);
            }
        }
        Ok(())
    }
}
