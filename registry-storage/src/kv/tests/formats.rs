//! Formats, and who belongs to whom.

use super::*;

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    each(|engine, directory| {
        drop(open(directory, engine));
        overwrite(directory, engine, layout::FORMAT_KEY, &8_u32.to_be_bytes());
        for _ in 0..2 {
            let error = EmbeddedKv::open(directory, with(engine)).unwrap_err();
            assert!(
                matches!(
                    error,
                    OpenError::NewerFormat {
                        found: 8,
                        known: 4,
                        ..
                    }
                ),
                "{error:?}"
            );
            assert!(error.to_string().contains("newer version"), "{error}");
        }
    });
}

/// Makes records what a version wrote that knew no later format than this.
fn written_in(format: u32, directory: &Path, engine: EngineKind) {
    let engine = open_engine(directory, &with(engine)).unwrap();
    format::begin(&*engine, directory, format, None).unwrap();
}

fn found(directory: &Path, engine: EngineKind, known: u32) -> Result<Found, OpenError> {
    let engine = open_engine(directory, &with(engine)).unwrap();
    format::look(&*engine, directory, known)
}

#[test]
fn a_version_that_knows_an_older_format_refuses_this_one() {
    each(|engine, directory| {
        drop(open(directory, engine));
        // One that knows format 2 would collect what the trash holds.
        for knows in [1, 2] {
            let error = found(directory, engine, knows).unwrap_err();
            assert!(
                matches!(error, OpenError::NewerFormat { found: 4, known, .. } if known == knows),
                "{error:?}"
            );
        }
    });
}

#[test]
fn a_format_that_there_never_was_is_refused() {
    each(|engine, directory| {
        for never in [0_u32, 3] {
            drop(open(directory, engine));
            overwrite(directory, engine, layout::FORMAT_KEY, &never.to_be_bytes());
            let error = EmbeddedKv::open(directory, with(engine)).unwrap_err();
            assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
            overwrite(
                directory,
                engine,
                layout::FORMAT_KEY,
                &layout::FORMAT.to_be_bytes(),
            );
        }
    });
}

#[test]
fn an_older_format_is_brought_forward_with_all_that_is_in_it() {
    each(|engine, directory| {
        written_in(1, directory, engine);
        assert!(!found(directory, engine, 1).unwrap().new);
        let kv = open(directory, engine);
        block_on(kv.commit(Txn::new().put("k", "kept"))).unwrap();
        drop(kv);
        assert!(found(directory, engine, 1).is_err());
        assert_eq!(
            block_on(open(directory, engine).get("k")).unwrap().unwrap().value,
            "kept"
        );
    });
}

#[test]
fn records_of_format_2_are_as_they_were_in_format_4() {
    each(|engine, directory| {
        written_in(2, directory, engine);
        let kept = layout::last(Stamp(41), Timestamp(u64::MAX >> 1));
        overwrite(directory, engine, layout::LAST_KEY, &kept);
        let record = layout::record_key("k");
        overwrite(
            directory,
            engine,
            &record,
            &layout::stored(&record, Stamp(41), b"kept"),
        );
        let kv = open(directory, engine);
        assert_eq!(kv.engine.get(layout::LAST_KEY).unwrap().unwrap(), kept);
        let found = block_on(kv.get("k")).unwrap().unwrap();
        assert_eq!((&found.value[..], found.stamp), (&b"kept"[..], Stamp(41)));
        drop(kv);
        let kept = open_engine(directory, &with(engine)).unwrap();
        let format = kept.get(layout::FORMAT_KEY).unwrap().unwrap();
        assert_eq!(layout::read_format(&format).unwrap(), 4);
    });
}

#[test]
fn what_format_1_kept_of_the_last_commit_is_read_and_checked_from_then_on() {
    each(|engine, directory| {
        written_in(1, directory, engine);
        let kept = layout::last(Stamp(41), Timestamp(u64::MAX >> 1));
        overwrite(directory, engine, layout::LAST_KEY, &kept[..16]);
        let kv = open(directory, engine);
        let stored = kv.engine.get(layout::LAST_KEY).unwrap().unwrap();
        assert_eq!(stored, kept);
        assert_eq!(block_on(kv.now()).unwrap(), Timestamp(u64::MAX >> 1));
        assert_eq!(block_on(kv.commit(Txn::new().put("k", ""))).unwrap(), Stamp(42));
    });
}

#[test]
fn looking_at_records_changes_nothing() {
    each(|engine, directory| {
        for _ in 0..2 {
            let found = found(directory, engine, layout::FORMAT).unwrap();
            assert_eq!(
                found,
                Found {
                    new: true,
                    format: None,
                    store: None
                }
            );
        }
    });
}

#[test]
fn an_identity_is_given_once_and_stays() {
    each(|engine, directory| {
        let (first, second) = (StoreId([1; 16]), StoreId([2; 16]));
        for (given, expected) in [
            (None, None),
            (Some(first), Some(first)),
            (Some(second), Some(first)),
        ] {
            let engine = open_engine(directory, &with(engine)).unwrap();
            format::begin(&*engine, directory, layout::FORMAT, given).unwrap();
            let found = format::look(&*engine, directory, layout::FORMAT).unwrap();
            assert_eq!(found.store, expected);
        }
    });
}
