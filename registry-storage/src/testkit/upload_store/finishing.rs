//! The last bytes and the seal, in one.

use super::*;

/// What lies there afterwards is what was sent, sealed.
pub async fn finish_appends_and_seals(f: F) {
    let bytes = content(20, 700_000);
    for (n, already) in [0, 1, 300_000].into_iter().enumerate() {
        let id = upload(n as u8);
        f.store
            .append(&id, SHA256, Some(0), chunked(&bytes.slice(..already), 9999))
            .await
            .unwrap();
        let (at, rest) = (Some(already as u64), chunked(&bytes.slice(already..), 10_000));
        let digest = Digest::sha256(&bytes);
        assert_eq!(
            f.store.finish(&id, SHA256, at, rest, &digest).await.unwrap(),
            700_000
        );
        assert_eq!(all(&*f.store, &id).await, bytes);
        assert_superseded(f.store.append(&id, SHA256, None, once("more")).await);
        assert_eq!(f.store.seal(&id, &digest).await.unwrap(), 700_000);
    }
}

/// An upload can be finished without a byte, as it can be sealed without one.
pub async fn finish_without_any_byte_is_the_empty_content(f: F) {
    let (id, digest) = (upload(1), Digest::sha256(b""));
    let finished = f.store.finish(&id, SHA256, Some(0), empty(), &digest).await;
    assert_eq!(finished.unwrap(), 0);
    assert_eq!(all(&*f.store, &id).await, "");
}

/// A sender that fails at the end loses nothing of what it sent, and seals nothing.
pub async fn an_interrupted_finish_keeps_what_came_before(f: F) {
    let id = upload(1);
    let bytes = content(21, 1_500_000);
    let digest = Digest::sha256(&bytes);
    let sent = bytes.slice(..900_001);
    let broken = chunked(&sent, 10_000).chain(stream::iter([Err(io::ErrorKind::ConnectionReset.into())]));
    match f
        .store
        .finish(&id, SHA256, Some(0), Box::pin(broken), &digest)
        .await
    {
        Err(StoreError::Sender(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        other => panic!("the sender failed, but {other:?}"),
    }
    assert_eq!(f.store.received(&id).await.unwrap(), 900_001);
    let rest = chunked(&bytes.slice(900_001..), 10_000);
    let finished = f.store.finish(&id, SHA256, Some(900_001), rest, &digest).await;
    assert_eq!(finished.unwrap(), 1_500_000);
    assert_eq!(all(&*f.store, &id).await, bytes);
}

/// Under a wrong digest nothing is sealed, and the bytes stay for the right one.
pub async fn a_finish_under_a_wrong_digest_seals_nothing(f: F) {
    let id = upload(1);
    let bytes = content(22, 200_000);
    let wrong = Digest::sha256(b"other");
    match f
        .store
        .finish(&id, SHA256, Some(0), chunked(&bytes, 9999), &wrong)
        .await
    {
        Err(StoreError::DigestMismatch { actual }) => assert_eq!(actual, Digest::sha256(&bytes)),
        other => panic!("sealed under a wrong digest: {other:?}"),
    }
    assert_eq!(f.store.received(&id).await.unwrap(), 200_000);
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
    assert_eq!(all(&*f.store, &id).await, bytes);
}

/// Bytes that do not begin where the upload is are refused, and seal nothing either.
pub async fn an_out_of_order_finish_is_refused(f: F) {
    let (id, digest) = (upload(1), Digest::sha256(b"whole"));
    f.store.append(&id, SHA256, Some(0), once("who")).await.unwrap();
    for at in [0, 2, 4, u64::MAX] {
        let refused = f.store.finish(&id, SHA256, Some(at), once("le"), &digest).await;
        assert!(
            matches!(refused, Err(StoreError::OutOfOrder { at: 3 })),
            "{refused:?}"
        );
    }
    let finished = f.store.finish(&id, SHA256, Some(3), once("le"), &digest).await;
    assert_eq!(finished.unwrap(), 5);
}

/// What was finished is there, and sealed, after the store was closed and opened.
pub async fn finished_bytes_survive_reopening(f: F) {
    let id = upload(1);
    let bytes = content(23, 300_000);
    let digest = Digest::sha256(&bytes);
    f.store
        .finish(&id, SHA256, Some(0), chunked(&bytes, 9999), &digest)
        .await
        .unwrap();
    let f = f.reopen().await;
    assert_superseded(f.store.append(&id, SHA256, None, once("more")).await);
    assert_eq!(all(&*f.store, &id).await, bytes);
    assert_eq!(f.store.received(&id).await.unwrap(), 300_000);
}
