//! Why a blob is kept, or is not: what can be told without writing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{RepositoryName, Tag};
use crate::store::{BlobState, Collected, Location};
use crate::time::Timestamp;

/// A repository, as the records of a blob name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Whose {
    /// Its id, which never repeats.
    pub id: String,
    /// Its name; none if it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RepositoryName>,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}"),
            None => write!(f, "a deleted repository ({})", self.id),
        }
    }
}

/// What a step would do with an entry of the queue, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// The blob.
    pub digest: Digest,
    /// When the entry is due.
    pub due: Timestamp,
    /// The blob's length in bytes; none if it has no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The step.
    pub step: Collected,
    /// Why.
    pub why: Why,
    /// The repositories whose leases on the blob are over, at most 100. Those are removed with the first step, so of a blob
    /// that was condemned already it is not known whose it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_held_by: Vec<Whose>,
}

/// A blob that nothing holds but what goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lone {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What is deleted, or would be, and what the collector would make of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Why it goes.
    pub cause: Cause,
    /// Where it is or was.
    pub repository: Whose,
    /// The manifest; none if it is a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The tag that was deleted on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// Blobs that nothing else holds but leases: they go some time after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Lone>,
}

/// Why something is deleted for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// It has had no tag since then, for as long as the policy says.
    Untagged {
        /// Since then.
        since: Timestamp,
    },
    /// It was deleted, and can be brought back no longer.
    Trash {
        /// Until then it could.
        until: Timestamp,
    },
    /// It was deleted, and is being cleaned up.
    Deleted,
    /// Its repository was deleted.
    Repository,
}

/// Why a blob is kept, or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Why {
    /// It has no record any more.
    Gone,
    /// A manifest names it.
    Named(Holder),
    /// It was pushed, mounted, or said to exist not long ago, or what named it was deleted not long ago.
    Leased {
        /// In this repository, maybe in others too.
        repository: Whose,
        /// Until then.
        until: Timestamp,
    },
    /// Nothing points at it.
    Unheld,
    /// Nothing pointed at it when it was condemned, and somebody may still be reading it.
    Condemned {
        /// From then on it may be removed.
        remove_after: Timestamp,
    },
}

impl Why {
    /// Until when that keeps the blob, if it has an end.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Why::Leased { until, .. } => Some(*until),
            Why::Condemned { remove_after } => Some(*remove_after),
            Why::Gone | Why::Named(_) | Why::Unheld => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Gone => f.write_str("it has no record any more"),
            Why::Named(holder) => write!(f, "{holder}"),
            Why::Leased { repository, until } => write!(f, "leased in {repository} until {until}"),
            Why::Unheld => f.write_str("no manifest names it, and no lease holds it"),
            Why::Condemned { remove_after } => write!(f, "condemned; may be removed from {remove_after} on"),
        }
    }
}

/// How a manifest holds a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// It names it.
    Edge,
    /// It was put before the blob was there; it holds the blob, and does not open it to its repository.
    Deferred,
    /// It was deleted and may come back.
    Trash,
}

/// A manifest that holds a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Where it is.
    pub repository: Whose,
    /// The manifest.
    pub manifest: Digest,
    /// How it holds it.
    pub by: HeldBy,
    /// Tags at the manifest, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.by {
            HeldBy::Edge => "named by manifest",
            HeldBy::Deferred => "held in advance by manifest",
            HeldBy::Trash => "held by the deleted manifest",
        };
        write!(f, "{how} {} in {}", self.manifest, self.repository)?;
        match self.tags.first() {
            Some(tag) => write!(f, " (tag {tag})"),
            None => Ok(()),
        }
    }
}

/// A lease on a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseHeld {
    /// Who was told that it exists.
    pub repository: Whose,
    /// Until when it holds; it may have passed.
    pub until: Timestamp,
}

/// All that is known of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The blob.
    pub digest: Digest,
    /// When this was so, by the records' clock.
    pub now: Timestamp,
    /// Its record, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Known>,
    /// Manifests that hold it, at most 100.
    pub holders: Vec<Holder>,
    /// Leases, over or not, at most 100, the first to end first.
    pub leases: Vec<LeaseHeld>,
    /// When the collector looks at it: entries of its queue, at most 100.
    pub queued: Vec<Timestamp>,
    /// Whether there are more holders, leases or entries than are listed.
    pub more: bool,
    /// What follows from all that, in a sentence.
    pub conclusion: String,
}

/// What a blob's record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Bytes.
    pub size: u64,
    /// Where they are.
    pub location: Location,
    /// Where the blob is in its life.
    pub state: BlobState,
    /// Whether its bytes were found missing or wrong.
    pub suspect: bool,
    /// If its location is doomed, which it must not be: from when on it may be unlinked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doomed: Option<Timestamp>,
}
