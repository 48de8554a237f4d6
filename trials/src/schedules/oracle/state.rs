//! What must hold at every moment.

use std::collections::BTreeSet;

use registry_core::store::{BlobStore, Location};
use registry_core::{Digest, Timestamp};
use registry_gc::model::Promise;
use registry_storage::memory::MemoryBytes;

use super::super::stores::at_once;
use super::super::view::{Blob, Edge};
use super::{At, Broken, Bytes, Oracle, Told, Verdict};

impl Oracle {
    /// What must hold at every moment.
    pub(in crate::schedules) fn state(&mut self, at: At, bytes: &MemoryBytes) -> Verdict {
        let (view, now) = (&self.view, at.now);
        let pairs: BTreeSet<_> = view.belonging(now).collect();
        self.durability(bytes)?;
        self.closure(bytes)?;
        self.safety(&pairs)?;
        self.grace(now)?;
        self.unlinking()?;
        self.no_leak(bytes)?;
        self.reading(now)?;
        self.note_belonging(at);
        self.told.retain(|told| told.until > now);
        self.reads.retain(|(_, until)| *until > now);
        Ok(())
    }

    fn durability(&self, bytes: &MemoryBytes) -> Verdict {
        for (digest, blob) in &self.view.blobs {
            if self.bytes_of(digest, blob, bytes) == Bytes::Wrong {
                let found = format!("{digest} names {}, where its bytes are not", blob.location);
                return Err(Broken::of(Promise::Durability, found));
            }
        }
        Ok(())
    }

    fn closure(&self, bytes: &MemoryBytes) -> Verdict {
        let view = &self.view;
        let live = view.live();
        for ((id, digest), manifest) in &view.manifests {
            if !live.contains(id.as_str()) {
                continue;
            }
            let broken =
                |what: String| Err(Broken::of(Promise::Closure, format!("manifest {digest}: {what}")));
            let Some(children) = view.children.get(&(id.clone(), *digest)) else {
                return broken("nothing says what it names".into());
            };
            for blob in &children.blobs {
                let edge = Edge {
                    blob: *blob,
                    repository: id.clone(),
                    put: manifest.put.clone(),
                };
                let opens = view.edges.contains(&edge);
                if !opens && !manifest.deferred {
                    return broken(format!("no edge to {blob}"));
                }
                if !opens && !view.deferred.contains(&edge) {
                    return broken(format!("no edge to {blob}, not even a deferred one"));
                }
                let readable = view.blobs.get(blob).is_some_and(|record| {
                    !record.is_condemned()
                        && matches!(self.bytes_of(blob, record, bytes), Bytes::Good | Bytes::Lost)
                });
                if opens && !readable {
                    return broken(format!("{blob} cannot be read"));
                }
            }
            for child in &children.manifests {
                if !manifest.deferred && !view.manifests.contains_key(&(id.clone(), *child)) {
                    return broken(format!("its child {child} is not there"));
                }
            }
        }
        for ((id, tag), digest) in &view.tags {
            if live.contains(id.as_str()) && !view.manifests.contains_key(&(id.clone(), *digest)) {
                let found = format!("tag {tag} leads nowhere");
                return Err(Broken::of(Promise::Closure, found));
            }
        }
        Ok(())
    }

    fn safety(&self, pairs: &BTreeSet<(&String, &Digest)>) -> Verdict {
        // What is in the trash comes back whole.
        for edge in &self.view.trashed {
            if self.view.blobs.get(&edge.blob).is_none_or(Blob::is_condemned) {
                let found = format!("{} is condemned or gone, and has an edge in the trash", edge.blob);
                return Err(Broken::of(Promise::Safety, found));
            }
        }
        for (id, digest) in pairs {
            let state = match self.view.blobs.get(digest) {
                Some(blob) if !blob.is_condemned() => continue,
                Some(_) => "condemned",
                None => "gone",
            };
            let found = format!("{digest} is {state}, and repository {id} has an edge or a lease");
            return Err(Broken::of(Promise::Safety, found));
        }
        Ok(())
    }

    fn grace(&self, now: Timestamp) -> Verdict {
        let live = self.view.live();
        for told in &self.told {
            if told.until <= now || !live.contains(told.repository.as_str()) {
                continue;
            }
            let Told {
                repository, digest, ..
            } = told;
            let there = self
                .view
                .blobs
                .get(digest)
                .is_some_and(|blob| !blob.is_condemned());
            if !there || !self.view.belongs(repository, digest, now) {
                let (until, what) = (
                    told.until,
                    if there {
                        "does not belong there any more"
                    } else {
                        "is condemned or gone"
                    },
                );
                let found =
                    format!("repository {repository} was told of {digest} until {until}, and it {what}");
                return Err(Broken::of(Promise::Grace, found));
            }
        }
        Ok(())
    }

    fn unlinking(&self) -> Verdict {
        let claims = self.view.uploads.values().map(|upload| &upload.location);
        let live = self.view.blobs.values().filter(|blob| !blob.is_condemned());
        match claims
            .chain(live.map(|blob| &blob.location))
            .find(|location| self.unlinked.contains(location))
        {
            Some(location) => Err(Broken::of(
                Promise::Unlinking,
                format!("{location} was unlinked, and a claim or live record names it"),
            )),
            None => Ok(()),
        }
    }

    fn no_leak(&self, bytes: &MemoryBytes) -> Verdict {
        let view = &self.view;
        let named: BTreeSet<&Location> = view
            .uploads
            .values()
            .map(|upload| &upload.location)
            .chain(view.doomed.iter().map(|doomed| &doomed.location))
            .chain(view.blobs.values().map(|blob| &blob.location))
            .collect();
        let leaks = |found: String| Err(Broken::of(Promise::NoLeak, found));
        let files = at_once(bytes.list(None, usize::MAX)).unwrap_or_default();
        if let Some(file) = files.iter().find(|file| !named.contains(file)) {
            return leaks(format!("nothing names the bytes at {file}"));
        }
        let held: BTreeSet<&Digest> = view
            .holding()
            .map(|edge| &edge.blob)
            .chain(view.pending.iter().map(|(_, digest)| digest))
            .collect();
        if let Some(digest) = view.blobs.keys().find(|digest| !held.contains(digest)) {
            return leaks(format!("{digest} has neither an edge nor a queue entry"));
        }
        let puts: BTreeSet<(&str, &str)> = view
            .manifests
            .iter()
            .map(|((id, _), manifest)| (id.as_str(), manifest.put.as_str()))
            .collect();
        let trashed: BTreeSet<(&str, &str)> = view
            .trash
            .iter()
            .map(|((id, _), trashed)| (id.as_str(), trashed.manifest.put.as_str()))
            .collect();
        for (edge, owners) in (view.edges.iter().map(|edge| (edge, vec![&puts])))
            .chain(view.deferred.iter().map(|edge| (edge, vec![&puts, &trashed])))
            .chain(view.trashed.iter().map(|edge| (edge, vec![&trashed])))
        {
            let put = (edge.repository.as_str(), edge.put.as_str());
            if !owners.iter().any(|owners| owners.contains(&put)) && !view.is_to_be_taken(edge) {
                let (blob, id) = (&edge.blob, &edge.repository);
                return leaks(format!("no manifest has the edge to {blob} in repository {id}"));
            }
        }
        let live = view.live();
        for (id, digest) in view.manifests.keys().chain(view.trash.keys()) {
            if !live.contains(id.as_str()) && !view.dropped.contains(id) {
                return leaks(format!(
                    "manifest {digest} is in repository {id}, which no name means and nobody sweeps"
                ));
            }
        }
        Ok(())
    }

    fn reading(&self, now: Timestamp) -> Verdict {
        let cut =
            |(location, until): &&(Location, Timestamp)| *until > now && self.unlinked.contains(location);
        match self.reads.iter().find(cut) {
            Some((location, _)) => Err(Broken::of(
                Promise::Reads,
                format!("{location} was unlinked while it was read"),
            )),
            None => Ok(()),
        }
    }
}
