//! Stores in which nothing is wrong, at any time of their life.

use registry_core::Digest;
use registry_storage::testkit::block_on;

use super::house::{CONFIG, LAYER, OCI, image, open};
use super::layer;

#[test]
fn a_sound_store_has_no_findings_at_any_time_of_its_life() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        assert_eq!(house.check(true).await.0, [], "empty");
        house.fill().await;
        let (findings, report) = house.check(true).await;
        assert_eq!(findings, []);
        assert!(
            report.records > 50 && report.blobs == 3 && report.files >= 2,
            "{report:?}"
        );
        assert_eq!(report.hashed, 40_000 + 20_000 + CONFIG.len() as u64);
        // Cleaning up a deleted repository, piece by piece.
        use registry_core::store::Reclaim;
        while house.records.sweep_repositories(1).await.unwrap() {
            assert_eq!(house.check(false).await.0, [], "in the middle of a sweep");
        }
        assert_eq!(house.check(true).await.0, [], "after the sweep");
    });
}

#[test]
fn a_store_with_a_trash_has_no_findings_whatever_is_left_in_pieces() {
    use registry_core::store::{Reclaim, Undo};
    use registry_core::{Children, Context, PutManifest, Registry};
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        house.push("trash", LAYER).await;
        let layers: Vec<String> = (0..620)
            .map(|n| {
                let digest = Digest::sha256(format!("never pushed {n}").as_bytes());
                format!(r#"{{"mediaType":"x/y","digest":"{digest}","size":9}}"#)
            })
            .collect();
        let (digest, size) = (layer(), LAYER.len());
        let large = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"x/y","digest":"{digest}","size":{size}}},"layers":[{}]}}"#,
            layers.join(",")
        );
        let mut put = PutManifest::tagged("large".parse().unwrap(), OCI, large);
        put.options.children = Children::Deferred;
        let large = house.put("trash", put).await;
        let small = PutManifest::tagged("small".parse().unwrap(), OCI, image(LAYER, ""));
        house.push("trash", CONFIG).await;
        let small = house.put("trash", small).await;
        let (ctx, name) = (Context::system(), "trash".parse().unwrap());
        for round in 0..2 {
            for digest in [small, large] {
                house
                    .registry
                    .delete_manifest(&ctx, &name, &digest)
                    .await
                    .unwrap();
            }
            assert_eq!(house.check(true).await.0, [], "deleted, {round}");
            while house.records.sweep_manifests(1).await.unwrap() {
                assert_eq!(house.check(true).await.0, [], "between two pieces, {round}");
            }
            assert_eq!(house.check(true).await.0, [], "in the trash, {round}");
            for digest in [small, large] {
                match round {
                    0 => drop(house.records.undelete(&ctx, &name, &digest, None).await.unwrap()),
                    _ => house.records.purge(&ctx, &name, &digest).await.unwrap(),
                }
                assert_eq!(house.check(true).await.0, [], "afterwards, {round}");
            }
        }
        while house.records.sweep_manifests(1).await.unwrap() {
            assert_eq!(house.check(true).await.0, [], "between two purged pieces");
        }
        assert_eq!(house.check(true).await.0, [], "purged");
    });
}

#[test]
fn leftovers_of_tables_that_are_not_known_are_only_read() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let records = house.check(false).await.1.records;
        for key in ["aaa", "later/x", "later/y", "tagger/z", "zzz"] {
            house.set(key, "anything").await;
        }
        let (findings, report) = house.check(false).await;
        assert_eq!((findings, report.records), (vec![], records + 5));
    });
}
