//! After the store was closed and opened.

use super::*;

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
