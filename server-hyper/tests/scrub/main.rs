//! The scrub on a registry whose files, records and clock a test can change behind its back.

mod command;
mod damage;
mod house;
mod passes;
#[path = "../support/mod.rs"]
mod support;
mod volume;
