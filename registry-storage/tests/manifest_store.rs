//! The contract between push and collector, over each kind of records.

use std::sync::Arc;

use registry_core::Timestamp;
use registry_core::runtime::Threads;
use registry_core::store::Lifetimes;
use registry_storage::clock::ManualClock;
use registry_storage::kv::{EmbeddedKv, EngineKind, Options};
use registry_storage::memory::MemoryKv;
use registry_storage::records::Records;
use registry_storage::testkit::Interleaved;
use registry_storage::testkit::manifest_store::Fixture;

async fn in_memory() -> Fixture {
    let clock = ManualClock::at(Timestamp(1_700_000_000_000));
    let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
    let records = Records::new(kv, Threads::shared(), Lifetimes::default());
    Fixture::new(Arc::new(records), clock)
}

async fn interleaved() -> Fixture {
    let clock = ManualClock::at(Timestamp(1_700_000_000_000));
    let kv = Arc::new(Interleaved::new(MemoryKv::with_clock(clock.clock())));
    let records = Records::new(kv, Threads::shared(), Lifetimes::default());
    Fixture::new(Arc::new(records), clock)
}

async fn embedded(engine: EngineKind) -> Fixture {
    let clock = ManualClock::at(Timestamp(1_700_000_000_000));
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options {
        clock: clock.clock(),
        engine,
        ..Options::default()
    };
    let kv = EmbeddedKv::open(directory.path(), options).expect("records");
    let records = Records::new(Arc::new(kv), Threads::shared(), Lifetimes::default());
    Fixture::new(Arc::new(records), clock).guarded_by(directory)
}

async fn in_lmdb() -> Fixture {
    embedded(EngineKind::Lmdb).await
}

async fn in_sled() -> Fixture {
    embedded(EngineKind::Sled).await
}

registry_storage::manifest_store_suite!(memory, in_memory);
registry_storage::manifest_store_suite!(interleaved_stack, interleaved);
registry_storage::manifest_store_suite!(lmdb_stack, in_lmdb);
registry_storage::manifest_store_suite!(sled_stack, in_sled);
