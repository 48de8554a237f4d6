//! Publishing, belonging, leases, mounting.

use std::time::Duration;

use registry_core::auth::Visible;
use registry_core::store::{BlobState, Collected, Content, Location};
use registry_core::{Context, ErrorKind, MountFrom, Timestamp};

use super::{Fixture, assert_kind, caller, digest, image, info, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_blobs_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::blobs,
            $name,
            $factory,
            [
                publish_makes_a_live_record_at_the_claimed_location,
                publish_keeps_a_live_record_and_dooms_the_new_bytes,
                publish_revives_a_condemned_record_and_dooms_the_new_bytes,
                publish_replaces_bytes_that_are_suspect_and_dooms_them,
                publish_replaces_bytes_that_are_suspect_and_condemned,
                publish_inline_keeps_the_bytes_in_the_records_and_dooms_the_claimed_location,
                a_suspect_blob_is_told_to_nobody,
                what_is_found_of_an_older_record_does_not_make_a_newer_one_suspect,
                every_write_of_a_record_takes_a_greater_stamp,
                a_published_blob_belongs_to_the_claims_repository_and_no_other,
                a_lease_holds_for_the_grace_and_ends_with_its_bucket,
                a_lease_on_what_does_not_belong_is_refused,
                a_lease_where_an_edge_holds_writes_nothing,
                leases_of_one_bucket_are_one_queue_entry,
                a_lease_in_a_later_bucket_holds_longer,
                mount_takes_a_lease_that_outlives_its_source,
                mount_takes_nothing_from_where_the_blob_no_longer_belongs,
                mount_from_anywhere_sees_what_the_caller_sees,
                delete_blob_gives_up_leases_and_refuses_what_a_manifest_needs,
            ]
        );
    };
}

/// Where the claim said, and the claim is consumed.
pub async fn publish_makes_a_live_record_at_the_claimed_location(fixture: Fixture) {
    let a = repo("a");
    let claim = fixture.claim(&a).await;
    let record = fixture.try_publish(&claim, "fresh").await.expect("a publish");
    assert_eq!((record.info, &record.location), (info("fresh"), &claim.location));
    assert_eq!((record.state, record.suspect), (BlobState::Live, false));
    assert_eq!(fixture.record("fresh").await, Some(record.clone()));
    assert_eq!(
        fixture
            .store
            .blob(&a, &digest("fresh"))
            .await
            .expect("it belongs here"),
        record
    );
    assert_kind(
        fixture.store.upload(&a, &claim.id).await,
        ErrorKind::UploadUnknown,
    );
    assert_eq!(fixture.doomed().await, []);
}

/// The record is not even written.
pub async fn publish_keeps_a_live_record_and_dooms_the_new_bytes(fixture: Fixture) {
    let (first, kept) = fixture.publish(&repo("a"), "twice").await;
    let (second, lost) = fixture.publish(&repo("b"), "twice").await;
    assert_eq!(second, first);
    assert_eq!(second.location, kept);
    assert_eq!(fixture.doomed().await, [lost]);
}

/// And it is not removed any more.
pub async fn publish_revives_a_condemned_record_and_dooms_the_new_bytes(fixture: Fixture) {
    let (first, _) = fixture.publish(&repo("a"), "twice").await;
    fixture.collect_until(Collected::Condemned).await;
    let (second, lost) = fixture.publish(&repo("b"), "twice").await;
    assert_eq!(
        (second.state, &second.location),
        (BlobState::Live, &first.location)
    );
    assert!(second.stamp > first.stamp);
    assert_eq!(fixture.doomed().await, [lost]);
    fixture
        .put(&repo("b"), image(&["twice"], &["v"]))
        .await
        .expect("it belongs");
    fixture.collect_all().await;
    assert!(fixture.belongs(&repo("b"), "twice").await);
}

/// Whoever reads the old bytes has the longest read to finish.
pub async fn publish_replaces_bytes_that_are_suspect_and_dooms_them(fixture: Fixture) {
    let (first, lost) = fixture.publish(&repo("a"), "twice").await;
    fixture.store.mark_suspect(&first).await.expect("a mark");
    let (second, new) = fixture.publish(&repo("a"), "twice").await;
    assert_eq!(
        (&second.location, second.suspect, second.state),
        (&new, false, BlobState::Live)
    );
    let replaced = fixture.now();
    fixture
        .clock
        .advance(fixture.store.lifetimes().longest_read - Duration::from_millis(1));
    assert_eq!(fixture.doomed_now().await, [], "doomed since {replaced}");
    assert!(fixture.belongs(&repo("a"), "twice").await);
    assert_eq!(fixture.doomed().await, [lost]);
}

/// Both at once: the new bytes count, and the record lives.
pub async fn publish_replaces_bytes_that_are_suspect_and_condemned(fixture: Fixture) {
    let (_, lost) = fixture.publish(&repo("a"), "twice").await;
    fixture.collect_until(Collected::Condemned).await;
    let condemned = fixture.record("twice").await.expect("a record");
    fixture.store.mark_suspect(&condemned).await.expect("a mark");
    let marked = fixture.record("twice").await.expect("a record");
    assert!(
        marked.suspect && marked.state == condemned.state,
        "a mark does not revive"
    );
    let (second, new) = fixture.publish(&repo("a"), "twice").await;
    assert_eq!(
        (&second.location, second.suspect, second.state),
        (&new, false, BlobState::Live)
    );
    assert_eq!(fixture.doomed().await, [lost]);
}

/// Nothing may have been written there, but something may.
pub async fn publish_inline_keeps_the_bytes_in_the_records_and_dooms_the_claimed_location(fixture: Fixture) {
    let a = repo("a");
    let claim = fixture.claim(&a).await;
    let content = Content::Inline("small".into());
    let record = fixture
        .store
        .publish(&claim, &info("small"), content)
        .await
        .expect("a publish");
    assert_eq!(record.location, Location::Inline);
    assert_eq!(
        fixture.store.inline_bytes(&digest("small")).await.expect("bytes"),
        Some("small".into())
    );
    assert_eq!(fixture.doomed().await, [claim.location]);
    fixture.collect_until(Collected::Removed).await;
    assert_eq!(
        fixture
            .store
            .inline_bytes(&digest("small"))
            .await
            .expect("an answer"),
        None
    );
}

/// Not read, not leased, not mounted, not named; until it is pushed again.
pub async fn a_suspect_blob_is_told_to_nobody(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    let (record, _) = fixture.publish(&a, "lost").await;
    fixture.store.mark_suspect(&record).await.expect("a mark");
    let digest = digest("lost");
    assert_kind(fixture.store.blob(&a, &digest).await, ErrorKind::BlobUnknown);
    assert_kind(fixture.store.lease(&a, &digest).await, ErrorKind::BlobUnknown);
    let from = MountFrom::Repository(a.clone());
    assert_eq!(
        fixture
            .store
            .mount(&caller(), &b, &digest, &from)
            .await
            .expect("an answer"),
        None
    );
    assert_kind(
        fixture.put(&a, image(&["lost"], &["v"])).await,
        ErrorKind::ManifestBlobUnknown,
    );
    fixture.publish(&a, "lost").await;
    fixture
        .put(&a, image(&["lost"], &["v"]))
        .await
        .expect("it is whole again");
}

/// It was found at another location.
pub async fn what_is_found_of_an_older_record_does_not_make_a_newer_one_suspect(fixture: Fixture) {
    let (old, _) = fixture.publish(&repo("a"), "lost").await;
    fixture.store.mark_suspect(&old).await.expect("a mark");
    let (new, _) = fixture.publish(&repo("a"), "lost").await;
    fixture.store.mark_suspect(&old).await.expect("nothing happens");
    assert_eq!(fixture.record("lost").await, Some(new));
}

/// So that "as it was read" means so.
pub async fn every_write_of_a_record_takes_a_greater_stamp(fixture: Fixture) {
    let a = repo("a");
    let mut stamps = vec![fixture.publish(&a, "x").await.0.stamp];
    for _ in 0..2 {
        fixture.collect_until(Collected::Condemned).await;
        stamps.push(fixture.record("x").await.expect("a record").stamp);
        stamps.push(fixture.publish(&a, "x").await.0.stamp);
        fixture
            .store
            .mark_suspect(&fixture.record("x").await.expect("a record"))
            .await
            .expect("a mark");
        stamps.push(fixture.record("x").await.expect("a record").stamp);
        stamps.push(fixture.publish(&a, "x").await.0.stamp);
        fixture.collect_until(Collected::Removed).await;
        stamps.push(fixture.publish(&a, "x").await.0.stamp);
    }
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
}

/// Knowing a digest opens nothing.
pub async fn a_published_blob_belongs_to_the_claims_repository_and_no_other(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    fixture.publish(&a, "mine").await;
    fixture.publish(&b, "other").await;
    assert!(fixture.belongs(&a, "mine").await && !fixture.belongs(&b, "mine").await);
    assert_kind(
        fixture.store.blob(&b, &digest("mine")).await,
        ErrorKind::BlobUnknown,
    );
    assert_kind(
        fixture.store.blob(&repo("c"), &digest("mine")).await,
        ErrorKind::NameUnknown,
    );
    assert_kind(
        fixture.put(&b, image(&["mine"], &["v"])).await,
        ErrorKind::ManifestBlobUnknown,
    );
}

/// At least the grace, at most a bucket more; whether it was collected or not.
pub async fn a_lease_holds_for_the_grace_and_ends_with_its_bucket(fixture: Fixture) {
    let a = repo("a");
    let lifetimes = *fixture.store.lifetimes();
    fixture.publish(&a, "leased").await;
    fixture.clock.advance(lifetimes.grace - Duration::from_millis(1));
    assert!(
        fixture.belongs(&a, "leased").await,
        "a pusher has the grace to put a manifest"
    );
    fixture.clock.advance(lifetimes.bucket + Duration::from_millis(2));
    assert!(
        !fixture.belongs(&a, "leased").await,
        "and no more than a bucket beyond"
    );
    assert_kind(
        fixture.put(&a, image(&["leased"], &["v"])).await,
        ErrorKind::ManifestBlobUnknown,
    );
}

/// A node that cannot promise must not say "exists".
pub async fn a_lease_on_what_does_not_belong_is_refused(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    fixture.publish(&a, "mine").await;
    fixture.publish(&b, "other").await;
    assert_kind(
        fixture.store.lease(&b, &digest("mine")).await,
        ErrorKind::BlobUnknown,
    );
    assert_kind(
        fixture.store.lease(&a, &digest("never")).await,
        ErrorKind::BlobUnknown,
    );
    assert_kind(
        fixture.store.lease(&repo("c"), &digest("mine")).await,
        ErrorKind::NameUnknown,
    );
    fixture.collect_until(Collected::Condemned).await;
    assert_kind(
        fixture.store.lease(&a, &digest("mine")).await,
        ErrorKind::BlobUnknown,
    );
}

/// The push of an image of which most is there costs no commits.
pub async fn a_lease_where_an_edge_holds_writes_nothing(fixture: Fixture) {
    let a = repo("a");
    fixture.image(&a, "held", "v").await;
    fixture.collect_all().await;
    let before = fixture.record("held").await;
    let leased = fixture
        .store
        .lease(&a, &digest("held"))
        .await
        .expect("it is held");
    assert_eq!(Some(leased), before);
    fixture.outlive_leases();
    assert_eq!(fixture.due().await, [], "a lease was queued for the collector");
}

/// However many pushers are told.
pub async fn leases_of_one_bucket_are_one_queue_entry(fixture: Fixture) {
    let bucket = fixture.store.lifetimes().bucket.as_millis() as u64;
    fixture
        .clock
        .set(Timestamp((fixture.now().0 / bucket + 1) * bucket));
    for name in ["a", "b", "a"] {
        fixture.publish(&repo(name), "shared").await;
        fixture
            .store
            .lease(&repo(name), &digest("shared"))
            .await
            .expect("a lease");
    }
    fixture.outlive_leases();
    assert_eq!(fixture.due().await.len(), 1);
}

/// From each bucket anew.
pub async fn a_lease_in_a_later_bucket_holds_longer(fixture: Fixture) {
    let a = repo("a");
    let lifetimes = *fixture.store.lifetimes();
    fixture.publish(&a, "leased").await;
    for _ in 0..5 {
        fixture.clock.advance(lifetimes.grace - Duration::from_millis(1));
        assert!(fixture.belongs(&a, "leased").await);
        fixture
            .store
            .lease(&a, &digest("leased"))
            .await
            .expect("it is held again");
    }
    for entry in fixture.due().await {
        let done = fixture.store.collect(&entry).await.expect("a step");
        assert!(
            matches!(done, Collected::Requeued | Collected::Conflict),
            "{done:?}"
        );
    }
    fixture
        .put(&a, image(&["leased"], &["v"]))
        .await
        .expect("it belongs");
}

/// It belongs to the target in its own right.
pub async fn mount_takes_a_lease_that_outlives_its_source(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    let (record, _) = fixture.publish(&a, "shared").await;
    let from = MountFrom::Repository(a.clone());
    let mounted = fixture
        .store
        .mount(&caller(), &b, &digest("shared"), &from)
        .await
        .expect("an answer");
    assert_eq!(mounted, Some(record));
    fixture
        .store
        .delete_blob(&a, &digest("shared"))
        .await
        .expect("a delete");
    assert!(!fixture.belongs(&a, "shared").await && fixture.belongs(&b, "shared").await);
    fixture
        .clock
        .advance(fixture.store.lifetimes().grace - Duration::from_millis(1));
    fixture
        .put(&b, image(&["shared"], &["v"]))
        .await
        .expect("within the grace");
}

/// Its lease is over, or it was deleted there.
pub async fn mount_takes_nothing_from_where_the_blob_no_longer_belongs(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    let mount = async |from: MountFrom| {
        fixture
            .store
            .mount(&caller(), &b, &digest("shared"), &from)
            .await
            .expect("an answer")
    };
    fixture.publish(&a, "shared").await;
    fixture
        .store
        .delete_blob(&a, &digest("shared"))
        .await
        .expect("a delete");
    assert_eq!(mount(MountFrom::Repository(a.clone())).await, None);
    assert_eq!(mount(MountFrom::Anywhere).await, None);
    fixture.publish(&a, "shared").await;
    fixture.outlive_leases();
    assert_eq!(mount(MountFrom::Repository(a.clone())).await, None);
    assert_eq!(mount(MountFrom::Anywhere).await, None);
    assert!(!fixture.belongs(&b, "shared").await);
}

/// By an edge or by a lease.
pub async fn mount_from_anywhere_sees_what_the_caller_sees(fixture: Fixture) {
    let (hidden, seen, b) = (repo("hidden"), repo("seen/a"), repo("b"));
    let visible = Visible::Only {
        names: [].into(),
        prefixes: ["seen/".to_owned()].into(),
    };
    let ctx = Context { visible, ..caller() };
    let mount = async || {
        let from = MountFrom::Anywhere;
        fixture
            .store
            .mount(&ctx, &b, &digest("shared"), &from)
            .await
            .expect("an answer")
            .is_some()
    };
    fixture.image(&hidden, "shared", "v").await;
    assert!(!mount().await, "from a repository that the caller may not see");
    fixture.publish(&seen, "shared").await;
    assert!(mount().await, "by a lease");
    fixture
        .store
        .delete_blob(&b, &digest("shared"))
        .await
        .expect("a delete");
    fixture
        .store
        .delete_blob(&seen, &digest("shared"))
        .await
        .expect("a delete");
    assert!(!mount().await);
    fixture.image(&seen, "shared", "v").await;
    fixture.outlive_leases();
    assert!(mount().await, "by an edge");
}

/// In this repository alone.
pub async fn delete_blob_gives_up_leases_and_refuses_what_a_manifest_needs(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    fixture.publish(&b, "x").await;
    let manifest = fixture.image(&a, "x", "v").await;
    assert_kind(
        fixture.store.delete_blob(&a, &digest("x")).await,
        ErrorKind::InUse,
    );
    fixture.delete(&a, &manifest).await.expect("a delete");
    assert!(fixture.belongs(&a, "x").await, "by a lease");
    fixture
        .store
        .delete_blob(&a, &digest("x"))
        .await
        .expect("nothing needs it any more");
    assert!(!fixture.belongs(&a, "x").await && fixture.belongs(&b, "x").await);
    assert_kind(
        fixture.store.delete_blob(&a, &digest("x")).await,
        ErrorKind::BlobUnknown,
    );
}
