//! What may be forgotten, and how.
//!
//! [`Janitor`] gives back what was doomed. [`Scrubber`] reads again what is stored. `model` (with the feature of that name) states how a blob lives and dies, and
//! explores every state of small worlds of clients, collectors, crashes and lost bytes; its transitions carry the
//! names of the transactions that the stores run.
#![forbid(unsafe_code)]

mod janitor;
#[cfg(feature = "model")]
pub mod model;
mod scrub;

pub use janitor::{Hold, Janitor, Swept};
pub use scrub::{DOUBTS, ScrubOptions, ScrubStatus, Scrubber};
