//! Files that nothing names: whose bytes they may be, and what becomes of the rest.

use std::fs;

use registry_core::Digest;
use registry_core::store::Lifetimes;
use registry_storage::records::check::{FindingKind as Kind, Options, Repair};
use registry_storage::testkit::block_on;

use super::house::{House, LAYER, age, assert_found, flip_value, open};
use super::layer;

const ORPHAN: &str = "ab0123456789abcdef0123456789abcd";

fn repairing(deep: bool) -> Options {
    Options {
        deep,
        repair: true,
        ..Options::default()
    }
}

fn of_one_file(harm: impl AsyncFnOnce(&House)) {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        harm(&house).await;
    });
}

#[test]
fn a_file_that_nothing_names_is_the_collectors_after_the_longest_write() {
    of_one_file(async |house| {
        age(&house.orphan(ORPHAN, b"lost"));
        let (findings, _) = house.check(false).await;
        assert_eq!(
            (findings.len(), findings[0].repair),
            (1, Repair::Possible),
            "{findings:#?}"
        );
        use registry_core::store::Kv;
        let before = house.kv.now().await.unwrap();
        let (findings, report) = house.check_as(repairing(false)).await;
        assert!(
            findings[0].repair == Repair::Done && report.is_well(),
            "{findings:#?}"
        );
        let doomed = house.json(&format!("doomed/file:ab/{ORPHAN}")).await;
        let hold = Lifetimes::default().longest_write;
        assert!(
            doomed["not_before"].as_u64().unwrap() >= (before + hold).0,
            "{doomed}"
        );
        assert_eq!(house.check(true).await.0, []);
    });
}

#[test]
fn a_file_that_somebody_may_be_writing_is_left() {
    of_one_file(async |house| {
        house.orphan(ORPHAN, b"lost");
        let (findings, report) = house.check_as(repairing(true)).await;
        assert_eq!((findings.len(), findings[0].repair), (1, Repair::No));
        assert!(
            findings[0].advice.contains("a short while ago"),
            "{}",
            findings[0]
        );
        assert!(!house.is_doomed(ORPHAN).await && !report.is_well());
    });
}

#[test]
fn a_file_that_cannot_be_read_may_have_the_bytes_that_are_lost() {
    of_one_file(async |house| {
        fs::remove_file(house.file(&layer()).await).unwrap();
        let unreadable = house.directory.join("blobs/ab").join(ORPHAN);
        fs::create_dir_all(&unreadable).unwrap();
        house.age();
        let (findings, _) = house.check_as(repairing(false)).await;
        let orphan = findings
            .iter()
            .find(|finding| finding.kind == Kind::OrphanFile)
            .unwrap();
        assert_eq!(orphan.repair, Repair::No);
        assert!(orphan.advice.contains("cannot be read"), "{orphan}");
        assert!(!house.is_doomed(ORPHAN).await);
    });
}

/// What a record was about is still there, but says nothing of it any more.
fn comes_back(harm: impl AsyncFn(&House)) {
    for deep in [false, true] {
        of_one_file(async |house| {
            harm(house).await;
            house.age();
            let (findings, _) = house.check_as(repairing(deep)).await;
            let found = findings.iter().find(|finding| finding.kind == Kind::OrphanFile);
            assert_eq!(
                found.map(|found| found.repair),
                Some(Repair::Done),
                "{findings:#?}"
            );
            assert_eq!(house.pull_blob("a/app", &layer()).await, LAYER);
            let (findings, report) = house.check(true).await;
            assert!(findings.is_empty() && report.is_well(), "{findings:#?}");
        });
    }
}

#[test]
fn a_suspect_blob_without_a_place_gets_back_its_bytes_from_a_file() {
    comes_back(async |house| {
        let key = format!("blob/{}", layer());
        let mut record = house.json(&key).await;
        record["location"] = "inline".into();
        record["suspect"] = true.into();
        record["size"] = 0.into();
        house.put_json(&key, &record).await;
    });
}

#[test]
fn a_blob_whose_record_cannot_be_understood_gets_back_its_bytes_from_a_file() {
    comes_back(async |house| house.set(&format!("blob/{}", layer()), "{}").await);
}

#[test]
fn a_blob_whose_record_is_gone_gets_back_its_bytes_from_a_file() {
    comes_back(async |house| house.delete(&format!("blob/{}", layer())).await);
}

#[test]
fn a_blob_whose_record_is_damaged_gets_back_its_bytes_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        house.age();
        let key = format!("blob/{}", Digest::sha256(LAYER));
        drop(house);
        flip_value(directory.path(), &key);
        let house = open(directory.path());
        let (findings, report) = house.check_as(repairing(true)).await;
        assert_found(&findings, Kind::DamagedRecord, &key);
        assert_eq!(report.lost, 0, "{findings:#?}");
        assert_eq!(house.pull_blob("a/app", &layer()).await, LAYER);
        let (findings, report) = house.check(true).await;
        assert!(findings.is_empty() && report.is_well(), "{findings:#?}");
    });
}
