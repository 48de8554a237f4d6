//! The scrub on a registry whose files, records and clock a test can change behind its back.

mod damage;
mod house;
mod passes;
mod volume;
