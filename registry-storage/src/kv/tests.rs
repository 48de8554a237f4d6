//! What is said of this implementation alone; what every implementation promises is in the `testkit`.

mod formats;
mod groups;
mod lmdb;

use registry_core::store::Precondition;

use super::*;
use crate::clock::ManualClock;
use crate::testkit::block_on;

/// Runs a test over each engine, in a directory of its own.
fn each(test: impl Fn(EngineKind, &Path)) {
    for engine in EngineKind::ALL {
        // Shown if the test fails.
        println!("engine: {engine}");
        let directory = tempfile::tempdir().unwrap();
        test(engine, directory.path());
    }
}

fn with(engine: EngineKind) -> Options {
    Options {
        engine,
        ..Options::default()
    }
}

fn on(clock: &ManualClock, engine: EngineKind) -> Options {
    Options {
        clock: clock.clock(),
        engine,
        ..Options::default()
    }
}

fn open(directory: &Path, engine: EngineKind) -> EmbeddedKv {
    EmbeddedKv::open(directory, with(engine)).expect("records")
}

#[test]
fn the_clock_does_not_go_back_with_the_systems_not_across_opening_either() {
    each(|engine, directory| {
        let clock = ManualClock::at(Timestamp(5_000));
        block_on(async {
            let kv = EmbeddedKv::open(directory, on(&clock, engine)).unwrap();
            kv.commit(Txn::new().put("k", "")).await.unwrap();
            clock.set(Timestamp(3_000));
            assert_eq!(kv.now().await.unwrap(), Timestamp(5_000));
            drop(kv);

            let kv = EmbeddedKv::open(directory, on(&clock, engine)).unwrap();
            assert_eq!(kv.now().await.unwrap(), Timestamp(5_000));
            let late = kv.commit(Txn::new().before(Timestamp(5_000))).await;
            assert!(
                matches!(late, Err(KvError::Conflict(Precondition::Before(_)))),
                "{late:?}"
            );
            clock.set(Timestamp(6_000));
            assert_eq!(kv.now().await.unwrap(), Timestamp(6_000));
        });
    });
}

#[test]
fn a_directory_is_open_once_at_a_time() {
    each(|engine, directory| {
        let first = open(directory, engine);
        let second = EmbeddedKv::open(directory, with(engine));
        assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
        drop(first);
        open(directory, engine);
    });
}

/// Changes one entry of the engine behind the records' back.
fn overwrite(directory: &Path, engine: EngineKind, key: &[u8], value: &[u8]) {
    let engine = open_engine(directory, &with(engine)).unwrap();
    engine.write(&mut |group| group.put(key, value)).unwrap();
}

#[test]
fn what_is_no_store_of_records_is_refused() {
    for (key, value) in [
        (layout::FORMAT_KEY, &b"1"[..]),
        (layout::FORMAT_KEY, &[0; 4]),
        (layout::LAST_KEY, b"x"),
        (layout::STORE_KEY, b"x"),
    ] {
        each(|engine, directory| {
            drop(open(directory, engine));
            overwrite(directory, engine, key, value);
            let error = EmbeddedKv::open(directory, with(engine)).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        });
    }
    each(|engine, directory| {
        let file = match engine {
            EngineKind::Lmdb => "data.mdb",
            EngineKind::Sled => "sled/conf",
        };
        let file = directory.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, [7; 100_000]).unwrap();
        assert!(EmbeddedKv::open(directory, with(engine)).is_err());
    });
}

#[test]
fn a_damaged_entry_fails_what_reads_it_and_nothing_else() {
    each(|engine, directory| {
        let stamp =
            block_on(open(directory, engine).commit(Txn::new().put("bad", "x").put("good", "y"))).unwrap();
        overwrite(
            directory,
            engine,
            &layout::record_key("bad"),
            b"not what was stored",
        );
        let kv = open(directory, engine);
        block_on(async {
            let named = |error: &KvError| matches!(error, KvError::Damaged { key, .. } if key == "bad");
            assert!(named(&kv.get("bad").await.unwrap_err()));
            assert!(named(&kv.scan("", None, 10).await.unwrap_err()));
            let outcome = kv.commit(Txn::new().at("bad", stamp).put("new", "")).await;
            assert!(named(&outcome.unwrap_err()));
            assert_eq!(kv.get("good").await.unwrap().unwrap().value, "y");
            kv.commit(Txn::new().at("good", stamp).absent("new").put("bad", "mended"))
                .await
                .unwrap();
            assert_eq!(kv.get("bad").await.unwrap().unwrap().value, "mended");
        });
    });
}

#[test]
fn that_an_entry_is_damaged_can_be_asserted_until_it_is_written_again() {
    each(|engine, directory| {
        block_on(open(directory, engine).commit(Txn::new().put("bad", "x").put("good", "y"))).unwrap();
        overwrite(
            directory,
            engine,
            &layout::record_key("bad"),
            b"not what was stored",
        );
        let kv = open(directory, engine);
        block_on(async {
            for whole in ["good", "absent"] {
                let outcome = kv.commit(Txn::new().damaged(whole).put("new", "")).await;
                assert!(
                    matches!(&outcome, Err(KvError::Conflict(Precondition::Damaged(key))) if key == whole),
                    "{outcome:?}"
                );
            }
            let mend = Txn::new().damaged("bad").put("bad", "mended");
            kv.commit(mend.clone()).await.unwrap();
            let again = kv.commit(mend).await;
            assert!(matches!(again, Err(KvError::Conflict(_))), "{again:?}");
            assert_eq!(kv.get("bad").await.unwrap().unwrap().value, "mended");
        });
    });
}

#[test]
fn a_directory_belongs_to_the_engine_that_made_it() {
    each(|engine, directory| {
        let other = EngineKind::ALL
            .into_iter()
            .find(|other| *other != engine)
            .unwrap();
        block_on(open(directory, engine).commit(Txn::new().put("k", "kept"))).unwrap();
        let error = EmbeddedKv::open(directory, with(other)).unwrap_err();
        assert!(
            matches!(&error, OpenError::OtherEngine { found, asked, .. } if *found == engine && *asked == other),
            "{error:?}"
        );
        let said = error.to_string();
        assert!(said.contains(engine.name()) && said.contains("restore"), "{said}");
        assert_eq!(
            block_on(open(directory, engine).get("k")).unwrap().unwrap().value,
            "kept"
        );
    });
}

#[test]
fn what_the_store_keeps_about_itself_is_dumped_and_loaded_as_it_is() {
    each(|engine, directory| {
        let (from, to) = (directory.join("from"), directory.join("to"));
        drop(open(&from, engine));
        overwrite(&from, engine, b"\x00of a later version", b"anything");
        let mut dump = Vec::new();
        open(&from, engine).dump(&mut dump).unwrap();
        let mut reader = crate::backup::DumpReader::begin(dump.as_slice()).unwrap();
        open(&to, engine).load(&mut reader, |_| true).unwrap();
        let mut again = Vec::new();
        open(&to, engine).dump(&mut again).unwrap();
        assert_eq!(dump, again);
    });
}

#[test]
fn a_dump_of_newer_records_is_refused_by_name() {
    each(|engine, directory| {
        let mut dump = Vec::new();
        let newer = layout::FORMAT + 1;
        crate::backup::DumpWriter::begin(&mut dump, newer)
            .unwrap()
            .end()
            .unwrap();
        let mut reader = crate::backup::DumpReader::begin(dump.as_slice()).unwrap();
        let refused = open(directory, engine).load(&mut reader, |_| true);
        assert!(
            matches!(refused, Err(crate::backup::DumpError::NewerRecords { found, .. }) if found == newer),
            "{refused:?}"
        );
    });
}
