//! Schedules of the real code: [`LocalRegistry`], [`Records`] and the collector's steps, on the memory store, polled one
//! task at a time in an order that a seed decides.
//!
//! A schedule is a small world: one or two blobs, two repositories, a few clients who push, resume, mount, read, put,
//! delete and undelete some of them, one or two collectors with a janitor, a clock that is often moved to just where
//! something becomes due, and misfortune: tasks that are dropped where they wait, commits whose answer is lost or that
//! fail, bytes that vanish or seem to, writes that land late. Before every get, scan, commit and look at bytes, and once
//! more after a commit, everybody else may go on; so there may be any number of commits and moves of the clock between
//! any two reads, and between a read and its commit. After every commit, unlink, write and move of the clock an onlooker, who reads
//! the records with code of his own, looks at the promises of `registry_gc::model`. In the end everybody stops, things may be
//! pushed once more, and one collector that works alone must leave no residue.
//!
//! # Why our own executor suffices
//!
//! A checker of threads (loom, shuttle) replaces mutexes, atomics and threads, since between any two of their operations
//! another thread may run. The code on trial has none whose order matters: between two awaits it touches its own values, and
//! the stores, each of whose operations is one critical section. So whatever two threads could do to each other they can do
//! at an await before a store's operation, and there everybody gets his turn. What the stores do inside an operation is
//! for their own suites.
//!
//! # Guards
//!
//! With the feature `weaken` each guard of the code that the model has a weakening for can be left out, and the search must find
//! what that breaks. Where the code has two guards for what is one in the model, both go together: a lease and an
//! edge assert that the blob is live and that it belongs, either of which implies the other at commit. `IDLE` has
//! those without which nothing breaks, and says why. What is found counts only if the same schedule breaks nothing with
//! every guard in force.
//!
//! [`LocalRegistry`]: registry_core::LocalRegistry
//! [`Records`]: registry_storage::records::Records

mod clients;
mod code;
mod ending;
mod library;
mod oracle;
mod play;
mod scheduler;
mod setting;
mod stores;
mod view;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use registry_gc::model::{COVERED, Weakening};

/// Guards of the model that the code does without, and why.
const IDLE: &[(Weakening, &str)] = &[(
    Weakening::DoomedHeldFromCommit,
    "the code counts from the claim's expiry as the model does, and besides no writer goes on writing on a claim that it \
     read longer ago than a quarter of the longest write; late-writer leaves that out",
)];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A promise that a schedule broke.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The schedule.
    pub seed: u64,
    /// Which promise, by its name in the model where it has one.
    pub promise: &'static str,
    /// What was found.
    pub found: String,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Schedules that were run.
    pub schedules: u64,
    /// Steps of all of them: the work of one task between two of its pauses.
    pub steps: u64,
    /// In how many schedules each transition was exercised.
    pub covered: BTreeMap<&'static str, u64>,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Time that it took.
    pub wall: Duration,
}

impl Report {
    /// The transitions of the model that no schedule exercised.
    pub fn uncovered(&self) -> Vec<&'static str> {
        COVERED
            .into_iter()
            .filter(|name| !self.covered.contains_key(name))
            .collect()
    }
}

/// What is searched.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The first schedule; the next ones count on from it.
    pub seed: u64,
    /// How many at most.
    pub schedules: u64,
    /// Violations after which it ends.
    pub violations: usize,
    /// Threads; which schedules there are does not depend on them.
    pub threads: usize,
}

impl Search {
    /// Runs the schedules. `progress` is told now and then.
    pub fn run(self, progress: &(dyn Fn(&Report) + Sync)) -> Report {
        let begun = Instant::now();
        let next = AtomicU64::new(0);
        let enough = AtomicBool::new(false);
        let report = Mutex::new(Report::default());
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    while !enough.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.schedules {
                            return;
                        }
                        let seed = self.seed.wrapping_add(number);
                        let outcome = play::play(seed, false);
                        let mut report = lock(&report);
                        report.schedules += 1;
                        report.steps += outcome.steps;
                        for name in outcome.covered {
                            *report.covered.entry(name).or_default() += 1;
                        }
                        if let Some(broken) = outcome.broken {
                            report.violations.push(Violation {
                                seed,
                                promise: broken.promise,
                                found: broken.found,
                            });
                            if report.violations.len() >= self.violations {
                                enough.store(true, Ordering::Relaxed);
                            }
                        }
                        if report.schedules.is_multiple_of(1000) {
                            report.wall = begun.elapsed();
                            progress(&report);
                        }
                    }
                });
            }
        });
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.wall = begun.elapsed();
        report.violations.sort_by_key(|violation| violation.seed);
        report
    }
}

/// A guard of the code, by the name that the model has for its weakening.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    number: usize,
}

impl Guard {
    /// All of them, in the model's order.
    pub fn all() -> impl Iterator<Item = Guard> {
        (0..Weakening::ALL.len()).map(|number| Guard { number })
    }

    /// The guard whose weakening has this name.
    pub fn named(name: &str) -> Option<Guard> {
        Guard::all().find(|guard| guard.name() == name)
    }

    /// The weakening's name, as the model writes it.
    pub fn name(self) -> String {
        Weakening::ALL[self.number].name()
    }

    /// What breaks in the model without it.
    pub fn promise(self) -> &'static str {
        Weakening::ALL[self.number].harm().1.name()
    }

    /// Why nothing breaks in the code without it, if that is so.
    pub fn idle(self) -> Option<&'static str> {
        IDLE.iter()
            .find(|(weakening, _)| *weakening == Weakening::ALL[self.number])
            .map(|(_, why)| *why)
    }

    /// Leaves it out from now on, in the whole process.
    ///
    /// # Errors
    /// If this build cannot.
    pub fn leave_out(self) -> Result<(), &'static str> {
        #[cfg(feature = "weaken")]
        {
            use registry_core::weakening;
            weakening::leave_out(Some(weakening::Weakening::ALL[self.number]));
            Ok(())
        }
        #[cfg(not(feature = "weaken"))]
        Err("this build keeps all guards; build it with --features weaken")
    }
}

/// Puts every guard in force again.
pub fn keep_all() {
    #[cfg(feature = "weaken")]
    registry_core::weakening::leave_out(None);
}

/// One schedule step by step, and what it broke.
pub fn replay(seed: u64) -> (Vec<String>, Option<Violation>) {
    let outcome = play::play(seed, true);
    let violation = outcome.broken.map(|broken| Violation {
        seed,
        promise: broken.promise,
        found: broken.found,
    });
    (outcome.trace, violation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guards_of_the_code_are_those_of_the_model() {
        let names = |all: Vec<String>| all.join(" ");
        let code = registry_core::weakening::Weakening::ALL
            .iter()
            .map(|guard| format!("{guard:?}"));
        let model = Weakening::ALL.iter().map(|guard| format!("{guard:?}"));
        assert_eq!(
            names(code.collect()),
            names(model.collect()),
            "in this order, since they are told by their number"
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        for seed in 0..5 {
            let ((one, _), (other, _)) = (replay(seed), replay(seed));
            assert_eq!(one, other);
        }
    }

    #[test]
    fn no_schedule_breaks_a_promise() {
        let search = Search {
            seed: 1,
            schedules: 300,
            violations: 1,
            threads: 2,
        };
        let report = search.run(&|_| {});
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        assert_eq!(report.schedules, 300);
    }
}
