//! What is said of this implementation alone; what every implementation promises is in the `testkit`.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use registry_core::store::Precondition;

use super::engine::{Fault, Group, Visit};
use super::*;
use crate::clock::ManualClock;
use crate::testkit::block_on;

fn on(clock: &ManualClock) -> Options {
    Options {
        clock: clock.clock(),
        ..Options::default()
    }
}

fn open(directory: &Path) -> EmbeddedKv {
    EmbeddedKv::open(directory, Options::default()).expect("records")
}

#[test]
fn the_clock_does_not_go_back_with_the_systems_not_across_opening_either() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp(5_000));
    block_on(async {
        let kv = EmbeddedKv::open(directory.path(), on(&clock)).unwrap();
        kv.commit(Txn::new().put("k", "")).await.unwrap();
        clock.set(Timestamp(3_000));
        assert_eq!(kv.now().await.unwrap(), Timestamp(5_000));
        drop(kv);

        let kv = EmbeddedKv::open(directory.path(), on(&clock)).unwrap();
        assert_eq!(kv.now().await.unwrap(), Timestamp(5_000));
        let late = kv.commit(Txn::new().before(Timestamp(5_000))).await;
        assert!(
            matches!(late, Err(KvError::Conflict(Precondition::Before(_)))),
            "{late:?}"
        );
        clock.set(Timestamp(6_000));
        assert_eq!(kv.now().await.unwrap(), Timestamp(6_000));
    });
}

#[test]
fn a_directory_is_open_once_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    let second = EmbeddedKv::open(directory.path(), Options::default());
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
    drop(first);
    open(directory.path());
}

/// Changes one entry of the engine behind the records' back.
fn overwrite(directory: &Path, key: &[u8], value: &[u8]) {
    let lock = create_and_lock(directory).unwrap();
    let (engine, ..) = Lmdb::open(directory, lock, 1 << 30).unwrap();
    engine.write(&mut |group| group.put(key, value)).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    overwrite(directory.path(), layout::FORMAT_KEY, &2_u32.to_be_bytes());
    for _ in 0..2 {
        let error = EmbeddedKv::open(directory.path(), Options::default()).unwrap_err();
        assert!(
            matches!(
                error,
                OpenError::NewerFormat {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("newer version"), "{error}");
    }
}

#[test]
fn what_is_no_store_of_records_is_refused() {
    for (key, value) in [
        (layout::FORMAT_KEY, &b"1"[..]),
        (layout::FORMAT_KEY, &[0; 4]),
        (layout::LAST_KEY, b"x"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path()));
        overwrite(directory.path(), key, value);
        let error = EmbeddedKv::open(directory.path(), Options::default()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("data.mdb"), [7; 100_000]).unwrap();
    assert!(EmbeddedKv::open(directory.path(), Options::default()).is_err());
}

#[test]
fn a_file_that_was_cut_short_is_refused_before_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let kv = open(directory.path());
    block_on(kv.commit(Txn::new().put("k", vec![7; 1 << 20]))).unwrap();
    drop(kv);
    let file = std::fs::File::options()
        .write(true)
        .open(directory.path().join("data.mdb"))
        .unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let error = EmbeddedKv::open(directory.path(), Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

/// Cuts off what is zero at the end of the file, which is where the engine itself has written nothing.
fn cut_unwritten_pages(directory: &Path) -> bool {
    let path = directory.join("data.mdb");
    let content = std::fs::read(&path).unwrap();
    let written = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let pages = written.next_multiple_of(4096);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(pages as u64).unwrap();
    pages < content.len()
}

#[test]
fn a_file_that_ends_before_pages_that_were_given_up_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut cut = 0;
    block_on(async {
        let mut expected = Vec::new();
        for round in 0..40_usize {
            let kv = open(directory.path());
            assert_eq!(kv.scan("", None, 1000).await.unwrap(), expected);
            kv.commit(Txn::new()).await.unwrap();
            let txn = Txn::new()
                .put("a/b", vec![7; 1000 * (round % 13 + 1)])
                .delete("a/b");
            kv.commit(txn.put(format!("k/{round}"), "kept")).await.unwrap();
            expected = kv.scan("", None, 1000).await.unwrap();
            drop(kv);
            // As if the process had ended right after the commit.
            cut += usize::from(cut_unwritten_pages(directory.path()));
        }
    });
    assert!(cut > 0, "no file ever ended before its last page");
}

#[test]
fn a_file_that_lost_its_last_page_is_refused_and_left_as_it_was() {
    for size in [10, 5000, 100_000] {
        let directory = tempfile::tempdir().unwrap();
        let kv = open(directory.path());
        let txn = (0..200).fold(Txn::new(), |txn, i| txn.put(format!("k/{i}"), vec![7; size]));
        block_on(kv.commit(txn)).unwrap();
        drop(kv);
        let path = directory.path().join("data.mdb");
        cut_unwritten_pages(directory.path());
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len() - 4096;
        file.set_len(length).unwrap();
        for _ in 0..2 {
            let error = EmbeddedKv::open(directory.path(), Options::default()).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
            assert_eq!(file.metadata().unwrap().len(), length);
        }
    }
}

#[test]
fn a_damaged_entry_fails_what_reads_it_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let stamp = block_on(open(directory.path()).commit(Txn::new().put("bad", "x").put("good", "y"))).unwrap();
    overwrite(
        directory.path(),
        &layout::record_key("bad"),
        b"not what was stored",
    );
    let kv = open(directory.path());
    block_on(async {
        assert!(matches!(kv.get("bad").await, Err(KvError::Failed(_))));
        assert!(matches!(kv.scan("", None, 10).await, Err(KvError::Failed(_))));
        let outcome = kv.commit(Txn::new().at("bad", stamp).put("new", "")).await;
        assert!(matches!(outcome, Err(KvError::Failed(_))), "{outcome:?}");
        assert_eq!(kv.get("good").await.unwrap().unwrap().value, "y");
        kv.commit(Txn::new().at("good", stamp).absent("new").put("bad", "mended"))
            .await
            .unwrap();
        assert_eq!(kv.get("bad").await.unwrap().unwrap().value, "mended");
    });
}

#[test]
fn bits_that_flip_in_the_file_never_make_another_value() {
    let directory = tempfile::tempdir().unwrap();
    let value = vec![0x5a; 100_000];
    block_on(open(directory.path()).commit(Txn::new().put("k", value.clone()))).unwrap();
    let path = directory.path().join("data.mdb");
    let content = std::fs::read(&path).unwrap();
    let run = content
        .windows(64)
        .position(|window| window.iter().all(|b| *b == 0x5a))
        .unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_at(&[0x5b], run as u64 + 1000).unwrap();
    let read = block_on(open(directory.path()).get("k"));
    assert!(
        matches!(read, Err(KvError::Failed(_))),
        "{:?}",
        read.map(|_| "a value")
    );
}

#[test]
fn a_full_store_refuses_whole_transactions_goes_on_and_can_be_opened_larger() {
    let directory = tempfile::tempdir().unwrap();
    let small = Options {
        capacity: 4 << 20,
        ..Options::default()
    };
    let kv = EmbeddedKv::open(directory.path(), small).unwrap();
    block_on(async {
        kv.commit(Txn::new().put("first", "kept")).await.unwrap();
        let txn = Txn::new()
            .put("half", "x")
            .put("large", vec![7; 8 << 20])
            .put("first", "gone");
        let outcome = kv.commit(txn.clone()).await;
        assert!(matches!(outcome, Err(KvError::Full(_))), "{outcome:?}");
        assert_eq!(kv.scan("", None, 10).await.unwrap().len(), 1);
        assert_eq!(kv.get("first").await.unwrap().unwrap().value, "kept");
        kv.commit(Txn::new().put("second", "fits")).await.unwrap();
        drop(kv);
        let kv = open(directory.path());
        kv.commit(txn).await.unwrap();
        assert_eq!(kv.get("first").await.unwrap().unwrap().value, "gone");
    });
}

/// What an engine does with its next write.
const WORKS: u8 = 0;
const FULL: u8 = 1;
const FAILS: u8 = 2;
const UNKNOWN: u8 = 3;

/// A real engine that can be made to fail at commit, or to wait before it.
struct Faulty {
    inner: Lmdb,
    next: AtomicU8,
    groups: AtomicUsize,
    held: Mutex<bool>,
    released: Condvar,
}

impl Faulty {
    fn start(directory: &Path) -> (Arc<Faulty>, EmbeddedKv) {
        let lock = create_and_lock(directory).unwrap();
        let (inner, last, now) = Lmdb::open(directory, lock, 1 << 30).unwrap();
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
    let directory = tempfile::tempdir().unwrap();
    let (engine, kv) = Faulty::start(directory.path());
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
}

#[test]
fn after_a_commit_whose_outcome_is_unknown_nothing_is_written_until_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, kv) = Faulty::start(directory.path());
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
        open(directory.path())
            .commit(Txn::new().put("k", "4"))
            .await
            .unwrap();
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
    let directory = tempfile::tempdir().unwrap();
    let (engine, kv) = Faulty::start(directory.path());
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
}

#[test]
fn of_a_group_that_does_not_fit_those_members_are_written_that_do() {
    let directory = tempfile::tempdir().unwrap();
    let small = Options {
        capacity: 4 << 20,
        ..Options::default()
    };
    let kv = EmbeddedKv::open(directory.path(), small).unwrap();
    block_on(async {
        let txns = (0..40).map(|i| {
            let size = if i % 4 == 0 { 8 << 20 } else { 10 };
            kv.commit(Txn::new().put(format!("k/{i:02}"), vec![7; size]))
        });
        let outcomes = futures_util::future::join_all(txns).await;
        for (i, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(_) => assert_ne!(i % 4, 0),
                Err(KvError::Full(_)) => assert_eq!(i % 4, 0),
                Err(other) => panic!("{i}: {other}"),
            }
        }
        assert_eq!(kv.scan("k/", None, 100).await.unwrap().len(), 30);
    });
}

#[test]
fn closing_waits_for_what_was_queued() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, kv) = Faulty::start(directory.path());
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
    assert!(block_on(open(directory.path()).get("k")).unwrap().is_some());
}

#[test]
fn what_the_store_keeps_about_itself_is_dumped_and_loaded_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    drop(open(&from));
    overwrite(&from, b"\x00of a later version", b"anything");
    let mut dump = Vec::new();
    open(&from).dump(&mut dump).unwrap();
    let mut reader = crate::backup::DumpReader::begin(dump.as_slice()).unwrap();
    open(&to).load(&mut reader, |_| true).unwrap();
    let mut again = Vec::new();
    open(&to).dump(&mut again).unwrap();
    assert_eq!(dump, again);
}

#[test]
fn a_dump_of_newer_records_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut dump = Vec::new();
    let newer = layout::FORMAT + 1;
    crate::backup::DumpWriter::begin(&mut dump, newer)
        .unwrap()
        .end()
        .unwrap();
    let mut reader = crate::backup::DumpReader::begin(dump.as_slice()).unwrap();
    let refused = open(directory.path()).load(&mut reader, |_| true);
    assert!(
        matches!(refused, Err(crate::backup::DumpError::NewerRecords { found, .. }) if found == newer),
        "{refused:?}"
    );
}
