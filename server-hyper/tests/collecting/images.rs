//! Images of several platforms, indexes of indexes, and what is about others: none of it is taken apart.

use crate::house::{House, Made, image, index};
use crate::on_every_store;

/// Two images that share a layer, put under their digests only, and an index of both.
async fn multi_arch(house: &House, repository: &str) -> (Made, [Made; 2]) {
    let (one, other, shared) = (house.content(), house.content(), house.content());
    let images = [
        house.push_image(repository, &[&one, &shared]).await,
        house.push_image(repository, &[&other, &shared]).await,
    ];
    (index(&[&images[0], &images[1]]), images)
}

on_every_store!(
    /// An index of two platforms whose manifests have no tag of their own stays whole.
    a_multi_arch_image_stays_whole,
    async |house: House| {
        let (both, _) = multi_arch(&house, "a").await;
        house.put("a", "latest", &both).await;
        house.collect_for_a_week().await;
        house.assert_pulls("a", "latest").await;
    }
);

on_every_store!(
    /// Only what is listed by the outermost index needs a tag, however deep it lies.
    an_index_of_indexes_stays_whole,
    async |house: House| {
        let (inner, images) = multi_arch(&house, "a").await;
        house.put_untagged("a", &inner).await;
        let outer = index(&[&inner, &images[0]]);
        house.put("a", "latest", &outer).await;
        house.collect_for_a_week().await;
        house.assert_pulls("a", "latest").await;
        // Nor can it be taken apart from below.
        assert_eq!(house.delete_manifest("a", &inner).await, 409);
        assert_eq!(house.delete_manifest("a", &images[0]).await, 409);
        house.assert_pulls("a", "latest").await;
    }
);

on_every_store!(
    /// A signature, and the signature of that signature, stay with what they are about.
    referrers_of_referrers_stay,
    async |house: House| {
        let contents = [house.content(), house.content(), house.content()];
        let signed = house.push_image("a", &[&contents[0]]).await;
        house.put("a", "latest", &signed).await;
        house.ensure_blob("a", &contents[1]).await;
        let signature = image(&[&contents[1]], Some(&signed));
        house.put_untagged("a", &signature).await;
        house.ensure_blob("a", &contents[2]).await;
        let countersignature = image(&[&contents[2]], Some(&signature));
        house.put_untagged("a", &countersignature).await;
        house.collect_for_a_week().await;
        assert_eq!(house.referrers("a", &signed).await, [signature.digest.to_string()]);
        assert_eq!(house.referrers("a", &signature).await, [countersignature.digest.to_string()]);
        for referrer in [&signature, &countersignature] {
            house.assert_pulls("a", referrer.digest).await;
        }
    }
);

on_every_store!(
    /// The index that is deleted takes nothing from the one that stays; after both, nothing is left.
    a_child_shared_by_a_deleted_and_a_live_index_stays,
    async |house: House| {
        let (one, images) = multi_arch(&house, "a").await;
        house.put("a", "one", &one).await;
        let other = index(&[&images[1]]);
        house.put("a", "other", &other).await;
        assert_eq!(house.delete_manifest("a", &one).await, 202);
        assert_eq!(house.delete_manifest("a", &images[0]).await, 202, "no index lists it now");
        house.collect_for_a_week().await;
        house.assert_pulls("a", "other").await;
        assert_eq!(house.delete_manifest("a", &images[1]).await, 409, "a live index lists it");

        let blobs = house.get(&format!("/v2/a/manifests/{}", images[1].digest)).await.body;
        let blobs: serde_json::Value = serde_json::from_slice(&blobs).unwrap();
        let shared = blobs["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
        assert!(house.is_recorded(&shared).await);
        assert_eq!(house.delete_manifest("a", &other).await, 202);
        assert_eq!(house.delete_manifest("a", &images[1]).await, 202);
        house.collect_for_a_week().await;
        assert!(!house.is_recorded(&shared).await, "nothing names it any more");
    }
);

on_every_store!(
    /// A signature may come before what it signs, and long before: it waits, whole, and is found when that comes.
    a_subject_pushed_after_its_referrer_finds_it,
    async |house: House| {
        let (config, signed_config) = (house.content(), house.content());
        let signed = image(&[&signed_config], None);
        house.ensure_blob("a", &config).await;
        let signature = image(&[&config], Some(&signed));
        let put = house.try_put("a", &signature.digest.to_string(), &signature).await;
        assert_eq!(put.status, 201);
        assert_eq!(put.headers["oci-subject"], signed.digest.to_string().as_str());
        house.collect_for_a_week().await;
        assert_eq!(house.status("a", signed.digest).await, 404);
        assert_eq!(house.referrers("a", &signed).await, [signature.digest.to_string()]);

        let pushed = house.push_image("a", &[&signed_config]).await;
        assert_eq!(pushed.digest, signed.digest);
        house.collect_for_a_week().await;
        house.assert_pulls("a", signed.digest).await;
        house.assert_pulls("a", signature.digest).await;
        assert_eq!(house.referrers("a", &signed).await, [signature.digest.to_string()]);
    }
);

on_every_store!(
    /// distribution#3178: `garbage-collect --delete-untagged` took the manifests of the single platforms, which have
    /// no tag in the repository of their index, so that a tagged image could no longer be pulled. Here what an index
    /// lists lives as long as the index, and cannot be deleted before it, by whatever name it was pushed.
    distribution_3178_the_platforms_of_a_tagged_index_need_no_tag,
    async |house: House| {
        let (both, images) = multi_arch(&house, "a").await;
        // The platforms have tags, but in repositories of their own, as in that report.
        for (platform, made) in ["a/amd64", "a/arm64"].iter().zip(&images) {
            let blobs: serde_json::Value = serde_json::from_slice(&made.bytes).unwrap();
            for descriptor in [&blobs["config"], &blobs["layers"][0]] {
                let digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
                assert!(house.mount(platform, &digest, "a").await);
            }
            house.put(platform, "latest", made).await;
        }
        house.put("a", "latest", &both).await;
        for platform in ["a/amd64", "a/arm64"] {
            assert_eq!(house.delete(&format!("/v2/{platform}/manifests/latest")).await, 202);
        }
        house.collect_for_a_week().await;
        house.assert_pulls("a", "latest").await;
    }
);

on_every_store!(
    /// distribution#3004: marking a manifest list marked the manifests in it, but not their layers and configs, which
    /// the sweep then took. Here each manifest holds its blobs by edges of its own, tagged or not, listed or not.
    distribution_3004_the_layers_below_an_index_are_held_by_their_manifests,
    async |house: House| {
        let (both, images) = multi_arch(&house, "a").await;
        house.put("a", "latest", &both).await;
        house.collect_for_a_week().await;
        house.assert_pulls("a", "latest").await;
        // The index goes, the images stay: untagged manifests are pulled by digest, and are kept by default.
        assert_eq!(house.delete_manifest("a", &both).await, 202);
        house.collect_for_a_week().await;
        for made in &images {
            house.assert_pulls("a", made.digest).await;
        }
    }
);

on_every_store!(
    /// Pulls by digest are legitimate: a manifest from which its tag was moved or taken stays, by default for ever.
    an_untagged_manifest_is_kept_by_default,
    async |house: House| {
        let (old, new) = (house.content(), house.content());
        let (first, second) = (house.push_image("a", &[&old]).await, house.push_image("a", &[&new]).await);
        house.put("a", "latest", &first).await;
        house.put("a", "latest", &second).await;
        assert_eq!(house.delete("/v2/a/manifests/latest").await, 202);
        for _ in 0..4 {
            house.collect_for_a_week().await;
        }
        house.assert_pulls("a", first.digest).await;
        house.assert_pulls("a", second.digest).await;
    }
);
