//! Whether some order explains what clients saw: linearizability, by search (Wing and Gong 1993; Lowe 2017 for the
//! memory of what was tried).
//!
//! An operation takes effect at one instant between its start and its answer. One without an answer took effect at
//! some instant before the server's end, or never.

use std::collections::HashSet;

use super::shelf::{Action, Layout, Outcome, State};

/// Steps after which a search gives up. An ordinary round takes some hundred.
const STEPS_MAX: usize = 1_000_000;

/// An operation on a shelf.
#[derive(Clone, Debug)]
pub struct Operation {
    /// When it was sent, in nanoseconds.
    pub invoked: u64,
    /// When its answer had come; of one without an answer, when the server had ended.
    pub ended: u64,
    /// What was asked for.
    pub action: Action,
    /// What was answered.
    pub outcome: Outcome,
}

/// What the search says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains everything.
    Explained,
    /// No order does. The longest attempt explained all but these operations, by their place in the list.
    Unexplained(Vec<usize>),
    /// The search was given up.
    Undecided,
}

impl Operation {
    fn may_be_left_out(&self) -> bool {
        self.outcome == Outcome::Unknown
    }

    /// Whether it changes nothing in any state: a read, or a write that was refused.
    fn only_looks(&self) -> bool {
        !self.may_be_left_out() && (!self.action.writes() || self.outcome != Outcome::Done)
    }

    /// The state after it; one without an answer is tried as if it had been done.
    fn applied(&self, layout: &Layout, state: &State) -> Option<State> {
        match self.may_be_left_out() {
            true => state.step(layout, &self.action, &Outcome::Done),
            false => state.step(layout, &self.action, &self.outcome),
        }
    }
}

/// Looks for an order of `operations` that leads from `initial` through all answers.
pub fn explained(layout: &Layout, initial: &State, operations: &[Operation]) -> Verdict {
    let mut search = Search {
        layout,
        operations,
        done: vec![0; operations.len().div_ceil(64)],
        tried: HashSet::new(),
        steps: 0,
        best: None,
    };
    match search.from(*initial) {
        Some(true) => Verdict::Explained,
        Some(false) => Verdict::Unexplained(search.best.unwrap_or_default()),
        None => Verdict::Undecided,
    }
}

struct Search<'a> {
    layout: &'a Layout,
    operations: &'a [Operation],
    done: Vec<u64>,
    tried: HashSet<(Vec<u64>, State)>,
    steps: usize,
    best: Option<Vec<usize>>,
}

impl Search<'_> {
    fn is_done(&self, at: usize) -> bool {
        self.done[at / 64] & 1 << (at % 64) != 0
    }

    fn toggle(&mut self, at: usize) {
        self.done[at / 64] ^= 1 << (at % 64);
    }

    /// Whether what is left can be explained from `state`; `None` if that was not found out in time.
    fn from(&mut self, state: State) -> Option<bool> {
        let left: Vec<usize> = (0..self.operations.len())
            .filter(|at| !self.is_done(*at) && !self.operations[*at].may_be_left_out())
            .collect();
        if self.best.as_ref().is_none_or(|best| left.len() < best.len()) {
            self.best = Some(left.clone());
        }
        let Some(first_end) = left.iter().map(|at| self.operations[*at].ended).min() else {
            return Some(true);
        };
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return None;
        }
        if !self.tried.insert((self.done.clone(), state)) {
            return Some(false);
        }
        // What got no answer is tried last: mostly it explains nothing.
        let mut candidates = self.candidates(first_end);
        candidates.sort_by_key(|at| self.operations[*at].may_be_left_out());
        // What only looks is best taken at once, if that does not come too late for another. A write that changes
        // nothing now is not: later it may.
        for at in &candidates {
            let operation = &self.operations[*at];
            let harmless = operation.only_looks()
                && operation.applied(self.layout, &state) == Some(state)
                && !self.is_late_for_another(operation.invoked);
            if harmless {
                self.toggle(*at);
                let found = self.from(state);
                self.toggle(*at);
                return found;
            }
        }
        for at in candidates {
            let Some(next) = self.operations[at].applied(self.layout, &state) else {
                continue;
            };
            self.toggle(at);
            let found = self.from(next);
            self.toggle(at);
            if found != Some(false) {
                return found;
            }
        }
        Some(false)
    }

    /// What may come next: nothing that is left has ended before it began, nothing that is done began after its end.
    fn candidates(&self, first_end: u64) -> Vec<usize> {
        let done = (0..self.operations.len()).filter(|at| self.is_done(*at));
        let last_invoked = done.map(|at| self.operations[at].invoked).max().unwrap_or(0);
        (0..self.operations.len())
            .filter(|at| {
                let operation = &self.operations[*at];
                !self.is_done(*at) && operation.invoked <= first_end && operation.ended >= last_invoked
            })
            .collect()
    }

    fn is_late_for_another(&self, invoked: u64) -> bool {
        (0..self.operations.len()).any(|at| {
            let operation = &self.operations[at];
            operation.may_be_left_out() && !self.is_done(at) && operation.ended < invoked
        })
    }
}
