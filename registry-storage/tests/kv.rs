//! The records' contract, over each implementation.

use std::sync::Arc;

use registry_core::store::Kv;
use registry_storage::kv::{EmbeddedKv, EngineKind, Options};
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::Fixture;

async fn in_memory() -> Fixture<dyn Kv> {
    Fixture::new(Arc::new(MemoryKv::new()))
}

registry_storage::kv_suite!(memory, in_memory);

async fn embedded(engine: EngineKind) -> Fixture<dyn Kv> {
    let directory = tempfile::tempdir().expect("a directory for a test");
    let path = directory.path().join("records");
    let open = move || -> Arc<dyn Kv> {
        let options = Options {
            engine,
            ..Options::default()
        };
        Arc::new(EmbeddedKv::open(&path, options).expect("records"))
    };
    Fixture::new(open())
        .guarded_by(directory)
        .reopened_by(move || std::future::ready(open()))
}

async fn in_lmdb() -> Fixture<dyn Kv> {
    embedded(EngineKind::Lmdb).await
}

async fn in_sled() -> Fixture<dyn Kv> {
    embedded(EngineKind::Sled).await
}

registry_storage::kv_suite!(lmdb, durable, in_lmdb);
registry_storage::kv_suite!(sled, durable, in_sled);
