//! Damage among what waits to be cleaned up: the pieces of deleted manifests, and what is noted of untagged ones.

use std::time::Duration;

use registry_core::store::{Lifetimes, Location, ManifestStore, Reclaim, Undo};
use registry_core::{Digest, Registry, Result, UploadId, Verify};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

use crate::harness::{Counting, House, OCI, image, name, tag};

const NO_TEXT: u8 = 0x80;
const BLOBS: [&[u8]; 3] = [b"config", b"layer", b"other"];

fn manifest() -> String {
    let layer = |content: &[u8]| {
        let (digest, size) = (Digest::sha256(content), content.len());
        format!(r#"{{"mediaType":"x/y","digest":"{digest}","size":{size}}}"#)
    };
    let [config, rest @ ..] = BLOBS;
    let layers = rest.map(layer).join(",");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{},"layers":[{layers}]}}"#,
        layer(config)
    )
}

/// A manifest that was deleted and whose edges, one in each piece, are still to be taken.
async fn deleted_in_pieces(undo: Duration) -> (House, Records, Digest) {
    let house = House::new(Verify::Off, 100);
    let lifetimes = Lifetimes {
        undo,
        ..Lifetimes::default()
    };
    let records = Records::new(house.kv.clone(), Counting::shared(), lifetimes).in_pieces_of(1);
    for content in BLOBS {
        house.push("a", content).await;
    }
    let digest = house.put("a", "v1", &manifest()).await.unwrap();
    house.end_leases().await;
    records
        .delete_manifest(&house.pusher, &name("a"), &digest)
        .await
        .unwrap();
    assert_eq!(house.keys_of("piece/").await.len(), BLOBS.len());
    (house, records, digest)
}

async fn sweep(records: &Records) -> Result<()> {
    while records.sweep_manifests(1).await? {}
    Ok(())
}

#[test]
fn the_edges_of_a_damaged_piece_are_taken_as_the_others_are() {
    block_on(async {
        for undo in [Duration::from_secs(3600), Duration::ZERO] {
            for damaged in 0..BLOBS.len() {
                let (house, records, digest) = deleted_in_pieces(undo).await;
                house.damage_record(&house.keys_of("piece/").await[damaged]);
                sweep(&records).await.unwrap();
                for table in ["piece/", "edge/"] {
                    assert!(house.keys_of(table).await.is_empty(), "{table}");
                }
                assert_eq!(house.keys_of("lease/").await.len(), BLOBS.len(), "the grace");
                let trashed = house.keys_of("trashed/").await.len();
                if undo.is_zero() {
                    assert_eq!(trashed, 0);
                    continue;
                }
                assert_eq!(trashed, BLOBS.len());
                let back = records.undelete(&house.pusher, &name("a"), &digest, None).await;
                back.unwrap();
                house.pull("a", &tag("v1")).await.unwrap();
                assert_eq!(house.keys_of("edge/").await.len(), BLOBS.len());
            }
        }
    });
}

#[test]
fn what_is_in_the_trash_with_a_damaged_piece_comes_back_or_is_purged_or_put_again() {
    block_on(async {
        for how in ["undelete", "purge", "put"] {
            let (house, records, digest) = deleted_in_pieces(Duration::from_secs(3600)).await;
            house.damage_record(&house.keys_of("piece/").await[1]);
            let a = name("a");
            match how {
                "undelete" => {
                    let back = records.undelete(&house.pusher, &a, &digest, None).await;
                    back.unwrap();
                }
                "purge" => records.purge(&house.pusher, &a, &digest).await.unwrap(),
                _ => {
                    house.put("a", "v1", &manifest()).await.unwrap();
                }
            }
            sweep(&records).await.unwrap();
            assert!(house.keys_of("piece/").await.is_empty(), "{how}");
            let edges = match how {
                "purge" => 0,
                _ => BLOBS.len(),
            };
            assert_eq!(house.keys_of("edge/").await.len(), edges, "{how}");
        }
    });
}

#[test]
fn a_piece_whose_key_is_no_text_keeps_no_other_from_being_taken() {
    block_on(async {
        let (house, records, digest) = deleted_in_pieces(Duration::from_secs(3600)).await;
        let pieces = house.keys_of("piece/").await;
        // The last, so that it lies where it sorts and every other is found.
        house.damage_key(&pieces[2], pieces[2].len() - 1, NO_TEXT);
        sweep(&records).await.unwrap();
        assert_eq!(house.keys_of("edge/").await.len(), 1);
        let back = records.undelete(&house.pusher, &name("a"), &digest, None).await;
        back.unwrap();
        assert_eq!(house.keys_of("edge/").await.len(), BLOBS.len());
        house.pull("a", &tag("v1")).await.unwrap();
    });
}

#[test]
fn a_doomed_location_is_found_whatever_is_damaged_of_its_place_in_the_order() {
    block_on(async {
        for at in [
            None,
            Some("unlink/".len()),
            Some("unlink/0000000000000000/file:".len()),
        ] {
            let house = House::new(Verify::Off, 0);
            let lifetimes = Lifetimes {
                upload_idle: Duration::ZERO,
                longest_write: Duration::ZERO,
                second_delay: Duration::ZERO,
                ..Lifetimes::default()
            };
            let records = Records::new(house.kv.clone(), Counting::shared(), lifetimes);
            let location = Location::File("01/23456789".to_owned());
            let algorithm = Digest::sha256(b"").algorithm();
            let claim = records
                .claim(&name("a"), &UploadId::new(1), &location, algorithm)
                .await;
            let claim = claim.unwrap();
            records.cancel(&claim).await.unwrap();
            let key = house.only_key("unlink/").await;
            match at {
                Some(at) => house.damage_key(&key, at, 1),
                None => house.damage_record(&key),
            }
            let mut found = Vec::new();
            while found.is_empty() {
                // What is damaged is met, and then put in order again; it is held until its time, which is near.
                found = records.doomed(None, 10).await.unwrap();
            }
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].location, location);
            records.clear_doomed(&found[0]).await.unwrap();
            assert!(house.keys_of("unlink/").await.is_empty(), "{at:?}");
        }
    });
}

/// Where it hides the others from writes, that is told, and nobody goes on for ever.
#[test]
fn a_sweep_of_pieces_comes_to_an_end_wherever_a_key_is_damaged() {
    block_on(async {
        for damaged in 0..BLOBS.len() {
            let (house, records, _) = deleted_in_pieces(Duration::from_secs(3600)).await;
            let key = house.keys_of("piece/").await[damaged].clone();
            house.damage_key(&key, key.len() - 1, NO_TEXT);
            let mut sweeps = 0;
            while let Ok(true) = records.sweep_manifests(1).await {
                sweeps += 1;
                assert!(sweeps <= BLOBS.len());
            }
        }
    });
}

/// Whose time without a tag is over at once.
async fn untagged(house: &House, records: &Records) -> Digest {
    house.push("a", b"one").await;
    let digest = house.put("a", "v1", &image(b"one", "")).await.unwrap();
    house.put("a", "v1", &image(b"one", " ")).await.unwrap();
    follow(records).await.unwrap();
    digest
}

async fn follow(records: &Records) -> Result<()> {
    while records.follow(10).await? {}
    Ok(())
}

#[test]
fn an_untagged_manifest_of_which_a_note_is_damaged_goes_all_the_same() {
    block_on(async {
        for table in ["loose/", "loosened/"] {
            let house = House::new(Verify::Off, 100);
            let records = house.records.clone();
            let digest = untagged(&house, &records).await;
            house.damage_record(&house.only_key(table).await);
            let mut deleted = false;
            // The time of one whose note was damaged begins anew.
            for _ in 0..2 {
                let until = records.now().await.unwrap() + Duration::from_secs(3600);
                for loose in records.untagged(until, None, 10).await.unwrap() {
                    assert_eq!(loose.digest, digest);
                    deleted |= records.delete_untagged(&loose).await.unwrap();
                }
            }
            assert!(deleted, "{table}");
            assert!(house.keys_of("loose").await.is_empty());
        }
    });
}

#[test]
fn what_was_noted_of_a_deleted_repository_goes_with_it_whatever_is_damaged() {
    block_on(async {
        for damaged in [None, Some("loose/"), Some("loosened/")] {
            let house = House::new(Verify::Off, 100);
            let records = house.records.clone();
            untagged(&house, &records).await;
            if let Some(table) = damaged {
                house.damage_record(&house.only_key(table).await);
            }
            let deleted = house.registry.delete_repository(&house.pusher, &name("a")).await;
            deleted.unwrap();
            while records.sweep_repositories(10).await.unwrap() {}
            assert!(house.keys_of("loose").await.is_empty(), "{damaged:?}");
        }
    });
}

#[test]
fn a_repository_that_cannot_be_read_keeps_no_other_from_losing_what_is_untagged() {
    block_on(async {
        let house = House::new(Verify::Off, 100);
        for repository in ["a", "b"] {
            house.push(repository, b"one").await;
            house.put(repository, "v1", &image(b"one", "")).await.unwrap();
            house.put(repository, "v1", &image(b"one", " ")).await.unwrap();
        }
        let named = house.keys_of("named/").await;
        house.damage_record("repository/a");
        for key in named {
            house.damage_record(&key);
        }
        let damaged = house.records.manifest_bytes(&name("a"), &tag("v1")).await;
        damaged.unwrap_err();
        follow(&house.records).await.unwrap();
        assert_eq!(house.keys_of("loose/").await.len(), 1);
    });
}
