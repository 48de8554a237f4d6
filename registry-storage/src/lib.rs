//! Where a registry's bytes and records live.
//!
//! [`memory`] keeps everything in the process and is the reference for what the seams of
//! [`registry_core::store`] promise. [`testkit`] holds those promises as test suites, one test for each clause,
//! which any back end can be put through.

pub mod clock;
pub mod fs;
mod limits;
pub mod memory;
pub mod records;
#[cfg(feature = "testkit")]
pub mod testkit;
