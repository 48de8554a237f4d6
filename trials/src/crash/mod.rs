//! The crash trial: a server under load is ended at the worst moment, started again, and held to what it had answered.
//!
//! The specification is [`shelf`]: what a few tags, manifests and blobs of one repository may be, and how each
//! operation changes them. Clients write down what they asked and were answered ([`client`], [`history`]); after the
//! restart everything that they touched is read from outside ([`verify`]); then [`linear`] looks for an order of all
//! operations that explains all answers, the last reading included. So one search checks that nothing acknowledged is
//! lost, that nothing half-done or never sent is visible, that of several conditional writers one wins, that what a
//! pusher was told to exist is there when the manifest comes, and that every tag leads to something whole.

pub mod client;
pub mod content;
pub mod doubt;
mod ending;
pub mod history;
pub mod linear;
pub mod power;
pub mod process;
pub mod random;
pub mod report;
pub mod shelf;
pub mod trial;
pub mod verify;
pub mod wire;
pub mod workload;

#[cfg(test)]
mod linear_tests;
