//! The stores for bytes.

use std::sync::Arc;

use registry_core::runtime::Threads;
use registry_storage::fs::FsBytes;
use registry_storage::kv::OpenError;
use registry_storage::memory::MemoryBytes;
use registry_storage::testkit::{ByteStore, Fixture};

pub(crate) async fn in_memory() -> Fixture<dyn ByteStore> {
    Fixture::new(Arc::new(MemoryBytes::new()))
}

pub(crate) async fn in_files() -> Fixture<dyn ByteStore> {
    let directory = tempfile::tempdir().expect("a directory for a test");
    let root = directory.path().join("blobs");
    let open = move || -> Arc<dyn ByteStore> {
        loop {
            match FsBytes::open(&root, Threads::shared()) {
                Ok(store) => return Arc::new(store),
                // A last write of the store that was closed has not ended.
                Err(OpenError::InUse(_)) => std::thread::yield_now(),
                Err(other) => panic!("{other}"),
            }
        }
    };
    Fixture::new(open())
        .guarded_by(directory)
        .reopened_by(move || std::future::ready(open()))
}
