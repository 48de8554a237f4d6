//! Whether the code follows the model: what it commits under stress is recorded, and replayed in the model.
//!
//! [`recorder`] writes down every commit and what becomes of bytes, [`stress`] makes them happen, [`follow`] keeps the
//! model beside them, digest by digest, and [`trace`] is what lies between, in memory or in a file.

mod clients;
mod collectors;
pub mod follow;
pub mod recorder;
mod records;
pub mod stress;
pub mod trace;
mod world;

pub use follow::{Failure, Totals, follow};
pub use trace::{Event, Happened, Trace};
