//! Order and pages.

use super::*;

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
            assert!(
                found.len() <= whole.len(),
                "a page began before the end of the last"
            );
        }
        assert_eq!(found, whole, "by {limit}");
    }
}
