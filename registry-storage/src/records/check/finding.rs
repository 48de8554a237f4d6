//! What a check tells.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use registry_core::RepositoryName;
use serde::{Deserialize, Serialize};

/// What a check looks at, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Read every blob and hash it, instead of only looking at its length.
    pub deep: bool,
    /// Repair what can be repaired without guessing.
    pub repair: bool,
    /// How many blobs are hashed at once.
    pub workers: usize,
    /// Tell of claims and doomed locations that are due for longer than this. Not where nothing collects: there all of
    /// them come to be.
    pub overdue: Option<Duration>,
}

impl Default for Options {
    /// Lengths only, nothing repaired, nothing overdue.
    fn default() -> Self {
        Options {
            deep: false,
            repair: false,
            workers: 2,
            overdue: None,
        }
    }
}

/// What is told while a check runs.
#[derive(Debug)]
pub enum Told<'a> {
    /// Something is not as it must be.
    Found(&'a Finding),
    /// How far the check is; often.
    Progress(&'a Report),
    /// What a repository holds; at the end.
    Usage(&'a Usage),
}

/// What a check has looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Records read.
    pub records: u64,
    /// Records of blobs among them.
    pub blobs: u64,
    /// Bytes of blobs, each counted once, as their records say.
    pub bytes: u64,
    /// Bytes of blobs that were hashed.
    pub hashed: u64,
    /// Files, or whatever the blob store has at its locations.
    pub files: u64,
    /// Things that are not as they must be.
    pub findings: u64,
    /// Findings that were repaired.
    pub repaired: u64,
    /// Records that others wrote each time that they were looked at, so that nothing is told of them.
    pub unsettled: u64,
    /// Repaired findings that left a blob marked as lost: its bytes are gone until somebody pushes it again.
    #[serde(default)]
    pub lost: u64,
    /// Blobs whose bytes are lost, beyond those for which files that nothing names were looked through: repair what was
    /// found, and check again.
    #[serde(default)]
    pub forgotten: u64,
    /// Tables of which not every record may have been seen or understood, each with why. What would follow from what is
    /// not there was only advised. Each is a finding too.
    #[serde(default)]
    pub incomplete: BTreeMap<String, String>,
}

impl Report {
    /// Whether nothing is wrong, or all that was is repaired: no finding is left, nobody has to push anything again, and
    /// everything was seen.
    pub fn is_well(&self) -> bool {
        self.findings == self.repaired
            && self.lost == 0
            && self.unsettled == 0
            && self.forgotten == 0
            && self.incomplete.is_empty()
    }
}

/// What a repository holds, added up from the records and not from any counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The repository.
    pub repository: RepositoryName,
    /// Manifests in it.
    pub manifests: u64,
    /// Their bytes.
    pub manifest_bytes: u64,
    /// Blobs that its manifests name, each counted once.
    pub blobs: u64,
    /// Their bytes, which other repositories may count too.
    pub blob_bytes: u64,
}

/// What was done about a finding, or can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Repair {
    /// It was repaired.
    Done,
    /// A check that repairs would repair it.
    Possible,
    /// Nothing that is there says how it was; the advice says what to do.
    No,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The record's key, or the location.
    pub key: String,
    /// The same in plain words.
    pub message: String,
    /// Whether it is repaired.
    pub repair: Repair,
    /// What the repair does; or what to do, if there is none.
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            kind,
            message,
            advice,
            ..
        } = self;
        match self.repair {
            Repair::Done => write!(f, "{kind}: {message}; repaired: {advice}"),
            Repair::Possible => write!(f, "{kind}: {message}; with --repair, {advice}"),
            Repair::No => write!(f, "{kind}: {message}; {advice}"),
        }
    }
}

/// The kinds of findings, each with its name as people and machines read it.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal,)*) => {
        /// What is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// A blob is marked as having lost its bytes.
    Suspect = "suspect",
    /// Bytes inside the records of a blob that is not kept there.
    InlineSurplus = "inline-surplus",
    /// Nothing but leases holds a blob, and the collector does not know of it.
    Unqueued = "unqueued",
    /// A tag points at a manifest that is not there.
    TagToNowhere = "tag-to-nowhere",
    /// An index of tags, referrers, children, claims or a collection is not what it indexes.
    IndexDisagrees = "index-disagrees",
    /// Two blobs or claims name one location.
    LocationShared = "location-shared",
    /// A location that a blob or claim names is to be unlinked.
    DoomedButNamed = "doomed-but-named",
    /// A location was to be unlinked long ago.
    DoomedOverdue = "doomed-overdue",
    /// An upload was to be ended long ago.
    ClaimStale = "claim-stale",
    /// A file that nothing names.
    OrphanFile = "orphan-file",
    /// Not every record of a table may have been seen or understood.
    WalkIncomplete = "walk-incomplete",
    /// A counter adds up to less than nothing, or to more than it can hold.
    CounterWrong = "counter-wrong",
}
