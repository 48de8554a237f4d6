//! Collecting: what goes, when, and what never does.

use std::time::Duration;

use registry_core::Children;
use registry_core::store::{BlobState, Collected, Content};

use super::{Fixture, image, info, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_collect_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::collect,
            $name,
            $factory,
            [
                an_entry_is_due_when_its_lease_has_ended_and_no_sooner,
                an_entry_is_dropped_where_an_edge_holds,
                an_entry_is_queued_again_where_a_lease_holds,
                leases_that_are_over_go_though_a_manifest_holds_their_blob,
                leases_that_are_over_go_though_another_holds_their_blob,
                a_blob_is_condemned_once_nothing_holds_it,
                a_condemned_blob_is_removed_after_the_second_delay_and_no_sooner,
                an_older_entry_does_not_shorten_the_second_delay,
                a_removed_blob_is_gone_and_its_location_doomed,
                a_step_that_was_taken_already_does_nothing,
                a_doomed_location_is_listed_until_it_is_cleared,
                a_doomed_location_is_cleared_by_its_own_entry_only,
                doomed_locations_are_listed_in_pages,
                a_push_succeeds_at_every_stage_of_collection,
                a_push_that_races_the_removal_keeps_its_blob,
                a_manifest_that_races_the_collector_keeps_its_blobs,
                deleting_the_last_manifest_leads_to_removal,
                one_repository_is_enough_to_hold_a_blob,
                a_deferred_edge_holds_a_blob,
                nothing_is_left_when_everything_is_collected,
            ]
        );
    };
}

/// A lease's end.
pub async fn an_entry_is_due_when_its_lease_has_ended_and_no_sooner(fixture: Fixture) {
    fixture.publish(&repo("a"), "x").await;
    assert_eq!(fixture.due().await, []);
    fixture.clock.advance(fixture.store.lifetimes().grace);
    assert_eq!(fixture.due().await, []);
    fixture.outlive_leases();
    let due = fixture.due().await;
    assert_eq!(due.len(), 1);
    assert!(due[0].due <= fixture.now() && due[0].digest == super::digest("x"));
}

/// Whoever takes the last edge away makes another entry.
pub async fn an_entry_is_dropped_where_an_edge_holds(fixture: Fixture) {
    fixture.image(&repo("a"), "x", "v").await;
    fixture.outlive_leases();
    let entry = fixture.due().await.pop().expect("an entry");
    assert_eq!(
        fixture.store.collect(&entry).await.expect("a step"),
        Collected::Dropped
    );
    assert_eq!(fixture.due().await, []);
    assert_eq!(fixture.step().await, None);
    assert!(fixture.belongs(&repo("a"), "x").await);
}

/// To its end.
pub async fn an_entry_is_queued_again_where_a_lease_holds(fixture: Fixture) {
    let lifetimes = *fixture.store.lifetimes();
    fixture.publish(&repo("a"), "x").await;
    fixture
        .clock
        .advance(lifetimes.bucket + lifetimes.grace - Duration::from_millis(1));
    fixture.publish(&repo("b"), "x").await;
    fixture.clock.advance(Duration::from_millis(2));
    let entry = fixture.due().await.pop().expect("an entry");
    assert_eq!(
        fixture.store.collect(&entry).await.expect("a step"),
        Collected::Requeued
    );
    assert_eq!(fixture.due().await, []);
    assert_eq!(
        fixture.record("x").await.expect("a record").state,
        BlobState::Live
    );
    fixture.collect_until(Collected::Removed).await;
}

/// Those that are not over stay.
pub async fn leases_that_are_over_go_though_a_manifest_holds_their_blob(fixture: Fixture) {
    let a = repo("a");
    fixture.image(&a, "x", "v").await;
    fixture.publish(&repo("b"), "x").await;
    fixture.outlive_leases();
    fixture.publish(&repo("c"), "x").await;
    assert_eq!(fixture.leases("x").await, 3);
    fixture.collect_due().await;
    assert_eq!(fixture.leases("x").await, 1);
    assert!(fixture.belongs(&a, "x").await && fixture.belongs(&repo("c"), "x").await);
    fixture.outlive_leases();
    fixture.collect_due().await;
    assert_eq!(fixture.leases("x").await, 0);
    assert!(fixture.belongs(&a, "x").await && !fixture.belongs(&repo("c"), "x").await);
}

/// So that a blob which is pushed again and again keeps no more of them than there are buckets.
pub async fn leases_that_are_over_go_though_another_holds_their_blob(fixture: Fixture) {
    let lifetimes = *fixture.store.lifetimes();
    let (a, buckets) = (
        repo("a"),
        lifetimes.grace.as_millis() / lifetimes.bucket.as_millis(),
    );
    for _ in 0..4 * buckets {
        fixture.publish(&a, "x").await;
        fixture.clock.advance(lifetimes.bucket);
        fixture.collect_due().await;
        let leases = fixture.leases("x").await as u128;
        assert!(leases <= buckets + 2, "{leases} leases of {buckets} buckets");
    }
    assert!(fixture.belongs(&a, "x").await);
}

/// With a second delay from then on.
pub async fn a_blob_is_condemned_once_nothing_holds_it(fixture: Fixture) {
    fixture.publish(&repo("a"), "x").await;
    fixture.outlive_leases();
    let entry = fixture.due().await.pop().expect("an entry");
    assert_eq!(
        fixture.store.collect(&entry).await.expect("a step"),
        Collected::Condemned
    );
    let state = fixture.record("x").await.expect("a record").state;
    let BlobState::Condemned { remove_after } = state else {
        panic!("{state:?}")
    };
    assert!(remove_after >= fixture.now() + fixture.store.lifetimes().second_delay);
    assert_eq!(fixture.due().await, []);
}

/// A reader who began before has that long.
pub async fn a_condemned_blob_is_removed_after_the_second_delay_and_no_sooner(fixture: Fixture) {
    fixture.publish(&repo("a"), "x").await;
    fixture.collect_until(Collected::Condemned).await;
    let condemned = fixture.now();
    fixture
        .clock
        .advance(fixture.store.lifetimes().second_delay - Duration::from_millis(1));
    for entry in fixture.due().await {
        let done = fixture.store.collect(&entry).await.expect("a step");
        assert_ne!(done, Collected::Removed, "condemned at {condemned}");
    }
    assert!(fixture.record("x").await.is_some());
    assert_eq!(fixture.step().await, Some(Collected::Removed));
    assert_eq!(fixture.record("x").await, None);
}

/// There is one for each bucket in which somebody was told that the blob exists.
pub async fn an_older_entry_does_not_shorten_the_second_delay(fixture: Fixture) {
    let lifetimes = *fixture.store.lifetimes();
    fixture.publish(&repo("a"), "x").await;
    fixture.clock.advance(lifetimes.bucket);
    fixture.publish(&repo("a"), "x").await;
    fixture.clock.advance(lifetimes.bucket);
    fixture.publish(&repo("a"), "x").await;
    fixture.outlive_leases();
    let due = fixture.due().await;
    assert!(due.len() > 1, "{due:?}");
    let mut done = Vec::new();
    for entry in &due {
        done.push(fixture.store.collect(entry).await.expect("a step"));
    }
    assert_eq!(done[0], Collected::Condemned);
    assert!(
        done[1..].iter().all(|done| *done == Collected::Requeued),
        "{done:?}"
    );
    assert!(fixture.record("x").await.is_some());
    fixture.collect_until(Collected::Removed).await;
    fixture.collect_all().await;
}

/// The record first, then the bytes.
pub async fn a_removed_blob_is_gone_and_its_location_doomed(fixture: Fixture) {
    let (record, _) = fixture.publish(&repo("a"), "x").await;
    assert_eq!(fixture.doomed_now().await, []);
    fixture.collect_until(Collected::Removed).await;
    assert_eq!(fixture.record("x").await, None);
    assert!(!fixture.belongs(&repo("a"), "x").await);
    assert_eq!(fixture.doomed().await, [record.location]);
}

/// By this node or by another.
pub async fn a_step_that_was_taken_already_does_nothing(fixture: Fixture) {
    fixture.publish(&repo("a"), "x").await;
    fixture.outlive_leases();
    let entry = fixture.due().await.pop().expect("an entry");
    assert_eq!(
        fixture.store.collect(&entry).await.expect("a step"),
        Collected::Condemned
    );
    let condemned = fixture.record("x").await;
    assert_eq!(
        fixture.store.collect(&entry).await.expect("a step"),
        Collected::Conflict
    );
    assert_eq!(fixture.record("x").await, condemned);

    fixture
        .clock
        .advance(fixture.store.lifetimes().second_delay + super::SLACK);
    let entry = fixture.due().await.pop().expect("an entry");
    let steps = (0..4).map(|_| {
        let (store, entry) = (fixture.store.clone(), entry.clone());
        tokio::spawn(async move { store.collect(&entry).await.expect("a step") })
    });
    let mut done = Vec::new();
    for step in steps.collect::<Vec<_>>() {
        done.push(step.await.expect("no panic"));
    }
    assert_eq!(
        done.iter().filter(|done| **done == Collected::Removed).count(),
        1,
        "{done:?}"
    );
    assert!(
        done.iter()
            .all(|done| matches!(done, Collected::Removed | Collected::Conflict)),
        "{done:?}"
    );
}

/// So that any collector can take it up again.
pub async fn a_doomed_location_is_listed_until_it_is_cleared(fixture: Fixture) {
    let claim = fixture.claim(&repo("a")).await;
    fixture.store.cancel(&claim).await.expect("a cancel");
    for _ in 0..2 {
        assert_eq!(fixture.doomed().await, std::slice::from_ref(&claim.location));
    }
    let doomed = fixture.store.doomed(None, 1).await.expect("the doomed").remove(0);
    assert!(doomed.not_before <= fixture.now());
    fixture.store.clear_doomed(&doomed).await.expect("it is unlinked");
    assert_eq!(fixture.doomed().await, []);
    fixture
        .store
        .clear_doomed(&doomed)
        .await
        .expect("clearing twice is fine");
}

/// Not by what was read of another.
pub async fn a_doomed_location_is_cleared_by_its_own_entry_only(fixture: Fixture) {
    let (first, second) = (fixture.claim(&repo("a")).await, fixture.claim(&repo("a")).await);
    fixture.store.cancel(&first).await.expect("a cancel");
    fixture.store.cancel(&second).await.expect("a cancel");
    fixture.doomed().await;
    let doomed = fixture.store.doomed(None, 10).await.expect("the doomed");
    let mut forged = doomed[0].clone();
    forged.stamp = doomed[1].stamp;
    fixture
        .store
        .clear_doomed(&forged)
        .await
        .expect("nothing happens");
    assert_eq!(fixture.doomed().await.len(), 2);
    fixture
        .store
        .clear_doomed(&doomed[0])
        .await
        .expect("it is unlinked");
    assert_eq!(fixture.doomed().await, [doomed[1].location.clone()]);
}

/// Each once.
pub async fn doomed_locations_are_listed_in_pages(fixture: Fixture) {
    let mut expected = Vec::new();
    for _ in 0..7 {
        let claim = fixture.claim(&repo("a")).await;
        fixture.store.cancel(&claim).await.expect("a cancel");
        expected.push(claim.location);
    }
    expected.sort();
    assert_eq!(fixture.doomed().await, expected);
    let mut listed = Vec::new();
    loop {
        let page = fixture.store.doomed(listed.last(), 3).await.expect("a page");
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        listed.extend(page);
    }
    let mut listed: Vec<_> = listed.into_iter().map(|doomed| doomed.location).collect();
    listed.sort();
    assert_eq!(listed, expected);
}

/// And what is pushed stays, at a location that nothing dooms.
pub async fn a_push_succeeds_at_every_stage_of_collection(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    for (n, stage) in [Collected::Condemned, Collected::Removed].into_iter().enumerate() {
        let bytes = format!("stage {n}");
        fixture.publish(&a, &bytes).await;
        fixture.collect_until(stage).await;
        fixture.publish(&b, &bytes).await;
        fixture
            .put(&b, image(&[&bytes], &[&format!("v{n}")]))
            .await
            .expect("it belongs here");
        fixture.collect_all().await;
        let record = fixture
            .store
            .blob(&b, &super::digest(&bytes))
            .await
            .expect("it is held");
        assert_eq!(record.state, BlobState::Live);
        assert!(
            !fixture.doomed().await.contains(&record.location),
            "after {stage:?}"
        );
    }
}

/// Whichever is first.
pub async fn a_push_that_races_the_removal_keeps_its_blob(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    for round in 0..24 {
        let bytes = format!("round {round}");
        fixture.publish(&a, &bytes).await;
        for stage in [Collected::Condemned, Collected::Removed] {
            let claim = fixture.claim(&b).await;
            let info = info(&bytes);
            assert!(
                fixture.until_due().await,
                "the collector was not told of the blob"
            );
            // The claim may have expired while the clock ran.
            let claim = match fixture.store.upload(&b, &claim.id).await {
                Ok(claim) => claim,
                Err(_) => fixture.claim(&b).await,
            };
            let entry = fixture.due().await.remove(0);
            let push = {
                let store = fixture.store.clone();
                tokio::spawn(async move { store.publish(&claim, &info, Content::Uploaded).await })
            };
            let step = {
                let (store, entry) = (fixture.store.clone(), entry.clone());
                tokio::spawn(async move { store.collect(&entry).await })
            };
            let done = step.await.expect("no panic").expect("a step");
            push.await
                .expect("no panic")
                .expect("a push is never refused for the collector's sake");
            let record = fixture
                .store
                .blob(&b, &super::digest(&bytes))
                .await
                .expect("it was acknowledged");
            assert_eq!(record.state, BlobState::Live, "{stage:?} {done:?}");
            fixture
                .store
                .delete_blob(&b, &super::digest(&bytes))
                .await
                .expect("a delete");
        }
        fixture.collect_all().await;
    }
}

/// Either it is refused, or what it names stays.
pub async fn a_manifest_that_races_the_collector_keeps_its_blobs(fixture: Fixture) {
    let a = repo("a");
    for round in 0..24 {
        let (bytes, tag) = (format!("round {round}"), format!("v{round}"));
        fixture.publish(&a, &bytes).await;
        fixture.outlive_leases();
        // Held again, at the last moment, by a push.
        if round % 2 == 0 {
            fixture.publish(&a, &bytes).await;
        }
        let put = {
            let (store, a, write) = (fixture.store.clone(), a.clone(), image(&[&bytes], &[&tag]));
            tokio::spawn(async move { store.put_manifest(&super::caller(), &a, write).await })
        };
        for entry in fixture.due().await {
            fixture.store.collect(&entry).await.expect("a step");
        }
        let put = put.await.expect("no panic");
        assert_eq!(put.is_ok(), round % 2 == 0, "{put:?}");
        fixture.collect_all().await;
        assert_eq!(fixture.belongs(&a, &bytes).await, put.is_ok());
    }
}

/// After the grace of the dereferenced.
pub async fn deleting_the_last_manifest_leads_to_removal(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.collect_all().await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture
        .clock
        .advance(fixture.store.lifetimes().grace - Duration::from_millis(1));
    assert!(fixture.belongs(&a, "x").await, "the grace of the dereferenced");
    fixture.collect_until(Collected::Removed).await;
    assert_eq!(fixture.record("x").await, None);
}

/// Of however many.
pub async fn one_repository_is_enough_to_hold_a_blob(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.image(&b, "x", "v").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture.collect_all().await;
    assert!(fixture.belongs(&b, "x").await && !fixture.belongs(&a, "x").await);
}

/// But opens nothing.
pub async fn a_deferred_edge_holds_a_blob(fixture: Fixture) {
    let (a, proxy) = (repo("a"), repo("proxy"));
    fixture.publish(&a, "x").await;
    let mut write = image(&["x"], &["v"]);
    write.options.children = Children::Deferred;
    let manifest = fixture
        .put(&proxy, write)
        .await
        .expect("a manifest before its blobs")
        .digest;
    fixture.collect_all().await;
    assert_eq!(
        fixture.record("x").await.expect("it is held").state,
        BlobState::Live
    );
    assert!(!fixture.belongs(&proxy, "x").await && !fixture.belongs(&a, "x").await);
    fixture.delete(&proxy, &manifest).await.expect("a delete");
    fixture.collect_all().await;
    assert_eq!(fixture.record("x").await, None);
}

/// Every location that was ever claimed is doomed in the end; no record, no entry is left.
pub async fn nothing_is_left_when_everything_is_collected(fixture: Fixture) {
    let mut claimed = Vec::new();
    for name in ["a", "b"] {
        for bytes in ["x", "y", "x"] {
            claimed.push(fixture.publish(&repo(name), bytes).await.1);
        }
    }
    let write = image(&["x", "y"], &["v"]);
    let manifest = fixture.put(&repo("a"), write).await.expect("an image").digest;
    fixture.delete(&repo("a"), &manifest).await.expect("a delete");
    let left = fixture.claim(&repo("a")).await;
    fixture.clock.advance(fixture.store.lifetimes().upload_idle);
    assert!(fixture.store.abandon(&left.id).await.expect("an answer"));
    claimed.push(left.location);
    fixture.collect_all().await;
    assert_eq!(
        (fixture.record("x").await, fixture.record("y").await),
        (None, None)
    );
    claimed.sort();
    assert_eq!(fixture.doomed().await, claimed);
    assert_eq!(fixture.due().await, []);
}
