//! `berth` as a library: the registry of `registry-core` behind hyper, with TLS, metrics, logs and a graceful end.
//!
//! [`TestServer`] is a whole registry for one test; [`Server`] serves any service; [`config`] is the configuration
//! of the binary.

pub mod admin;
mod body;
pub mod config;
mod connection;
pub mod control;
pub mod front;
mod io;
pub mod logging;
pub mod metrics;
mod observe;
#[cfg(feature = "omit-sync")]
pub mod omission;
pub mod outgoing;
mod readiness;
mod runtime;
mod scrub;
#[cfg(target_os = "linux")]
mod sendfile;
mod server;
mod stores;
mod test_server;
pub mod tls;
pub mod trust;
mod wrong_protocol;

pub use front::{Front, FrontService};
pub use observe::RequestBody;
pub use runtime::TokioRuntime;
pub use server::{Builder, Handle, Limits, Server, Stopped};
pub use stores::{Snapshot, StoreOptions, Stores, memory_registry};
pub use test_server::TestServer;
