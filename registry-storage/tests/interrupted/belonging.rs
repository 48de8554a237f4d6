//! Belonging.

use registry_core::store::ManifestStore;
use registry_core::{ErrorKind, PutManifest, Registry};
use registry_storage::testkit::block_on;

use crate::harness::*;

#[test]
fn a_deferred_child_opens_nothing_when_its_manifest_is_put_again() {
    block_on(async {
        let house = house();
        let secret = house.push("owner", b"secret").await;
        let put = deferred(PutManifest::tagged(tag("t"), OCI, image(&secret, "")));
        house.put("proxy", put.clone()).await.unwrap();
        house.put("proxy", put).await.unwrap();
        assert_eq!(
            house.read("proxy", &secret.digest).await,
            Err(ErrorKind::BlobUnknown)
        );
    });
}

#[test]
fn a_deferred_child_opens_nothing_when_its_manifest_is_deleted() {
    block_on(async {
        let house = house();
        let secret = house.push("owner", b"secret").await;
        let put = deferred(PutManifest::tagged(tag("t"), OCI, image(&secret, "")));
        let digest = house.put("proxy", put).await.unwrap();
        house
            .registry
            .delete_manifest(&house.ctx, &name("proxy"), &digest)
            .await
            .unwrap();
        assert_eq!(
            house.read("proxy", &secret.digest).await,
            Err(ErrorKind::BlobUnknown)
        );
        house.live_for(120 * HOUR).await;
        assert_eq!(house.records.blob_record(&secret.digest).await.unwrap(), None);
    });
}

#[test]
fn a_deleted_blob_does_not_belong_though_its_lease_was_renewed_meanwhile() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.clock.advance(7 * HOUR);
                // Told or refused, whichever comes first: it does not matter to the deletion.
                let _either = other
                    .registry
                    .stat_blob(&other.ctx, &name("a"), &blob.digest)
                    .await;
            }),
        );
        house
            .slow
            .delete_blob(&house.ctx, &name("a"), &blob.digest)
            .await
            .unwrap();
        assert_eq!(
            house.read("a", &blob.digest).await,
            Err(ErrorKind::BlobUnknown),
            "interrupted at {at}"
        );
        !house.interrupted.disarm()
    });
}
