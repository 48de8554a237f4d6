//! Everything in the process, gone with it. The reference implementation: each clause of the seams, written as
//! plainly as it can be.

mod blobs;
mod kv;

pub use blobs::MemoryBytes;
pub use kv::MemoryKv;
