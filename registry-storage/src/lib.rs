//! Where a registry's bytes and records live.
//!
//! [`open`] gives the default: records in an embedded engine ([`kv`]), bytes in files ([`fs`]), one directory for
//! both. [`memory`] keeps everything in the process and is the reference for what the seams of
//! [`registry_core::store`] promise. [`testkit`] holds those promises as test suites, one test for each clause,
//! which any back end can be put through.

pub mod backup;
pub mod clock;
mod durability;
mod embedded;
pub mod fs;
mod identity;
pub mod kv;
mod limits;
pub mod memory;
pub mod records;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use durability::Durability;
#[cfg(any(feature = "omit-sync", feature = "testkit"))]
pub use durability::Omission;
pub use embedded::{Embedded, open, open_with};
