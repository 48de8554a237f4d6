//! What the records hold. Self-describing JSON with a format version each, so that a record can be read by eye, and
//! an older binary refuses what it does not understand instead of guessing.

use bytes::Bytes;
use registry_core::manifest::ChildKind;
use registry_core::store::{BlobRecord, BlobState, Entry, Location};
use registry_core::{
    Algorithm, BlobInfo, Digest, Error, ManifestInfo, RepositoryName, Result, Tag as TagName, Timestamp,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The one format version there is. Reading any other fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Ok(V1),
            newer => Err(serde::de::Error::custom(format_args!(
                "record format {newer} was written by a newer version; this one reads 1"
            ))),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Repository {
    pub(super) v: V1,
    pub(super) id: String,
    pub(super) created: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) v: V1,
    pub(super) name: RepositoryName,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Blob {
    pub(super) v: V1,
    pub(super) size: u64,
    pub(super) location: Location,
    pub(super) state: BlobState,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) suspect: bool,
}

impl Blob {
    pub(super) fn record(self, digest: &Digest, entry: &Entry) -> BlobRecord {
        BlobRecord {
            info: BlobInfo {
                digest: *digest,
                size: self.size,
            },
            location: self.location,
            state: self.state,
            suspect: self.suspect,
            stamp: entry.stamp,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) v: V1,
    pub(super) repository: RepositoryName,
    /// The id that the name had when the upload began; none if there was no such repository then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) repository_id: Option<String>,
    pub(super) location: Location,
    pub(super) algorithm: String,
    pub(super) expires: Timestamp,
}

impl Upload {
    pub(super) fn algorithm(&self) -> Result<Algorithm> {
        self.algorithm.parse().map_err(Error::internal)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Doomed {
    pub(super) v: V1,
    pub(super) location: Location,
    pub(super) not_before: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Edge {
    pub(super) v: V1,
    pub(super) manifest: Digest,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) v: V1,
    pub(super) media_type: String,
    pub(super) size: u64,
    /// Names the write that made this manifest's edges.
    pub(super) put: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Digest>,
    /// Whether some of what it names was not here when it was put.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deferred: bool,
}

impl Manifest {
    pub(super) fn info(&self, digest: &Digest) -> ManifestInfo {
        ManifestInfo {
            digest: *digest,
            media_type: self.media_type.clone(),
            size: self.size,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Children {
    pub(super) blobs: Vec<Digest>,
    pub(super) manifests: Vec<Digest>,
}

impl Children {
    pub(super) fn of(children: &[registry_core::manifest::Child]) -> Self {
        let pick = |kind| {
            children
                .iter()
                .filter(|child| child.kind == kind)
                .map(|child| child.digest)
                .collect()
        };
        Children {
            blobs: pick(ChildKind::Blob),
            manifests: pick(ChildKind::Manifest),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) v: V1,
    pub(super) digest: Digest,
    pub(super) at: Timestamp,
}

/// A manifest in the trash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Trashed {
    pub(super) v: V1,
    /// Its record as it was.
    pub(super) manifest: Manifest,
    pub(super) at: Timestamp,
    pub(super) by: String,
    pub(super) until: Timestamp,
    /// The tags that went with it.
    pub(super) tags: Vec<TagName>,
}

/// A tag that was deleted on its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Untagged {
    pub(super) v: V1,
    pub(super) digest: Digest,
    pub(super) at: Timestamp,
    pub(super) by: String,
    pub(super) until: Timestamp,
}

/// A move of a tag.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Moved {
    pub(super) v: V1,
    pub(super) at: Timestamp,
    pub(super) by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<Digest>,
}

/// What becomes of the edges of a deleted put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// They go on holding what they name.
    Trash,
    /// They go.
    Gone,
    /// They go with their repository: nobody was told anything there any more, so there is no grace.
    Purged,
    /// They give way, in one transaction, to those of another put of the same manifest, which names the same.
    Replaced,
}

/// Edges of a deleted put that are still to be taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) v: V1,
    /// The manifest that was put.
    pub(super) manifest: Digest,
    pub(super) fate: Fate,
    #[serde(flatten)]
    pub(super) children: Children,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Counter {
    pub(super) v: V1,
    pub(super) amount: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Loose {
    pub(super) v: V1,
    pub(super) since: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) v: V1,
    /// The key of the last event that was read.
    pub(super) after: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Lead {
    pub(super) v: V1,
    pub(super) node: String,
    pub(super) run: String,
    pub(super) until: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) v: V1,
    #[serde(flatten)]
    pub(super) run: registry_core::store::Run,
}

/// The value of a key whose being there is all it says.
pub(super) const MARK: &[u8] = b"{\"v\":1}";

pub(super) fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("records have text keys and no failing parts")
        .into()
}

pub(super) fn decode<T: DeserializeOwned>(key: &str, entry: &Entry) -> Result<T> {
    serde_json::from_slice(&entry.value).map_err(|why| Error::internal(format!("record {key}: {why}")))
}
