//! The trial of embedded record engines.
//!
//! Every engine stands behind [`Engine`], four operations wide, with the settings that the registry would use:
//! a small cache (the registry promises little anonymous memory), one ordered table of byte keys, and a commit
//! that returns only when its records would survive a power cut.

pub mod child;
mod commits;
mod corpus;
mod fjall;
mod group;
mod heed;
mod measure;
mod open;
mod power;
mod redb;
mod sled;

use std::{
    fmt,
    fs::{self, File},
    path::Path,
};

use ::fjall::PersistMode;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use commits::{CommitsReport, commits};
pub use open::{OpenReport, open as first_get};
pub use power::{PowerOptions, PowerReport, power, power_here};

/// Any failure of the trial; it is reported, never handled.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One key and the value to write under it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Unique, ordered byte-wise, at most 511 bytes (the narrowest engine's limit).
    pub key: Vec<u8>,
    /// The bytes stored under the key.
    pub value: Vec<u8>,
}

/// What the registry asks of an engine.
pub trait Engine: Send + Sync {
    /// Writes all the records or none, and returns only when they are durable.
    fn commit(&self, records: &[Record]) -> Result<()>;

    /// The value under `key`, copied out.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// At most `limit` records with keys strictly greater than `after`, in key order.
    fn scan(&self, after: &[u8], limit: usize) -> Result<Vec<Record>>;
}

/// The engines on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// LMDB through heed; a read transaction belongs to its thread.
    Heed,
    /// LMDB through heed, with read transactions that may move between threads.
    HeedNotls,
    /// redb with quick-repair: two-phase commit, and the allocator's state saved by each commit.
    Redb,
    /// redb as it comes: one-phase commit, full repair after a crash.
    RedbFullRepair,
    /// sled 0.34 under the registry's records, which sync what it writes.
    Sled,
    /// sled 0.34 as it comes, which syncs nothing.
    SledUnsynced,
    /// fjall: a log-structured merge tree behind one journal.
    Fjall,
    /// fjall that acknowledges without a sync: the control, which the power trial must catch.
    FjallUnsynced,
}

impl EngineKind {
    /// The engines that are compared unless others are named.
    pub const CANDIDATES: [EngineKind; 3] = [EngineKind::Heed, EngineKind::Redb, EngineKind::Fjall];

    /// The name as the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Heed => "heed",
            EngineKind::HeedNotls => "heed-notls",
            EngineKind::Redb => "redb",
            EngineKind::RedbFullRepair => "redb-full-repair",
            EngineKind::Sled => "sled",
            EngineKind::SledUnsynced => "sled-unsynced",
            EngineKind::Fjall => "fjall",
            EngineKind::FjallUnsynced => "fjall-unsynced",
        }
    }

    /// Opens the store in `directory`, creating it when there is none, with a cache of `cache_mib` MiB where
    /// the engine keeps one of its own.
    ///
    /// Returns only when what a reader can now see would survive a power cut: the directory entries are
    /// synced, and so is anything that an earlier process left in the page cache when it was killed.
    pub fn open(self, directory: &Path, cache_mib: usize) -> Result<Box<dyn Engine>> {
        fs::create_dir_all(directory)?;
        let engine: Box<dyn Engine> = match self {
            EngineKind::Heed => Box::new(heed::Heed::with_tls(directory)?),
            EngineKind::HeedNotls => Box::new(heed::Heed::without_tls(directory)?),
            EngineKind::Redb => Box::new(redb::Redb::open(directory, cache_mib, true)?),
            EngineKind::RedbFullRepair => Box::new(redb::Redb::open(directory, cache_mib, false)?),
            EngineKind::Sled => Box::new(sled::Synced::open(directory)?),
            EngineKind::SledUnsynced => Box::new(sled::Unsynced::open(directory, cache_mib)?),
            EngineKind::Fjall => Box::new(fjall::Fjall::open(directory, cache_mib, PersistMode::SyncData)?),
            EngineKind::FjallUnsynced => {
                Box::new(fjall::Fjall::open(directory, cache_mib, PersistMode::Buffer)?)
            }
        };
        File::open(directory)?.sync_all()?;
        if let Some(parent) = directory.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(engine)
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What every part of the trial is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engines to compare, run in turn within each round.
    pub engines: Vec<EngineKind>,
    /// Keys loaded before anything is measured.
    pub keys: u64,
    /// Cache that an engine may keep for itself, in MiB.
    pub cache_mib: usize,
    /// Rounds (`commits`) or kills (`open`) for each engine.
    pub rounds: usize,
    /// Seed of every random choice.
    pub seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [EngineKind; 8] = [
        EngineKind::Heed,
        EngineKind::HeedNotls,
        EngineKind::Redb,
        EngineKind::RedbFullRepair,
        EngineKind::Sled,
        EngineKind::SledUnsynced,
        EngineKind::Fjall,
        EngineKind::FjallUnsynced,
    ];

    fn record(key: &str, value: &str) -> Record {
        Record {
            key: key.into(),
            value: value.into(),
        }
    }

    #[test]
    fn every_engine_keeps_what_it_committed_and_lists_it_in_key_order() {
        for kind in ALL {
            let home = tempfile::tempdir().unwrap();
            let directory = home.path().join("store");
            {
                let engine = kind.open(&directory, 1).unwrap();
                engine.commit(&[record("b", "2"), record("a", "1")]).unwrap();
                engine.commit(&[record("c", "3"), record("b", "4")]).unwrap();
            }
            let engine = kind.open(&directory, 1).unwrap();
            assert_eq!(
                engine.get(b"b").unwrap().as_deref(),
                Some(b"4".as_slice()),
                "{kind}"
            );
            assert_eq!(engine.get(b"d").unwrap(), None, "{kind}");
            let keys = |after: &[u8], limit| -> Vec<Vec<u8>> {
                engine
                    .scan(after, limit)
                    .unwrap()
                    .into_iter()
                    .map(|record| record.key)
                    .collect()
            };
            assert_eq!(keys(b"", 2), [b"a", b"b"], "{kind}");
            assert_eq!(keys(b"a", 9), [b"b", b"c"], "{kind}");
            assert!(keys(b"c", 9).is_empty(), "{kind}");
        }
    }
}
