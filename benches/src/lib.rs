//! Measurements that decide something.
//!
//! [`engines`] is the trial that chose the embedded record engine: what survives a power cut, how soon the
//! first manifest is answered after a crash, and how many durable commits a second it makes. Its figures and
//! their reading are in `ENGINES.md`; `cargo run --release -p benches --bin engines -- all` repeats them.
//!
//! [`collection`] is what collecting garbage costs: `cargo run --release -p benches --bin collection`.
//!
//! [`lists`] is what a page of a long list costs: `cargo run --release -p benches --bin lists`.
//!
//! [`cold`] is what pulls that wait for the disk cost those that do not: `cargo run --release -p benches --bin cold`.
//!
//! [`logins`] is what logins cost those who pull: `cargo run --release -p benches --bin logins`.
//!
//! [`instructions`] is how many instructions parts of a request take: `cargo run --release -p benches --bin instructions`.
//!
//! [`load`] is a load on a registry over HTTP, berth or another: `cargo run --release -p benches --bin load -- --help`.
//!
//! The commands `start` and `memory` measure a `berth` process whole, run by [`trials::server`].

pub mod accounts;
pub mod cold;
pub mod collection;
pub mod engines;
pub mod instructions;
pub mod lists;
pub mod load;
pub mod logins;
pub mod place;
