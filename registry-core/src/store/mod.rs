//! Where bytes and records live: the seams that a back end implements.
//!
//! Three small traits. [`BlobStore`] and [`UploadStore`] hold bytes at locations and know no repository.
//! [`ManifestStore`] holds the records that give those bytes meaning; each of its methods is one transaction. Most
//! back ends implement only [`Kv`], the narrow waist for records, and get a `ManifestStore` from it.

mod blob;
mod kv;
mod location;
mod manifest;
mod reclaim;
mod undo;

pub use blob::{BlobStore, StoreError, UploadStore, is_full};
pub use kv::{Entry, KEY_MAX, Kv, KvError, Precondition, Stamp, Txn, Write};
pub use location::Location;
pub use manifest::{
    BlobRecord, BlobState, Content, Event, EventKind, Lifetimes, ManifestRecord, ManifestStore,
    ManifestWrite, TagMove, UploadClaim,
};
pub use reclaim::{Collected, Doomed, Pending, Reclaim};
pub use undo::{DeletedTag, HISTORY_MAX, KeptTag, Order, TagChange, Trashed, Undeleted, Undo, roll_back};
