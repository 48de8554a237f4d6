//! Reading records of which some may be damaged.

use std::collections::VecDeque;

use bytes::Bytes;
use registry_core::store::{Entry, KvError};
use registry_core::{RepositoryName, Result};
use serde::de::DeserializeOwned;

use super::super::{failed, values};
use super::repositories::is_known;
use super::{Checker, FindingKind, keys};

/// What a look at one key found.
pub(super) enum Look<T> {
    Absent,
    /// There is something, which the walk of its own table tells of.
    Damaged,
    Found(T),
}

/// What an id of a repository means.
#[derive(Clone)]
pub(super) enum Status {
    Named(RepositoryName),
    /// Deleted, and still to be cleaned up: what is left of it may be in pieces.
    Dropped,
    Unknown,
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
                            self.damaged_entry(&walk.prefix, key.as_deref(), &error);
                        }
                        walk.ended = key.is_none();
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

    fn damaged_entry(&mut self, table: &str, key: Option<&str>, error: &KvError) {
        let (key, message) = match key {
            Some(key) => (
                key,
                format!("record {key} is damaged: its checksum does not match"),
            ),
            None => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                let why = cause.unwrap_or_default();
                (
                    table,
                    format!("the records under {table} cannot be read any further: {why}"),
                )
            }
        };
        self.found(FindingKind::DamagedRecord, key, message);
    }

    /// What a record of the table that is being walked holds; if it cannot be read, that is told.
    pub(super) fn decode<T: DeserializeOwned>(&mut self, key: &str, entry: &Entry) -> Option<T> {
        match values::decode(key, entry) {
            Ok(value) => Some(value),
            Err(error) => {
                let why =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                let message = format!("record {key} cannot be understood: {why}");
                self.found(FindingKind::DamagedRecord, key, message);
                None
            }
        }
    }

    /// The bytes under a key.
    pub(super) async fn bytes(&self, key: &str) -> Result<Look<Bytes>> {
        match self.records.kv.get(key).await {
            Ok(Some(entry)) => Ok(Look::Found(entry.value)),
            Ok(None) => Ok(Look::Absent),
            Err(error) if damaged(&error).is_some() => Ok(Look::Damaged),
            Err(error) => Err(failed(error)),
        }
    }

    /// What is under a key.
    pub(super) async fn look<T: DeserializeOwned>(&self, key: &str) -> Result<Look<T>> {
        Ok(match self.bytes(key).await? {
            Look::Found(bytes) => serde_json::from_slice(&bytes).map_or(Look::Damaged, Look::Found),
            Look::Absent => Look::Absent,
            Look::Damaged => Look::Damaged,
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
            Look::Found(named) => Status::Named(named.name),
            _ if self.is_there(&keys::dropped(id)).await? => Status::Dropped,
            Look::Absent => Status::Unknown,
            // Told already; what it is called does not matter for the rest.
            Look::Damaged => Status::Dropped,
        };
        self.status = Some((id.to_owned(), status.clone()));
        Ok(status)
    }

    /// The same for a record below the repository: one whose repository there is not is told.
    pub(super) async fn status_for(&mut self, id: &str, key: &str) -> Result<Status> {
        let status = self.status(id).await?;
        if matches!(status, Status::Unknown) {
            let message = format!("record {key} is of a repository that there is not");
            self.found(FindingKind::RepositoryUnknown, key, message);
        }
        Ok(status)
    }
}

impl Status {
    /// The repository as it is spoken of.
    pub(super) fn shown(&self, id: &str) -> String {
        match self {
            Status::Named(name) => name.to_string(),
            Status::Dropped => format!("the deleted repository {id}"),
            Status::Unknown => format!("the unknown repository {id}"),
        }
    }

    pub(super) fn is_named(&self) -> bool {
        matches!(self, Status::Named(_))
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
