//! What [`UploadStore`](registry_core::store::UploadStore) promises.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use registry_core::store::StoreError;
use registry_core::{Algorithm, Digest, UploadId, empty, once};

use super::content::{Stalling, chunked, content, read_all, upload};
use super::{ByteStore, Fixture};

/// Stamps one test per clause of the `UploadStore` contract; the word `durable` before the factory adds those about
/// opening the store again. See [`testkit`](crate::testkit).
#[macro_export]
macro_rules! upload_store_suite {
    ($name:ident, durable, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::upload_store_suite!(contract, $factory);
            $crate::stamp_clauses!(
                $crate::testkit::upload_store,
                durability,
                $factory,
                [
                    received_survives_reopening,
                    an_upload_goes_on_after_reopening,
                    seal_can_be_repeated_after_reopening,
                    a_sealed_upload_takes_no_more_bytes_after_reopening_either,
                    a_writer_that_never_ended_leaves_a_prefix_across_reopening,
                ]
            );
        }
    };
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::upload_store,
            $name,
            $factory,
            [
                every_upload_has_a_location_of_its_own,
                nothing_is_there_before_the_first_byte,
                append_gives_the_new_length,
                appends_go_to_the_end,
                chunks_of_any_size_make_the_same_content,
                bytes_that_do_not_begin_where_the_upload_is_are_refused,
                an_interrupted_stream_keeps_what_came_before,
                an_append_whose_caller_left_leaves_a_prefix,
                a_superseded_writer_writes_nothing_more,
                a_stalled_writer_is_taken_over_where_it_was,
                an_out_of_order_append_takes_nothing_over,
                sealing_ends_the_writer,
                discarding_ends_the_writer,
                writers_at_once_leave_bytes_that_match_their_digest,
                uploads_do_not_disturb_each_other,
                sealed_bytes_are_read_at_their_location,
                seal_with_wrong_digest_tells_the_actual_one_and_the_right_one_still_seals,
                seal_under_another_algorithm_than_hinted,
                hints_may_differ_between_appends,
                seal_without_any_byte_is_the_empty_content,
                seal_can_be_repeated,
                a_sealed_upload_takes_no_more_bytes,
                discarding_nothing_is_fine,
            ]
        );
    };
}

type F = Fixture<dyn ByteStore>;

const SHA256: Algorithm = Algorithm::Sha256;

async fn all(store: &dyn ByteStore, id: &UploadId) -> Bytes {
    let location = store.location(id);
    let size = store.size(&location).await.unwrap().expect("something there");
    read_all(store.read(&location, 0..size).await.unwrap())
        .await
        .unwrap()
}

#[track_caller]
fn assert_superseded(outcome: Result<u64, StoreError>) {
    assert!(
        matches!(outcome, Err(StoreError::Superseded)),
        "not superseded: {outcome:?}"
    );
}

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

/// Giving up what never began does no harm.
pub async fn discarding_nothing_is_fine(f: F) {
    f.store.discard(&upload(1)).await;
    assert!(f.store.list(None, 1).await.unwrap().is_empty());
}

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

#[cfg(test)]
mod tests {
    #[test]
    fn every_clause_is_stamped() {
        crate::testkit::assert_every_clause_is_stamped(include_str!("upload_store.rs"));
    }
}
