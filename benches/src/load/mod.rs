//! A load on a registry over HTTP/1.1, and what it costs the server.
//!
//! The client shares the machine with the server, so it does as little as it can: requests are texts made
//! beforehand, bodies of answers are dropped where they lie, in the kernel's buffers (`MSG_TRUNC`; under TLS once they are opened), and all connections share one thread. So figures
//! that depend on the clock flatter every server a little; what a server's processors spent does not depend on the client.
//!
//! - [`connection`]: one keep-alive connection.
//! - [`tls`]: the certificate and the records of those that are not plain.
//! - [`drive`]: closed loops (each connection asks as soon as it was answered) and open ones (requests begin at the
//!   moments of a plan, whatever became of those before, so that a server that stands still is charged for all that waited).
//! - [`meter`]: the server's processor time and anonymous memory, read from `/proc`.
//! - [`syncs`]: how often it has its disk make something durable, which the kernel counts.
//! - [`content`]: bytes, blobs and images that nobody has pushed yet.
//! - [`scenario`]: what is asked for, by name; [`reads`], [`lists`], [`pushes`] and [`mixed`] have the parts.
//! - [`servers`]: berth and its peers, started, with their [`configurations`]; [`compare`]: all of them in turn.
//! - [`document`]: what came of it, for people, and what was measured [`beside`] it.
//! - [`floor`]: servers that do the least that the protocol allows, to compare with.

pub mod beside;
pub mod compare;
pub mod configurations;
pub mod connection;
pub mod content;
pub mod document;
pub mod drive;
pub mod fill;
pub mod floor;
pub mod lists;
pub mod meter;
pub mod mixed;
pub mod pushes;
pub mod reads;
pub mod report;
pub mod scenario;
pub mod servers;
pub mod syncs;
pub mod tls;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

/// The server under load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, whose descendants count too; without one, nothing of it is measured but its answers.
    pub process: Option<u32>,
    /// How it is connected to under TLS.
    pub tls: Option<Arc<ClientConfig>>,
}
