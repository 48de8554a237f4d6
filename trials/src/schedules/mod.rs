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

use registry_gc::model::{COVERED, Weakening};

/// Guards of the model that the code does without, and why.
const IDLE: &[(Weakening, &str)] = &[(
    Weakening::DoomedHeldFromCommit,
    "the code counts from the commit: no writer goes on writing on a claim that it read longer ago than a quarter of the \
     longest write, which is what late-writer leaves out",
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
    let outcome = world::play(seed, true);
    let violation = outcome.broken.map(|broken| Violation {
        seed,
        promise: broken.promise,
        found: broken.found,
    });
    (outcome.trace, violation)
}
