//! Damaged bytes of blobs.

use registry_core::{ByteRange, Digest, ErrorKind, Registry, SAMPLE, Verify};
use registry_storage::testkit::block_on;

use crate::harness::{Damage, House, image, name};

const BLOB: &[u8] = b"precious bytes that no disk should change";

/// What everybody is told of a blob that was found damaged, and that the next push mends it.
async fn is_refused_and_mended_by_a_push(house: &House) {
    assert_eq!(house.read("a", BLOB).await, Err(ErrorKind::BlobUnknown));
    let again = house.read("a", BLOB).await;
    assert_eq!(again, Err(ErrorKind::BlobUnknown), "and by everybody after");
    assert_eq!(
        house.pusher_finds("a", BLOB).await,
        Err(ErrorKind::BlobUnknown),
        "a pusher has to push it"
    );
    assert!(
        !house.mounts("b", "a", BLOB).await,
        "it is not to be had by mounting"
    );
    let refused = house.put("a", "v2", &image(BLOB, "")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ManifestBlobUnknown);

    assert!(house.push("a", BLOB).await, "the push sends bytes");
    assert_eq!(house.read("a", BLOB).await.unwrap(), BLOB);
    assert!(house.mounts("b", "a", BLOB).await);
    house.put("a", "v2", &image(BLOB, "")).await.unwrap();
}

#[test]
fn with_full_verification_no_damaged_byte_is_served_and_the_next_push_repairs() {
    for damage in [Damage::Flipped, Damage::Zeroed, Damage::Truncated, Damage::Gone] {
        block_on(async {
            let house = House::new(Verify::Full, 0);
            house.push("a", BLOB).await;
            house.push("a", b"a neighbour").await;
            house.put("a", "v1", &image(BLOB, "")).await.unwrap();
            house.damage_file(BLOB, damage);
            is_refused_and_mended_by_a_push(&house).await;
            assert_eq!(house.read("a", b"a neighbour").await.unwrap(), b"a neighbour");
            assert_eq!(
                house.doomed().await,
                1,
                "{damage:?}: the damaged file is given back"
            );
        });
    }
}

#[test]
fn a_range_is_checked_as_a_part_of_its_whole() {
    block_on(async {
        let house = House::new(Verify::Full, 0);
        house.push("a", BLOB).await;
        house.damage_file(BLOB, Damage::Flipped);
        // The first byte is as it was.
        let first = ByteRange::From(0, Some(0));
        let read = house.read_part("a", &Digest::sha256(BLOB), Some(first)).await;
        assert_eq!(read, Err(ErrorKind::BlobUnknown));
        house.push("a", BLOB).await;
        let read = house.read_part("a", &Digest::sha256(BLOB), Some(first)).await;
        assert_eq!(read.unwrap(), BLOB[..1]);
    });
}

#[test]
fn bytes_that_are_gone_or_too_few_are_found_without_verification() {
    for (verify, damage) in [
        (Verify::Off, Damage::Truncated),
        (Verify::Off, Damage::Gone),
        (Verify::Sampled, Damage::Gone),
    ] {
        block_on(async {
            let house = House::new(verify, 0);
            house.push("a", BLOB).await;
            house.put("a", "v1", &image(BLOB, "")).await.unwrap();
            house.damage_file(BLOB, damage);
            is_refused_and_mended_by_a_push(&house).await;
        });
    }
}

#[test]
fn a_pusher_is_not_told_that_a_blob_exists_whose_file_is_gone() {
    block_on(async {
        let house = House::new(Verify::Off, 0);
        house.push("a", BLOB).await;
        house.damage_file(BLOB, Damage::Gone);
        assert!(!house.mounts("b", "a", BLOB).await);
        assert_eq!(
            house.pusher_finds("a", BLOB).await,
            Err(ErrorKind::BlobUnknown),
            "nobody has read it yet"
        );
        is_refused_and_mended_by_a_push(&house).await;
    });
}

#[test]
fn one_read_in_so_many_is_checked_when_sampled_and_none_when_off() {
    let reads_until_refused = |verify| {
        block_on(async {
            let house = House::new(verify, 0);
            house.push("a", BLOB).await;
            house.damage_file(BLOB, Damage::Flipped);
            for read in 1..=2 * SAMPLE {
                match house.read("a", BLOB).await {
                    Ok(_) => {}
                    Err(ErrorKind::BlobUnknown) => return Some(read),
                    Err(other) => panic!("{other:?}"),
                }
            }
            None
        })
    };
    assert_eq!(reads_until_refused(Verify::Full), Some(1));
    let sampled = reads_until_refused(Verify::Sampled).expect("one of them is checked");
    assert!((2..=SAMPLE).contains(&sampled), "{sampled}");
    assert_eq!(reads_until_refused(Verify::Off), None);
}

#[test]
fn inline_bytes_are_checked_at_every_turn_and_replaced_by_the_next_push() {
    block_on(async {
        // By the engine's checksum.
        let house = House::new(Verify::Off, 1 << 10);
        house.push("a", BLOB).await;
        house.put("a", "v1", &image(BLOB, "")).await.unwrap();
        house.damage_value(BLOB);
        is_refused_and_mended_by_a_push(&house).await;

        // By the digest.
        let key = format!("inline/{}", Digest::sha256(BLOB));
        let put =
            registry_core::store::Txn::new().put(&key, &b"precious bytes of something else instead"[..]);
        house.kv.commit(put).await.unwrap();
        is_refused_and_mended_by_a_push_of(&house).await;

        // Gone.
        let delete = registry_core::store::Txn::new().delete(&key);
        house.kv.commit(delete).await.unwrap();
        is_refused_and_mended_by_a_push_of(&house).await;
    });
}

/// The same for a repository that has the blob mounted in another already.
async fn is_refused_and_mended_by_a_push_of(house: &House) {
    assert_eq!(
        house.pusher_finds("b", BLOB).await,
        Err(ErrorKind::BlobUnknown),
        "nobody has read it yet"
    );
    is_refused_and_mended_by_a_push(house).await;
    assert_eq!(house.read("b", BLOB).await.unwrap(), BLOB);
}

#[test]
fn whoever_may_not_see_a_blob_does_not_learn_that_it_is_damaged() {
    block_on(async {
        let house = House::new(Verify::Full, 0);
        house.push("a", BLOB).await;
        house.push("c", b"something else").await;
        house.damage_file(BLOB, Damage::Flipped);
        let message = async |repository: &str| {
            house
                .registry
                .read_blob(&house.reader, &name(repository), &Digest::sha256(BLOB), None)
                .await
                .unwrap_err()
                .message()
                .to_owned()
        };
        let first = message("a").await;
        assert!(first.contains("push it again"), "{first}");
        assert_eq!(message("a").await, first);
        let stranger = message("c").await;
        assert!(!stranger.contains("damaged"), "{stranger}");
    });
}
