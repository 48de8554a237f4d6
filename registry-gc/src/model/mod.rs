//! The model of the contract between push and collector: how a blob lives and dies.
//!
//! A [`BlobContract`] is a configuration (its [`Bounds`]) under [`Rules`]; [`check`] explores every state that its
//! processes can reach and checks every [`Promise`] in each. One record transaction is one step; whatever a process
//! read before it is remembered from an earlier step, so that its transaction may run at any later time. Taking one
//! guard away (a [`Weakening`]) must break a promise: that is how the model itself is tested.

mod action;
mod canonical;
mod check;
mod clients;
mod collector;
mod configurations;
mod describe;
mod drain;
mod guards;
mod processes;
mod properties;
#[cfg(feature = "replay")]
pub mod replay;
mod repositories;
mod rules;
pub mod state;
mod steps;
mod uploads;
mod weakened;

pub use action::{Action, COVERED};
pub use check::{Outcome, Progress, Step, Violation, check};
pub use configurations::{Bounds, CONTINUOUS, LARGE, SMALL, Timing};
pub use properties::Promise;
pub use rules::{Rules, Weakening};
pub use weakened::{Catch, catch};

use state::{Naming, State};
use stateright::{Model, Property};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// A configuration under rules: a [`stateright::Model`].
#[derive(Clone, Debug)]
pub struct BlobContract {
    /// What is in it.
    pub bounds: Bounds,
    /// Which guards are in force.
    pub rules: Rules,
    /// Which of [`COVERED`] have been exercised.
    pub(crate) covered: Arc<AtomicU64>,
    /// Whether a promise was found broken: only the first counts, so that its trace is a shortest one.
    pub(crate) broken: Arc<AtomicBool>,
    /// Whether states that differ only in numbering are merged.
    pub(crate) merges: bool,
}

impl BlobContract {
    /// The model of `bounds` under `rules`.
    pub fn new(bounds: Bounds, rules: Rules) -> BlobContract {
        BlobContract {
            bounds,
            rules,
            covered: Arc::default(),
            broken: Arc::default(),
            merges: true,
        }
    }

    /// The same model, with every location, repository and process under the number that it was given first: many
    /// more states, and traces that can be read.
    pub fn numbered(self) -> BlobContract {
        BlobContract {
            merges: false,
            ..self
        }
    }

    /// The representative of a state.
    pub(crate) fn settle(&self, s: &mut State) {
        self.forget_refused(s);
        canonical::free_locations(s);
        if self.merges {
            canonical::renumber(s);
        }
    }
}

impl Model for BlobContract {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::default();
        for repository in state.repositories.iter_mut().take(self.bounds.names) {
            repository.naming = Naming::Live;
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.steps(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        self.apply(&mut next, action)?;
        self.settle(&mut next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<BlobContract>> {
        properties::properties()
    }
}
