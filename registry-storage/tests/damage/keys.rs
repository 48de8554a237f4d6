//! Damaged keys: the checksum covers them, so that what is damaged may name something else.

use registry_core::store::{ManifestStore, Reclaim, Undo};
use registry_core::{Digest, ErrorKind, Registry, Verify};
use registry_storage::testkit::block_on;

use crate::harness::{House, image, name, self_named, tag};

/// The highest bit of a byte: what was text is none then.
const NO_TEXT: u8 = 0x80;

fn house() -> House {
    House::new(Verify::Off, 16 << 10)
}

#[test]
fn a_mirror_that_names_another_tag_does_not_take_it_away() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        house.push("a", b"two").await;
        let first = house.put("a", "v1", &image(b"one", &self_named())).await.unwrap();
        let second = house.put("a", "v0", &image(b"two", &self_named())).await.unwrap();
        let keys = house.keys_of("tagged/").await;
        let mirror = keys
            .iter()
            .find(|key| key.ends_with(&format!("{first}/v1")))
            .unwrap();
        house.damage_key(mirror, mirror.len() - 1, 1);
        house
            .registry
            .delete_manifest(&house.pusher, &name("a"), &first)
            .await
            .unwrap();
        let left = house.pull("a", &tag("v0")).await.unwrap();
        assert_eq!(left.info.digest, second);
        assert_eq!(house.keys_of("tagged/").await.len(), 1, "the untrue one is gone");
    });
}

/// Nor does one whose record is whole, but that is not true.
#[test]
fn deleting_a_manifest_takes_away_only_tags_that_point_at_it() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        let first = house.put("a", "v1", &image(b"one", "")).await.unwrap();
        let second = house.put("a", "v0", &image(b"one", " ")).await.unwrap();
        let mirror = house.keys_of("tagged/").await[0].clone();
        let untrue = mirror.replace(&second.to_string(), &first.to_string());
        let untrue = format!("{}v0", &untrue[..untrue.len() - 2]);
        house
            .kv
            .commit(registry_core::store::Txn::new().put(&untrue, &b"{\"v\":1}"[..]))
            .await
            .unwrap();
        house
            .registry
            .delete_manifest(&house.pusher, &name("a"), &first)
            .await
            .unwrap();
        assert_eq!(house.pull("a", &tag("v0")).await.unwrap().info.digest, second);
        assert_eq!(
            house.pull("a", &tag("v1")).await.unwrap_err().kind(),
            ErrorKind::ManifestUnknown
        );
        assert!(!house.keys_of("tagged/").await.contains(&untrue));
    });
}

#[test]
fn a_tag_whose_mirror_is_damaged_too_points_where_it_did() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        let digest = house.put("a", "v1", &image(b"one", "")).await.unwrap();
        for table in ["tag/", "tagged/"] {
            house.damage_record(&house.only_key(table).await);
        }
        assert_eq!(house.pull("a", &tag("v1")).await.unwrap().info.digest, digest);
        house
            .registry
            .delete_manifest(&house.pusher, &name("a"), &digest)
            .await
            .unwrap();
        assert!(house.keys_of("tag").await.is_empty());
    });
}

/// Its end was changed, to sooner or later or to no time at all.
#[test]
fn a_blob_with_a_damaged_lease_is_kept_for_the_grace_and_no_longer_than_if_it_were_new() {
    block_on(async {
        for at in [3, 6, 10] {
            for bits in [1, 4, 8] {
                let house = house();
                house.push("a", b"one").await;
                let lease = house.only_key("lease/").await;
                let pending = house.only_key("pending/").await;
                let start = lease.rfind('/').unwrap() - 16;
                house.damage_key(&lease, start + at, bits);
                for queued in house.records.due(None, 10).await.unwrap() {
                    house.records.collect(&queued).await.unwrap();
                }
                // What the collector does once the entry of the lease is due.
                let queued = registry_core::store::Pending {
                    due: registry_core::Timestamp(pending[8..24].parse().unwrap()),
                    digest: Digest::sha256(b"one"),
                    stamp: house.kv.get(&pending).await.unwrap().unwrap().stamp,
                };
                house.records.collect(&queued).await.unwrap();
                assert_eq!(house.only_key("lease/").await, lease, "{at}: {bits}");
                let record = house.records.blob_record(&queued.digest).await.unwrap().unwrap();
                assert_eq!(record.state, registry_core::store::BlobState::Live);
                assert_eq!(house.read("a", b"one").await.unwrap(), b"one");
            }
        }
    });
}

#[test]
fn a_lease_of_a_blob_that_there_is_not_goes() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        let lease = house.only_key("lease/").await;
        let blob = house.only_key("blob/").await;
        house
            .kv
            .commit(registry_core::store::Txn::new().delete(blob))
            .await
            .unwrap();
        house.damage_record(&lease);
        assert_eq!(house.read("a", b"one").await, Err(ErrorKind::BlobUnknown));
        assert!(house.push("a", b"one").await);
        assert_eq!(house.read("a", b"one").await.unwrap(), b"one");
    });
}

#[test]
fn a_manifest_whose_edge_is_lost_gets_it_back_when_it_is_put_again() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        let image = image(b"one", &self_named());
        house.put("a", "v1", &image).await.unwrap();
        // In the middle of the digest.
        house.damage_key(&house.only_key("edge/").await, 20, 1);
        house.end_leases().await;
        assert_eq!(house.read("a", b"one").await, Err(ErrorKind::BlobUnknown));
        house.push("a", b"one").await;
        house.put("a", "v1", &image).await.unwrap();
        house.end_leases().await;
        assert_eq!(house.read("a", b"one").await.unwrap(), b"one");
    });
}

#[test]
fn an_index_whose_hold_on_its_child_is_lost_gets_it_back_when_it_is_put_again() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        let child = image(b"one", &self_named());
        let digest = house.put("a", "v1", &child).await.unwrap();
        let list = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"{}","digest":"{digest}","size":{}}}]}}"#,
            crate::harness::OCI,
            child.len(),
        );
        let repository = name("a");
        let put = || {
            let put = registry_core::PutManifest::tagged(
                "list".parse().unwrap(),
                "application/vnd.oci.image.index.v1+json",
                list.clone(),
            );
            house.registry.put_manifest(&house.pusher, &repository, put)
        };
        put().await.unwrap();
        let delete = || {
            house
                .registry
                .delete_manifest(&house.pusher, &repository, &digest)
        };
        let parent = house.only_key("parent/").await;
        house.damage_record(&parent);
        assert_eq!(delete().await.unwrap_err().kind(), ErrorKind::InUse, "mended");

        // In the child's digest.
        house.damage_key(&parent, 60, 1);
        put().await.unwrap();
        assert_eq!(delete().await.unwrap_err().kind(), ErrorKind::InUse, "put again");
    });
}

#[test]
fn an_edge_whose_put_id_was_changed_is_made_again_for_the_manifest_that_lacks_it() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        house.put("a", "v1", &image(b"one", "")).await.unwrap();
        let edge = house.only_key("edge/").await;
        house.damage_key(&edge, edge.len() - 1, 1);
        house.end_leases().await;
        assert_eq!(house.read("a", b"one").await.unwrap(), b"one");
        assert_eq!(house.only_key("edge/").await, edge);
    });
}

/// Nothing tells whose edge it was.
#[test]
fn a_manifest_that_is_damaged_and_its_edge_too_can_be_put_again_and_deleted() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        let image = image(b"one", "");
        let digest = house.put("a", "v1", &image).await.unwrap();
        for table in ["manifest/", "edge/"] {
            house.damage_record(&house.only_key(table).await);
        }
        house.end_leases().await;
        house.put("a", "v1", &image).await.unwrap();
        assert_eq!(house.pull("a", &tag("v1")).await.unwrap().bytes, image.as_bytes());
        house.end_leases().await;
        assert_eq!(house.read("a", b"one").await.unwrap(), b"one");
        house.only_key("edge/").await;
        house
            .registry
            .delete_manifest(&house.pusher, &name("a"), &digest)
            .await
            .unwrap();
        house
            .records
            .purge(&house.pusher, &name("a"), &digest)
            .await
            .unwrap();
        for table in [
            "edge/",
            "manifest/",
            "children/",
            "content/",
            "tag/",
            "tagged/",
            "tra",
        ] {
            assert!(house.keys_of(table).await.is_empty(), "{table}");
        }
    });
}

#[test]
fn an_edge_is_mended_though_another_manifest_is_damaged() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        house.push("a", b"two").await;
        let image_of_one = image(b"one", "");
        let first = house.put("a", "v1", &image_of_one).await.unwrap();
        house.put("a", "v2", &image(b"two", "")).await.unwrap();
        house.end_leases().await;
        let records = house.keys_of("manifest/").await;
        let other = records
            .iter()
            .find(|key| !key.ends_with(&first.to_string()))
            .unwrap();
        house.damage_record(other);
        let edge = format!("edge/{}/", Digest::sha256(b"one"));
        house.damage_record(&house.only_key(&edge).await);
        assert_eq!(house.read("a", b"one").await.unwrap(), b"one");
        house.put("a", "v1", &image_of_one).await.unwrap();
        assert_eq!(house.read("a", b"two").await.unwrap(), b"two");
    });
}

#[test]
fn a_key_that_is_no_text_is_an_error_that_names_it() {
    block_on(async {
        let house = house();
        house.push("a", b"one").await;
        house.put("a", "v1", &image(b"one", "")).await.unwrap();
        let key = house.only_key("tag/").await;
        house.damage_key(&key, key.len() - 1, NO_TEXT);
        let why = house
            .registry
            .list_tags(&house.reader, &name("a"), None, 10)
            .await
            .unwrap_err();
        assert!(why.message().contains(&key[..key.len() - 1]), "{why}");
        // What comes after it is put, and listed before it.
        house.put("a", "v1", &image(b"one", "")).await.unwrap();
        house.pull("a", &tag("v1")).await.unwrap();
    });
}
