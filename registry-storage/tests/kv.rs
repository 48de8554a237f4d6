//! The records' contract, over each implementation.

use std::sync::Arc;

use registry_core::store::Kv;
use registry_storage::kv::{EmbeddedKv, Options};
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::Fixture;

async fn in_memory() -> Fixture<dyn Kv> {
    Fixture::new(Arc::new(MemoryKv::new()))
}

registry_storage::kv_suite!(memory, in_memory);

async fn embedded() -> Fixture<dyn Kv> {
    let directory = tempfile::tempdir().expect("a directory for a test");
    let path = directory.path().join("records");
    let open =
        move || -> Arc<dyn Kv> { Arc::new(EmbeddedKv::open(&path, Options::default()).expect("records")) };
    Fixture::new(open())
        .guarded_by(directory)
        .reopened_by(move || std::future::ready(open()))
}

registry_storage::kv_suite!(engine, durable, embedded);
