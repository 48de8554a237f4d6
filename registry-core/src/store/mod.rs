//! Where bytes and records live: the seams that a back end implements.
//!
//! Three small traits. [`BlobStore`] and [`UploadStore`] hold bytes at locations and know no repository.
//! [`ManifestStore`] holds the records that give those bytes meaning; each of its methods is one transaction. Most
//! back ends implement only [`Kv`], the narrow waist for records, and get a `ManifestStore` from it. What is not content
//! lies beside it as a typed [`collection`].

mod blob;
pub mod collection;
mod explain;
mod kv;
mod location;
mod manifest;
mod marks;
mod reclaim;
mod runs;
mod scrub;
mod undo;

pub use blob::{BlobStore, StoreError, UploadStore, Volume, forget_cached, is_full};
pub use explain::{Cause, Explanation, HeldBy, Holder, Known, LeaseHeld, Lone, Outlook, Release, Whose, Why};
pub use kv::{Entry, KEY_MAX, Kv, KvError, Precondition, Stamp, Txn, Write};
pub use location::Location;
pub use manifest::{
    BlobRecord, BlobState, Content, Event, EventKind, Lifetimes, ManifestRecord, ManifestStore,
    ManifestWrite, TagMove, UploadClaim,
};
pub use marks::{Mark, Marks, Writing};
pub use reclaim::{Backlog, Collected, Doomed, Expired, Pending, Reclaim, Step, Terms, Untagged};
pub use runs::{Begin, Counts, Lead, Run, RunEnd, Trigger};
pub use scrub::{
    Damage, FINDINGS_KEPT, NeededBy, Scrub, ScrubCount, ScrubCursor, ScrubFinding, ScrubManifest, ScrubPlace,
};
pub use undo::{DeletedTag, HISTORY_MAX, KeptTag, Order, TagChange, Trashed, Undeleted, Undo, roll_back};
