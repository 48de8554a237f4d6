//! What the collector would make of what is deleted, looked at without writing.

use std::sync::Arc;
use std::time::Duration;

use registry_core::Digest;
use registry_core::store::{Cause, Doomed, Reclaim, Release, Stamp};

use super::undo::outlive_the_trash;
use super::{Fixture, SLACK, caller, digest, image, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_foresee_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::foresee,
            $name,
            $factory,
            [
                what_deletes_release_is_foreseen_by_reason,
                an_untagged_manifest_is_foreseen_to_go_unless_something_keeps_it,
                a_doomed_location_is_looked_at_again_before_it_is_unlinked,
                whoever_only_reads_writes_nothing,
            ]
        );
    };
}

impl Fixture {
    /// All that is deleted and would be taken up now, as read in pages of one.
    async fn foreseen_deletes(&self) -> Vec<Release> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        for _ in 0..1000 {
            let page = self.store.foresee_deleted(after.as_deref(), 1).await;
            let (found, next) = page.expect("an outlook");
            all.extend(found);
            if next.is_none() {
                return all;
            }
            after = next;
        }
        panic!("the outlook never comes to an end");
    }
}

/// What is in the trash when its window ends, and what a deleted repository has left, each with what nothing else holds.
pub async fn what_deletes_release_is_foreseen_by_reason(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    let gone = fixture.image(&a, "x", "gone").await;
    fixture.image(&a, "shared", "kept").await;
    for blob in ["y", "shared"] {
        fixture.publish(&b, blob).await;
    }
    let of_b = fixture
        .put(&b, image(&["y", "shared"], &["v"]))
        .await
        .expect("an image");
    assert_eq!(fixture.foreseen_deletes().await, []);
    fixture.delete(&a, &gone).await.expect("a delete");
    let has_trash = !fixture.store.lifetimes().undo.is_zero();
    assert_eq!(fixture.foreseen_deletes().await, [], "its window has not ended");
    outlive_the_trash(&fixture);
    fixture
        .store
        .delete_repository(&caller(), &b)
        .await
        .expect("a delete");

    let foreseen = fixture.foreseen_deletes().await;
    let alone = |release: &Release| {
        let blobs = release.blobs.iter().map(|blob| (blob.digest, blob.size));
        (release.manifest, blobs.collect::<Vec<(Digest, u64)>>())
    };
    let mut expected = vec![(Some(of_b.digest), vec![(digest("y"), 1)])];
    if has_trash {
        expected.insert(0, (Some(gone), vec![(digest("x"), 1)]));
        assert!(matches!(foreseen[0].cause, Cause::Trash { until } if until <= fixture.now()));
        assert_eq!(foreseen[0].repository.name.as_ref(), Some(&a));
    }
    assert_eq!(foreseen.iter().map(alone).collect::<Vec<_>>(), expected);
    let last = foreseen.last().expect("that of the repository");
    assert_eq!((last.cause, &last.repository.name), (Cause::Repository, &None));

    while fixture.store.purge_trash(10).await.expect("a purge") {}
    while fixture.store.sweep_repositories(10).await.expect("a sweep") {}
    assert_eq!(fixture.foreseen_deletes().await, []);
    fixture.collect_all().await;
    for (blob, stays) in [("x", false), ("y", false), ("shared", true)] {
        assert_eq!(fixture.record(blob).await.is_some(), stays, "{blob}");
    }
}

/// And with what it alone holds; what is foreseen is what is deleted.
pub async fn an_untagged_manifest_is_foreseen_to_go_unless_something_keeps_it(fixture: Fixture) {
    let (a, store) = (repo("a"), &fixture.store);
    fixture.publish(&a, "x").await;
    fixture.publish(&a, "shared").await;
    let loose = fixture
        .put(&a, image(&["x", "shared"], &[]))
        .await
        .expect("an image");
    fixture.publish(&a, "z").await;
    let kept = fixture
        .put(&a, image(&["shared", "z"], &[]))
        .await
        .expect("an image");
    assert!(!store.is_followed().await.expect("a look"));
    while store.follow(10).await.expect("the feed") {}
    assert!(store.is_followed().await.expect("a look"));
    let until = fixture.now() + SLACK;
    let untagged = store.untagged(until, None, 10).await.expect("a list");
    assert_eq!(untagged.len(), 2);
    fixture
        .put(&a, image(&["shared", "z"], &["v"]))
        .await
        .expect("a tag");
    for untagged in untagged {
        let foreseen = store.foresee_untagged(&untagged).await.expect("an outlook");
        let goes = untagged.digest != kept.digest;
        assert_eq!(foreseen.is_some(), goes);
        if let Some(release) = foreseen {
            assert_eq!(
                release.cause,
                Cause::Untagged {
                    since: untagged.since
                }
            );
            assert_eq!(release.manifest, Some(loose.digest));
            let blobs: Vec<_> = release.blobs.iter().map(|blob| blob.digest).collect();
            assert_eq!(blobs, [digest("x")]);
        }
        assert_eq!(store.delete_untagged(&untagged).await.expect("a delete"), goes);
        assert_eq!(store.foresee_untagged(&untagged).await.expect("an outlook"), None);
    }
}

/// By the very write that doomed it: one that was cleared, or doomed again, is not that of the list.
pub async fn a_doomed_location_is_looked_at_again_before_it_is_unlinked(fixture: Fixture) {
    let (a, store) = (repo("a"), &fixture.store);
    let claim = fixture.claim(&a).await;
    store.cancel(&claim).await.expect("a cancel");
    let doomed = store.all_doomed(None, 10).await.expect("the doomed").remove(0);
    assert!(store.is_doomed(&doomed).await.expect("a look"));
    let other = Doomed {
        stamp: Stamp(doomed.stamp.0 + 1),
        ..doomed.clone()
    };
    assert!(!store.is_doomed(&other).await.expect("a look"));
    store.clear_doomed(&doomed).await.expect("it is cleared");
    assert!(!store.is_doomed(&doomed).await.expect("a look"));
}

/// It sees what the others see.
pub async fn whoever_only_reads_writes_nothing(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    fixture.outlive_leases();
    let reading = (Arc::clone(&fixture.store) as Arc<dyn Reclaim>).reading();
    let queued = reading.queued(None, 10).await.expect("the queue");
    assert_eq!(queued, fixture.store.queued(None, 10).await.expect("the queue"));
    assert!(reading.collect(&queued[0]).await.is_err());
    assert!(reading.lead("a", "0001", Duration::from_secs(60)).await.is_err());
    assert_eq!(fixture.store.leader().await.expect("a look"), None);
    assert_eq!(queued, fixture.store.queued(None, 10).await.expect("the queue"));
}
