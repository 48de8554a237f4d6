//! The records' contract, over each implementation.

use std::sync::Arc;

use registry_core::store::Kv;
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::Fixture;

async fn in_memory() -> Fixture<dyn Kv> {
    Fixture::new(Arc::new(MemoryKv::new()))
}

registry_storage::kv_suite!(memory, in_memory);
