//! The code's records as a trace tells them: those that say how blobs live and die.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::trace::Wrote;

/// `blob/{digest}`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Blob {
    location: Value,
    state: Value,
    #[serde(default)]
    pub(super) suspect: bool,
}

impl Blob {
    /// The location that it names, as `doomed` names locations.
    pub(super) fn location(&self) -> String {
        location(&self.location)
    }

    /// When it may be removed, if it is condemned.
    pub(super) fn remove_after(&self) -> Option<u64> {
        self.state.get("condemned")?.get("remove_after")?.as_u64()
    }
}

/// `upload/{id}`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Upload {
    location: Value,
    pub(super) expires: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Doomed {
    not_before: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Manifest {
    put: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Trashed {
    manifest: Manifest,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Children {
    blobs: Vec<String>,
    manifests: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    id: String,
}

/// What is recorded of one digest.
#[derive(Clone, Debug, Default)]
pub(super) struct OfDigest {
    pub(super) blob: Option<Blob>,
    /// When its entries in the queue are due.
    pub(super) pending: BTreeSet<u64>,
    /// The end of each lease, by repository id.
    pub(super) leases: BTreeSet<(String, u64)>,
    /// Repository id and put id of each edge.
    pub(super) edges: BTreeSet<(String, String)>,
    /// The same of each edge in the trash.
    pub(super) trashed: BTreeSet<(String, String)>,
    /// The same of each deferred edge.
    pub(super) deferred: BTreeSet<(String, String)>,
}

/// A manifest of a repository.
#[derive(Clone, Debug, Default)]
pub(super) struct OfManifest {
    /// Its put id, if it is there.
    pub(super) put: Option<String>,
    /// Its put id, if it is in the trash.
    pub(super) trashed: Option<String>,
    pub(super) blobs: Vec<String>,
    pub(super) manifests: Vec<String>,
}

impl OfManifest {
    /// Whether it is there or in the trash.
    pub(super) fn is_recorded(&self) -> bool {
        self.put.is_some() || self.trashed.is_some()
    }
}

/// What is recorded under one repository id.
#[derive(Clone, Debug, Default)]
pub(super) struct OfRepository {
    pub(super) dropped: bool,
    pub(super) manifests: BTreeMap<String, OfManifest>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) digests: BTreeMap<String, OfDigest>,
    pub(super) repositories: BTreeMap<String, OfRepository>,
    /// Claims, by upload id.
    pub(super) uploads: BTreeMap<String, Upload>,
    /// Since when a location may be unlinked.
    pub(super) doomed: BTreeMap<String, u64>,
}

/// What a write is about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Subject {
    Digest(String),
    Upload(String),
    Location(String),
    /// A repository id as a whole.
    Repository(String),
    /// A manifest of a repository id.
    Manifest(String, String),
}

impl Upload {
    pub(super) fn location(&self) -> String {
        location(&self.location)
    }
}

/// The text under which a location is doomed.
fn location(value: &Value) -> String {
    match value {
        Value::String(name) => name.clone(),
        Value::Object(kind) => kind
            .iter()
            .map(|(kind, name)| format!("{kind}:{}", name.as_str().unwrap_or_default()))
            .collect(),
        other => other.to_string(),
    }
}

/// What a write is about; `None` if it says nothing of how blobs live and die.
pub(super) fn subject(wrote: &Wrote) -> Option<Subject> {
    let (table, rest) = wrote.key().split_once('/')?;
    let first = || rest.split('/').next().unwrap_or_default().to_owned();
    Some(match table {
        "blob" => Subject::Digest(rest.to_owned()),
        "edge" | "deferred" | "trashed" | "lease" => Subject::Digest(first()),
        "pending" => Subject::Digest(rest.split_once('/')?.1.to_owned()),
        "upload" => Subject::Upload(rest.to_owned()),
        "doomed" => Subject::Location(rest.to_owned()),
        "dropped" => Subject::Repository(rest.to_owned()),
        "manifest" | "children" | "trash" => {
            let (repository, digest) = rest.split_once('/')?;
            Subject::Manifest(repository.to_owned(), digest.to_owned())
        }
        _ => return None,
    })
}

impl Records {
    /// Makes a write happen.
    ///
    /// # Errors
    /// If it does not look like a record.
    pub(super) fn write(&mut self, wrote: &Wrote) -> Result<(), String> {
        let key = wrote.key();
        let Some((table, rest)) = key.split_once('/') else {
            return Ok(());
        };
        let value = match wrote {
            Wrote::Put(_, value) => Some(value),
            Wrote::Delete(_) => None,
        };
        let odd = || format!("{key} is no record");
        match table {
            "blob" => self.digest(rest).blob = decode(key, value)?,
            "edge" | "deferred" | "trashed" | "lease" => {
                let (digest, rest) = rest.split_once('/').ok_or_else(odd)?;
                let (first, second) = rest.split_once('/').ok_or_else(odd)?;
                let (first, second) = (first.to_owned(), second.to_owned());
                let of = self.digest(digest);
                if table == "lease" {
                    let end = first.parse().map_err(|_| odd())?;
                    set(&mut of.leases, (second, end), value.is_some());
                } else if table == "edge" {
                    set(&mut of.edges, (first, second), value.is_some());
                } else if table == "trashed" {
                    set(&mut of.trashed, (first, second), value.is_some());
                } else {
                    set(&mut of.deferred, (first, second), value.is_some());
                }
            }
            "pending" => {
                let (due, digest) = rest.split_once('/').ok_or_else(odd)?;
                let due = due.parse().map_err(|_| odd())?;
                set(&mut self.digest(digest).pending, due, value.is_some());
            }
            "upload" => put(&mut self.uploads, rest, decode(key, value)?),
            "doomed" => {
                let doomed = decode::<Doomed>(key, value)?;
                put(&mut self.doomed, rest, doomed.map(|it| it.not_before));
            }
            "repository" => {
                if let Some(named) = decode::<Named>(key, value)? {
                    self.repositories.entry(named.id).or_default();
                }
            }
            "dropped" => self.repository(rest).dropped = value.is_some(),
            "manifest" | "children" | "trash" => {
                let (repository, digest) = rest.split_once('/').ok_or_else(odd)?;
                let manifests = &mut self.repository(repository).manifests;
                let of = manifests.entry(digest.to_owned()).or_default();
                if table == "manifest" {
                    of.put = decode::<Manifest>(key, value)?.map(|it| it.put);
                } else if table == "trash" {
                    of.trashed = decode::<Trashed>(key, value)?.map(|it| it.manifest.put);
                } else {
                    let children = decode::<Children>(key, value)?.unwrap_or_default();
                    (of.blobs, of.manifests) = (children.blobs, children.manifests);
                }
                if !of.is_recorded() && of.blobs.is_empty() && of.manifests.is_empty() {
                    manifests.remove(digest);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn digest(&mut self, digest: &str) -> &mut OfDigest {
        self.digests.entry(digest.to_owned()).or_default()
    }

    fn repository(&mut self, id: &str) -> &mut OfRepository {
        self.repositories.entry(id.to_owned()).or_default()
    }
}

fn decode<T: DeserializeOwned>(key: &str, value: Option<&Value>) -> Result<Option<T>, String> {
    value
        .map(|value| T::deserialize(value).map_err(|why| format!("{key}: {why}")))
        .transpose()
}

fn set<T: Ord>(of: &mut BTreeSet<T>, what: T, is: bool) {
    if is {
        of.insert(what);
    } else {
        of.remove(&what);
    }
}

fn put<T>(of: &mut BTreeMap<String, T>, key: &str, value: Option<T>) {
    match value {
        Some(value) => of.insert(key.to_owned(), value),
        None => of.remove(key),
    };
}
