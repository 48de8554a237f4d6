//! The scrub's side of the records: what there is to read again, how far that got, and what it found.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::Result;
use crate::name::RepositoryName;
use crate::registry::Page;
use crate::store::{BlobRecord, Location, Stamp};
use crate::time::Timestamp;

/// How far the scrub is, for all nodes on the same records. The node that holds it scrubs; others wait until its time
/// is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubCursor {
    /// When this pass began.
    pub began: Timestamp,
    /// Where it goes on.
    pub place: ScrubPlace,
    /// When the last pass ended that went over everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Who is at it.
    pub holder: String,
    /// Until when nobody else goes on with it.
    pub held_until: Timestamp,
    /// What this pass has done.
    #[serde(default)]
    pub done: ScrubCount,
}

/// Where a pass of the scrub goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScrubPlace {
    /// After this blob, in the order of digests; from the first one if there is none.
    Blobs(Option<Digest>),
    /// After this manifest, by the position that [`Scrub::manifests`] gave it.
    Manifests(Option<String>),
    /// The pass is over.
    End,
}

impl ScrubPlace {
    /// How far a pass is through the blobs, 0 to 1, since digests are spread evenly.
    pub fn position(&self) -> f64 {
        match self {
            ScrubPlace::Blobs(None) => 0.0,
            ScrubPlace::Blobs(Some(digest)) => {
                let hex = digest.hex();
                let head = hex.get(..8).and_then(|head| u32::from_str_radix(head, 16).ok());
                f64::from(head.unwrap_or(0)) / f64::from(u32::MAX)
            }
            ScrubPlace::Manifests(_) | ScrubPlace::End => 1.0,
        }
    }
}

/// What was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubCount {
    /// Blobs that were read.
    pub blobs: u64,
    /// Manifests that were read.
    pub manifests: u64,
    /// Bytes that were read of both.
    pub bytes: u64,
    /// Findings.
    pub damaged: u64,
}

/// A manifest to read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubManifest {
    /// Where it stands among all manifests.
    pub position: String,
    /// Its repository.
    pub repository: RepositoryName,
    /// Its name.
    pub digest: Digest,
    /// The write that put it, or that deleted it.
    pub stamp: Stamp,
    /// Whether it was deleted, and can be undeleted.
    pub trashed: bool,
}

/// Something whose bytes are not what was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubFinding {
    /// When it was found.
    pub at: Timestamp,
    /// The blob or the manifest.
    pub digest: Digest,
    /// Where the bytes are; none for a manifest, whose bytes are in the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// What is wrong.
    pub damage: Damage,
    /// Whether the blob is now suspect: nobody is told that it exists, and the next push of it replaces its bytes.
    pub suspect: bool,
    /// What cannot be pulled whole for it, as far as it was counted.
    pub needed_by: Vec<NeededBy>,
    /// Why it is not known who needs it, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<String>,
}

/// What is wrong with bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// They are not there, or fewer than there should be.
    Missing,
    /// They have another digest.
    Wrong,
    /// They could not be read, twice; the error of the second try.
    Unreadable(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Missing => f.write_str("its bytes are missing, or too few"),
            Damage::Wrong => f.write_str("its bytes are not what was pushed"),
            Damage::Unreadable(why) => write!(f, "its bytes cannot be read: {why}"),
        }
    }
}

/// A manifest that names a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededBy {
    /// Its repository.
    pub repository: RepositoryName,
    /// The manifest.
    pub manifest: Digest,
    /// Whether it was deleted, and can be undeleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trashed: bool,
}

impl fmt::Display for NeededBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.manifest)?;
        match self.trashed {
            true => f.write_str(" (in the trash)"),
            false => Ok(()),
        }
    }
}

/// What the scrub reads and writes in the records. It changes nothing that decides about a blob's life; whatever it
/// finds is marked by [`ManifestStore::mark_suspect`](super::ManifestStore::mark_suspect).
#[async_trait]
pub trait Scrub: Send + Sync + 'static {
    /// Blobs in order of their digests, from the first one after `after`, at most `limit`. Records that are damaged
    /// and that nothing mends are stepped over.
    async fn blobs(&self, after: Option<&Digest>, limit: usize) -> Result<Page<BlobRecord>>;

    /// Manifests of every repository, and behind them those in the trash, from the first one after `after`, at most
    /// `limit`.
    async fn manifests(&self, after: Option<&str>, limit: usize) -> Result<Page<ScrubManifest>>;

    /// A manifest's bytes as they are, unchecked; `None` if they cannot be read or are not there.
    async fn manifest_content(&self, manifest: &ScrubManifest) -> Result<Option<Bytes>>;

    /// Whether a manifest is there, or in the trash, as it was read, and its repository too.
    async fn is_manifest(&self, manifest: &ScrubManifest) -> Result<bool>;

    /// Manifests that name a blob, those in the trash too, at most `limit`.
    async fn needed_by(&self, blob: &Digest, limit: usize) -> Result<Vec<NeededBy>>;

    /// How far the scrub is, and the write that said so; `None` if there never was one, or where it was is lost.
    async fn cursor(&self) -> Result<Option<(ScrubCursor, Stamp)>>;

    /// Replaces the cursor, if it is as it was read. `None` if another was faster.
    async fn save_cursor(&self, cursor: &ScrubCursor, read: Option<Stamp>) -> Result<Option<Stamp>>;

    /// Adds a finding. The oldest go, so that [`FINDINGS_KEPT`] remain.
    async fn add_finding(&self, finding: &ScrubFinding) -> Result<()>;

    /// The findings that are kept, oldest first. One that cannot be read is stepped over.
    async fn findings(&self) -> Result<Vec<ScrubFinding>>;
}

/// How many findings of the scrub are kept.
pub const FINDINGS_KEPT: usize = 200;
