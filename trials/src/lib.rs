//! What a registry is put through before its promises are believed.
//!
//! [`server`] runs a `berth` process and asks it over the wire; [`mounted`] gives it a disk whose power can be cut.
#![forbid(unsafe_code)]

pub mod disk_log;
pub mod mounted;
pub mod server;
