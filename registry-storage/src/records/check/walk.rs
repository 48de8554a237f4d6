//! Reading records of which some may be damaged.

use std::collections::VecDeque;

use bytes::Bytes;
use registry_core::store::{Entry, KvError, Stamp, Txn};
use registry_core::{RepositoryName, Result};
use serde::de::DeserializeOwned;

use super::super::{failed, values};
use super::repositories::is_known;
use super::suspicion::{Suspicion, of};
use super::{Checker, FindingKind, keys};

/// What a look at one key found.
pub(super) enum Look<T> {
    Absent,
    /// There is something that cannot be read, which the walk of its own table tells of.
    Damaged,
    /// There is something that is not what its table holds; told there too.
    Illegible(Stamp),
    Found(T, Stamp),
}

/// What an id of a repository means, and the record that says so.
#[derive(Clone)]
pub(super) enum Status {
    Named(RepositoryName, Stamp),
    /// Deleted, and still to be cleaned up: what is left of it may be in pieces.
    Dropped,
    Unknown,
}

/// A table that is gone through record by record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Repositories,
    Names,
    Dropped,
    Contents,
    Manifests,
    Children,
    Parents,
    Referrers,
    Tags,
    Mirrors,
    Blobs,
    Inline,
    Edges,
    Deferred,
    Leases,
    Queue,
    Uploads,
    Expiries,
    Doomed,
    Events,
    Trash,
    Trashed,
    Untagged,
    Purges,
    Pieces,
    History,
    Trims,
}

impl Table {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Table::Repositories => keys::REPOSITORY,
            Table::Names => "named/",
            Table::Dropped => keys::DROPPED,
            Table::Contents => "content/",
            Table::Manifests => "manifest/",
            Table::Children => "children/",
            Table::Parents => "parent/",
            Table::Referrers => "referrer/",
            Table::Tags => "tag/",
            Table::Mirrors => "tagged/",
            Table::Blobs => keys::BLOB,
            Table::Inline => "inline/",
            Table::Edges => "edge/",
            Table::Deferred => "deferred/",
            Table::Leases => "lease/",
            Table::Queue => keys::PENDING,
            Table::Uploads => keys::UPLOAD,
            Table::Expiries => keys::EXPIRY,
            Table::Doomed => keys::DOOMED,
            Table::Events => keys::EVENT,
            Table::Trash => "trash/",
            Table::Trashed => "trashed/",
            Table::Untagged => "untagged/",
            Table::Purges => keys::PURGE,
            Table::Pieces => keys::PIECE,
            Table::History => "history/",
            Table::Trims => keys::TRIM,
        }
    }

    /// How many records are held at once: few where they may have megabytes.
    pub(super) fn page(self) -> usize {
        match self {
            Table::Contents | Table::Children | Table::Referrers => 4,
            Table::Inline | Table::Pieces => 16,
            Table::Events => 50,
            _ => 500,
        }
    }
}

/// A walk through the records under a prefix.
pub(super) struct Walk {
    prefix: String,
    after: Option<String>,
    limit: usize,
    page: VecDeque<(String, Entry)>,
    ended: bool,
    /// Whether somebody else tells what is damaged here.
    silent: bool,
}

impl Walk {
    /// Through a table, with at most `limit` records in memory.
    pub(super) fn through(prefix: impl Into<String>, limit: usize) -> Self {
        Walk {
            prefix: prefix.into(),
            after: None,
            limit,
            page: VecDeque::new(),
            ended: false,
            silent: false,
        }
    }

    /// The same again, telling nothing twice.
    pub(super) fn again(prefix: impl Into<String>, limit: usize) -> Self {
        Walk {
            silent: true,
            ..Walk::through(prefix, limit)
        }
    }

    /// From behind a key on.
    pub(super) fn after(self, key: String) -> Self {
        Walk {
            after: Some(key),
            ..self
        }
    }
}

impl Checker<'_> {
    /// The next record of a walk that is not damaged. Those that are, are told, and stepped over.
    pub(super) async fn next(&mut self, walk: &mut Walk) -> Result<Option<(String, Entry)>> {
        let mut limit = walk.limit;
        while walk.page.is_empty() && !walk.ended {
            let page = self
                .records
                .kv
                .scan(&walk.prefix, walk.after.as_deref(), limit)
                .await;
            match page {
                Ok(page) => {
                    walk.ended = page.len() < limit;
                    walk.after = page.last().map(|(key, _)| key.clone()).or(walk.after.take());
                    walk.page = page.into();
                }
                Err(error) => match damaged(&error) {
                    None => return Err(failed(error)),
                    // Somewhere on the page: what comes before it on a smaller one.
                    Some(_) if limit > 1 => limit /= 2,
                    Some(key) => {
                        // Through everything, only what no walk of a table has told.
                        let told = walk.prefix.is_empty() && key.as_deref().is_some_and(is_known);
                        if !walk.silent && !told {
                            self.damaged_entry(&walk.prefix, key.as_deref(), &error).await?;
                        }
                        // A key that was changed may lie behind its place: going on from it would come here again.
                        walk.ended = key <= walk.after;
                        walk.after = key.or(walk.after.take());
                        limit = walk.limit;
                    }
                },
            }
        }
        let next = walk.page.pop_front();
        if next.is_some() && !walk.silent {
            self.seen();
        }
        Ok(next)
    }

    async fn damaged_entry(&mut self, table: &str, key: Option<&str>, error: &KvError) -> Result<()> {
        let suspicion = match key {
            Some(key) => {
                let message = format!("record {key} is damaged: its checksum does not match");
                let proof = Txn::new().damaged(key);
                Suspicion::new(FindingKind::DamagedRecord, key, message, proof).mend()
            }
            None => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                let why = cause.unwrap_or_default();
                let message = format!("the records under {table} cannot be read any further: {why}");
                Suspicion::new(FindingKind::DamagedRecord, table, message, Txn::new())
                    .advise("the records must come back from a backup")
            }
        };
        self.confirm(&suspicion).await?;
        Ok(())
    }

    /// The bytes under a key.
    pub(super) async fn bytes(&self, key: &str) -> Result<Look<Bytes>> {
        match self.records.kv.get(key).await {
            Ok(Some(entry)) => Ok(Look::Found(entry.value, entry.stamp)),
            Ok(None) => Ok(Look::Absent),
            Err(error) if damaged(&error).is_some() => Ok(Look::Damaged),
            Err(error) => Err(failed(error)),
        }
    }

    /// What is under a key.
    pub(super) async fn look<T: DeserializeOwned>(&self, key: &str) -> Result<Look<T>> {
        Ok(match self.bytes(key).await? {
            Look::Found(bytes, stamp) => match serde_json::from_slice(&bytes) {
                Ok(value) => Look::Found(value, stamp),
                Err(_) => Look::Illegible(stamp),
            },
            Look::Absent => Look::Absent,
            Look::Damaged => Look::Damaged,
            Look::Illegible(stamp) => Look::Illegible(stamp),
        })
    }

    /// Whether there is anything under a key.
    pub(super) async fn is_there(&self, key: &str) -> Result<bool> {
        Ok(!matches!(self.bytes(key).await?, Look::Absent))
    }

    /// Whether there is anything under a prefix, damaged or not.
    pub(super) async fn any_under(&self, prefix: &str) -> Result<bool> {
        match self.records.kv.scan(prefix, None, 1).await {
            Ok(page) => Ok(!page.is_empty()),
            Err(error) if damaged(&error).is_some() => Ok(true),
            Err(error) => Err(failed(error)),
        }
    }

    /// What an id of a repository means.
    pub(super) async fn status(&mut self, id: &str) -> Result<Status> {
        if let Some((known, status)) = &self.status
            && known == id
        {
            return Ok(status.clone());
        }
        let status = match self.look::<values::Named>(&keys::named(id)).await? {
            Look::Found(named, stamp) => Status::Named(named.name, stamp),
            _ if self.is_there(&keys::dropped(id)).await? => Status::Dropped,
            Look::Absent => Status::Unknown,
            // Told already; what it is called does not matter for the rest.
            Look::Damaged | Look::Illegible(_) => Status::Dropped,
        };
        self.status = Some((id.to_owned(), status.clone()));
        Ok(status)
    }

    /// The same for a record below the repository: one whose repository there is not is suspected.
    pub(super) async fn status_for(
        &mut self,
        id: &str,
        key: &str,
        entry: &Entry,
        suspicions: &mut Vec<Suspicion>,
    ) -> Result<Status> {
        let status = self.status(id).await?;
        if matches!(status, Status::Unknown) {
            let message = format!("record {key} is of a repository that there is not");
            let proof = status.assert(of(key, entry), id);
            let suspicion = Suspicion::new(FindingKind::RepositoryUnknown, key, message, proof);
            suspicions.push(suspicion.advise("nothing can reach it; a backup knows the repository's name"));
        }
        Ok(status)
    }
}

/// What a record that is looked at holds; or what is told if that is none of its table.
pub(super) fn decode<T: DeserializeOwned>(key: &str, entry: &Entry) -> Result<T, Suspicion> {
    values::decode(key, entry).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        let message = format!("record {key} cannot be understood: {why}");
        Suspicion::new(FindingKind::DamagedRecord, key, message, of(key, entry))
    })
}

/// What is told of a key that is not of its table's form.
pub(super) fn not_a_key(key: &str, entry: &Entry) -> Suspicion {
    let message = format!("record {key} has a key that none of its table can have");
    Suspicion::new(FindingKind::DamagedRecord, key, message, of(key, entry))
}

impl Status {
    /// The repository as it is spoken of.
    pub(super) fn shown(&self, id: &str) -> String {
        match self {
            Status::Named(name, _) => name.to_string(),
            Status::Dropped => format!("the deleted repository {id}"),
            Status::Unknown => format!("the unknown repository {id}"),
        }
    }

    pub(super) fn is_named(&self) -> bool {
        matches!(self, Status::Named(..))
    }

    /// Asserts that the id means this.
    pub(super) fn assert(&self, txn: Txn, id: &str) -> Txn {
        match self {
            Status::Named(_, stamp) => txn.at(keys::named(id), *stamp),
            Status::Unknown => txn.absent(keys::named(id)).absent(keys::dropped(id)),
            Status::Dropped => txn,
        }
    }
}

/// The record that is damaged, if that is what an error says; nothing inside if its very key is.
#[expect(
    clippy::option_option,
    reason = "whether it is damage, and whether the damage leaves a key"
)]
fn damaged(error: &KvError) -> Option<Option<String>> {
    match error {
        // No record's key has what stands for bytes that are no text.
        KvError::Damaged { key, .. } => {
            Some((!key.contains(char::REPLACEMENT_CHARACTER)).then(|| key.clone()))
        }
        _ => None,
    }
}
