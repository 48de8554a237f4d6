//! Bytes that are complete.

use super::*;

/// The location that an upload had from the beginning is where its bytes are read.
pub async fn sealed_bytes_are_read_at_their_location(f: F) {
    let id = upload(1);
    let location = f.store.location(&id);
    let bytes = content(10, 600_000);
    f.store
        .append(&id, SHA256, None, chunked(&bytes, 100_000))
        .await
        .unwrap();
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
    assert_eq!(f.store.location(&id), location);
    assert_eq!(
        read_all(f.store.read(&location, 0..600_000).await.unwrap())
            .await
            .unwrap(),
        bytes
    );
}

/// A wrong digest is answered with the right one, and changes nothing.
pub async fn seal_with_wrong_digest_tells_the_actual_one_and_the_right_one_still_seals(f: F) {
    let id = upload(1);
    let bytes = content(11, 200_000);
    f.store
        .append(&id, SHA256, None, chunked(&bytes, 100_000))
        .await
        .unwrap();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let expected = Digest::of(algorithm, &bytes);
        match f.store.seal(&id, &Digest::of(algorithm, b"other")).await {
            Err(StoreError::DigestMismatch { actual }) => assert_eq!(actual, expected),
            other => panic!("sealed under a wrong digest: {other:?}"),
        }
    }
    assert_eq!(f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap(), 200_000);
}

/// The algorithm named at the beginning is a hint only.
pub async fn seal_under_another_algorithm_than_hinted(f: F) {
    let bytes = content(12, 700_000);
    let pairs = [
        (Algorithm::Sha256, Algorithm::Sha512),
        (Algorithm::Sha512, Algorithm::Sha256),
    ];
    for (n, (hinted, asked)) in pairs.into_iter().enumerate() {
        let id = upload(n as u8);
        f.store
            .append(&id, hinted, None, chunked(&bytes, 100_000))
            .await
            .unwrap();
        assert_eq!(
            f.store.seal(&id, &Digest::of(asked, &bytes)).await.unwrap(),
            700_000
        );
    }
}

/// A later append may hint at another algorithm; the digest is still that of all bytes.
pub async fn hints_may_differ_between_appends(f: F) {
    for (n, asked) in [Algorithm::Sha256, Algorithm::Sha512].into_iter().enumerate() {
        let id = upload(n as u8);
        f.store
            .append(&id, Algorithm::Sha256, None, once("one "))
            .await
            .unwrap();
        f.store
            .append(&id, Algorithm::Sha512, None, once("two"))
            .await
            .unwrap();
        assert_eq!(
            f.store.seal(&id, &Digest::of(asked, b"one two")).await.unwrap(),
            7
        );
    }
}

/// No byte ever came: that is a content too, and only that one.
pub async fn seal_without_any_byte_is_the_empty_content(f: F) {
    let id = upload(1);
    let refused = f.store.seal(&id, &Digest::sha256(b"x")).await;
    assert!(
        matches!(refused, Err(StoreError::DigestMismatch { .. })),
        "{refused:?}"
    );
    assert_eq!(f.store.size(&f.store.location(&id)).await.unwrap(), None);
    assert_eq!(f.store.seal(&id, &Digest::sha256(b"")).await.unwrap(), 0);
    assert_eq!(all(&*f.store, &id).await, "");
}

/// Whoever did not hear the answer asks again, under another algorithm too.
pub async fn seal_can_be_repeated(f: F) {
    let id = upload(1);
    let bytes = content(13, 300_000);
    f.store
        .append(&id, SHA256, None, chunked(&bytes, 100_000))
        .await
        .unwrap();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha256, Algorithm::Sha512] {
        assert_eq!(
            f.store.seal(&id, &Digest::of(algorithm, &bytes)).await.unwrap(),
            300_000
        );
    }
    assert_eq!(f.store.received(&id).await.unwrap(), 300_000);
    assert_eq!(all(&*f.store, &id).await, bytes);
}

/// Somebody may read it by now, and whoever comes late with bytes learned of the upload before.
pub async fn a_sealed_upload_takes_no_more_bytes(f: F) {
    let id = upload(1);
    let bytes = content(18, 100_000);
    f.store
        .append(&id, SHA256, None, chunked(&bytes, 9999))
        .await
        .unwrap();
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
    for at in [None, Some(100_000), Some(0)] {
        assert_superseded(f.store.append(&id, SHA256, at, once("more")).await);
    }
    assert_eq!(all(&*f.store, &id).await, bytes);
    assert_eq!(f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap(), 100_000);
}
