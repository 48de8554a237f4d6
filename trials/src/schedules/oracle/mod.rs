//! The promises of the contract, looked at after every commit, every unlink and every move of the clock.

mod policy;
mod residue;
mod state;

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
pub(in crate::schedules) struct Broken {
    pub(in crate::schedules) promise: &'static str,
    pub(in crate::schedules) found: String,
}

impl Broken {
    pub(in crate::schedules) fn of(promise: Promise, found: impl Into<String>) -> Broken {
        Broken {
            promise: promise.name(),
            found: found.into(),
        }
    }
}

pub(in crate::schedules) type Verdict = Result<(), Broken>;

/// Who does something, and when.
#[derive(Clone, Copy, Debug)]
pub(in crate::schedules) struct At {
    pub(in crate::schedules) task: usize,
    pub(in crate::schedules) step: u64,
    pub(in crate::schedules) now: Timestamp,
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
pub(in crate::schedules) enum Bytes {
    Good,
    Lost,
    Unlinked,
    /// Never written, or not those of the digest.
    Wrong,
}

#[derive(Default)]
pub(in crate::schedules) struct Oracle {
    pub(in crate::schedules) view: View,
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
    /// Tasks that collect.
    collectors: BTreeSet<usize>,
    loose: policy::Loose,
    /// When each task began what it does now.
    began: BTreeMap<usize, u64>,
}

impl Oracle {
    /// This task is a collector's.
    pub(in crate::schedules) fn collects(&mut self, task: usize) {
        self.collectors.insert(task);
    }

    pub(in crate::schedules) fn is_collector(&self, task: usize) -> bool {
        self.collectors.contains(&task)
    }

    /// A task begins something new.
    pub(in crate::schedules) fn begins(&mut self, at: At) {
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

    pub(in crate::schedules) fn asked_the_time(&mut self, at: At) {
        let leased = Vec::new();
        self.last.insert(at.task, Last { at, leased });
    }

    pub(in crate::schedules) fn opened(&mut self, task: usize, location: &Location) {
        self.opened.insert(task, location.clone());
    }

    /// A pull that was begun at `begun` has found the bytes that it is going to read.
    pub(in crate::schedules) fn reads(&mut self, task: usize, begun: Timestamp, longest: Duration) {
        if let Some(location) = self.opened.remove(&task) {
            self.reads.push((location, begun + longest));
        }
    }

    pub(in crate::schedules) fn loses(&mut self, location: &Location, at: At) {
        self.lost.insert(location.clone(), at.step);
    }

    pub(in crate::schedules) fn unlinks(&mut self, location: &Location) {
        self.unlinked.insert(location.clone());
    }

    /// A client was told that the blob exists in the repository, which had this id both before and after.
    pub(in crate::schedules) fn told(
        &mut self,
        task: usize,
        id: Option<&str>,
        digest: &Digest,
        grace: Duration,
    ) {
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
    pub(in crate::schedules) fn opened_to(
        &self,
        task: usize,
        ids: [Option<&String>; 2],
        digest: &Digest,
    ) -> Verdict {
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
    pub(in crate::schedules) fn committed(
        &mut self,
        txn: &Txn,
        at: At,
        after: View,
        bytes: &MemoryBytes,
    ) -> Verdict {
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
        self.policy(txn, &before, at)?;
        self.note_loose(txn, &before, at.now);
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

    pub(in crate::schedules) fn bytes_of(&self, digest: &Digest, blob: &Blob, bytes: &MemoryBytes) -> Bytes {
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
}

fn parse_lease(key: &str) -> Option<(Digest, String)> {
    let mut parts = key.strip_prefix("lease/")?.splitn(3, '/');
    let digest = parts.next()?.parse().ok()?;
    Some((digest, parts.nth(1)?.to_owned()))
}
