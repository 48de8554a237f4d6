//! What may be forgotten, and how.
//!
//! [`Collector`] takes what nothing points at from queue to unlink. [`Scrubber`] reads again what is stored. `model` (with
//! the feature of that name) states how a blob lives and dies, and explores every state of small worlds of clients,
//! collectors, crashes and lost bytes; its transitions carry the names of the transactions that the stores run.
#![forbid(unsafe_code)]

mod collector;
#[cfg(feature = "model")]
pub mod model;
mod scrub;

pub use collector::{
    Collector, Hold, Observed, Phase, Plan, Planned, Policy, Progress, RunOptions, Settings, Stop, Summary,
    Tally,
};
pub use scrub::{DOUBTS, ScrubOptions, ScrubStatus, Scrubber};
