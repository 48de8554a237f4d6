//! What a store has left once everything in it was deleted.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use registry_core::runtime::Threads;
use registry_core::store::Kv as _;
use registry_storage::kv::{EngineKind, Options};
use serde::Serialize;

use crate::mounted::Result;

/// Tables that say that something is there, or is still to go: of nothing there is nothing in them.
const TABLES: [&str; 23] = [
    "blob", "inline", "edge", "deferred", "trashed", "piece", "trash", "untagged", "purge", "dropped",
    "lease", "pending", "upload", "expiry", "doomed", "unlink", "manifest", "content", "children", "parent",
    "tag", "tagged", "referrer",
];

/// Lines of the check that are shown.
const COMPLAINTS: usize = 20;

/// What was left of a store, and when.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Emptied {
    /// Seconds from the last delete until the last file of a blob was gone.
    pub seconds: f64,
    /// Files of blobs before, at the last delete.
    pub files_before: u64,
    /// Files that were left.
    pub files: u64,
    /// Records that were left, by table.
    pub records: BTreeMap<String, u64>,
}

impl Emptied {
    /// What must not have been left, each in a sentence.
    pub fn left(&self) -> Vec<String> {
        let files = (self.files > 0).then(|| format!("{} files of blobs are left", self.files));
        let records = self
            .records
            .iter()
            .map(|(table, left)| format!("{left} records of {table} are left"));
        files.into_iter().chain(records).collect()
    }
}

impl fmt::Display for Emptied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Emptied {
            seconds,
            files_before,
            files,
            records,
        } = self;
        write!(
            f,
            "{files_before} files at the last delete, {files} after {seconds:.1} s; "
        )?;
        match records.is_empty() {
            true => write!(f, "no record of anything"),
            false => write!(f, "records left: {records:?}"),
        }
    }
}

/// Files of blobs below a data directory.
///
/// # Errors
/// If a directory cannot be read.
pub fn files(data: &Path) -> Result<u64> {
    let mut files = 0;
    for entry in std::fs::read_dir(data.join("blobs"))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files += std::fs::read_dir(entry.path())?.count() as u64;
        }
    }
    Ok(files)
}

/// Waits until a served store has no file of any blob, or for so long no fewer than before.
///
/// # Errors
/// If its directories cannot be read.
pub fn wait(data: &Path, patience: Duration) -> Result<Emptied> {
    let began = Instant::now();
    let mut emptied = Emptied {
        files_before: files(data)?,
        ..Emptied::default()
    };
    let (mut fewest, mut progress) = (u64::MAX, began);
    loop {
        emptied.files = files(data)?;
        emptied.seconds = began.elapsed().as_secs_f64();
        if emptied.files < fewest {
            (fewest, progress) = (emptied.files, Instant::now());
        }
        if emptied.files == 0 || progress.elapsed() > patience {
            return Ok(emptied);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The records of a store that nobody serves which say that something is there or still to go, by table.
///
/// # Errors
/// If it cannot be opened or read.
pub fn records(data: &Path, engine: EngineKind) -> Result<BTreeMap<String, u64>> {
    let options = Options {
        engine,
        ..Options::default()
    };
    let stores = registry_storage::open_with(data, Threads::shared(), options)?;
    let mut left = BTreeMap::new();
    for table in TABLES {
        let found = block_on(stores.kv.scan(&format!("{table}/"), None, 100_000))?.len();
        if found > 0 {
            left.insert(table.to_owned(), found as u64);
        }
    }
    Ok(left)
}

/// What `berth fsck --deep` finds in a store that nobody serves.
///
/// # Errors
/// If it cannot be run.
pub fn check(berth: &Path, data: &Path, engine: &str) -> Result<Vec<String>> {
    let output = Command::new(berth)
        .args([
            "fsck",
            "--deep",
            "--set",
            &format!("records.engine={engine}"),
            "--data",
        ])
        .arg(data)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Ok(said
        .lines()
        .take(COMPLAINTS)
        .map(|line| format!("fsck: {line}"))
        .collect())
}
