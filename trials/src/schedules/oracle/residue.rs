//! What may be left when nobody comes any more.

use std::collections::BTreeSet;

use registry_core::Digest;
use registry_core::store::{BlobStore, Location};
use registry_gc::model::Promise;
use registry_storage::memory::MemoryBytes;

use super::super::stores::at_once;
use super::{Broken, Oracle, Verdict};

impl Oracle {
    /// After everybody has stopped and one collector worked alone for long enough.
    pub(in crate::schedules) fn residue(&self, bytes: &MemoryBytes) -> Verdict {
        let view = &self.view;
        let left = |what: String| Err(Broken::of(Promise::Residue, what));
        let held: BTreeSet<&Digest> = view.holding().map(|edge| &edge.blob).collect();
        // Leases that have run out are inert. They go when the blob is collected, so not while an edge holds it.
        let leases = view.leases.iter().filter(|(blob, _, _)| !held.contains(blob));
        let counts = [
            ("claims", view.uploads.len()),
            ("leases", leases.count()),
            ("queue entries", view.pending.len()),
            ("doomed locations", view.doomed.len()),
            ("deleted repositories", view.dropped.len()),
            ("manifests in the trash", view.trash.len()),
            ("edges to be taken", view.pieces.len()),
            ("edges of the trash", view.trashed.len()),
            ("dates of the trash", view.purges.len()),
            ("expiries", view.others.get("expiry").copied().unwrap_or_default()),
        ];
        if let Some((what, count)) = counts.iter().find(|(_, count)| *count > 0) {
            return left(format!("{count} {what} are left"));
        }
        if let Some(digest) = view.blobs.keys().find(|digest| !held.contains(digest)) {
            return left(format!("{digest} is left, and nothing names it"));
        }
        let inline = |digest: &Digest| {
            view.blobs
                .get(digest)
                .is_some_and(|blob| blob.location == Location::Inline)
        };
        if let Some(digest) = view.inline.keys().find(|digest| !inline(digest)) {
            return left(format!("inline bytes of {digest} are left"));
        }
        if let Some((_, digest)) = self.untagged_left() {
            return left(format!(
                "manifest {digest} has no tag, and the policy has left it"
            ));
        }
        let live = view.live();
        let stray = view.children.keys().chain(view.manifests.keys());
        if let Some((id, digest)) = stray.clone().find(|(id, _)| !live.contains(id.as_str())) {
            return left(format!("of repository {id}, {digest} is left"));
        }
        if let Some(place) = view
            .children
            .keys()
            .find(|place| !view.manifests.contains_key(place))
        {
            return left(format!("what {} named is left", place.1));
        }
        let named: BTreeSet<&Location> = view.blobs.values().map(|blob| &blob.location).collect();
        let files = at_once(bytes.list(None, usize::MAX)).unwrap_or_default();
        match files.iter().find(|file| !named.contains(file)) {
            Some(file) => left(format!("bytes at {file} are left")),
            None => Ok(()),
        }
    }
}
