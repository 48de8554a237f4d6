//! What is said of sled alone.

use std::fs::{self, File};
use std::path::PathBuf;

use super::*;
use crate::kv::create_and_lock;

fn open(directory: &Path) -> Sled {
    Sled::open(directory, create_and_lock(directory).unwrap()).unwrap()
}

fn put(sled: &Sled, entries: &[(&str, &[u8])]) -> Result<(), Fault> {
    sled.write(&mut |group| {
        let mut entries = entries.iter();
        entries.try_for_each(|(key, value)| group.put(key.as_bytes(), value))
    })
}

fn get(sled: &Sled, key: &str) -> Option<Vec<u8>> {
    sled.get(key.as_bytes()).unwrap()
}

fn all(sled: &Sled) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let from = Bound::Included(&b"k"[..]);
    sled.scan(from, b"k", usize::MAX, &mut |key, value| {
        found.push((String::from_utf8(key.to_vec()).unwrap(), value.to_vec()));
        Ok(())
    })
    .unwrap();
    found
}

fn files_of_long_messages(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory.join(DIRECTORY).join("blobs")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn no_value_and_no_key_is_so_long_that_sled_makes_a_file_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let sled = open(directory.path());
    let long = |n: usize| format!("k{n:04}{}", "/".repeat(500));
    let sizes = [8 << 10, (8 << 10) + 1, 100_000, 1 << 18];
    for round in 0..160 {
        let value = vec![round as u8; sizes[round % sizes.len()]];
        put(
            &sled,
            &[(&long(round), &value), (&long(round / 2), b"short again")],
        )
        .unwrap();
        assert_eq!(
            files_of_long_messages(directory.path()),
            [""; 0].map(PathBuf::from)
        );
    }
    for (n, (key, value)) in all(&sled).into_iter().enumerate() {
        assert_eq!(key, long(n));
        match n {
            0..80 => assert_eq!(value, b"short again"),
            _ => assert_eq!(value, vec![n as u8; sizes[n % sizes.len()]]),
        }
    }
    sled.write(&mut |group| (0..159).try_for_each(|n| group.delete(long(n).as_bytes())))
        .unwrap();
    assert_eq!(all(&sled).len(), 1);
    assert_eq!(
        sled.db().scan_prefix([2]).count(),
        (1 << 18) / (8 << 10),
        "of the one that is left"
    );
    assert_eq!(
        files_of_long_messages(directory.path()),
        [""; 0].map(PathBuf::from)
    );
}

#[test]
fn after_a_sync_that_failed_readers_see_what_was_before_and_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut sled = open(directory.path());
    put(&sled, &[("k1", b"old"), ("k2", b"old"), ("k4", b"old")]).unwrap();
    let expected = all(&sled);
    // It takes writes, and cannot be synced.
    sled.files = Files::open_with_log(
        &directory.path().join(DIRECTORY),
        File::open("/dev/null").unwrap(),
    )
    .unwrap();

    let changes = |changes: [(&str, Option<&str>); 3]| -> Changes {
        changes
            .map(|(key, value)| (key.into(), value.map(Into::into)))
            .into()
    };
    let batch = sled.batch(&changes([("k1", None), ("k2", Some("new")), ("k3", Some("new"))]));
    sled.db().apply_batch(batch.unwrap()).unwrap();
    let cause = sled.sync().unwrap_err();
    let before = changes([("k1", Some("old")), ("k2", Some("old")), ("k3", None)]);
    let fault = sled.give_up(cause, before, &mut sled.hidden.write().unwrap());
    assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
    assert_eq!(all(&sled), expected);
    assert_eq!(get(&sled, "k1").unwrap(), b"old");
    assert_eq!(get(&sled, "k3"), None);
    let refused = put(&sled, &[("k5", b"")]);
    assert!(matches!(refused, Err(Fault::Failed(_))), "{refused:?}");
    drop(sled);

    // They may have been written or not.
    let sled = open(directory.path());
    put(&sled, &[("k5", b"")]).unwrap();
    assert_eq!(get(&sled, "k4").unwrap(), b"old");
}

#[test]
fn a_batch_that_stopped_in_the_middle_is_not_written_and_the_tree_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let sled = open(directory.path());
    put(&sled, &[("k1", &[1; 50_000]), ("k2", b"old")]).unwrap();
    // The half that got into the tree, in sled's memory.
    sled.db().insert("k2", &b"\0half"[..]).unwrap();
    sled.halted.store(true, Ordering::SeqCst);
    let before = [("k2".into(), Some(b"old".to_vec()))].into();
    let fault = sled.give_up(
        "a page could not be read".into(),
        before,
        &mut sled.hidden.write().unwrap(),
    );
    assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
    assert!(matches!(sled.get(b"k1"), Err(Fault::Failed(_))));
    assert!(matches!(put(&sled, &[("k3", b"")]), Err(Fault::Failed(_))));
    let copy = tempfile::tempdir().unwrap();
    drop(sled);
    // As the next process finds it: this one has it open still.
    let (from, to) = (directory.path().join(DIRECTORY), copy.path().join(DIRECTORY));
    fs::create_dir_all(to.join("blobs")).unwrap();
    for file in ["acknowledged", "conf", "db"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let sled = open(copy.path());
    assert_eq!(get(&sled, "k1").unwrap(), [1; 50_000]);
    assert_eq!(get(&sled, "k2").unwrap(), b"old");
    put(&sled, &[("k2", b"new")]).unwrap();
}

#[test]
fn a_batch_that_failed_for_any_reason_leaves_no_further_write() {
    let directory = tempfile::tempdir().unwrap();
    let sled = open(directory.path());
    put(&sled, &[("k1", b"old")]).unwrap();
    let before = [("k1".into(), Some(b"old".to_vec()))].into();
    let fault = sled.give_up("any".into(), before, &mut sled.hidden.write().unwrap());
    assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
    assert!(matches!(put(&sled, &[("k1", b"new")]), Err(Fault::Failed(_))));
    assert_eq!(get(&sled, "k1").unwrap(), b"old");
}

#[test]
fn the_log_has_room_that_nobody_else_can_take() {
    use std::os::unix::fs::MetadataExt;

    let directory = tempfile::tempdir().unwrap();
    let sled = open(directory.path());
    for n in 0..40_u8 {
        put(&sled, &[(&format!("k{n}"), &[n; 1 << 20])]).unwrap();
    }
    let log = fs::metadata(directory.path().join(DIRECTORY).join("db")).unwrap();
    let length = log.len();
    assert!(length > 2 * RESERVE, "{length}");
    assert!(log.blocks() * 512 >= length + RESERVE, "{log:?}");
    drop(sled);
    assert_eq!(all(&open(directory.path())).len(), 40);
}

#[test]
fn a_copy_of_the_records_has_no_name_and_ends_with_the_dump() {
    let directory = tempfile::tempdir().unwrap();
    let names = || -> Vec<_> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let sled = open(directory.path());
    sled.write(&mut |group| {
        group.put(b"\x00a", b"1")?;
        group.put(b"\x01b", &[2; 3 << 20])?;
        group.put(b"\x01c", b"")
    })
    .unwrap();
    let expected = names();
    let mut found = Vec::new();
    sled.dump(&mut |key, value| {
        assert_eq!(names(), expected);
        found.push((key.to_vec(), value.to_vec()));
        Ok(())
    })
    .unwrap();
    let entry = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    assert_eq!(
        found,
        [
            entry(b"\x00a", b"1"),
            entry(b"\x01b", &[2; 3 << 20]),
            entry(b"\x01c", b"")
        ]
    );
}

#[test]
fn a_log_that_lost_acknowledged_commits_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let sled = open(directory.path());
    for n in 0..50_u8 {
        put(&sled, &[(&format!("k{n}"), &[n; 5000])]).unwrap();
    }
    drop(sled);
    drop(open(directory.path()));
    let sled = open(directory.path());
    for n in 50..60_u8 {
        put(&sled, &[(&format!("k{n}"), &[n; 5000])]).unwrap();
    }
    drop(sled);
    let log = directory.path().join(DIRECTORY).join("db");
    let mut content = fs::read(&log).unwrap();
    let last = content
        .windows(1000)
        .rposition(|window| window == [59; 1000])
        .unwrap();
    content[last] ^= 1;
    fs::write(&log, content).unwrap();
    for _ in 0..2 {
        let lock = create_and_lock(directory.path()).unwrap();
        let error = Sled::open(directory.path(), lock).map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    }
}

#[test]
fn what_a_process_left_that_was_killed_at_opening_is_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    let unfinished = directory.path().join(UNFINISHED);
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("conf"), [0; 40]).unwrap();
    let sled = open(directory.path());
    assert!(!unfinished.exists());
    put(&sled, &[("k", b"kept")]).unwrap();
    drop(sled);
    let snapshot = directory
        .path()
        .join(DIRECTORY)
        .join("snap.00FFFFFFFFFFFFFF.generating");
    fs::write(&snapshot, [0; 40]).unwrap();
    assert_eq!(get(&open(directory.path()), "k").unwrap(), b"kept");
    assert!(!snapshot.exists());
}

#[test]
fn a_panic_of_sled_is_an_error() {
    let said = |panic: fn()| {
        let outcome = guarded(|| {
            panic();
            Ok(())
        });
        outcome.unwrap_err().to_string()
    };
    assert_eq!(said(|| panic!("plain")), "sled gave up: plain");
    assert_eq!(said(|| panic!("with {}", 1)), "sled gave up: with 1");
}

#[test]
fn a_store_can_be_opened_as_soon_as_it_was_closed() {
    let directory = tempfile::tempdir().unwrap();
    for n in 0..30_u8 {
        let sled = open(directory.path());
        assert_eq!(all(&sled).len(), usize::from(n));
        put(&sled, &[(&format!("k{n}"), &[n; 50_000])]).unwrap();
    }
}
