//! What is damaged on the disk is found, answered with an error, and repaired by the next push: never served.

mod blobs;
mod cleaning;
mod failing;
mod harness;
mod keys;
mod last;
mod reclaiming;
mod records;
mod streams;
