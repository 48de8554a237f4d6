//! After the store was closed and opened.

use super::*;

/// Bytes that were acknowledged are there after the store was closed and opened.
pub async fn received_survives_reopening(f: F) {
    let id = upload(1);
    f.store
        .append(&id, SHA256, None, chunked(&content(14, 123_456), 1000))
        .await
        .unwrap();
    let f = f.reopen().await;
    assert_eq!(f.store.received(&id).await.unwrap(), 123_456);
}

/// An upload can go on in another process, which hashes again what the first one wrote.
pub async fn an_upload_goes_on_after_reopening(f: F) {
    let id = upload(1);
    let bytes = content(15, 800_000);
    f.store
        .append(&id, SHA256, Some(0), chunked(&bytes.slice(..500_000), 1000))
        .await
        .unwrap();
    let f = f.reopen().await;
    f.store
        .append(&id, SHA256, Some(500_000), chunked(&bytes.slice(500_000..), 1000))
        .await
        .unwrap();
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
    assert_eq!(all(&*f.store, &id).await, bytes);
}

/// A process that ended between sealing and recording it can be followed by one that seals again.
pub async fn seal_can_be_repeated_after_reopening(f: F) {
    let id = upload(1);
    let bytes = content(16, 400_000);
    f.store
        .append(&id, SHA256, Some(0), chunked(&bytes, 1000))
        .await
        .unwrap();
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
    let f = f.reopen().await;
    let refused = f.store.seal(&id, &Digest::sha256(b"x")).await;
    assert!(
        matches!(refused, Err(StoreError::DigestMismatch { .. })),
        "{refused:?}"
    );
    assert_eq!(f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap(), 400_000);
}

/// That an upload is sealed is as durable as its bytes.
pub async fn a_sealed_upload_takes_no_more_bytes_after_reopening_either(f: F) {
    let id = upload(1);
    f.store.append(&id, SHA256, None, once("whole")).await.unwrap();
    f.store.seal(&id, &Digest::sha256(b"whole")).await.unwrap();
    let f = f.reopen().await;
    assert_superseded(f.store.append(&id, SHA256, Some(5), once("more")).await);
    assert_eq!(all(&*f.store, &id).await, "whole");
}

/// What an unfinished writer left behind is the beginning of what it sent.
pub async fn a_writer_that_never_ended_leaves_a_prefix_across_reopening(f: F) {
    let id = upload(1);
    let bytes = content(17, 2_000_000);
    let writer = Stalling::begin(&f.store, &id, Some(0)).await;
    writer.send(&bytes.slice(..1_500_000));
    writer.leave().await;
    let before = f.store.received(&id).await.unwrap();
    let f = f.reopen().await;
    let received = f.store.received(&id).await.unwrap();
    assert!(
        (before..=1_500_000).contains(&received),
        "{received} after {before}"
    );
    let rest = bytes.slice(received as usize..);
    f.store
        .append(&id, SHA256, Some(received), chunked(&rest, 10_000))
        .await
        .unwrap();
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
}
