//! Bytes that arrive.

use super::*;

/// No two ids share a place, whatever they look like, and asking creates nothing.
pub async fn every_upload_has_a_location_of_its_own(f: F) {
    let long = "x".repeat(512);
    let hex = "0123456789abcdef0123456789abcdef";
    let ids = [
        "a",
        "A",
        "-",
        "=",
        "_",
        "a-",
        "aa",
        &long,
        &long[1..],
        hex,
        &hex.to_uppercase(),
        &hex[1..],
        &format!("{hex}0"),
        &hex.repeat(2),
    ]
    .map(|id| id.parse::<UploadId>().unwrap());
    let locations: BTreeSet<_> = ids.iter().map(|id| f.store.location(id)).collect();
    assert_eq!(locations.len(), ids.len());
    assert!(f.store.list(None, 1).await.unwrap().is_empty());
    for id in &ids {
        f.store
            .append(id, SHA256, Some(0), once(id.as_str().to_owned()))
            .await
            .unwrap();
    }
    for id in &ids {
        assert_eq!(all(&*f.store, id).await, id.as_str());
    }
    assert_eq!(
        f.store.list(None, 100).await.unwrap(),
        locations.into_iter().collect::<Vec<_>>()
    );
}

/// An upload without bytes leaves nothing behind, nor does asking for it.
pub async fn nothing_is_there_before_the_first_byte(f: F) {
    let id = upload(1);
    assert_eq!(f.store.received(&id).await.unwrap(), 0);
    assert_eq!(f.store.append(&id, SHA256, Some(0), empty()).await.unwrap(), 0);
    assert_eq!(f.store.received(&id).await.unwrap(), 0);
    assert_eq!(f.store.size(&f.store.location(&id)).await.unwrap(), None);
    assert!(f.store.list(None, 1).await.unwrap().is_empty());
}

/// The answer to an append is how long the upload is now, which is also what it says when asked.
pub async fn append_gives_the_new_length(f: F) {
    let id = upload(1);
    for (at, part) in [(0, 1), (1, 99_999), (100_000, 0), (100_000, 2_000_000)] {
        let length = f
            .store
            .append(&id, SHA256, Some(at), chunked(&content(at, part), 5000))
            .await
            .unwrap();
        assert_eq!(length, at + part as u64);
        assert_eq!(f.store.received(&id).await.unwrap(), length);
    }
}

/// Without an offset, bytes go behind what is there.
pub async fn appends_go_to_the_end(f: F) {
    let id = upload(1);
    for part in ["one ", "two ", "three"] {
        f.store.append(&id, SHA256, None, once(part)).await.unwrap();
    }
    let digest = Digest::sha256(b"one two three");
    assert_eq!(f.store.seal(&id, &digest).await.unwrap(), 13);
    assert_eq!(all(&*f.store, &id).await, "one two three");
}

/// How the sender cuts its bytes does not matter: neither tiny pieces, nor empty ones, nor one that is larger than
/// any buffer.
pub async fn chunks_of_any_size_make_the_same_content(f: F) {
    let bytes = content(1, 3_000_017);
    let digest = Digest::sha256(&bytes);
    for (n, chunk) in [17, 4096, 65_536, 131_073, 1 << 20, 10_000_000]
        .into_iter()
        .enumerate()
    {
        let id = upload(n as u8);
        let gaps = stream::iter([Ok(Bytes::new())]).chain(chunked(&bytes, chunk));
        f.store
            .append(&id, SHA256, Some(0), Box::pin(gaps))
            .await
            .unwrap();
        f.store
            .seal(&id, &digest)
            .await
            .unwrap_or_else(|e| panic!("in chunks of {chunk}: {e}"));
        assert_eq!(all(&*f.store, &id).await, bytes);
    }
}

/// Gaps and overlaps are refused before anything is written.
pub async fn bytes_that_do_not_begin_where_the_upload_is_are_refused(f: F) {
    let id = upload(1);
    for (at, is) in [(1, 0), (0, 10), (9, 10), (11, 10), (u64::MAX, 10)] {
        if is == 10 && f.store.received(&id).await.unwrap() == 0 {
            f.store
                .append(&id, SHA256, Some(0), once("0123456789"))
                .await
                .unwrap();
        }
        match f.store.append(&id, SHA256, Some(at), once("xxx")).await {
            Err(StoreError::OutOfOrder { at: told }) => assert_eq!(told, is),
            other => panic!("at {at}: {other:?}"),
        }
    }
    assert_eq!(
        f.store.seal(&id, &Digest::sha256(b"0123456789")).await.unwrap(),
        10
    );
}

/// A sender that fails loses nothing of what it sent before, and can go on from there.
pub async fn an_interrupted_stream_keeps_what_came_before(f: F) {
    let id = upload(1);
    let bytes = content(2, 1_500_000);
    let sent = bytes.slice(..900_001);
    let broken = chunked(&sent, 10_000).chain(stream::iter([Err(io::ErrorKind::ConnectionReset.into())]));
    match f.store.append(&id, SHA256, Some(0), Box::pin(broken)).await {
        Err(StoreError::Sender(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        other => panic!("the sender failed, but {other:?}"),
    }
    assert_eq!(f.store.received(&id).await.unwrap(), 900_001);
    f.store
        .append(
            &id,
            SHA256,
            Some(900_001),
            chunked(&bytes.slice(900_001..), 10_000),
        )
        .await
        .unwrap();
    f.store.seal(&id, &Digest::sha256(&bytes)).await.unwrap();
    assert_eq!(all(&*f.store, &id).await, bytes);
}

/// Many at once, each its own.
pub async fn uploads_do_not_disturb_each_other(f: F) {
    let pushes: Vec<_> = (0..24_u8)
        .map(|n| {
            let store = f.store.clone();
            tokio::spawn(async move {
                let (id, bytes) = (upload(n), content(u64::from(n), 300_000 + usize::from(n)));
                for part in [0..100_000, 100_000..bytes.len()] {
                    let at = Some(part.start as u64);
                    store
                        .append(&id, SHA256, at, chunked(&bytes.slice(part), 9_999))
                        .await
                        .unwrap();
                }
                assert_eq!(
                    store.seal(&id, &Digest::sha256(&bytes)).await.unwrap(),
                    bytes.len() as u64
                );
                assert_eq!(all(&*store, &id).await, bytes);
            })
        })
        .collect();
    for push in pushes {
        push.await.unwrap();
    }
}

/// Giving up what never began does no harm.
pub async fn discarding_nothing_is_fine(f: F) {
    f.store.discard(&upload(1)).await;
    assert!(f.store.list(None, 1).await.unwrap().is_empty());
}
