//! Disks that a test owns: one in memory that says everything that happens to it, what a power cut leaves of that one,
//! and one that fails when it is told to.

mod cut;
mod dice;
mod faulty;
mod simulated;

use std::path::PathBuf;
use std::sync::Arc;

use registry_core::Runtime;

use crate::durability::{Durability, Omission, Syncs};
use crate::fs::FsBytes;
use crate::fs::disk::Disk;

pub use cut::{Platter, Survival};
pub use dice::Dice;
pub use faulty::{Fault, FaultyDisk};
pub use simulated::{DiskOp, FileId, Recorder, SimulatedDisk};

/// The directory that every simulated disk has, and that survives everything.
pub const ROOT: &str = "/blobs";

/// The store for bytes in files, on a disk, in its directory [`ROOT`]; with one kind of sync left out, if `omission`
/// says so.
pub fn files_on(
    disk: Arc<dyn Disk>,
    runtime: Arc<dyn Runtime>,
    durability: Durability,
    omission: Option<Omission>,
) -> FsBytes {
    let syncs = omission.map_or_else(|| durability.syncs(), Syncs::without);
    FsBytes::on(disk, PathBuf::from(ROOT), runtime, syncs, None)
}
