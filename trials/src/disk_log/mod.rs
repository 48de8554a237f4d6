//! Power cuts in a model: everything that a registry does to its disk and its records is written down, together with
//! what it told its clients, and the power is cut after every single entry.
//!
//! Each run makes a log: clients and a collector work on one registry at once, on a disk in memory. Then
//! each prefix of the log is a cut. A few draws of what such a cut may leave are opened by a fresh registry, and looked at:
//! is what was acknowledged there, is what is there whole, has every file somebody who answers for it? Whoever gives
//! the same seed gets the same logs, cuts and draws.

mod library;
mod oracle;
mod stage;
mod workload;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use registry_core::Timestamp;
use registry_core::store::{Kv, Txn};
use registry_storage::clock::ManualClock;
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::disk::{Dice, DiskOp, Platter, SimulatedDisk, Survival};
use registry_storage::{Durability, Omission};

use oracle::{Broken, Promises, Strictness};
use stage::World;

/// When every log begins.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// With the records' syncs left out, so many commits go by before the system writes some of them by itself.
const LAZY_COMMITS: usize = 25;

/// One thing that happened.
#[derive(Clone, Debug)]
enum Entry {
    Disk(DiskOp),
    Commit(Txn),
    Clock(Timestamp),
    Note(oracle::Note),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Disk(op) => write!(f, "disk: {op}"),
            Entry::Commit(txn) => {
                use registry_core::store::Write;
                let keys = txn.writes.iter().map(|write| match write {
                    Write::Put(key, _) => format!("+{key}"),
                    Write::Delete(key) => format!("-{key}"),
                    Write::Append(prefix, _) => format!("+{prefix}…"),
                });
                write!(f, "commit: {}", keys.collect::<Vec<_>>().join(" "))
            }
            Entry::Clock(now) => write!(f, "clock: {now}"),
            Entry::Note(note) => write!(f, "client: {note:?}"),
        }
    }
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// What the stores promise.
    pub durability: Durability,
    /// The kind of sync that is left out.
    pub omit: Option<Omission>,
    /// What kind of file system it is.
    pub disk: FileSystem,
}

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// Does what POSIX says and nothing beyond that, and keeps extended attributes.
    Posix,
    /// The same, without extended attributes.
    Unmarked,
    /// Without extended attributes, but makes a file longer only once the bytes are written.
    UnmarkedOrdered,
}

impl Trial {
    /// Every sync is made, and everything is promised.
    pub const STRICT: Trial = Trial {
        durability: Durability::Strict,
        omit: None,
        disk: FileSystem::Posix,
    };

    /// Only records are synced.
    pub const RELAXED: Trial = Trial {
        durability: Durability::Relaxed,
        omit: None,
        disk: FileSystem::Posix,
    };

    /// Everything is promised, and one kind of sync left out.
    pub fn without(omission: Omission) -> Trial {
        Trial {
            omit: Some(omission),
            ..Trial::STRICT
        }
    }

    /// Every sync is made, on another kind of file system.
    pub fn on(disk: FileSystem) -> Trial {
        Trial {
            disk,
            ..Trial::STRICT
        }
    }

    /// What a cut may leave here, and how it is looked at: the first draws are the two extremes.
    fn draw(&self, number: usize) -> (Survival, Strictness) {
        match (self.durability, number) {
            (_, 1) => (Survival::Everything, Strictness::Everything),
            (Durability::Strict, 0) => (Survival::Nothing, Strictness::Everything),
            (Durability::Strict, _) if self.disk == FileSystem::UnmarkedOrdered => {
                (Survival::Ordered, Strictness::Everything)
            }
            (Durability::Strict, _) => (Survival::Any, Strictness::Everything),
            (_, 0) => (Survival::Nothing, Strictness::Records),
            (_, _) => (Survival::Ordered, Strictness::Records),
        }
    }
}

impl Trial {
    /// The disk, as this kind of file system has it.
    fn marked(&self, disk: SimulatedDisk) -> SimulatedDisk {
        match self.disk {
            FileSystem::Posix => disk,
            FileSystem::Unmarked | FileSystem::UnmarkedOrdered => disk.without_marks(),
        }
    }
}

/// Draws of what a cut leaves, unless there is only one thing that it can leave.
const DRAWS: usize = 4;

/// A promise that was broken, and how to see it again.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Of the log.
    pub seed: u64,
    /// After so many entries of the log.
    pub cut: usize,
    /// Which draw of it.
    pub draw: usize,
    /// Which promise.
    pub promise: &'static str,
    /// What was found.
    pub found: String,
    /// The entries before the cut.
    pub tail: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.promise, self.found)?;
        writeln!(
            f,
            "seed {}, cut {}, draw {}; before it:",
            self.seed, self.cut, self.draw
        )?;
        self.tail.iter().try_for_each(|entry| writeln!(f, "  {entry}"))
    }
}

/// What a trial came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Cut points.
    pub cuts: usize,
    /// Disks that were looked at: several for a cut at which something was not synced.
    pub disks: usize,
    /// Logs.
    pub logs: usize,
    /// What clients were told in them.
    pub acknowledged: usize,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Time that it took.
    pub wall: Duration,
}

/// Cuts the power `cuts` times, in logs of the seeds from `seed` on, until `violations` promises were found broken.
/// `progress` is told after every log.
pub fn run(
    trial: Trial,
    seed: u64,
    cuts: usize,
    violations: usize,
    progress: &mut dyn FnMut(&Report),
) -> Report {
    let begun = Instant::now();
    let mut report = Report::default();
    while report.cuts < cuts && report.violations.len() < violations {
        let log = Log::make(trial, seed.wrapping_add(report.logs as u64));
        log.cut_everywhere(cuts, violations, &mut report);
        report.logs += 1;
        report.wall = begun.elapsed();
        progress(&report);
    }
    report
}

/// Cuts one log at one place: to look at a violation again.
pub fn replay(trial: Trial, seed: u64, cut: usize) -> Option<Violation> {
    let log = Log::make(trial, seed);
    let mut replayed = Replayed::new();
    log.entries
        .iter()
        .take(cut)
        .for_each(|entry| replayed.apply(trial, entry));
    log.cut(&replayed, cut, &mut Report::default())
}

/// What happened in one run.
struct Log {
    trial: Trial,
    seed: u64,
    entries: Vec<Entry>,
    library: library::Library,
}

impl Log {
    fn make(trial: Trial, seed: u64) -> Log {
        let (entries, library) = workload::play(trial, seed);
        Log {
            trial,
            seed,
            entries,
            library,
        }
    }

    fn cut_everywhere(&self, cuts: usize, violations: usize, report: &mut Report) {
        let mut replayed = Replayed::new();
        for cut in 0..=self.entries.len() {
            if report.cuts >= cuts || report.violations.len() >= violations {
                return;
            }
            report.cuts += 1;
            let violation = self.cut(&replayed, cut, report);
            report.violations.extend(violation);
            if let Some(entry) = self.entries.get(cut) {
                replayed.apply(self.trial, entry);
                report.acknowledged += usize::from(matches!(entry, Entry::Note(note) if note.promises()));
            }
        }
    }

    /// Looks at what a cut may leave.
    fn cut(&self, replayed: &Replayed, cut: usize, report: &mut Report) -> Option<Violation> {
        let draws = match replayed.is_settled() {
            true => 1,
            false => DRAWS,
        };
        for draw in 0..draws {
            report.disks += 1;
            let mut dice = Dice::new(self.seed.rotate_left(32) ^ (cut * DRAWS + draw) as u64);
            let (survival, strictness) = self.trial.draw(draw);
            let disk = self.trial.marked(replayed.platter.cut(survival, &mut dice));
            let (kv, clock) = replayed.records(survival, &mut dice);
            let world = World::after_a_cut(kv, disk, clock, self.trial);
            let looked = block_on(
                replayed
                    .promises
                    .check(&world, &self.library, strictness, &mut dice),
            );
            if let Err(Broken { promise, found }) = looked {
                let first = cut.saturating_sub(40);
                return Some(Violation {
                    seed: self.seed,
                    cut,
                    draw,
                    promise,
                    found,
                    tail: self.entries[first..cut].iter().map(Entry::to_string).collect(),
                });
            }
        }
        None
    }
}

/// The state at one point of a log.
struct Replayed {
    platter: Platter,
    durable: MemoryKv,
    /// Commits that were acknowledged and are not durable.
    lazy: Vec<Txn>,
    clock: ManualClock,
    promises: Promises,
}

impl Replayed {
    fn new() -> Replayed {
        let clock = ManualClock::at(BEGIN);
        Replayed {
            platter: Platter::new(),
            durable: MemoryKv::with_clock(clock.clock()),
            lazy: Vec::new(),
            clock,
            promises: Promises::at(BEGIN),
        }
    }

    fn is_settled(&self) -> bool {
        self.platter.is_settled() && self.lazy.is_empty()
    }

    fn apply(&mut self, trial: Trial, entry: &Entry) {
        match entry {
            Entry::Disk(op) => self.platter.apply(op),
            Entry::Commit(txn) => {
                self.lazy.push(txn.clone());
                if trial.omit != Some(Omission::Records) || self.lazy.len() >= LAZY_COMMITS {
                    for txn in std::mem::take(&mut self.lazy) {
                        commit(&self.durable, txn);
                    }
                }
            }
            Entry::Clock(now) => self.clock.set(*now),
            Entry::Note(_) => {}
        }
        self.promises.apply(entry);
    }

    /// The records after a cut.
    fn records(&self, survival: Survival, dice: &mut Dice) -> (Arc<MemoryKv>, ManualClock) {
        let clock = ManualClock::at(self.clock.now());
        let kv = self.durable.fork(clock.clock());
        let kept = match survival {
            Survival::Nothing => 0,
            Survival::Everything => self.lazy.len(),
            Survival::Any | Survival::Ordered => dice.below(self.lazy.len() + 1),
        };
        for txn in &self.lazy[..kept] {
            commit(&kv, txn.clone());
        }
        (Arc::new(kv), clock)
    }
}

/// Repeats a commit that happened: what it asserted held then.
fn commit(kv: &MemoryKv, txn: Txn) {
    let txn = Txn {
        preconditions: Vec::new(),
        ..txn
    };
    block_on(kv.commit(txn)).expect("a commit that happened can be repeated");
}

/// A disk that writes down what is done to it.
fn recorded(log: &stage::Entries) -> SimulatedDisk {
    let log = log.clone();
    SimulatedDisk::recorded_by(Arc::new(move |op| log.push(Entry::Disk(op))))
}
