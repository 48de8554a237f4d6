//! What may be forgotten, and how.
//!
//! [`Janitor`] gives back what was doomed.
#![forbid(unsafe_code)]

mod janitor;

pub use janitor::{Janitor, Swept};
