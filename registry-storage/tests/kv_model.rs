//! Random transactions on the engines, with memory as the model of what they mean.

use std::time::Duration;

use proptest::prelude::*;
use registry_core::Timestamp;
use registry_core::store::{Kv, KvError, Stamp, Txn};
use registry_storage::clock::ManualClock;
use registry_storage::kv::{EmbeddedKv, EngineKind, Options};
use registry_storage::memory::MemoryKv;
use registry_storage::testkit::block_on;

/// A precondition, with stamps chosen among those that were seen.
#[derive(Clone, Debug)]
enum Condition {
    AsRead(String),
    AtOne(String, usize),
    Absent(String),
    Empty(String),
    Before(u64),
    NotBefore(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Put(String, Vec<u8>),
    Delete(String),
    Append(String, Vec<u8>),
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Condition>, Vec<Change>),
    Get(String),
    Scan(String, Option<String>, usize),
    /// Sets the system's clock, also back.
    Clock(u64),
    Reopen,
}

/// Few keys, so that steps meet; some of them begin alike.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[ab](/[ab]{0,2}){0,2}",
        1 => "(b|a/)?\u{e9}?[\u{0}-\u{ff}]{0,2}",
        1 => Just("k".repeat(500)),
        1 => Just("k".repeat(501)),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        4 => key().prop_map(Condition::AsRead),
        2 => (key(), any::<usize>()).prop_map(|(key, n)| Condition::AtOne(key, n)),
        2 => key().prop_map(Condition::Absent),
        1 => key().prop_map(Condition::Empty),
        1 => (900..2_000_u64).prop_map(Condition::Before),
        1 => (900..2_000_u64).prop_map(Condition::NotBefore),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let value = || prop_oneof![3 => prop::collection::vec(any::<u8>(), 0..20), 1 => Just(vec![7; 9000])];
    prop_oneof![
        3 => (key(), value()).prop_map(|(key, value)| Change::Put(key, value)),
        2 => key().prop_map(Change::Delete),
        1 => (key(), value()).prop_map(|(key, value)| Change::Append(key, value)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let conditions = prop::collection::vec(condition(), 0..3);
    let changes = prop::collection::vec(change(), 0..4);
    prop_oneof![
        8 => (conditions, changes).prop_map(|(conditions, changes)| Step::Commit(conditions, changes)),
        2 => key().prop_map(Step::Get),
        3 => (key(), prop::option::of(key()), 0..6_usize).prop_map(|(p, a, n)| Step::Scan(p, a, n)),
        1 => (900..2_000_u64).prop_map(Step::Clock),
        1 => Just(Step::Reopen),
    ]
}

async fn txn(kv: &dyn Kv, stamps: &[Stamp], conditions: &[Condition], changes: &[Change]) -> Txn {
    let mut txn = Txn::new();
    for condition in conditions {
        txn = match condition {
            Condition::AsRead(key) => {
                let read = kv.get(key).await.unwrap();
                txn.unchanged(key, read.as_ref())
            }
            Condition::AtOne(key, n) if !stamps.is_empty() => txn.at(key, stamps[n % stamps.len()]),
            Condition::AtOne(key, _) | Condition::Absent(key) => txn.absent(key),
            Condition::Empty(prefix) => txn.nothing_under(prefix),
            Condition::Before(time) => txn.before(Timestamp(*time)),
            Condition::NotBefore(time) => txn.not_before(Timestamp(*time)),
        };
    }
    changes.iter().cloned().fold(txn, |txn, change| match change {
        Change::Put(key, value) => txn.put(key, value),
        Change::Delete(key) => txn.delete(key),
        Change::Append(prefix, value) => txn.append(prefix, value),
    })
}

/// Errors are alike if they are of one kind and name the same.
fn told(outcome: Result<Stamp, KvError>) -> Result<Stamp, String> {
    outcome.map_err(|error| format!("{error:?}"))
}

/// Takes the steps on an engine and on the model.
fn follow(engine: EngineKind, steps: &[Step]) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp(1_000));
    let open = || {
        let options = Options {
            clock: clock.clock(),
            engine,
            capacity: 64 << 20,
            ..Options::default()
        };
        EmbeddedKv::open(directory.path(), options).unwrap()
    };
    let model = MemoryKv::with_clock(clock.clock());
    let mut kv = Some(open());
    let mut stamps = Vec::new();
    block_on(async {
        // A time counts once it was told; it is told here, and after each time that it is set.
        prop_assert_eq!(
            kv.as_ref().unwrap().now().await.unwrap(),
            model.now().await.unwrap()
        );
        for step in steps {
            let engine = kv.as_ref().expect("it is open");
            match step {
                Step::Commit(conditions, changes) => {
                    let txn = txn(&model, &stamps, conditions, changes).await;
                    let expected = told(model.commit(txn.clone()).await);
                    let found = told(engine.commit(txn).await);
                    prop_assert_eq!(&found, &expected);
                    stamps.extend(expected.ok());
                }
                Step::Get(key) => {
                    prop_assert_eq!(engine.get(key).await.unwrap(), model.get(key).await.unwrap());
                }
                Step::Scan(prefix, after, limit) => {
                    let expected = model.scan(prefix, after.as_deref(), *limit).await.unwrap();
                    let found = engine.scan(prefix, after.as_deref(), *limit).await.unwrap();
                    prop_assert_eq!(found, expected);
                }
                Step::Clock(time) => {
                    clock.set(Timestamp(*time));
                    prop_assert_eq!(engine.now().await.unwrap(), model.now().await.unwrap());
                }
                Step::Reopen => {
                    // The clock is kept as far as commits have seen it.
                    let txn = Txn::new().put("seen", "");
                    prop_assert_eq!(
                        told(engine.commit(txn.clone()).await),
                        told(model.commit(txn).await)
                    );
                    drop(kv.take());
                    kv = Some(open());
                }
            }
        }
        let engine = kv.as_ref().expect("it is open");
        let all = model.scan("", None, usize::MAX).await.unwrap();
        prop_assert_eq!(engine.scan("", None, usize::MAX).await.unwrap(), all);
        let ahead = model.now().await.unwrap() + Duration::from_secs(1);
        prop_assert!(engine.commit(Txn::new().before(ahead)).await.is_ok());
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn lmdb_does_what_memory_does(steps in prop::collection::vec(step(), 1..60)) {
        follow(EngineKind::Lmdb, &steps)?;
    }

    #[test]
    fn sled_does_what_memory_does(steps in prop::collection::vec(step(), 1..60)) {
        follow(EngineKind::Sled, &steps)?;
    }
}
