//! Formats, and who belongs to whom.

use super::*;

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    each(|engine, directory| {
        drop(open(directory, engine));
        overwrite(directory, engine, layout::FORMAT_KEY, &3_u32.to_be_bytes());
        for _ in 0..2 {
            let error = EmbeddedKv::open(directory, with(engine)).unwrap_err();
            assert!(
                matches!(
                    error,
                    OpenError::NewerFormat {
                        found: 3,
                        known: 2,
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
fn a_version_that_knows_format_1_refuses_format_2() {
    each(|engine, directory| {
        drop(open(directory, engine));
        let error = found(directory, engine, 1).unwrap_err();
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
