//! What must hold however two operations meet: the second happens before every single look and write of the first.

mod belonging;
mod checking;
mod claims;
mod collecting;
mod counters;
mod harness;
mod tags_and_manifests;
mod undo;
mod wrappers;
