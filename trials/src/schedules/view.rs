//! The records as an onlooker reads them: from the layout that ARCHITECTURE.md and `records/keys.rs` describe, not
//! with the code that is on trial.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::store::{BlobState, Entry, Location};
use registry_core::{Digest, Timestamp};
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Blob {
    pub(super) size: u64,
    pub(super) location: Location,
    pub(super) state: BlobState,
    #[serde(default)]
    pub(super) suspect: bool,
}

impl Blob {
    pub(super) fn is_condemned(&self) -> bool {
        matches!(self.state, BlobState::Condemned { .. })
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Upload {
    pub(super) location: Location,
    pub(super) expires: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Doomed {
    pub(super) location: Location,
    pub(super) not_before: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Manifest {
    pub(super) put: String,
    #[serde(default)]
    pub(super) deferred: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Children {
    pub(super) blobs: Vec<Digest>,
    pub(super) manifests: Vec<Digest>,
}

#[derive(Deserialize)]
struct Repository {
    id: String,
}

/// A manifest's repository id and digest.
pub(super) type Place = (String, Digest);

/// A blob that a repository's put names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) blob: Digest,
    pub(super) repository: String,
    pub(super) put: String,
}

/// Edges of a deleted put that are still to be taken.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Piece {
    #[serde(flatten)]
    pub(super) children: Children,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Trashed {
    pub(super) manifest: Manifest,
    pub(super) until: Timestamp,
}

/// All records at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// What each name means.
    pub(super) names: BTreeMap<String, String>,
    pub(super) dropped: BTreeSet<String>,
    pub(super) blobs: BTreeMap<Digest, Blob>,
    pub(super) inline: BTreeMap<Digest, Digest>,
    pub(super) edges: BTreeSet<Edge>,
    pub(super) deferred: BTreeSet<Edge>,
    /// Edges of what is in the trash: they hold and open nothing.
    pub(super) trashed: BTreeSet<Edge>,
    pub(super) trash: BTreeMap<Place, Trashed>,
    /// When something in the trash is looked at.
    pub(super) purges: Vec<Timestamp>,
    /// By repository id and put id.
    pub(super) pieces: Vec<(String, String, Piece)>,
    pub(super) leases: BTreeSet<(Digest, String, Timestamp)>,
    pub(super) pending: BTreeSet<(Timestamp, Digest)>,
    pub(super) uploads: BTreeMap<String, Upload>,
    pub(super) doomed: Vec<Doomed>,
    pub(super) manifests: BTreeMap<Place, Manifest>,
    pub(super) children: BTreeMap<Place, Children>,
    pub(super) tags: BTreeMap<(String, String), Digest>,
    /// Manifests that may be without a tag, and since when.
    pub(super) loosened: Vec<(Timestamp, Place)>,
    /// Tables and how many entries they have, of those that nobody needs once everything is gone.
    pub(super) others: BTreeMap<String, usize>,
}

impl View {
    pub(super) fn of(entries: &[(String, Entry)]) -> Result<View, String> {
        let mut view = View::default();
        for (key, entry) in entries {
            view.add(key, entry)
                .ok_or_else(|| format!("record {key} is not as it should be"))?;
        }
        Ok(view)
    }

    fn add(&mut self, key: &str, entry: &Entry) -> Option<()> {
        fn json<T: for<'de> Deserialize<'de>>(entry: &Entry) -> Option<T> {
            serde_json::from_slice(&entry.value).ok()
        }
        fn time(text: &str) -> Option<Timestamp> {
            Some(Timestamp(text.parse().ok()?))
        }
        fn place(rest: &str) -> Option<Place> {
            let (id, digest) = rest.split_once('/')?;
            Some((id.to_owned(), digest.parse().ok()?))
        }
        fn edge(rest: &str) -> Option<Edge> {
            let mut parts = rest.splitn(3, '/');
            Some(Edge {
                blob: parts.next()?.parse().ok()?,
                repository: parts.next()?.to_owned(),
                put: parts.next()?.to_owned(),
            })
        }
        let (table, rest) = key.split_once('/')?;
        match table {
            "repository" => {
                let repository: Repository = json(entry)?;
                self.names.insert(rest.to_owned(), repository.id);
            }
            "dropped" => {
                self.dropped.insert(rest.to_owned());
            }
            "blob" => {
                self.blobs.insert(rest.parse().ok()?, json(entry)?);
            }
            "inline" => {
                self.inline
                    .insert(rest.parse().ok()?, Digest::sha256(&entry.value));
            }
            "edge" => {
                self.edges.insert(edge(rest)?);
            }
            "deferred" => {
                self.deferred.insert(edge(rest)?);
            }
            "trashed" => {
                self.trashed.insert(edge(rest)?);
            }
            "trash" => {
                self.trash.insert(place(rest)?, json(entry)?);
            }
            "purge" => self.purges.push(time(rest.split('/').next()?)?),
            "piece" => {
                let mut parts = rest.splitn(3, '/');
                let (id, put) = (parts.next()?.to_owned(), parts.next()?.to_owned());
                self.pieces.push((id, put, json(entry)?));
            }
            "lease" => {
                let mut parts = rest.splitn(3, '/');
                let (digest, end) = (parts.next()?.parse().ok()?, time(parts.next()?)?);
                self.leases.insert((digest, parts.next()?.to_owned(), end));
            }
            "pending" => {
                let (due, digest) = rest.split_once('/')?;
                self.pending.insert((time(due)?, digest.parse().ok()?));
            }
            "upload" => {
                self.uploads.insert(rest.to_owned(), json(entry)?);
            }
            "doomed" => self.doomed.push(json(entry)?),
            "manifest" => {
                self.manifests.insert(place(rest)?, json(entry)?);
            }
            "children" => {
                self.children.insert(place(rest)?, json(entry)?);
            }
            "tag" => {
                #[derive(Deserialize)]
                struct Tag {
                    digest: Digest,
                }
                let (id, tag) = rest.split_once('/')?;
                self.tags
                    .insert((id.to_owned(), tag.to_owned()), json::<Tag>(entry)?.digest);
            }
            "loosened" => {
                let (since, of) = rest.split_once('/')?;
                self.loosened.push((time(since)?, place(of)?));
            }
            other => *self.others.entry(other.to_owned()).or_default() += 1,
        }
        Some(())
    }

    /// The id of every repository that has a name.
    pub(super) fn live(&self) -> BTreeSet<&str> {
        self.names.values().map(String::as_str).collect()
    }

    /// Whether a tag points at the manifest.
    pub(super) fn is_tagged(&self, (id, digest): &Place) -> bool {
        let mut tags = self.tags.iter();
        tags.any(|((there, _), to)| there == id && to == digest)
    }

    /// Whether a manifest that is there lists this one.
    pub(super) fn is_listed(&self, (id, digest): &Place) -> bool {
        let mut lists = self.children.iter();
        lists.any(|(parent, children)| {
            parent.0 == *id && self.manifests.contains_key(parent) && children.manifests.contains(digest)
        })
    }

    /// Whether an ordinary edge of this repository names the blob.
    pub(super) fn has_edge(&self, repository: &str, digest: &Digest) -> bool {
        self.edges
            .iter()
            .any(|edge| edge.blob == *digest && edge.repository == repository)
    }

    pub(super) fn is_leased(&self, repository: &str, digest: &Digest, now: Timestamp) -> bool {
        self.leases
            .iter()
            .any(|(blob, id, end)| blob == digest && id == repository && *end > now)
    }

    /// Whether the blob belongs to the repository.
    pub(super) fn belongs(&self, repository: &str, digest: &Digest, now: Timestamp) -> bool {
        self.has_edge(repository, digest) || self.is_leased(repository, digest, now)
    }

    /// Every edge that keeps its blob from being removed.
    pub(super) fn holding(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter().chain(&self.deferred).chain(&self.trashed)
    }

    /// Whether a piece of this put is to take the edge.
    pub(super) fn is_to_be_taken(&self, edge: &Edge) -> bool {
        self.pieces.iter().any(|(id, put, piece)| {
            *id == edge.repository && *put == edge.put && piece.children.blobs.contains(&edge.blob)
        })
    }

    /// Every repository and blob that belongs to it.
    pub(super) fn belonging(&self, now: Timestamp) -> impl Iterator<Item = (&String, &Digest)> {
        let edges = self.edges.iter().map(|edge| (&edge.repository, &edge.blob));
        let unexpired = self.leases.iter().filter(move |(_, _, end)| *end > now);
        edges.chain(unexpired.map(|(blob, id, _)| (id, blob)))
    }

    /// Every time at which something becomes due or runs out.
    pub(super) fn times(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let leases = self.leases.iter().map(|(_, _, end)| *end);
        leases.chain(self.due())
    }

    /// Every time at which a collector has something to do.
    pub(super) fn due(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let pending = self.pending.iter().map(|(due, _)| *due);
        let uploads = self.uploads.values().map(|upload| upload.expires);
        let doomed = self.doomed.iter().map(|doomed| doomed.not_before);
        let trash = self.trash.values().map(|trashed| trashed.until);
        let purges = self.purges.iter().copied();
        pending.chain(uploads).chain(doomed).chain(trash).chain(purges)
    }
}
