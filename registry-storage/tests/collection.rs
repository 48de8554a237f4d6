//! The contract of collections, over each implementation of the records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::collection::{Collection, Match, Query, keys};
use registry_core::store::{Entry, Kv, KvError, Stamp, Txn};
use registry_storage::kv::{EmbeddedKv, EngineKind, Options};
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::collection::{Pet, pet};
use registry_storage::testkit::{Fixture, block_on};

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

/// What is read of a map in memory: how often, and how many entries of records.
struct Counting {
    records: MemoryKv,
    rows: AtomicUsize,
    entries: AtomicUsize,
}

#[async_trait]
impl Kv for Counting {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let is_row = key.starts_with(keys::ROW);
        self.rows.fetch_add(usize::from(is_row), Ordering::SeqCst);
        self.records.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        let page = self.records.scan(prefix, after, limit).await?;
        let counter = match prefix.starts_with(keys::ROW) {
            true => &self.rows,
            false => &self.entries,
        };
        counter.fetch_add(page.len(), Ordering::SeqCst);
        Ok(page)
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.records.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.records.commit(txn).await
    }
}

#[test]
fn a_page_along_an_index_reads_its_own_records_and_no_others() {
    block_on(async {
        let kv = Arc::new(Counting {
            records: MemoryKv::new(),
            rows: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
        });
        let pets: Collection<Pet> = Collection::new(kv.clone());
        for number in 0..3000_i64 {
            let made = Pet {
                kind: if number < 40 { "dog" } else { "cat" }.to_owned(),
                ..pet(&format!("p{number:05}"))
            };
            pets.insert(&made).await.unwrap();
        }
        let dogs = || Query::all().and("kind", Match::Is("dog".into()));
        for (query, total, most_entries) in [
            (Query::all().page(0, 10), 3000, 1000),
            (Query::all().page(1500, 10), 3000, 2000),
            (Query::all().by("name", true).page(2990, 10), 3000, 1000),
            (
                Query::all()
                    .by("name", false)
                    .and("name", Match::Like("7".into()))
                    .page(5, 10),
                813,
                3000,
            ),
            (dogs().page(30, 10), 40, 40),
            (dogs().by("id", true).page(0, 10), 40, 40),
        ] {
            kv.rows.store(0, Ordering::SeqCst);
            kv.entries.store(0, Ordering::SeqCst);
            let found = pets.query(&query).await.unwrap();
            assert_eq!((found.rows.len(), found.total), (10, total), "{query:?}");
            assert_eq!(kv.rows.load(Ordering::SeqCst), 10, "{query:?}");
            assert!(kv.entries.load(Ordering::SeqCst) <= most_entries, "{query:?}");
        }
        // In another order, those of one value are read and the others are not.
        kv.rows.store(0, Ordering::SeqCst);
        let found = pets.query(&dogs().by("age", true).page(0, 10)).await.unwrap();
        assert_eq!((found.rows.len(), found.total), (10, 40));
        assert_eq!(kv.rows.load(Ordering::SeqCst), 50);
    });
}
