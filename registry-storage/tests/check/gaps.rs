//! Records that are damaged, and what they hide: nothing is concluded from what may only not have been seen.

use std::path::Path;

use registry_core::Digest;
use registry_storage::records::check::{FindingKind as Kind, Options, Repair};
use registry_storage::testkit::block_on;

use super::house::{House, LAYER, assert_found, flip_key, flip_value, image, open};
use super::manifest;

const REPAIRING: Options = Options {
    deep: true,
    repair: true,
    workers: 2,
    overdue: None,
};
const ORPHAN: &str = "ab0123456789abcdef0123456789abcd";

/// A store that is filled, in which nothing but its record knows of one blob; with the key of that, and its file's name.
async fn alone(directory: &Path) -> (String, String) {
    let house = open(directory);
    house.fill().await;
    let blob = Digest::sha256(&[1; 20_000]);
    for table in ["lease/", "pending/"] {
        for key in house.keys(table).await {
            if key.contains(&blob.to_string()) {
                house.delete(&key).await;
            }
        }
    }
    house.age();
    let file = house.file(&blob).await;
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    (format!("blob/{blob}"), name)
}

#[test]
fn a_blob_that_a_damaged_key_hides_does_not_lose_its_file() {
    // Its table's name, to one behind and one before; and what is no text any more.
    for (at, bits) in [(0, 1), (0, 2), (2, 128)] {
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let (key, name) = alone(directory.path()).await;
            flip_key(directory.path(), &key, at, bits);
            let house = open(directory.path());
            for round in 0..2 {
                let (findings, report) = house.check_as(REPAIRING).await;
                let said = format!("{at}, {bits}, {round}: {findings:#?}");
                assert_found(&findings, Kind::WalkIncomplete, "incomplete");
                assert!(!report.incomplete.is_empty() && !report.is_well(), "{said}");
                assert!(!house.is_doomed(&name).await, "{said}");
                let orphan = findings.iter().find(|finding| finding.key.contains(&name));
                assert!(orphan.is_none_or(|orphan| orphan.repair == Repair::No), "{said}");
            }
        });
    }
}

#[test]
fn a_blob_that_is_needed_comes_back_though_its_damaged_key_became_anothers() {
    for (at, bits) in [(12, 2), (12, 4), (40, 1)] {
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let house = open(directory.path());
            house.fill().await;
            house.age();
            let layer = Digest::sha256(LAYER);
            let file = house.file(&layer).await;
            drop(house);
            flip_key(directory.path(), &format!("blob/{layer}"), at, bits);
            let house = open(directory.path());
            for _ in 0..2 {
                let (findings, _) = house.check_as(REPAIRING).await;
                let name = file.file_name().unwrap().to_str().unwrap();
                assert!(!house.is_doomed(name).await, "{at}, {bits}: {findings:#?}");
            }
            assert_eq!(house.pull_blob("a/app", &layer).await, LAYER, "{at}, {bits}");
        });
    }
}

#[test]
fn what_lies_behind_a_damaged_key_is_looked_at_or_told_to_be_missing() {
    for (at, bits) in [(0, 1), (0, 2), (12, 1), (12, 64), (50, 128)] {
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let house = open(directory.path());
            house.fill().await;
            let records = house.check(false).await.1.records;
            let key = house.key("edge/").await;
            drop(house);
            flip_key(directory.path(), &key, at, bits);
            let house = open(directory.path());
            let (findings, report) = house.check(false).await;
            let said = format!("{at}, {bits}: {} of {records}, {findings:#?}", report.records);
            assert_found(&findings, Kind::WalkIncomplete, "was incomplete");
            // Only what is out of its place can hide others from a search.
            let is_hiding = report.incomplete.contains_key("everything");
            assert!(is_hiding || report.records == records - 1, "{said}");
        });
    }
}

#[test]
fn what_is_held_for_a_manifest_that_may_only_be_unseen_is_left() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let id = house.id("a/app").await;
        // An edge of a put that nothing knows, for a manifest that is not there.
        let unknown = Digest::sha256(b"a manifest");
        let edge = format!("edge/{}/{id}/{:032x}", Digest::sha256(LAYER), 7);
        house
            .set(&edge, format!(r#"{{"v":1,"manifest":"{unknown}"}}"#))
            .await;
        let damaged = format!("manifest/{id}/{}", manifest());
        drop(house);
        flip_value(directory.path(), &damaged);

        let house = open(directory.path());
        let (findings, _) = house.check_as(REPAIRING).await;
        let left = findings
            .iter()
            .find(|finding| finding.key == edge)
            .expect("it is told");
        assert_eq!((left.kind, left.repair), (Kind::EdgeSurplus, Repair::No));
        assert!(left.advice.contains("not all of manifest/"), "{left}");
        assert!(house.keys("edge/").await.contains(&edge));
        // Pushed again, the manifest is there, and so is nothing that is in the way.
        house
            .tag("a/app", "v1", super::house::OCI, image(LAYER, ""))
            .await;
        let (findings, _) = house.check_as(REPAIRING).await;
        let done = findings
            .iter()
            .find(|finding| finding.key == edge)
            .expect("it is told");
        assert_eq!(done.repair, Repair::Done, "{findings:#?}");
    });
}

#[test]
fn once_what_is_damaged_is_mended_the_same_repair_goes_on_with_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        house.orphan(ORPHAN, b"lost");
        house.age();
        let key = house.key("tag/").await;
        drop(house);
        flip_value(directory.path(), &key);
        let house = open(directory.path());
        let (findings, report) = house.check(true).await;
        assert!(
            !report.is_well() && report.incomplete.contains_key("tag"),
            "{findings:#?}"
        );
        let (findings, report) = house.check_as(REPAIRING).await;
        assert!(report.is_well(), "{report:?}: {findings:#?}");
        assert!(house.is_doomed(ORPHAN).await);
        let (findings, report) = house.check(true).await;
        assert!(findings.is_empty() && report.is_well(), "{findings:#?}");
    });
}

#[test]
fn a_walk_that_was_incomplete_is_told_to_machines_too() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        let key = House::key(&house, "blob/").await;
        house.set(&key, "{}").await;
        let (findings, report) = house.check(true).await;
        assert_found(&findings, Kind::WalkIncomplete, &key);
        let json: serde_json::Value = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json["incomplete"]["blob"],
            format!("record {key} cannot be understood")
        );
    });
}
