//! Schedules.

mod clients;
mod library;
mod oracle;
mod scheduler;
mod stores;
mod view;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use registry_gc::model::COVERED;

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
                        let outcome = world::play(seed, false);
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

/// One schedule step by step, and what it broke.
pub fn replay(seed: u64) -> (Vec<String>, Option<Violation>) {
    let outcome = world::play(seed, true);
    let violation = outcome.broken.map(|broken| Violation {
        seed,
        promise: broken.promise,
        found: broken.found,
    });
    (outcome.trace, violation)
}
