//! What was read before, and how long that holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use registry_core::store::{Entry, Mark};

/// Where there are marks at all: not while a record is written, and not for longer than until it is.
pub async fn a_mark_holds_until_its_record_is_written_and_no_longer(f: F) {
    let kv = &*f.store;
    put(kv, "tag/one", "1").await;
    let Some(mark) = kv.mark("tag/one") else {
        return;
    };
    assert!(kv.is_current(mark));
    let conflict = kv.commit(Txn::new().absent("tag/one").put("tag/two", "")).await;
    assert_conflict(conflict, &Precondition::Absent("tag/one".to_owned()));
    assert!(kv.is_current(mark), "nothing was written, and not of that");
    put(kv, "tag/one", "2").await;
    assert!(!kv.is_current(mark));

    let mark = kv.mark("tag/one").expect("nobody writes");
    kv.commit(Txn::new().delete("tag/one")).await.expect("a delete");
    assert!(!kv.is_current(mark));
}

/// A number that only grows, read by way of marks and without them.
pub async fn what_is_kept_under_a_current_mark_is_never_older_than_what_anybody_saw(f: F) {
    const WRITES: u64 = 300;
    put(&*f.store, "number", "0").await;
    let (seen, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let readers = (0..3).map(|reader| {
        let (kv, seen, over) = (f.store.clone(), seen.clone(), over.clone());
        tokio::spawn(async move {
            let mut kept: Option<(Mark, Entry)> = None;
            while !over.load(Ordering::SeqCst) {
                let least = seen.load(Ordering::SeqCst);
                let current = kept.as_ref().filter(|(mark, _)| kv.is_current(*mark));
                let entry = match current {
                    // One of them never keeps anything.
                    Some((_, entry)) if reader > 0 => entry.clone(),
                    _ => {
                        let mark = kv.mark("number");
                        let entry = kv.get("number").await.expect("a get").expect("it is there");
                        kept = mark.map(|mark| (mark, entry.clone()));
                        entry
                    }
                };
                let number: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                assert!(number >= least, "{number} after somebody saw {least}");
                seen.fetch_max(number, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for number in 1..=WRITES {
        put(&*f.store, "number", &number.to_string()).await;
        seen.fetch_max(number, Ordering::SeqCst);
    }
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.expect("a reader that does not panic");
    }
}
