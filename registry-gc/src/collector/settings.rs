//! How a collector works, and what one run is told.

use std::time::Duration;

use registry_core::store::Terms;

/// How a collector works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node's name. Two that run at the same time need different ones; a node that is started again should keep its own, since
    /// it then goes on at once instead of waiting for its own lead to end.
    pub node: String,
    /// The longest between two looks at the queue. A minute: what is garbage has waited for hours, and a look that finds
    /// nothing costs a few reads.
    pub interval: Duration,
    /// How many entries are read at once, and how many steps a phase takes before the next has its turn: bounds the memory of a run (a few
    /// hundred bytes each), not what it gets done.
    pub batch: usize,
    /// How many steps are taken at once. Eight: with the rate four times what it is and ten milliseconds for a commit, as many are under way;
    /// their commits share a sync. A run that is alone takes more.
    pub workers: usize,
    /// Most steps and unlinks in a second; none for as many as go. 50: four million in a day, and so
    /// little that the slowest of a hundred pulls do not show it. A run that lasts longer than an interval cannot keep up: with each interval that it lasts the rate is added
    /// once more, up to four times. A run that is alone knows no rate.
    pub rate: Option<u32>,
    /// What else goes.
    pub policy: Policy,
    /// How long after a node's last word another takes over. It is renewed when a third of it has passed.
    pub lead: Duration,
    /// How many runs are kept in the list.
    pub keep_runs: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            node: "berth".to_owned(),
            interval: Duration::from_secs(60),
            batch: 1000,
            workers: 8,
            rate: Some(50),
            policy: Policy::default(),
            lead: Duration::from_secs(60),
            keep_runs: 200,
        }
    }
}

/// What goes although it was not deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Manifests to which no tag has pointed for this long, unless an index lists them or they are about a manifest that is there. None: they stay,
    /// since whoever pulls by digest has no tag.
    pub untagged: Option<Duration>,
}

/// What one run is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// What is different for this run.
    pub terms: Terms,
}
