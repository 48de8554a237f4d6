//! What is not there because its volume is not, and what is lost on one that is there.

use std::fs;
use std::path::Path;

use registry_core::Digest;
use registry_gc::DOUBTS;

use crate::house::{House, WEEK, content, remove};

#[tokio::test]
async fn a_volume_that_is_gone_makes_nothing_suspect() {
    let house = House::new();
    let count = DOUBTS as u64 + 4;
    for seed in 0..count {
        house.push_image(&format!("tag{seed}"), &content(seed)).await;
    }
    let (root, aside) = (
        house.directory.path().join("blobs"),
        house.directory.path().join("aside"),
    );
    // Once it is not there, once an empty one is in its place, once it is the same and empty, as after a restart.
    for same in [None, Some(false), Some(true)] {
        match same {
            None => fs::rename(&root, &aside).unwrap(),
            Some(false) => {
                fs::rename(&root, &aside).unwrap();
                fs::create_dir(&root).unwrap();
            }
            Some(true) => {
                fs::create_dir(&aside).unwrap();
                move_all(&root, &aside);
            }
        }
        house.clock.advance(WEEK);
        let scrubber = house.scrubber();
        let error = scrubber.run_due().await.expect_err("nothing can be read");
        assert!(error.to_string().contains("volume"), "{error}");
        assert!(scrubber.status().waits.is_some(), "nothing is said of it");
        match same {
            None => fs::rename(&aside, &root).unwrap(),
            Some(false) => {
                fs::remove_dir(&root).unwrap();
                fs::rename(&aside, &root).unwrap();
            }
            Some(true) => {
                move_all(&aside, &root);
                fs::remove_dir(&aside).unwrap();
            }
        }
        // It goes on from before what it could not read.
        scrubber.run_due().await.unwrap();
        assert_eq!(scrubber.status().position, 1.0);
        assert_eq!(house.findings().await, []);
        for seed in 0..count {
            assert!(house.has(&content(seed)).await);
        }
    }
}

fn move_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() || entry.file_name() == "STORE" {
            fs::rename(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The seeds of so many blobs in the order in which they are read.
fn in_order(count: u64) -> Vec<u64> {
    let mut seeds: Vec<u64> = (0..count).collect();
    seeds.sort_by_key(|seed| Digest::sha256(&content(*seed)));
    seeds
}

#[tokio::test]
async fn a_region_that_is_lost_is_told_and_marked_and_the_scrub_goes_on_behind_it() {
    // A volume that says that it is there; one that cannot, on which something is left; and at the end of it.
    for (named, lost_from) in [(true, 5), (false, 5), (false, 25)] {
        let house = if named { House::new() } else { House::unnamed() };
        let (lost, all) = (DOUBTS + 14, DOUBTS as u64 + 39);
        let seeds = in_order(all);
        for seed in &seeds {
            house.push_image(&format!("tag{seed}"), &content(*seed)).await;
        }
        let region = &seeds[lost_from..lost_from + lost];
        for seed in region {
            remove(&house.file(&content(*seed)).await);
        }
        let status = house.scrub().await;
        assert_eq!((status.count.blobs, status.position), (all, 1.0));
        assert_eq!((status.count.damaged, status.waits), (lost as u64, None));
        assert!(house.findings().await.iter().all(|found| found.suspect));
        for seed in &seeds {
            assert_eq!(house.has(&content(*seed)).await, !region.contains(seed));
        }
        assert!(house.push(&content(region[0])).await);
        assert_eq!(house.pull(&content(region[0])).await, content(region[0]));
    }
}

#[tokio::test]
async fn all_that_is_lost_on_a_volume_that_is_there_is_marked() {
    let house = House::new();
    house.push_image("only", &content(1)).await;
    remove(&house.file(&content(1)).await);
    assert_eq!(house.scrub().await.count.damaged, 1);
    assert!(house.findings().await[0].suspect);
    assert!(house.push(&content(1)).await);
    assert_eq!(house.pull(&content(1)).await, content(1));
}

#[tokio::test]
async fn what_is_missing_on_a_volume_that_nothing_proves_is_told_and_not_marked() {
    let house = House::unnamed();
    house.push_image("only", &content(1)).await;
    let (file, aside) = (
        house.file(&content(1)).await,
        house.directory.path().join("aside"),
    );
    fs::rename(&file, &aside).unwrap();
    assert_eq!(house.scrub().await.count.damaged, 1);
    assert!(!house.findings().await[0].suspect);
    fs::rename(&aside, &file).unwrap();
    assert_eq!(house.pull(&content(1)).await, content(1));
}
