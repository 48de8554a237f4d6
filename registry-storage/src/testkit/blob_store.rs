//! What [`BlobStore`](registry_core::store::BlobStore) promises.

use bytes::Bytes;
use registry_core::store::{Location, StoreError};
use registry_core::{Algorithm, BlobRead};

use super::content::{chunked, content, read_all, stored, upload};
use super::{ByteStore, Fixture};

/// Stamps one test per clause of the `BlobStore` contract; the word `durable` before the factory adds those about
/// opening the store again. See [`testkit`](crate::testkit).
#[macro_export]
macro_rules! blob_store_suite {
    ($name:ident, durable, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::blob_store_suite!(contract, $factory);
            $crate::stamp_clauses!(
                $crate::testkit::blob_store,
                durability,
                $factory,
                [
                    what_was_stored_survives_reopening,
                    what_was_unlinked_stays_unlinked_across_reopening,
                ]
            );
        }
    };
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::blob_store,
            $name,
            $factory,
            [
                missing_location_is_missing_not_io_error,
                a_location_of_another_kind_or_grammar_is_missing,
                ranges_give_exactly_their_bytes,
                a_range_beyond_the_end_is_missing,
                size_is_the_length,
                the_empty_content_is_something,
                unlink_removes_one_location_and_no_other,
                unlinking_twice_is_fine,
                read_of_unlinked_open_blob_is_right_or_error,
                many_readers_get_the_same_bytes,
                list_is_in_order_and_its_pages_make_the_whole,
                list_after_need_not_exist,
            ]
        );
    };
}

type F = Fixture<dyn ByteStore>;

#[track_caller]
fn assert_missing(read: Result<BlobRead, StoreError>, expected: &Location) {
    match read {
        Err(StoreError::Missing(location)) => assert_eq!(location, *expected),
        other => panic!("expected nothing at {expected}, got {other:?}"),
    }
}

async fn all(store: &dyn ByteStore, location: &Location) -> Bytes {
    let size = store.size(location).await.unwrap().expect("something there");
    read_all(store.read(location, 0..size).await.unwrap())
        .await
        .unwrap()
}

/// Where nothing was ever put there is nothing, and that is no failure.
pub async fn missing_location_is_missing_not_io_error(f: F) {
    let location = f.store.location(&upload(1));
    for range in [0..0, 0..1, 5..9] {
        assert_missing(f.store.read(&location, range).await, &location);
    }
    assert_eq!(f.store.size(&location).await.unwrap(), None);
    f.store.unlink(&location).await.unwrap();
    assert!(f.store.list(None, 10).await.unwrap().is_empty());
}

/// A location that this store cannot have given names nothing, whatever it spells, and harms nothing.
pub async fn a_location_of_another_kind_or_grammar_is_missing(f: F) {
    let bytes = content(1, 100);
    let real = stored(&*f.store, 1, &bytes).await;
    let texts = [
        "",
        ".",
        "..",
        "/",
        "../../../../etc/passwd",
        "/etc/passwd",
        "ab/..",
        "lock",
        "a\0b",
    ];
    let strange = texts
        .iter()
        .flat_map(|text| [Location::File((*text).into()), Location::Object((*text).into())])
        .chain([Location::Inline]);
    for location in strange {
        assert_missing(f.store.read(&location, 0..0).await, &location);
        assert_eq!(f.store.size(&location).await.unwrap(), None, "{location}");
        f.store.unlink(&location).await.unwrap();
    }
    assert_eq!(all(&*f.store, &real).await, bytes);
}

/// A range is from its start up to, not with, its end.
pub async fn ranges_give_exactly_their_bytes(f: F) {
    let length = 1_000_003_usize;
    let bytes = content(2, length);
    let location = stored(&*f.store, 1, &bytes).await;
    let middle = length / 2;
    for range in [
        0..length,
        0..1,
        0..0,
        1..2,
        middle..middle + 65_537,
        length - 1..length,
        length..length,
        7..7,
    ] {
        let part = f
            .store
            .read(&location, range.start as u64..range.end as u64)
            .await
            .unwrap();
        assert_eq!(read_all(part).await.unwrap(), bytes[range.clone()], "{range:?}");
    }
}

/// Fewer bytes than asked for are as bad as none: the record that asks says how many there must be.
pub async fn a_range_beyond_the_end_is_missing(f: F) {
    let location = stored(&*f.store, 1, &content(3, 100)).await;
    for range in [0..101, 100..101, 500..501, 0..u64::MAX] {
        assert_missing(f.store.read(&location, range).await, &location);
    }
}

/// Size counts the bytes that are there, while they arrive too.
pub async fn size_is_the_length(f: F) {
    let id = upload(1);
    let location = f.store.location(&id);
    for (times, size) in [(1, 70_000), (2, 140_000)] {
        f.store
            .append(
                &id,
                Algorithm::Sha256,
                None,
                chunked(&content(times, 70_000), 999),
            )
            .await
            .unwrap();
        assert_eq!(f.store.size(&location).await.unwrap(), Some(size));
    }
}

/// Nothing there is one thing, no bytes there another.
pub async fn the_empty_content_is_something(f: F) {
    let location = stored(&*f.store, 1, &Bytes::new()).await;
    assert_eq!(f.store.size(&location).await.unwrap(), Some(0));
    assert_eq!(
        read_all(f.store.read(&location, 0..0).await.unwrap())
            .await
            .unwrap(),
        ""
    );
    assert_missing(f.store.read(&location, 0..1).await, &location);
    assert_eq!(f.store.list(None, 10).await.unwrap(), [location]);
}

/// What is unlinked is gone at once, and only that.
pub async fn unlink_removes_one_location_and_no_other(f: F) {
    let bytes = content(4, 1000);
    let gone = stored(&*f.store, 1, &bytes).await;
    let kept = stored(&*f.store, 2, &bytes).await;
    f.store.unlink(&gone).await.unwrap();
    assert_missing(f.store.read(&gone, 0..1000).await, &gone);
    assert_eq!(f.store.size(&gone).await.unwrap(), None);
    assert_eq!(all(&*f.store, &kept).await, bytes);
    assert_eq!(f.store.list(None, 10).await.unwrap(), [kept]);
}

/// A collector that starts again does no harm.
pub async fn unlinking_twice_is_fine(f: F) {
    let location = stored(&*f.store, 1, &content(5, 10)).await;
    f.store.unlink(&location).await.unwrap();
    f.store.unlink(&location).await.unwrap();
    assert_eq!(f.store.size(&location).await.unwrap(), None);
}

/// A reader that holds an open blob gets its bytes or an error, never others, also after its location was used
/// again in error.
pub async fn read_of_unlinked_open_blob_is_right_or_error(f: F) {
    let bytes = content(6, 300_000);
    let location = stored(&*f.store, 1, &bytes).await;
    let open = f.store.read(&location, 1000..300_000).await.unwrap();
    f.store.unlink(&location).await.unwrap();
    stored(&*f.store, 1, &content(7, 300_000)).await;
    if let Ok(read) = read_all(open).await {
        assert_eq!(read, bytes[1000..]);
    }
}

/// Readers do not disturb each other.
pub async fn many_readers_get_the_same_bytes(f: F) {
    let bytes = content(8, 500_000);
    let location = stored(&*f.store, 1, &bytes).await;
    let readers: Vec<_> = (0..32)
        .map(|i| {
            let (store, location, bytes) = (f.store.clone(), location.clone(), bytes.clone());
            tokio::spawn(async move {
                let read = store.read(&location, i..500_000 - i).await.unwrap();
                assert_eq!(
                    read_all(read).await.unwrap(),
                    bytes[i as usize..500_000 - i as usize]
                );
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
}

/// Listing is ordered, and begins again where it stopped.
pub async fn list_is_in_order_and_its_pages_make_the_whole(f: F) {
    let mut expected = Vec::new();
    for n in 0..40 {
        expected.push(stored(&*f.store, n, &content(u64::from(n), 10)).await);
    }
    expected.sort();
    assert_eq!(f.store.list(None, 100).await.unwrap(), expected);
    assert!(f.store.list(None, 0).await.unwrap().is_empty());
    for limit in [1, 7, 40] {
        let mut found: Vec<Location> = Vec::new();
        loop {
            let page = f.store.list(found.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
            assert!(
                found.len() <= expected.len(),
                "a page began before the end of the last"
            );
        }
        assert_eq!(found, expected, "by {limit}");
    }
}

/// What a page ended with may have been unlinked since.
pub async fn list_after_need_not_exist(f: F) {
    let mut locations = Vec::new();
    for n in 0..5 {
        locations.push(stored(&*f.store, n, &content(u64::from(n), 10)).await);
    }
    locations.sort();
    f.store.unlink(&locations[2]).await.unwrap();
    assert_eq!(
        f.store.list(Some(&locations[2]), 10).await.unwrap(),
        locations[3..]
    );
}

/// Complete bytes are there after the store was closed and opened.
pub async fn what_was_stored_survives_reopening(f: F) {
    let bytes = content(9, 700_000);
    let location = stored(&*f.store, 1, &bytes).await;
    let f = f.reopen().await;
    assert_eq!(all(&*f.store, &location).await, bytes);
    assert_eq!(f.store.list(None, 10).await.unwrap(), [location]);
}

/// And removed ones are not.
pub async fn what_was_unlinked_stays_unlinked_across_reopening(f: F) {
    let location = stored(&*f.store, 1, &content(10, 1000)).await;
    f.store.unlink(&location).await.unwrap();
    let f = f.reopen().await;
    assert_missing(f.store.read(&location, 0..1).await, &location);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_clause_is_stamped() {
        crate::testkit::assert_every_clause_is_stamped(include_str!("blob_store.rs"));
    }
}
