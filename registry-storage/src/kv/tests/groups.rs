//! How the committing thread deals with what an engine does.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::super::engine::{Fault, Group, Visit};
use super::*;

/// What an engine does with its next write.
const WORKS: u8 = 0;
const FULL: u8 = 1;
const FAILS: u8 = 2;
const UNKNOWN: u8 = 3;

/// A real engine that can be made to fail at commit, or to wait before it.
struct Faulty {
    inner: Arc<dyn Engine>,
    next: AtomicU8,
    groups: AtomicUsize,
    held: Mutex<bool>,
    released: Condvar,
}

impl Faulty {
    fn start(directory: &Path, engine: EngineKind) -> (Arc<Faulty>, EmbeddedKv) {
        let inner = open_engine(directory, &with(engine)).unwrap();
        let (last, now) = format::begin(&*inner, directory, layout::FORMAT, None).unwrap();
        let engine = Arc::new(Faulty {
            inner,
            next: AtomicU8::new(WORKS),
            groups: AtomicUsize::new(0),
            held: Mutex::new(false),
            released: Condvar::new(),
        });
        let kv = EmbeddedKv::start(engine.clone(), directory.to_owned(), clock::system(), last, now);
        (engine, kv)
    }

    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.released.notify_all();
    }
}

impl Engine for Faulty {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.inner.get(key)
    }

    fn scan(&self, from: Bound<&[u8]>, prefix: &[u8], limit: usize, visit: Visit<'_>) -> Result<(), KvError> {
        self.inner.scan(from, prefix, limit, visit)
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Group) -> Result<(), Fault>) -> Result<(), Fault> {
        self.groups.fetch_add(1, Ordering::SeqCst);
        drop(
            self.released
                .wait_while(self.held.lock().unwrap(), |held| *held)
                .unwrap(),
        );
        self.inner.write(&mut |group| {
            work(group)?;
            match self.next.load(Ordering::SeqCst) {
                FULL => Err(Fault::Full("no room".into())),
                FAILS => Err(Fault::Failed("no disk".into())),
                UNKNOWN => Err(Fault::Unknown("who knows".into())),
                _ => Ok(()),
            }
        })
    }
}

#[test]
fn a_commit_that_failed_cleanly_wrote_nothing_and_the_next_succeeds() {
    each(|kind, directory| {
        let (engine, kv) = Faulty::start(directory, kind);
        block_on(async {
            let first = kv.commit(Txn::new().put("k", "1")).await.unwrap();
            engine.next.store(FULL, Ordering::SeqCst);
            assert!(matches!(
                kv.commit(Txn::new().put("k", "2")).await,
                Err(KvError::Full(_))
            ));
            engine.next.store(FAILS, Ordering::SeqCst);
            assert!(matches!(
                kv.commit(Txn::new().put("k", "3")).await,
                Err(KvError::Failed(_))
            ));
            engine.next.store(WORKS, Ordering::SeqCst);
            assert_eq!(kv.get("k").await.unwrap().unwrap().stamp, first);
            kv.commit(Txn::new().at("k", first).put("k", "4")).await.unwrap();
        });
    });
}

#[test]
fn after_a_commit_whose_outcome_is_unknown_nothing_is_written_until_opened_again() {
    each(|kind, directory| {
        let (engine, kv) = Faulty::start(directory, kind);
        block_on(async {
            kv.commit(Txn::new().put("k", "1")).await.unwrap();
            engine.next.store(UNKNOWN, Ordering::SeqCst);
            let outcome = kv.commit(Txn::new().put("k", "2")).await;
            assert!(matches!(outcome, Err(KvError::OutcomeUnknown(_))), "{outcome:?}");
            engine.next.store(WORKS, Ordering::SeqCst);
            let refused = kv.commit(Txn::new().put("k", "3")).await;
            assert!(matches!(refused, Err(KvError::Failed(_))), "{refused:?}");
            assert_eq!(kv.get("k").await.unwrap().unwrap().value, "1");
            drop((engine, kv));
            open(directory, kind)
                .commit(Txn::new().put("k", "4"))
                .await
                .unwrap();
        });
    });
}

/// Puts transactions into one group: they wait while the engine is held at another.
async fn as_one_group(
    engine: &Arc<Faulty>,
    kv: &Arc<EmbeddedKv>,
    txns: Vec<Txn>,
) -> Vec<Result<Stamp, KvError>> {
    engine.hold(true);
    let before = engine.groups.load(Ordering::SeqCst);
    let first = {
        let kv = kv.clone();
        tokio::spawn(async move { kv.commit(Txn::new().put("first", "")).await })
    };
    while engine.groups.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    let members = futures_util::future::join_all(txns.into_iter().map(|txn| kv.commit(txn)));
    let release = async {
        // `join_all` has queued every member before this is polled.
        engine.hold(false);
    };
    let (outcomes, ()) = futures_util::future::join(members, release).await;
    first.await.unwrap().unwrap();
    assert_eq!(
        engine.groups.load(Ordering::SeqCst),
        before + 2,
        "they were not one group"
    );
    outcomes
}

#[test]
fn members_of_one_group_see_the_earlier_ones_and_only_those_that_hold_are_written() {
    each(|kind, directory| {
        let (engine, kv) = Faulty::start(directory, kind);
        let kv = Arc::new(kv);
        block_on(async {
            let start = kv.commit(Txn::new().put("k", "0")).await.unwrap();
            let txns = vec![
                Txn::new().at("k", start).put("k", "1").append("log/", "a"),
                Txn::new().at("k", start).put("k", "lost").append("log/", "lost"),
                Txn::new().absent("new").put("new", "1"),
                Txn::new().absent("new").put("new", "lost"),
                Txn::new().nothing_under("log/").put("never", ""),
                Txn::new().delete("new"),
                Txn::new()
                    .absent("new")
                    .nothing_under("ne")
                    .put("new", "2")
                    .append("log/", "b"),
            ];
            let outcomes = as_one_group(&engine, &kv, txns).await;
            let ok: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
            assert_eq!(ok, [true, false, true, false, false, true, true]);
            let stamps: Vec<_> = outcomes.iter().flatten().collect();
            assert!(stamps.is_sorted() && stamps[0] > &start);
            assert_eq!(kv.get("k").await.unwrap().unwrap().value, "1");
            assert_eq!(kv.get("new").await.unwrap().unwrap().value, "2");
            let log = kv.scan("log/", None, 10).await.unwrap();
            assert_eq!(
                log.iter().map(|(_, entry)| &entry.value[..]).collect::<Vec<_>>(),
                [b"a", b"b"]
            );
            assert_eq!(kv.get("never").await.unwrap(), None);
        });
    });
}

#[test]
fn closing_waits_for_what_was_queued() {
    each(|kind, directory| {
        let (engine, kv) = Faulty::start(directory, kind);
        block_on(async {
            engine.hold(true);
            let mut commit = Box::pin(kv.commit(Txn::new().put("k", "")));
            let pending = futures_util::poll!(commit.as_mut());
            assert!(pending.is_pending());
            while engine.groups.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Its caller leaves when it has been begun.
            drop(commit);
            engine.hold(false);
        });
        drop((engine, kv));
        assert!(block_on(open(directory, kind).get("k")).unwrap().is_some());
    });
}
