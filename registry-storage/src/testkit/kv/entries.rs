//! What is put, and what is read of it.

use super::*;

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
