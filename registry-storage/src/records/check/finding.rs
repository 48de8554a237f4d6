//! What a check tells.

use std::fmt;

use serde::Serialize;

/// What a check looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Read every blob and hash it, instead of only looking at its length.
    pub deep: bool,
}

/// What is told while a check runs.
#[derive(Debug)]
pub enum Told<'a> {
    /// Something is not as it must be.
    Found(&'a Finding),
    /// How far the check is; often.
    Progress(&'a Report),
}

/// What a check has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records read.
    pub records: u64,
    /// Records of blobs among them.
    pub blobs: u64,
    /// Bytes of blobs that were hashed.
    pub hashed: u64,
    /// Files, or whatever the blob store has at its locations.
    pub files: u64,
    /// Things that are not as they must be.
    pub findings: u64,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The record's key, or the location.
    pub key: String,
    /// The same in plain words.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// The kinds of findings, each with its name as people and machines read it.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal,)*) => {
        /// What is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[doc = $doc])* #[serde(rename = $name)] $kind,)*
        }

        impl fmt::Display for FindingKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(FindingKind::$kind => $name,)*
                })
            }
        }
    };
}

kinds! {
    /// A record's checksum does not match, or it is not what its table holds.
    DamagedRecord = "damaged-record",
    /// A repository's name and id do not lead to each other.
    RepositoryDisagrees = "repository-disagrees",
    /// Records of a repository that there is not, and that is not being cleaned up.
    RepositoryUnknown = "repository-unknown",
    /// A manifest has no bytes.
    ManifestWithoutContent = "manifest-without-content",
    /// Bytes, or a list of children, of a manifest that is not there.
    ContentWithoutManifest = "content-without-manifest",
    /// A manifest's bytes are not as many as its record says.
    ManifestWrongSize = "manifest-wrong-size",
    /// A manifest's bytes are not those of its digest.
    ManifestWrongDigest = "manifest-wrong-digest",
    /// What is recorded of a manifest is not what its bytes say.
    ManifestDisagrees = "manifest-disagrees",
    /// An index lists a manifest that its repository does not have.
    ChildMissing = "child-missing",
    /// A manifest names something that is not kept for it.
    EdgeMissing = "edge-missing",
    /// Something is kept for a manifest that does not name it, or is not there.
    EdgeSurplus = "edge-surplus",
    /// A manifest needs a blob that has no record.
    EdgeWithoutBlob = "edge-without-blob",
    /// A lease holds a blob that has no record.
    LeaseWithoutBlob = "lease-without-blob",
    /// A blob's bytes are not there.
    BytesMissing = "bytes-missing",
    /// A blob's bytes are there and cannot be read.
    BytesUnreadable = "bytes-unreadable",
    /// A blob's bytes are not as many as its record says.
    BytesWrongSize = "bytes-wrong-size",
    /// A blob's bytes are not those of its digest.
    BytesWrongDigest = "bytes-wrong-digest",
    /// A blob is marked as having lost its bytes, though they seem to be there.
    Suspect = "suspect",
    /// Bytes inside the records of a blob that is not kept there.
    InlineSurplus = "inline-surplus",
    /// Nothing holds a blob, and the collector does not know of it.
    Unqueued = "unqueued",
    /// A tag points at a manifest that is not there.
    TagToNowhere = "tag-to-nowhere",
    /// An index of tags, referrers, children or claims is not what it indexes.
    IndexDisagrees = "index-disagrees",
    /// Two blobs or claims name one location.
    LocationShared = "location-shared",
    /// A location that a blob or claim names is to be unlinked.
    DoomedButNamed = "doomed-but-named",
    /// A file that nothing names.
    OrphanFile = "orphan-file",
}
