//! The protocol on the wire, rule by rule, through the service and without a socket.

mod advisories;
mod bad_input;
mod docker;
mod harness;
mod must;
mod must_lists;
mod scopes;
mod service;
