//! Exploration to a fixpoint, and what it found.

use super::action::COVERED;
use super::{Action, BlobContract, Promise, state::State};
use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One step of a trace: what was done, and the state that it led to.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was done.
    pub action: Action,
    /// The state after it.
    pub state: State,
}

/// A promise that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// How it comes about, from the empty registry.
    pub trace: Vec<Step>,
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// States, those that differ only in numbering counted once.
    pub states: usize,
    /// Transitions taken.
    pub transitions: usize,
    /// Steps from the empty registry to the farthest state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Which of [`COVERED`] were exercised.
    pub covered: Vec<&'static str>,
    /// The first promise that was found broken; `None` when every state was explored and all hold.
    pub violation: Option<Violation>,
}

/// Called now and then with states, transitions and depth so far.
pub type Progress<'a> = &'a mut (dyn FnMut(usize, usize, usize) + Send);

struct Report<'a>(Progress<'a>);

impl Reporter<BlobContract> for Report<'_> {
    fn report_checking(&mut self, data: ReportData) {
        (self.0)(data.unique_states, data.total_states, data.max_depth);
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(100) // the checker also waits this long at the end
    }

    fn report_discoveries(
        &mut self,
        _: &BlobContract,
        _: BTreeMap<&'static str, ReportDiscovery<BlobContract>>,
    ) {
    }
}

/// Explores every reachable state, or stops at the first broken promise. With one thread the trace is a shortest one;
/// its numbers are those of merged states unless the model is [`BlobContract::numbered`].
pub fn check(model: &BlobContract, threads: usize, progress: Option<Progress<'_>>) -> Outcome {
    let started = Instant::now();
    let checker = model
        .clone()
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs();
    let checker = match progress {
        Some(progress) => checker.join_and_report(&mut Report(progress)),
        None => checker.join(),
    };
    let found = checker.discoveries();
    let violation = Promise::ALL
        .into_iter()
        .filter_map(|promise| Some((promise, found.get(promise.name())?.clone().into_vec())))
        .min_by_key(|(_, path)| path.len())
        .map(|(promise, path)| Violation {
            promise,
            trace: steps(path),
        });
    Outcome {
        states: checker.unique_state_count(),
        transitions: checker.state_count(),
        depth: checker.max_depth(),
        took: started.elapsed(),
        covered: model.exercised(),
        violation,
    }
}

impl BlobContract {
    /// Which of [`COVERED`] have been exercised.
    pub(super) fn exercised(&self) -> Vec<&'static str> {
        let covered = self.covered.load(Ordering::Relaxed);
        (0..COVERED.len())
            .filter(|at| covered & (1 << at) != 0)
            .map(|at| COVERED[at])
            .collect()
    }
}

fn steps(path: Vec<(State, Option<Action>)>) -> Vec<Step> {
    let actions: Vec<Action> = path.iter().filter_map(|(_, action)| *action).collect();
    let states = path.into_iter().skip(1).map(|(state, _)| state);
    actions
        .into_iter()
        .zip(states)
        .map(|(action, state)| Step { action, state })
        .collect()
}
