//! What is said of LMDB alone.

use std::os::unix::fs::FileExt;

use super::*;

fn open(directory: &Path) -> EmbeddedKv {
    super::open(directory, EngineKind::Lmdb)
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
        matches!(read, Err(KvError::Damaged { .. })),
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
