//! What a registry is put through before its promises are believed.
//!
//! [`server`] runs a `berth` process and asks it over the wire; [`mounted`] gives it a disk whose power can be cut;
//! [`faults`] makes the disk fail under it; [`stress`] lets its collector work against its clients. [`schedules`] runs the
//! code under a scheduler that tries orders of its steps; [`replay`] records what stores commit under stress, and asks the
//! model whether it would do the same.
#![forbid(unsafe_code)]

pub mod crash;
pub mod disk_log;
pub mod faults;
pub mod mounted;
pub mod replay;
pub mod schedules;
pub mod server;
pub mod stress;
