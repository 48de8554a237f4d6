//! The contract of collections, over each implementation of the records.

use std::sync::Arc;

use registry_core::store::Kv;
use registry_storage::kv::{EmbeddedKv, EngineKind, Options};
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::Fixture;

async fn in_memory() -> Fixture<dyn Kv> {
    Fixture::new(Arc::new(MemoryKv::new()))
}

async fn embedded(engine: EngineKind) -> Fixture<dyn Kv> {
    let directory = tempfile::tempdir().expect("a directory for a test");
    let path = directory.path().join("records");
    let options = Options {
        engine,
        ..Options::default()
    };
    let kv = EmbeddedKv::open(&path, options).expect("records");
    Fixture::new(Arc::new(kv) as Arc<dyn Kv>).guarded_by(directory)
}

async fn in_lmdb() -> Fixture<dyn Kv> {
    embedded(EngineKind::Lmdb).await
}

async fn in_sled() -> Fixture<dyn Kv> {
    embedded(EngineKind::Sled).await
}

registry_storage::collection_suite!(memory, in_memory);
registry_storage::collection_suite!(lmdb, in_lmdb);
registry_storage::collection_suite!(sled, in_sled);
