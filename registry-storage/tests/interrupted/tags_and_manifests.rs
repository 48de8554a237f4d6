//! Tags and manifests.

use registry_core::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use registry_core::store::ManifestStore;
use registry_core::{Digest, ErrorKind, Expect, PutManifest, Reference, Registry};
use registry_storage::testkit::block_on;

use crate::harness::*;

#[test]
fn a_tag_that_moves_while_the_manifest_it_leaves_is_deleted_stays() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let old = house.tag("a", "t", &image(&blob, "")).await;
        let other = house.clone();
        let new = image(&blob, r#","annotations":{"new":"yes"}"#);
        let moved = new.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.tag("a", "t", &moved).await;
            }),
        );
        house
            .slow
            .delete_manifest(&house.ctx, &name("a"), &old)
            .await
            .unwrap();
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(
                house.at("a", "t").await,
                Ok(Digest::sha256(new.as_bytes())),
                "interrupted at {at}"
            );
        }
        interrupted
    });
}

#[test]
fn a_manifest_that_two_delete_at_once_is_deleted_once_and_unknown_to_the_other() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let old = house.tag("a", "t", &image(&blob, "")).await;
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other
                    .registry
                    .delete_manifest(&other.ctx, &name("a"), &old)
                    .await
                    .unwrap();
            }),
        );
        let deleted = house.slow.delete_manifest(&house.ctx, &name("a"), &old).await;
        let interrupted = !house.interrupted.disarm();
        let expected = match interrupted {
            true => Err(ErrorKind::ManifestUnknown),
            false => Ok(()),
        };
        assert_eq!(deleted.map_err(|why| why.kind()), expected, "interrupted at {at}");
        interrupted
    });
}

#[test]
fn a_manifest_that_is_deleted_while_it_is_put_under_another_media_type_is_put() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        // It names no media type of itself, so either may be said of it.
        let bytes = image(&blob, "");
        let put = |media_type: &str| PutManifest::tagged(tag("t"), media_type, bytes.clone());
        let old = house
            .registry
            .put_manifest(&house.ctx, &name("a"), put(OCI_MANIFEST))
            .await
            .unwrap()
            .digest;
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                // It is too late for this if the put has happened, which it may survive.
                let _whichever = other.registry.delete_manifest(&other.ctx, &name("a"), &old).await;
            }),
        );
        house
            .slow
            .put_manifest(&house.ctx, &name("a"), put(DOCKER_MANIFEST))
            .await
            .unwrap();
        let interrupted = !house.interrupted.disarm();
        assert_eq!(house.at("a", "t").await, Ok(old), "interrupted at {at}");
        interrupted
    });
}

#[test]
fn a_tag_that_moves_while_it_is_resolved_is_never_unknown() {
    for with_bytes in [false, true] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            let old = house.tag("a", "t", &image(&blob, "")).await;
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    other
                        .tag("a", "t", &image(&blob, r#","annotations":{"new":"yes"}"#))
                        .await;
                    other
                        .registry
                        .delete_manifest(&other.ctx, &name("a"), &old)
                        .await
                        .unwrap();
                }),
            );
            let reference = Reference::Tag(tag("t"));
            let found = match with_bytes {
                false => house
                    .slow
                    .stat_manifest(&house.ctx, &name("a"), &reference)
                    .await
                    .map(drop),
                true => house
                    .slow
                    .get_manifest(&house.ctx, &name("a"), &reference)
                    .await
                    .map(drop),
            };
            assert_eq!(found.map_err(|why| why.kind()), Ok(()), "interrupted at {at}");
            !house.interrupted.disarm()
        });
    }
}

#[test]
fn a_tag_that_must_be_absent_is_not_overwritten() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let other = house.clone();
        let theirs = image(&blob, r#","annotations":{"by":"them"}"#);
        let first = theirs.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.tag("a", "t", &first).await;
            }),
        );
        let mut put = PutManifest::tagged(tag("t"), OCI, image(&blob, ""));
        put.options.expect = Expect::Absent;
        let ours = house.slow.put_manifest(&house.ctx, &name("a"), put).await;
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(ours.unwrap_err().kind(), ErrorKind::PreconditionFailed);
            assert_eq!(house.at("a", "t").await, Ok(Digest::sha256(theirs.as_bytes())));
        }
        interrupted
    });
}

#[test]
fn an_index_and_the_deletion_of_what_it_lists_do_not_both_happen() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let child = image(&blob, "");
        let digest = house.tag("a", "child", &child).await;
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other
                    .registry
                    .delete_manifest(&other.ctx, &name("a"), &digest)
                    .await
                    .unwrap();
            }),
        );
        let put = PutManifest::tagged(tag("all"), INDEX, index(&child));
        let put = house.slow.put_manifest(&house.ctx, &name("a"), put).await;
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(put.unwrap_err().kind(), ErrorKind::ManifestBlobUnknown);
        }
        interrupted
    });
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let child = image(&blob, "");
        let digest = house.tag("a", "child", &child).await;
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                let put = PutManifest::tagged(tag("all"), INDEX, index(&child));
                other.put("a", put).await.unwrap();
            }),
        );
        let deleted = house.slow.delete_manifest(&house.ctx, &name("a"), &digest).await;
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(deleted.unwrap_err().kind(), ErrorKind::InUse);
            assert_eq!(house.at("a", "child").await, Ok(digest));
        }
        interrupted
    });
}

#[test]
fn a_manifest_with_very_many_tags_can_be_deleted() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let manifest = image(&blob, "");
        for hundred in 0..501 {
            let mut put = PutManifest::untagged(OCI, manifest.clone());
            put.tags = (0..100).map(|n| tag(&format!("t{hundred}-{n}"))).collect();
            house.put("a", put).await.unwrap();
        }
        let deleted = house
            .registry
            .delete_manifest(&house.ctx, &name("a"), &Digest::sha256(manifest.as_bytes()))
            .await;
        assert_eq!(deleted.map_err(|why| why.to_string()), Ok(()));
    });
}

#[test]
fn a_manifest_is_acknowledged_only_while_what_it_names_can_be_read() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let manifest = image(&blob, "");
        house.tag("a", "first", &manifest).await;
        let record = house.records.blob_record(&blob.digest).await.unwrap().unwrap();
        house.records.mark_suspect(&record).await.unwrap();
        let another = PutManifest::tagged(tag("other"), OCI, image(&blob, r#","annotations":{}"#));
        assert_eq!(house.put("a", another).await, Err(ErrorKind::ManifestBlobUnknown));
        let again = PutManifest::tagged(tag("second"), OCI, manifest);
        assert_eq!(house.put("a", again).await, Err(ErrorKind::ManifestBlobUnknown));
    });
}
