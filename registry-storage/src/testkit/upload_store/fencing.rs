//! One writer at a time.

use super::*;

/// A caller that goes away leaves some of its bytes, from the first on and without gaps.
pub async fn an_append_whose_caller_left_leaves_a_prefix(f: F) {
    let id = upload(1);
    let bytes = content(3, 2_500_000);
    let writer = Stalling::begin(&f.store, &id, Some(0)).await;
    writer.send(&bytes.slice(..2_000_000));
    writer.leave().await;
    let received = f.store.received(&id).await.unwrap();
    assert!(received <= 2_000_000, "{received}");
    let rest = bytes.slice(received as usize..);
    f.store
        .append(&id, SHA256, Some(received), chunked(&rest, 10_000))
        .await
        .unwrap();
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
}

/// A writer that wakes after another took the upload over adds not one byte, however late.
pub async fn a_superseded_writer_writes_nothing_more(f: F) {
    let id = upload(1);
    let late = Stalling::begin(&f.store, &id, Some(0)).await;
    let later = Stalling::begin(&f.store, &id, None).await;
    f.store
        .append(&id, SHA256, Some(0), once("these bytes"))
        .await
        .unwrap();
    late.send(&content(4, 2_000_000));
    later.send(&content(5, 10));
    assert_superseded(late.end().await);
    assert_superseded(later.end().await);
    f.store
        .append(&id, SHA256, Some(11), once(" alone"))
        .await
        .unwrap();
    assert_eq!(
        f.store
            .seal(&id, &Digest::sha256(b"these bytes alone"))
            .await
            .unwrap(),
        17
    );
    assert_eq!(all(&*f.store, &id).await, "these bytes alone");
}

/// A client that lost its connection asks how far it got and goes on there, while the first writer still hangs.
pub async fn a_stalled_writer_is_taken_over_where_it_was(f: F) {
    let id = upload(1);
    let bytes = content(6, 3_000_000);
    let stalled = Stalling::begin(&f.store, &id, Some(0)).await;
    stalled.send(&bytes.slice(..2_000_000));
    let resumed = loop {
        let received = f.store.received(&id).await.unwrap();
        assert!(received <= 2_000_000);
        let rest = bytes.slice(received as usize..);
        match f
            .store
            .append(&id, SHA256, Some(received), chunked(&rest, 50_000))
            .await
        {
            Ok(length) => break length,
            // The writer was not stalled yet.
            Err(StoreError::OutOfOrder { at }) => assert!(at > received),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(resumed, 3_000_000);
    stalled.send(&bytes);
    assert_superseded(stalled.end().await);
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
    assert_eq!(all(&*f.store, &id).await, bytes);
}

/// Whoever asks for a place where the upload is not gets refused, and the writer at the right place goes on.
pub async fn an_out_of_order_append_takes_nothing_over(f: F) {
    let id = upload(1);
    let writer = Stalling::begin(&f.store, &id, Some(0)).await;
    let refused = f.store.append(&id, SHA256, Some(7), once("x")).await;
    assert!(
        matches!(refused, Err(StoreError::OutOfOrder { at: 0 })),
        "{refused:?}"
    );
    writer.send(&Bytes::from_static(b"whole"));
    assert_eq!(writer.end().await.unwrap(), 5);
}

/// What is sealed stays as it is.
pub async fn sealing_ends_the_writer(f: F) {
    let id = upload(1);
    let bytes = content(7, 400_000);
    f.store
        .append(&id, SHA256, None, chunked(&bytes, 10_000))
        .await
        .unwrap();
    let late = Stalling::begin(&f.store, &id, None).await;
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
    late.send(&content(8, 1_000_000));
    assert_superseded(late.end().await);
    assert_eq!(all(&*f.store, &id).await, bytes);
}

/// What is given up gets no more bytes.
pub async fn discarding_ends_the_writer(f: F) {
    let id = upload(1);
    let late = Stalling::begin(&f.store, &id, None).await;
    f.store.discard(&id).await;
    late.send(&content(9, 1_000_000));
    assert_superseded(late.end().await);
    f.store.unlink(&f.store.location(&id)).await.unwrap();
    assert_eq!(f.store.size(&f.store.location(&id)).await.unwrap(), None);
    assert_eq!(f.store.received(&id).await.unwrap(), 0);
}

/// Writers that take over from each other leave what each wrote while it was its turn; and the digest, made as the
/// bytes came, is that of what lies there.
pub async fn writers_at_once_leave_bytes_that_match_their_digest(f: F) {
    let id = upload(1);
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let (store, id) = (f.store.clone(), id.clone());
            let bytes = content(n, 1_300_000);
            tokio::spawn(async move { store.append(&id, SHA256, None, chunked(&bytes, 30_000)).await })
        })
        .collect();
    let mut ended_well = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Ok(_) => ended_well += 1,
            superseded => assert_superseded(superseded),
        }
    }
    assert!(ended_well >= 1, "nobody took over from the last");
    let unlikely = Digest::sha256(b"not this");
    let Err(StoreError::DigestMismatch { actual }) = f.store.seal(&id, &unlikely).await else {
        panic!("sealed under a wrong digest");
    };
    let length = f.store.seal(&id, &actual).await.unwrap();
    let found = all(&*f.store, &id).await;
    assert_eq!((found.len() as u64, Digest::sha256(&found)), (length, actual));
}
