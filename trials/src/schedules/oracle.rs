//! The promises of the contract, looked at after every commit, every unlink and every move of the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use registry_core::store::{BlobStore, Location, Txn, Write};
use registry_core::{BlobRead, Digest, Timestamp};
use registry_gc::model::Promise;
use registry_storage::memory::MemoryBytes;

use super::stores::at_once;
use super::view::{Blob, Edge, View};

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) promise: &'static str,
    pub(super) found: String,
}

impl Broken {
    pub(super) fn of(promise: Promise, found: impl Into<String>) -> Broken {
        Broken {
            promise: promise.name(),
            found: found.into(),
        }
    }
}

pub(super) type Verdict = Result<(), Broken>;

/// Who does something, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) task: usize,
    pub(super) step: u64,
    pub(super) now: Timestamp,
}

/// A client was told that a blob exists, and may count on it.
#[derive(Clone, Debug)]
struct Told {
    repository: String,
    digest: Digest,
    until: Timestamp,
}

/// The last moment at which a task asked for the time or committed something: what it says next counts from then.
#[derive(Clone, Debug)]
struct Last {
    at: At,
    leased: Vec<(Digest, String)>,
}

/// What the bytes at a location are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    Good,
    Lost,
    Unlinked,
    /// Never written, or not those of the digest.
    Wrong,
}

#[derive(Default)]
pub(super) struct Oracle {
    pub(super) view: View,
    told: Vec<Told>,
    /// When a client of the repository gave the blob up.
    given_up: BTreeMap<(String, Digest), u64>,
    /// Since when the blob has belonged to the repository without a break.
    since: BTreeMap<(String, Digest), u64>,
    /// When the blob last belonged to the repository.
    belonged: BTreeMap<(String, Digest), u64>,
    /// Locations whose bytes a fault took away, and when.
    lost: BTreeMap<Location, u64>,
    unlinked: BTreeSet<Location>,
    /// Pulls, with the time until which they may go on.
    reads: Vec<(Location, Timestamp)>,
    opened: BTreeMap<usize, Location>,
    last: BTreeMap<usize, Last>,
    /// When each task began what it does now.
    began: BTreeMap<usize, u64>,
}

impl Oracle {
    /// A task begins something new.
    pub(super) fn begins(&mut self, at: At) {
        self.began.insert(at.task, at.step);
        self.opened.remove(&at.task);
        self.note_belonging(at);
    }

    /// Who has what now, of the repositories that have a name.
    fn note_belonging(&mut self, at: At) {
        let live = self.view.live();
        let mut since = BTreeMap::new();
        for (id, blob) in self.view.belonging(at.now) {
            if live.contains(id.as_str()) {
                let pair = (id.clone(), *blob);
                since.insert(pair.clone(), self.since.get(&pair).copied().unwrap_or(at.step));
                self.belonged.insert(pair, at.step);
            }
        }
        self.since = since;
    }

    fn began(&self, task: usize) -> u64 {
        self.began.get(&task).copied().unwrap_or_default()
    }

    pub(super) fn asked_the_time(&mut self, at: At) {
        let leased = Vec::new();
        self.last.insert(at.task, Last { at, leased });
    }

    pub(super) fn opened(&mut self, task: usize, location: &Location) {
        self.opened.insert(task, location.clone());
    }

    /// A pull that was begun at `begun` has found the bytes that it is going to read.
    pub(super) fn reads(&mut self, task: usize, begun: Timestamp, longest: Duration) {
        if let Some(location) = self.opened.remove(&task) {
            self.reads.push((location, begun + longest));
        }
    }

    pub(super) fn loses(&mut self, location: &Location, at: At) {
        self.lost.insert(location.clone(), at.step);
    }

    pub(super) fn unlinks(&mut self, location: &Location) {
        self.unlinked.insert(location.clone());
    }

    /// A client was told that the blob exists in the repository, which had this id both before and after.
    pub(super) fn told(&mut self, task: usize, id: Option<&str>, digest: &Digest, grace: Duration) {
        let Some(last) = self.last.get(&task) else { return };
        let leased = last.leased.iter().find(|(blob, _)| blob == digest);
        let Some(repository) = leased.map(|(_, id)| id.as_str()).or(id) else {
            return;
        };
        let key = (repository.to_owned(), *digest);
        if self.given_up.get(&key).is_none_or(|step| *step < last.at.step) {
            self.told.push(Told {
                repository: key.0,
                digest: *digest,
                until: last.at.now + grace,
            });
        }
    }

    /// A client was given the blob's bytes, or told its length.
    pub(super) fn opened_to(&self, task: usize, ids: [Option<&String>; 2], digest: &Digest) -> Verdict {
        let began = self.began(task);
        let belonged = |id: &&String| {
            self.belonged
                .get(&((*id).clone(), *digest))
                .is_some_and(|step| *step >= began)
        };
        // A repository that was made and dropped while the client waited is not known any more.
        if ids.iter().flatten().next().is_none() || ids[0] != ids[1] || ids.iter().flatten().any(belonged) {
            return Ok(());
        }
        Err(Broken::of(
            Promise::Belonging,
            format!("{digest} was opened in a repository that it did not belong to"),
        ))
    }

    /// A commit happened, and `after` is what it made.
    pub(super) fn committed(&mut self, txn: &Txn, at: At, after: View, bytes: &MemoryBytes) -> Verdict {
        let mut leased = Vec::new();
        for write in &txn.writes {
            match write {
                Write::Put(key, _) => leased.extend(parse_lease(key)),
                Write::Delete(key) if txn.name == "delete_blob" => {
                    if let Some((digest, repository)) = parse_lease(key) {
                        self.told
                            .retain(|told| told.digest != digest || told.repository != repository);
                        self.given_up.insert((repository, digest), at.step);
                    }
                }
                _ => {}
            }
        }
        let newly = self.newly_belonging(&after, at.now);
        let before = std::mem::replace(&mut self.view, after);
        self.transition(txn, &before, &newly, &leased, at, bytes)?;
        self.last.insert(at.task, Last { at, leased });
        self.state(at, bytes)
    }

    fn newly_belonging(&self, after: &View, now: Timestamp) -> Vec<(String, Digest)> {
        let edges = after.edges.iter().map(|edge| (&edge.repository, &edge.blob));
        let leases = after.leases.iter().map(|(blob, id, _)| (id, blob));
        let newly = edges
            .chain(leases)
            .filter(|(id, blob)| after.belongs(id, blob, now) && !self.view.belongs(id, blob, now));
        newly.map(|(id, blob)| (id.clone(), *blob)).collect()
    }

    /// What one transaction may do.
    fn transition(
        &self,
        txn: &Txn,
        before: &View,
        newly: &[(String, Digest)],
        leased: &[(Digest, String)],
        at: At,
        bytes: &MemoryBytes,
    ) -> Verdict {
        for (id, blob) in newly {
            // It may have been dropped while this was under way: then the mount came first.
            let began = self.began(at.task);
            let mut others = self.belonged.iter().filter(|((other, _), _)| other != id);
            let elsewhere = others.any(|((_, digest), step)| digest == blob && *step >= began);
            let opened = |edge: &Edge| edge.repository == *id && edge.blob == *blob;
            let comes_back = before.trashed.iter().any(opened);
            let may = match txn.name {
                "publish" => true,
                "lease" => elsewhere,
                "undelete" => comes_back,
                _ => false,
            };
            if !may {
                let found = format!("{} makes {blob} belong to repository {id}", txn.name);
                return Err(Broken::of(Promise::Belonging, found));
            }
        }
        for blob in before
            .blobs
            .keys()
            .filter(|blob| !self.view.blobs.contains_key(blob))
        {
            if before.holding().any(|edge| edge.blob == *blob) {
                let found = format!("{} takes the record of {blob}, which has an edge", txn.name);
                return Err(Broken::of(Promise::Safety, found));
            }
        }
        let put =
            |edge: &&Edge| txn.name == "put_manifest" && !self.view.has_edge(&edge.repository, &edge.blob);
        if let Some(edge) = before.edges.iter().find(put) {
            let found = format!("a put takes the edge to {} away", edge.blob);
            return Err(Broken::of(Promise::Grace, found));
        }
        // Whoever has what it puts, all the while, goes on having it: bytes that are missing make no difference to that.
        let began = self.began(at.task);
        let shut = |edge: &&Edge| {
            let pair = (edge.repository.clone(), edge.blob);
            txn.name == "put_manifest" && self.since.get(&pair).is_some_and(|step| *step < began)
        };
        if let Some(edge) = self.view.deferred.difference(&before.deferred).find(shut) {
            let found = format!(
                "a put holds {} without opening it, though it belonged there",
                edge.blob
            );
            return Err(Broken::of(Promise::Grace, found));
        }
        if txn.name == "publish"
            && let Some((digest, repository)) = leased.first()
        {
            self.published(digest, repository, at, bytes)?;
        }
        Ok(())
    }

    /// Whoever pushes a blob finds it live and whole afterwards, whatever it was like before.
    fn published(&self, digest: &Digest, repository: &str, at: At, bytes: &MemoryBytes) -> Verdict {
        let broken = |found: &str| Err(Broken::of(Promise::RePush, format!("{digest} {found}")));
        let Some(blob) = self.view.blobs.get(digest) else {
            return broken("was published and has no record");
        };
        if blob.is_condemned() || !self.view.belongs(repository, digest, at.now) {
            return broken("was published and is not to be had");
        }
        let began = self.began(at.task);
        let lost_before = self.lost.get(&blob.location).is_some_and(|step| *step < began);
        match self.bytes_of(digest, blob, bytes) {
            Bytes::Good => Ok(()),
            Bytes::Lost if !lost_before => Ok(()),
            _ => broken("was published, and its record names bytes that were lost before"),
        }
    }

    pub(super) fn bytes_of(&self, digest: &Digest, blob: &Blob, bytes: &MemoryBytes) -> Bytes {
        if blob.location == Location::Inline {
            return match self.view.inline.get(digest) == Some(digest) {
                true => Bytes::Good,
                false => Bytes::Wrong,
            };
        }
        if self.lost.contains_key(&blob.location) {
            return Bytes::Lost;
        }
        if self.unlinked.contains(&blob.location) {
            return Bytes::Unlinked;
        }
        let whole = at_once(bytes.size(&blob.location)).is_ok_and(|size| size == Some(blob.size));
        match at_once(bytes.read(&blob.location, 0..blob.size)) {
            Ok(BlobRead::Bytes(content)) if whole && Digest::sha256(&content) == *digest => Bytes::Good,
            _ => Bytes::Wrong,
        }
    }

    /// What must hold at every moment.
    pub(super) fn state(&mut self, at: At, bytes: &MemoryBytes) -> Verdict {
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

    /// After everybody has stopped and one collector worked alone for long enough.
    pub(super) fn residue(&self, bytes: &MemoryBytes) -> Verdict {
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

fn parse_lease(key: &str) -> Option<(Digest, String)> {
    let mut parts = key.strip_prefix("lease/")?.splitn(3, '/');
    let digest = parts.next()?.parse().ok()?;
    Some((digest, parts.nth(1)?.to_owned()))
}
