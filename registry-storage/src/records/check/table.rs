//! The tables that are gone through, and whose records they have.

use registry_core::store::{Entry, Stamp, Txn, collection};
use registry_core::{RepositoryName, Result};

use super::super::values;
use super::look::Look;
use super::suspicion::{Suspicion, of};
use super::{Checker, FindingKind, keys};

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
    Rows,
    Uniques,
    Indexes,
    Marks,
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
            Table::Rows => collection::keys::ROW,
            Table::Uniques => collection::keys::UNIQUE,
            Table::Indexes => collection::keys::INDEX,
            Table::Marks => collection::keys::CHANGED,
        }
    }

    /// How many records are held at once: few where they may have megabytes.
    pub(super) fn page(self) -> usize {
        match self {
            Table::Contents | Table::Children | Table::Referrers => 4,
            Table::Inline | Table::Pieces => 16,
            Table::Events | Table::Rows => 50,
            _ => 500,
        }
    }
}

/// What an id of a repository means, and the record that says so.
#[derive(Clone)]
pub(super) enum Status {
    Named(RepositoryName, Stamp),
    /// Deleted, and still to be cleaned up: what is left of it may be in pieces.
    Dropped,
    Unknown,
}

impl Checker<'_> {
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
