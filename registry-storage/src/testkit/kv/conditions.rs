//! What must hold at commit, and the clock.

use super::*;

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

/// That an entry is damaged does not hold of one that can be read, nor of none.
pub async fn damaged_is_not_said_of_what_can_be_read(f: F) {
    put(&*f.store, "whole", "x").await;
    for key in ["whole", "absent"] {
        let outcome = f.store.commit(Txn::new().damaged(key).put("new", "")).await;
        assert_conflict(outcome, &Precondition::Damaged(key.to_owned()));
    }
    assert_eq!(keys(&*f.store, "").await, ["whole"]);
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
