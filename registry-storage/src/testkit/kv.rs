//! What [`Kv`] promises.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use registry_core::Timestamp;
use registry_core::store::{KEY_MAX, Kv, KvError, Precondition, Stamp, Txn};

use super::Fixture;

/// Stamps one test per clause of the `Kv` contract; the word `durable` before the factory adds those about
/// opening the store again. See [`testkit`](crate::testkit).
#[macro_export]
macro_rules! kv_suite {
    ($name:ident, durable, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::kv_suite!(contract, $factory);
            $crate::stamp_clauses!(
                $crate::testkit::kv,
                durability,
                $factory,
                [
                    what_a_reader_sees_survives_reopening,
                    a_deleted_key_stays_deleted_across_reopening,
                    stamps_do_not_repeat_across_reopening,
                    now_does_not_go_back_across_reopening,
                ]
            );
        }
    };
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::kv,
            $name,
            $factory,
            [
                get_of_an_unwritten_key_is_nothing,
                put_is_read_back_with_the_stamp_of_its_commit,
                keys_and_values_are_kept_as_they_are,
                commit_absent_first_wins_second_conflicts,
                a_conflict_names_the_first_precondition_that_did_not_hold,
                writes_of_a_conflicting_txn_leave_no_trace,
                at_holds_until_the_key_is_written_again,
                at_fails_once_the_key_is_deleted,
                a_stamp_never_repeats_after_delete_and_recreate,
                later_commits_have_greater_stamps,
                all_writes_of_a_txn_have_its_stamp,
                writes_happen_in_their_order,
                deleting_nothing_is_fine,
                empty_is_about_texts_that_begin_alike,
                append_lists_in_commit_order,
                appends_of_one_txn_keep_their_order,
                scan_is_in_the_order_of_bytes,
                scan_keeps_to_its_prefix,
                scan_after_need_not_exist,
                scan_pages_make_the_whole,
                before_is_judged_at_commit,
                not_before_is_judged_at_commit,
                now_never_goes_back,
                too_large_keys_and_values_are_refused_and_the_largest_are_kept,
                of_64_concurrent_absent_writers_exactly_one_wins,
                a_later_txn_of_the_same_group_sees_the_earlier,
                concurrent_commits_are_as_if_one_after_another_in_the_order_of_stamps,
                a_conflict_does_not_disturb_its_neighbours,
                a_scan_sees_all_writes_of_a_txn_or_none,
                a_commit_whose_caller_left_happens_whole_or_not_at_all,
            ]
        );
    };
}

type F = Fixture<dyn Kv>;

async fn put(kv: &dyn Kv, key: &str, value: &str) -> Stamp {
    let txn = Txn::new().put(key, Bytes::copy_from_slice(value.as_bytes()));
    kv.commit(txn).await.expect("a plain put")
}

async fn keys(kv: &dyn Kv, prefix: &str) -> Vec<String> {
    let page = kv.scan(prefix, None, usize::MAX).await.expect("a scan");
    page.into_iter().map(|(key, _)| key).collect()
}

async fn value(kv: &dyn Kv, key: &str) -> Option<String> {
    let entry = kv.get(key).await.expect("a get")?;
    Some(String::from_utf8(entry.value.to_vec()).expect("a test's value is text"))
}

#[track_caller]
fn assert_conflict(outcome: Result<Stamp, KvError>, expected: &Precondition) {
    match outcome {
        Err(KvError::Conflict(broken)) => assert_eq!(broken, *expected),
        other => panic!("expected a conflict about {expected:?}, got {other:?}"),
    }
}

/// Waits for the store's own clock, which nothing here can set.
async fn until(kv: &dyn Kv, time: Timestamp) {
    while kv.now().await.expect("the clock") < time {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs tasks at once and gathers what they return.
async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in running {
        results.push(task.await.expect("a task that does not panic"));
    }
    results
}

/// A key that nobody wrote has no entry.
pub async fn get_of_an_unwritten_key_is_nothing(f: F) {
    assert_eq!(f.store.get("tag/1/latest").await.unwrap(), None);
    put(&*f.store, "tag/1/latest", "x").await;
    for near in [
        "tag/1/lates",
        "tag/1/latest/",
        "tag/1/latesu",
        "Tag/1/latest",
        "tag/1/latest\0",
    ] {
        assert_eq!(f.store.get(near).await.unwrap(), None, "{near:?}");
    }
    let long = "k".repeat(KEY_MAX * 2);
    assert_eq!(f.store.get(&long).await.unwrap(), None, "a key too long to exist");
    assert_eq!(f.store.get("").await.unwrap(), None);
}

/// What was put is what is read, with the stamp that the commit returned.
pub async fn put_is_read_back_with_the_stamp_of_its_commit(f: F) {
    let first = put(&*f.store, "a", "one").await;
    let entry = f.store.get("a").await.unwrap().expect("the entry");
    assert_eq!((entry.value.as_ref(), entry.stamp), (&b"one"[..], first));
    let second = put(&*f.store, "a", "two").await;
    let entry = f.store.get("a").await.unwrap().expect("the entry");
    assert_eq!((entry.value.as_ref(), entry.stamp), (&b"two"[..], second));
}

/// Keys are any text, values any bytes, empty ones too.
pub async fn keys_and_values_are_kept_as_they_are(f: F) {
    let all: Vec<u8> = (0..=255).collect();
    let odd = [
        "a b",
        "%",
        "_",
        "ä/ö",
        "a\u{0}b",
        "\u{10ffff}",
        "'; drop",
        "a//b",
        "/",
    ];
    for (i, key) in odd.iter().enumerate() {
        let value = Bytes::copy_from_slice(&all[..i * 30]);
        f.store.commit(Txn::new().put(*key, value)).await.unwrap();
    }
    for (i, key) in odd.iter().enumerate() {
        let entry = f
            .store
            .get(key)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("no {key:?}"));
        assert_eq!(entry.value, all[..i * 30], "{key:?}");
    }
    let mut sorted = odd.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(keys(&*f.store, "").await, sorted);
}

/// Of two that assert absence the first wins, and its value stays.
pub async fn commit_absent_first_wins_second_conflicts(f: F) {
    f.store
        .commit(Txn::new().absent("k").put("k", "first"))
        .await
        .unwrap();
    let second = f.store.commit(Txn::new().absent("k").put("k", "second")).await;
    assert_conflict(second, &Precondition::Absent("k".into()));
    assert_eq!(value(&*f.store, "k").await.as_deref(), Some("first"));
}

/// Of several preconditions that fail, the first is told.
pub async fn a_conflict_names_the_first_precondition_that_did_not_hold(f: F) {
    let stamp = put(&*f.store, "k", "v").await;
    let txn = Txn::new()
        .at("k", stamp)
        .absent("other")
        .nothing_under("k")
        .absent("k")
        .put("z", "z");
    assert_conflict(f.store.commit(txn).await, &Precondition::Empty("k".into()));
}

/// A transaction that conflicts writes nothing, also nothing that was listed before the failing assertion.
pub async fn writes_of_a_conflicting_txn_leave_no_trace(f: F) {
    put(&*f.store, "taken", "v").await;
    let kept = put(&*f.store, "kept", "v").await;
    let txn = Txn::new()
        .put("new", "x")
        .delete("kept")
        .append("log/", "x")
        .absent("taken")
        .put("kept", "x");
    assert_conflict(f.store.commit(txn).await, &Precondition::Absent("taken".into()));
    assert_eq!(keys(&*f.store, "").await, ["kept", "taken"]);
    assert_eq!(f.store.get("kept").await.unwrap().unwrap().stamp, kept);
}

/// "Still at this stamp" holds until the key is written, also if the same value is written.
pub async fn at_holds_until_the_key_is_written_again(f: F) {
    let first = put(&*f.store, "k", "v").await;
    put(&*f.store, "k2", "v").await;
    let second = f
        .store
        .commit(Txn::new().at("k", first).put("k", "v"))
        .await
        .unwrap();
    let stale = f.store.commit(Txn::new().at("k", first).put("k", "w")).await;
    assert_conflict(stale, &Precondition::At("k".into(), first));
    f.store
        .commit(Txn::new().at("k", second).put("other", "w"))
        .await
        .unwrap();
    f.store
        .commit(Txn::new().at("k", second).put("k", "w"))
        .await
        .unwrap();
    assert_eq!(value(&*f.store, "k").await.as_deref(), Some("w"));
}

/// A deleted key is at no stamp.
pub async fn at_fails_once_the_key_is_deleted(f: F) {
    let stamp = put(&*f.store, "k", "v").await;
    f.store
        .commit(Txn::new().at("k", stamp).delete("k"))
        .await
        .unwrap();
    let late = f.store.commit(Txn::new().at("k", stamp).put("k", "w")).await;
    assert_conflict(late, &Precondition::At("k".into(), stamp));
    assert_eq!(f.store.get("k").await.unwrap(), None);
}

/// Deleting and writing again gives a stamp that the key never had.
pub async fn a_stamp_never_repeats_after_delete_and_recreate(f: F) {
    let mut seen = Vec::new();
    for _ in 0..5 {
        let stamp = put(&*f.store, "k", "v").await;
        assert!(!seen.contains(&stamp), "{stamp:?} came twice");
        seen.push(stamp);
        f.store.commit(Txn::new().delete("k")).await.unwrap();
    }
    for stamp in &seen[..4] {
        put(&*f.store, "k", "v").await;
        let late = f.store.commit(Txn::new().at("k", *stamp).delete("k")).await;
        assert_conflict(late, &Precondition::At("k".into(), *stamp));
    }
}

/// Stamps order commits, whichever keys they touch; one that conflicts between them changes nothing about that.
pub async fn later_commits_have_greater_stamps(f: F) {
    let mut last = put(&*f.store, "k", "v").await;
    for i in 0..20 {
        let _conflict = f
            .store
            .commit(Txn::new().absent("k").put("x", "x"))
            .await
            .unwrap_err();
        let next = put(&*f.store, &format!("k{}", i % 3), "v").await;
        assert!(next > last, "{next:?} after {last:?}");
        last = next;
    }
}

/// One transaction, one stamp.
pub async fn all_writes_of_a_txn_have_its_stamp(f: F) {
    let txn = Txn::new().put("a", "1").put("b", "2").append("log/", "3");
    let stamp = f.store.commit(txn).await.unwrap();
    let page = f.store.scan("", None, 10).await.unwrap();
    assert_eq!(page.len(), 3);
    assert!(page.iter().all(|(_, entry)| entry.stamp == stamp), "{page:?}");
}

/// Later writes of a transaction cover earlier ones.
pub async fn writes_happen_in_their_order(f: F) {
    let txn = Txn::new()
        .put("a", "1")
        .delete("a")
        .put("b", "1")
        .put("b", "2")
        .delete("c")
        .put("c", "3");
    f.store.commit(txn).await.unwrap();
    assert_eq!(keys(&*f.store, "").await, ["b", "c"]);
    assert_eq!(value(&*f.store, "b").await.as_deref(), Some("2"));
}

/// Removing what is not there succeeds, and what stands beside it happens.
pub async fn deleting_nothing_is_fine(f: F) {
    f.store
        .commit(Txn::new().delete("nothing").put("a", "1").delete("a/b"))
        .await
        .unwrap();
    assert_eq!(keys(&*f.store, "").await, ["a"]);
}

/// "Nothing under" is about texts that begin so, at the ends of the range too.
pub async fn empty_is_about_texts_that_begin_alike(f: F) {
    put(&*f.store, "edge/7/x", "").await;
    for free in [
        "edge/7/x/",
        "edge/70",
        "edge/6",
        "edge/8",
        "edge/7/w",
        "f",
        "edge/7/x\0",
    ] {
        f.store
            .commit(Txn::new().nothing_under(free))
            .await
            .unwrap_or_else(|e| panic!("{free:?}: {e}"));
    }
    for taken in ["", "e", "edge/7", "edge/7/", "edge/7/x"] {
        let outcome = f.store.commit(Txn::new().nothing_under(taken).put("z", "")).await;
        assert_conflict(outcome, &Precondition::Empty(taken.into()));
    }
    f.store.commit(Txn::new().delete("edge/7/x")).await.unwrap();
    f.store
        .commit(Txn::new().nothing_under("edge/7/").put("edge/7/y", ""))
        .await
        .unwrap();
}

/// A log lists in the order in which its transactions were committed.
pub async fn append_lists_in_commit_order(f: F) {
    let tasks = (0..40).map(|i| {
        let store = f.store.clone();
        async move {
            (
                store
                    .commit(Txn::new().append("log/", format!("{i}")))
                    .await
                    .unwrap(),
                format!("{i}"),
            )
        }
    });
    let mut expected = at_once(tasks).await;
    expected.sort();
    let log = f.store.scan("log/", None, 100).await.unwrap();
    let found: Vec<_> = log
        .iter()
        .map(|(_, entry)| (entry.stamp, String::from_utf8(entry.value.to_vec()).unwrap()))
        .collect();
    assert_eq!(found, expected);
    // A reader that has seen all of it finds the next entry after the last.
    let last = &log.last().unwrap().0;
    f.store.commit(Txn::new().append("log/", "next")).await.unwrap();
    let after = f.store.scan("log/", Some(last), 100).await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].1.value, "next");
}

/// Several values that one transaction appends list in its order, more than nine too; the key is the prefix, the
/// position in 20 digits, and an index.
pub async fn appends_of_one_txn_keep_their_order(f: F) {
    let txn = (0..25).fold(Txn::new(), |txn, i| txn.append("log/", format!("{i}")));
    f.store.commit(txn).await.unwrap();
    let log = f.store.scan("log/", None, 100).await.unwrap();
    let values: Vec<_> = log
        .iter()
        .map(|(_, entry)| String::from_utf8(entry.value.to_vec()).unwrap())
        .collect();
    assert_eq!(values, (0..25).map(|i| i.to_string()).collect::<Vec<_>>());
    for (key, _) in &log {
        let rest = key.strip_prefix("log/").expect("the prefix");
        assert!(
            rest.len() > 20 && rest.as_bytes()[..20].iter().all(u8::is_ascii_digit),
            "{key}"
        );
    }
}

/// Order is by bytes: no locale, no numbers.
pub async fn scan_is_in_the_order_of_bytes(f: F) {
    let mut all = ["a", "B", "a/b", "a-b", "a0", "é", "z", "10", "9", "a/", "_", "~"]
        .map(str::to_owned)
        .to_vec();
    for key in &all {
        put(&*f.store, key, "").await;
    }
    all.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    assert_eq!(keys(&*f.store, "").await, all);
}

/// A scan gives what begins with its prefix, whatever `after` is.
pub async fn scan_keeps_to_its_prefix(f: F) {
    for key in ["a", "b", "b/1", "b/2", "b0", "c"] {
        put(&*f.store, key, "").await;
    }
    assert_eq!(keys(&*f.store, "b/").await, ["b/1", "b/2"]);
    assert_eq!(keys(&*f.store, "b").await, ["b", "b/1", "b/2", "b0"]);
    assert_eq!(keys(&*f.store, "bb").await, Vec::<String>::new());
    for (after, expected) in [
        ("a", 2),
        ("", 2),
        ("b", 2),
        ("b/1", 1),
        ("b/2", 0),
        ("b0", 0),
        ("zzz", 0),
    ] {
        let page = f.store.scan("b/", Some(after), 10).await.unwrap();
        assert_eq!(page.len(), expected, "after {after:?}");
    }
}

/// A page begins after a key that need not exist, and never with it.
pub async fn scan_after_need_not_exist(f: F) {
    for key in ["t/a", "t/c", "t/e"] {
        put(&*f.store, key, "").await;
    }
    for (after, expected) in [
        ("t/b", "t/c"),
        ("t/c", "t/e"),
        ("t/", "t/a"),
        ("t/a\0", "t/c"),
        ("t/cc", "t/e"),
    ] {
        let page = f.store.scan("t/", Some(after), 1).await.unwrap();
        assert_eq!(page[0].0, expected, "after {after:?}");
    }
    let long = format!("t/b{}", "x".repeat(2 * KEY_MAX));
    assert_eq!(f.store.scan("t/", Some(&long), 1).await.unwrap()[0].0, "t/c");
}

/// Pages of any length put together are the whole; none is longer than asked.
pub async fn scan_pages_make_the_whole(f: F) {
    let txn = (0..37).fold(Txn::new(), |txn, i| txn.put(format!("t/{i:03}"), ""));
    f.store.commit(txn.put("s/1", "").put("u/1", "")).await.unwrap();
    let whole = keys(&*f.store, "t/").await;
    assert_eq!(whole.len(), 37);
    assert!(f.store.scan("t/", None, 0).await.unwrap().is_empty());
    for limit in [1, 5, 36, 37, 38] {
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = f
                .store
                .scan("t/", found.last().map(String::as_str), limit)
                .await
                .unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|(key, _)| key));
        }
        assert_eq!(found, whole, "by {limit}");
    }
}

/// A deadline holds while the clock has not reached it, at the moment of commit and not of an earlier read.
pub async fn before_is_judged_at_commit(f: F) {
    let now = f.store.now().await.unwrap();
    let ahead = now + Duration::from_secs(3600);
    f.store
        .commit(Txn::new().before(ahead).put("in time", ""))
        .await
        .unwrap();
    let soon = f.store.now().await.unwrap() + Duration::from_millis(20);
    until(&*f.store, soon).await;
    let late = f.store.commit(Txn::new().before(soon).put("late", "")).await;
    assert_conflict(late, &Precondition::Before(soon));
    assert_eq!(keys(&*f.store, "").await, ["in time"]);
}

/// A time that must have come is judged at the moment of commit.
pub async fn not_before_is_judged_at_commit(f: F) {
    let ahead = f.store.now().await.unwrap() + Duration::from_secs(3600);
    let early = f
        .store
        .commit(Txn::new().not_before(ahead).put("early", ""))
        .await;
    assert_conflict(early, &Precondition::NotBefore(ahead));
    let soon = f.store.now().await.unwrap() + Duration::from_millis(5);
    until(&*f.store, soon).await;
    f.store
        .commit(Txn::new().not_before(soon).put("due", ""))
        .await
        .unwrap();
    assert_eq!(keys(&*f.store, "").await, ["due"]);
}

/// The clock never shows an earlier time than it showed, to nobody, and moves.
pub async fn now_never_goes_back(f: F) {
    let tasks = (0..8).map(|i| {
        let store = f.store.clone();
        async move {
            let mut last = Timestamp(0);
            for _ in 0..50 {
                let now = store.now().await.unwrap();
                assert!(now >= last, "{now} after {last}");
                last = now;
                let txn = Txn::new().not_before(now).put(format!("k{i}"), "");
                store
                    .commit(txn)
                    .await
                    .expect("a time that was told has been reached");
            }
            last
        }
    });
    let latest = at_once(tasks).await.into_iter().max().unwrap();
    until(&*f.store, latest + Duration::from_millis(2)).await;
}

/// What the limits allow is kept, and what they do not is refused by name, with nothing written.
pub async fn too_large_keys_and_values_are_refused_and_the_largest_are_kept(f: F) {
    let key = "k".repeat(KEY_MAX);
    let largest = Bytes::from(vec![7; 16 << 20]);
    f.store
        .commit(Txn::new().put(&key, largest.clone()))
        .await
        .unwrap();
    assert_eq!(f.store.get(&key).await.unwrap().unwrap().value, largest);
    let long = "k".repeat(KEY_MAX + 1);
    let refused = [
        Txn::new().put("a", "1").put(&long, "x"),
        Txn::new().put("a", "1").append(&long, "x"),
        Txn::new()
            .put("a", "1")
            .put("b", Bytes::from(vec![7; (16 << 20) + 1])),
    ];
    for (txn, name) in refused.into_iter().zip([&*long, &*long, "b"]) {
        match f.store.commit(txn).await {
            Err(KvError::TooLarge(named)) => assert_eq!(named, name),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
    assert_eq!(keys(&*f.store, "").await, [key]);
}

/// However many try at once to be first.
pub async fn of_64_concurrent_absent_writers_exactly_one_wins(f: F) {
    for round in 0..4 {
        let key = format!("tag/{round}");
        let outcomes = at_once((0..64).map(|i| {
            let (store, key) = (f.store.clone(), key.clone());
            async move {
                (
                    i,
                    store
                        .commit(Txn::new().absent(&key).put(&key, i.to_string()))
                        .await,
                )
            }
        }))
        .await;
        let mut winners = Vec::new();
        for (i, outcome) in outcomes {
            match outcome {
                Ok(stamp) => winners.push((i, stamp)),
                lost => assert_conflict(lost, &Precondition::Absent(key.clone())),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let entry = f.store.get(&key).await.unwrap().unwrap();
        assert_eq!(
            (entry.value, entry.stamp),
            (winners[0].0.to_string().into(), winners[0].1)
        );
    }
}

/// Transactions that are made durable together still see each other in order: no update is lost, and ranges too
/// are seen as the earlier ones left them.
pub async fn a_later_txn_of_the_same_group_sees_the_earlier(f: F) {
    let counters = (0..32).map(|_| {
        let store = f.store.clone();
        async move {
            loop {
                let read = store.get("counter").await.unwrap();
                let count = read.as_ref().map_or(0, |entry| {
                    std::str::from_utf8(&entry.value).unwrap().parse::<u32>().unwrap()
                });
                let txn = Txn::new()
                    .unchanged("counter", read.as_ref())
                    .put("counter", format!("{}", count + 1));
                match store.commit(txn).await {
                    Ok(_) => break,
                    Err(KvError::Conflict(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    });
    at_once(counters).await;
    assert_eq!(value(&*f.store, "counter").await.as_deref(), Some("32"));

    let ranges = (0..32).map(|i| {
        let store = f.store.clone();
        async move {
            store
                .commit(Txn::new().nothing_under("edge/").put(format!("edge/{i}"), ""))
                .await
                .is_ok()
        }
    });
    let winners = at_once(ranges).await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
    assert_eq!(keys(&*f.store, "edge/").await.len(), 1);
}

/// Every commit that succeeded did so in a state that the earlier ones, in the order of stamps, had made.
pub async fn concurrent_commits_are_as_if_one_after_another_in_the_order_of_stamps(f: F) {
    let tasks = (0..16_u32).map(|i| {
        let store = f.store.clone();
        async move {
            let mut done = Vec::new();
            let mut random = i.wrapping_mul(2_654_435_761) | 1;
            for step in 0..30 {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                let (read, other) = (format!("k{}", random % 5), format!("k{}", random / 5 % 5));
                let seen = store.get(&read).await.unwrap().map(|entry| entry.stamp);
                let mut txn = match seen {
                    Some(stamp) => Txn::new().at(&read, stamp),
                    None => Txn::new().absent(&read),
                };
                let put = random / 25 % 3 > 0;
                txn = if put {
                    txn.put(&other, format!("{i}.{step}"))
                } else {
                    txn.delete(&other)
                };
                if let Ok(stamp) = store.commit(txn).await {
                    done.push((stamp, read, seen, other, put.then(|| format!("{i}.{step}"))));
                }
            }
            done
        }
    });
    let mut done: Vec<_> = at_once(tasks).await.into_iter().flatten().collect();
    done.sort();
    assert!(
        done.len() > 30,
        "too few succeeded to say anything: {}",
        done.len()
    );
    let mut model: BTreeMap<String, (Stamp, String)> = BTreeMap::new();
    for (stamp, read, seen, other, put) in done {
        assert_eq!(
            model.get(&read).map(|(at, _)| *at),
            seen,
            "what {stamp:?} asserted of {read}"
        );
        match put {
            Some(value) => model.insert(other, (stamp, value)),
            None => model.remove(&other),
        };
    }
    let page = f.store.scan("", None, 100).await.unwrap();
    let found: Vec<_> = page
        .into_iter()
        .map(|(key, entry)| {
            (
                key,
                (entry.stamp, String::from_utf8(entry.value.to_vec()).unwrap()),
            )
        })
        .collect();
    assert_eq!(found, model.into_iter().collect::<Vec<_>>());
}

/// A transaction that conflicts, or is refused, takes nobody down with it.
pub async fn a_conflict_does_not_disturb_its_neighbours(f: F) {
    put(&*f.store, "taken", "").await;
    let outcomes = at_once((0..48).map(|i| {
        let store = f.store.clone();
        let txn = match i % 3 {
            0 => Txn::new().put(format!("ok/{i:02}"), ""),
            1 => Txn::new().put(format!("bad/{i}"), "").absent("taken"),
            _ => Txn::new()
                .put(format!("bad/{i}"), "")
                .put("x".repeat(2 * KEY_MAX), ""),
        };
        async move { (i, store.commit(txn).await.is_ok()) }
    }))
    .await;
    assert!(outcomes.iter().all(|(i, ok)| *ok == (i % 3 == 0)), "{outcomes:?}");
    assert_eq!(keys(&*f.store, "ok/").await.len(), 16);
    assert_eq!(keys(&*f.store, "bad/").await, Vec::<String>::new());
}

/// Nobody sees a half of a transaction.
pub async fn a_scan_sees_all_writes_of_a_txn_or_none(f: F) {
    let writer = {
        let store = f.store.clone();
        tokio::spawn(async move {
            for i in 0..60 {
                let value = i.to_string();
                store
                    .commit(Txn::new().put("pair/a", value.clone()).put("pair/b", value))
                    .await
                    .unwrap();
            }
        })
    };
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        let page = f.store.scan("pair/", None, 10).await.unwrap();
        assert!(
            page.is_empty() || page.len() == 2 && page[0].1 == page[1].1,
            "{page:?}"
        );
        looks += usize::from(!page.is_empty());
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// A caller that goes away leaves a transaction that happened, or none, never a half.
pub async fn a_commit_whose_caller_left_happens_whole_or_not_at_all(f: F) {
    for i in 0..16 {
        let txn = Txn::new()
            .put(format!("gone/{i}/a"), "")
            .put(format!("gone/{i}/b"), "");
        let mut commit = f.store.commit(txn);
        let polled = commit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(outcome) = polled {
            outcome.unwrap();
        }
        drop(commit);
    }
    put(&*f.store, "after", "").await;
    for i in 0..16 {
        let halves = keys(&*f.store, &format!("gone/{i}/")).await.len();
        assert!(halves == 0 || halves == 2, "{halves} of 2");
    }
}

/// Whatever a reader saw, acknowledged to its writer or not, is there after the store was closed and opened.
pub async fn what_a_reader_sees_survives_reopening(f: F) {
    let writer = {
        let store: Arc<dyn Kv> = f.store.clone();
        tokio::spawn(async move {
            for i in 0..50 {
                store
                    .commit(Txn::new().put(format!("k/{i:02}"), i.to_string()))
                    .await
                    .unwrap();
            }
        })
    };
    let mut seen = Vec::new();
    while seen.len() < 10 {
        seen = f.store.scan("k/", None, 100).await.unwrap();
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    let all = f.store.scan("", None, 100).await.unwrap();
    let f = f.reopen().await;
    let found = f.store.scan("", None, 100).await.unwrap();
    assert_eq!(found, all);
    assert_eq!(found[..seen.len()], seen[..]);
}

/// A delete is as durable as a put.
pub async fn a_deleted_key_stays_deleted_across_reopening(f: F) {
    put(&*f.store, "a", "").await;
    put(&*f.store, "b", "").await;
    f.store.commit(Txn::new().delete("a")).await.unwrap();
    let f = f.reopen().await;
    assert_eq!(keys(&*f.store, "").await, ["b"]);
}

/// Stamps go on rising, also if the last commits deleted everything that bore them.
pub async fn stamps_do_not_repeat_across_reopening(f: F) {
    let first = put(&*f.store, "k", "").await;
    let last = f.store.commit(Txn::new().delete("k")).await.unwrap();
    let f = f.reopen().await;
    let next = put(&*f.store, "k", "").await;
    assert!(next > last && last > first, "{first:?}, {last:?}, {next:?}");
    let f = f.reopen().await;
    assert!(put(&*f.store, "k", "").await > next);
}

/// The clock goes on from where a commit has seen it.
pub async fn now_does_not_go_back_across_reopening(f: F) {
    let mut f = f;
    let mut last = Timestamp(0);
    for _ in 0..3 {
        let now = f.store.now().await.unwrap();
        assert!(now >= last, "{now} after {last}");
        f.store
            .commit(Txn::new().not_before(now).put("k", ""))
            .await
            .unwrap();
        last = now;
        f = f.reopen().await;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_clause_is_stamped() {
        crate::testkit::assert_every_clause_is_stamped(include_str!("kv.rs"));
    }
}
