//! What is damaged, what is not, and what is told of it.

use std::path::Path;

use registry_core::store::{Damage, Kv as _, Location, Reclaim as _, Scrub as _, Txn};
use registry_core::{Digest, Reference, Registry as _};
use registry_gc::{Collector, RunOptions, Settings, Stop};
use server_hyper::TokioRuntime;

use crate::house::{House, Once, WEEK, caller, content, flip, name, remove, truncate};

#[tokio::test]
async fn damage_is_found_and_named_and_a_push_repairs_it() {
    for (damage, seen) in [
        (flip as fn(&Path), Damage::Wrong),
        (truncate, Damage::Missing),
        (remove, Damage::Missing),
    ] {
        let house = House::new();
        let (hurt, healthy) = (content(1), content(2));
        let manifest = house.push_image("hurt", &hurt).await;
        house.push_image("healthy", &healthy).await;
        damage(&house.file(&hurt).await);

        let status = house.scrub().await;
        assert_eq!(
            (status.count.blobs, status.count.manifests, status.count.damaged),
            (2, 2, 1)
        );
        let findings = house.findings().await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        let found = &findings[0];
        assert_eq!(
            (found.digest, &found.damage, found.suspect),
            (Digest::sha256(&hurt), &seen, true)
        );
        assert_eq!(found.location, Some(house.location(&hurt).await));
        assert_eq!(found.needed_by.len(), 1);
        assert_eq!(
            (&found.needed_by[0].repository, found.needed_by[0].manifest),
            (&name(), manifest)
        );

        assert!(!house.has(&hurt).await, "told of a blob that is damaged");
        assert!(house.has(&healthy).await);
        assert!(house.push(&hurt).await);
        assert_eq!(house.pull(&hurt).await, hurt);
        assert_eq!(house.scrub().await.count.damaged, 0, "repaired, and found again");
    }
}

#[tokio::test]
async fn inline_blobs_and_manifests_are_read_again_too() {
    let house = House::new();
    let small = b"few bytes".to_vec();
    let manifest = house.push_image("small", &small).await;
    assert_eq!(house.location(&small).await, Location::Inline);
    assert_eq!(house.scrub().await.count.damaged, 0);

    let page = house.records.manifests(None, 10).await.unwrap();
    let content = page.items[0].position.replace("manifest/", "content/");
    let inline = format!("inline/{}", Digest::sha256(&small));
    for key in [&content, &inline] {
        house
            .kv
            .commit(Txn::new().put(key.as_str(), &b"few bytez"[..]))
            .await
            .unwrap();
    }
    assert_eq!(house.scrub().await.count.damaged, 2);
    let findings = house.findings().await;
    assert_eq!(
        (findings[0].digest, findings[0].suspect),
        (Digest::sha256(&small), true)
    );
    assert_eq!((findings[1].digest, &findings[1].location), (manifest, &None));

    // The push mends both.
    assert!(house.push(&small).await);
    house.push_image("small", &small).await;
    let tag = Reference::Tag("small".parse().unwrap());
    house
        .registry
        .get_manifest(&caller(), &name(), &tag)
        .await
        .unwrap();
    assert_eq!(house.scrub().await.count.damaged, 0);
}

#[tokio::test]
async fn a_bad_sector_that_persists_makes_the_blob_suspect_and_a_push_repairs_it() {
    let house = House::new();
    for seed in 0..5 {
        house.push_image(&format!("tag{seed}"), &content(seed)).await;
    }
    house.is_bad(&content(3), 5).await; // EIO
    assert!(
        house.has(&content(3)).await,
        "a look at the length does not see it"
    );
    assert_eq!(house.scrub().await.count.damaged, 1);
    let found = house.findings().await.remove(0);
    assert!(
        matches!(found.damage, Damage::Unreadable(_)) && found.suspect,
        "{found:?}"
    );
    assert!(house.push(&content(3)).await);
    assert_eq!(house.pull(&content(3)).await, content(3));
}

#[tokio::test]
async fn what_need_not_be_the_blobs_fault_is_told_and_not_marked() {
    let house = House::new();
    for seed in 0..5 {
        house.push_image(&format!("tag{seed}"), &content(seed)).await;
    }
    house.is_bad(&content(3), 13).await; // EACCES
    assert_eq!(house.scrub().await.count.damaged, 1);
    assert!(!house.findings().await[0].suspect);
    house.disk.bad.lock().unwrap().clear();
    assert_eq!(house.pull(&content(3)).await, content(3));
}

#[tokio::test]
async fn a_blob_that_is_collected_meanwhile_is_no_finding() {
    let house = House::new();
    let (goes, stays) = (content(1), content(2));
    house.push(&goes).await;
    house.push_image("stays", &stays).await;
    let (records, clock, blobs) = (
        house.records.clone(),
        house.clock.clone(),
        house.disk.files.clone(),
    );
    // After the scrub has read the record and before it looks for the bytes.
    let collect = async move {
        for _ in 0..4 {
            clock.advance(WEEK);
            for entry in records.due(None, 100).await.unwrap() {
                records.collect(&entry).await.unwrap();
            }
        }
        let collector = Collector::new(records, blobs, TokioRuntime::shared(), Settings::default());
        let (options, stop) = (RunOptions::default(), Stop::new());
        let summary = collector.run(&options, &stop, &mut |_| {}).await.unwrap();
        assert_eq!(summary.counts.unlinked, 1);
    };
    *house.disk.collected.lock().unwrap() = Some(Box::pin(collect));
    house.clock.advance(WEEK);
    house.scrubber().run_due().await.unwrap();
    assert!(house.disk.collected.lock().unwrap().is_none());
    assert!(!house.has(&goes).await);
    assert_eq!(house.findings().await, []);
}

#[tokio::test]
async fn what_a_second_reading_does_not_confirm_is_no_damage() {
    let house = House::new();
    let (large, small) = (content(1), b"few bytes".to_vec());
    house.push_image("large", &large).await;
    house.push_image("small", &small).await;
    for misread in [Once::Error(5), Once::Bytes] {
        *house.disk.once.lock().unwrap() = Some((house.location(&large).await, misread));
        assert_eq!(house.scrub().await.count.damaged, 0);
        assert!(house.disk.once.lock().unwrap().is_none(), "it was not read");
    }
    let page = house.records.manifests(None, 10).await.unwrap();
    let content = page.items[0].position.replace("manifest/", "content/");
    for key in [content, format!("inline/{}", Digest::sha256(&small))] {
        *house.kv.wrong_once.lock().unwrap() = Some(key);
        assert_eq!(house.scrub().await.count.damaged, 0);
        assert!(house.kv.wrong_once.lock().unwrap().is_none(), "it was not read");
    }
    assert_eq!(house.findings().await, []);
    assert!(house.has(&large).await && house.has(&small).await);
}

#[tokio::test]
async fn what_this_process_lacks_is_no_damage_of_a_blob_and_the_scrub_goes_on_once_it_has_it() {
    for errno in [24, 23, 12] {
        // EMFILE, ENFILE, ENOMEM
        let house = House::new();
        for seed in 0..5 {
            house.push_image(&format!("tag{seed}"), &content(seed)).await;
        }
        house.is_bad(&content(3), errno).await;
        house.clock.advance(WEEK);
        let scrubber = house.scrubber();
        scrubber.run_due().await.expect_err("it cannot go on");
        assert!(scrubber.status().waits.is_some(), "nothing is said of it");
        assert_eq!(scrubber.status().count.damaged, 0);
        assert_eq!(house.findings().await, []);
        house.disk.bad.lock().unwrap().clear();
        scrubber.run_due().await.unwrap();
        let status = scrubber.status();
        assert_eq!(
            (status.waits, status.position, status.count.blobs),
            (None, 1.0, 5)
        );
        assert_eq!(house.findings().await, []);
    }
}

#[tokio::test]
async fn damage_is_told_also_if_who_needs_it_cannot_be() {
    let house = House::new();
    house.push_image("hurt", &content(1)).await;
    flip(&house.file(&content(1)).await);
    *house.kv.unlisted.lock().unwrap() = Some("edge/");
    assert_eq!(house.scrub().await.count.damaged, 1);
    let findings = house.findings().await;
    assert_eq!((findings.len(), findings[0].suspect), (1, true));
    assert_eq!(findings[0].needed_by, []);
    assert!(
        findings[0].unlisted.is_some(),
        "an empty list reads as if nobody needed it"
    );
}

#[tokio::test]
async fn what_only_the_trash_holds_is_read_again_too() {
    let house = House::new();
    let manifest = house.push_image("gone", &content(1)).await;
    house
        .registry
        .delete_manifest(&caller(), &name(), &manifest)
        .await
        .unwrap();
    assert_eq!(house.scrub().await.count.manifests, 1);
    assert_eq!(house.findings().await, []);

    flip(&house.file(&content(1)).await);
    let page = house.records.manifests(None, 10).await.unwrap();
    assert!(page.items[0].trashed);
    let key = page.items[0].position.replace("trash/", "content/");
    let txn = Txn::new().put(key, &b"other bytes"[..]);
    house.kv.commit(txn).await.unwrap();
    assert_eq!(house.scrub().await.count.damaged, 2);
    let findings = house.findings().await;
    assert_eq!(
        (findings[0].digest, findings[1].digest),
        (Digest::sha256(&content(1)), manifest)
    );
    for found in findings {
        assert_eq!(found.needed_by.len(), 1);
        assert_eq!(
            (found.needed_by[0].manifest, found.needed_by[0].trashed),
            (manifest, true)
        );
    }
}
