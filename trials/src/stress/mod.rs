//! Stress over HTTP: a `berth` whose collector runs all the time and whose promises last for milliseconds, under
//! clients that push, skip what they are told is there, mount, delete, push again what was just deleted, and read
//! slowly, and under SIGKILL.
//!
//! [`content`] is what they push: groups of images, indexes and signatures that share layers. A few groups are busy at
//! any moment and the others rest, so that a blob is asked for again at every stage of its collection. [`ledger`]
//! remembers every answer, and says of each later one whether it may be so: what an acknowledged manifest names must be
//! found, until somebody sends its delete; what a pusher was told to be there must be found for the grace. At the end
//! every tag is pulled whole; then all is deleted, and the store must shrink to nothing ([`emptied`]).

pub mod blobs;
pub mod client;
pub mod content;
pub mod emptied;
pub mod ledger;
pub mod manifests;
pub mod metrics;
pub mod register;
pub mod trial;
pub mod workload;
