//! Claims: the life of an upload, and what late writers find.

use std::time::Duration;

use registry_core::ErrorKind;
use registry_core::store::Content;

use super::{Fixture, SLACK, assert_kind, info, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_claims_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::claims,
            $name,
            $factory,
            [
                a_claim_is_known_in_its_repository_and_no_other,
                a_claim_expires_unless_it_is_touched,
                a_touched_claim_is_another_write,
                a_cancelled_claim_is_unknown_and_its_location_doomed,
                publish_refuses_a_claim_that_was_touched_since,
                a_claim_is_published_once,
                an_expired_claim_can_be_abandoned_and_no_sooner,
                abandon_dooms_the_location_for_the_longest_write,
                a_late_writer_finds_an_abandoned_upload_unknown,
                of_publish_and_cancel_at_once_exactly_one_happens,
            ]
        );
    };
}

/// As it was made.
pub async fn a_claim_is_known_in_its_repository_and_no_other(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    let (claim, other) = (fixture.claim(&a).await, fixture.claim(&b).await);
    assert_eq!(fixture.store.upload(&a, &claim.id).await.expect("a claim"), claim);
    assert_eq!(
        claim.expires,
        fixture.now() + fixture.store.lifetimes().upload_idle
    );
    assert_kind(
        fixture.store.upload(&b, &claim.id).await,
        ErrorKind::UploadUnknown,
    );
    assert_kind(
        fixture.store.upload(&a, &other.id).await,
        ErrorKind::UploadUnknown,
    );
    assert_kind(
        fixture.store.upload(&repo("c"), &claim.id).await,
        ErrorKind::UploadUnknown,
    );
}

/// Progress keeps it.
pub async fn a_claim_expires_unless_it_is_touched(fixture: Fixture) {
    let a = repo("a");
    let idle = fixture.store.lifetimes().upload_idle;
    let (mut touched, left) = (fixture.claim(&a).await, fixture.claim(&a).await);
    for _ in 0..3 {
        fixture.clock.advance(idle - Duration::from_millis(1));
        touched = fixture.store.touch(&touched).await.expect("it has not expired");
        assert_eq!(touched.expires, fixture.now() + idle);
    }
    assert_eq!(
        fixture.store.upload(&a, &touched.id).await.expect("a claim"),
        touched
    );
    assert_kind(fixture.store.upload(&a, &left.id).await, ErrorKind::UploadUnknown);
    assert_kind(fixture.store.touch(&left).await, ErrorKind::UploadUnknown);
}

/// Whoever holds the claim as it was before may renew it too: two writers of one upload must not end it for each other.
pub async fn a_touched_claim_is_another_write(fixture: Fixture) {
    let claim = fixture.claim(&repo("a")).await;
    let touched = fixture.store.touch(&claim).await.expect("a touch");
    assert!(touched.stamp > claim.stamp);
    let again = fixture.store.touch(&claim).await.expect("a touch");
    assert!(again.stamp > touched.stamp);
    fixture.store.touch(&again).await.expect("a touch");
}

/// Not before a writer that has not heard of it must have stopped.
pub async fn a_cancelled_claim_is_unknown_and_its_location_doomed(fixture: Fixture) {
    let a = repo("a");
    let claim = fixture.claim(&a).await;
    fixture.store.cancel(&claim).await.expect("a cancel");
    assert_kind(
        fixture.store.upload(&a, &claim.id).await,
        ErrorKind::UploadUnknown,
    );
    assert_kind(fixture.store.touch(&claim).await, ErrorKind::UploadUnknown);
    assert_kind(fixture.store.cancel(&claim).await, ErrorKind::UploadUnknown);
    assert_kind(
        fixture.try_publish(&claim, "late").await,
        ErrorKind::UploadUnknown,
    );
    assert_eq!(fixture.record("late").await, None);
    fixture
        .clock
        .advance(fixture.store.lifetimes().longest_write - Duration::from_millis(1));
    assert_eq!(fixture.doomed_now().await, []);
    assert_eq!(fixture.doomed().await, [claim.location]);
}

/// Another writer has it.
pub async fn publish_refuses_a_claim_that_was_touched_since(fixture: Fixture) {
    let claim = fixture.claim(&repo("a")).await;
    let touched = fixture.store.touch(&claim).await.expect("a touch");
    assert_kind(
        fixture.try_publish(&claim, "stale").await,
        ErrorKind::UploadUnknown,
    );
    assert_eq!(fixture.record("stale").await, None);
    fixture.try_publish(&touched, "fresh").await.expect("a publish");
}

/// It is consumed.
pub async fn a_claim_is_published_once(fixture: Fixture) {
    let claim = fixture.claim(&repo("a")).await;
    fixture.try_publish(&claim, "once").await.expect("a publish");
    assert_kind(
        fixture.try_publish(&claim, "once").await,
        ErrorKind::UploadUnknown,
    );
    assert_kind(
        fixture.try_publish(&claim, "twice").await,
        ErrorKind::UploadUnknown,
    );
    assert_kind(fixture.store.cancel(&claim).await, ErrorKind::UploadUnknown);
    assert_eq!(fixture.doomed().await, [], "the location is a blob's");
}

/// Judged by the claim as it is, not as somebody read it.
pub async fn an_expired_claim_can_be_abandoned_and_no_sooner(fixture: Fixture) {
    let a = repo("a");
    let idle = fixture.store.lifetimes().upload_idle;
    let (touched, left) = (fixture.claim(&a).await, fixture.claim(&a).await);
    fixture.clock.advance(idle - Duration::from_millis(1));
    assert_eq!(fixture.expired().await, []);
    assert!(!fixture.store.abandon(&left.id).await.expect("an answer"));
    fixture
        .store
        .touch(&touched)
        .await
        .expect("progress at the last moment");
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(fixture.expired().await, std::slice::from_ref(&left.id));
    assert!(!fixture.store.abandon(&touched.id).await.expect("an answer"));
    assert!(fixture.store.abandon(&left.id).await.expect("an answer"));
    assert!(
        !fixture.store.abandon(&left.id).await.expect("an answer"),
        "once is enough"
    );
    assert_eq!(fixture.expired().await, []);
    fixture.store.upload(&a, &touched.id).await.expect("it goes on");
}

/// A writer may still be at it.
pub async fn abandon_dooms_the_location_for_the_longest_write(fixture: Fixture) {
    let claim = fixture.claim(&repo("a")).await;
    fixture.clock.advance(fixture.store.lifetimes().upload_idle);
    assert!(fixture.store.abandon(&claim.id).await.expect("an answer"));
    fixture
        .clock
        .advance(fixture.store.lifetimes().longest_write - Duration::from_millis(1));
    assert_eq!(fixture.doomed_now().await, []);
    fixture.clock.advance(SLACK);
    assert_eq!(fixture.doomed_now().await, [claim.location]);
}

/// Never a hole.
pub async fn a_late_writer_finds_an_abandoned_upload_unknown(fixture: Fixture) {
    let a = repo("a");
    let claim = fixture.claim(&a).await;
    fixture.clock.advance(fixture.store.lifetimes().upload_idle);
    assert!(fixture.store.abandon(&claim.id).await.expect("an answer"));
    assert_kind(
        fixture.store.upload(&a, &claim.id).await,
        ErrorKind::UploadUnknown,
    );
    assert_kind(fixture.store.touch(&claim).await, ErrorKind::UploadUnknown);
    assert_kind(
        fixture.try_publish(&claim, "late").await,
        ErrorKind::UploadUnknown,
    );
    assert_eq!(fixture.record("late").await, None);
}

/// So that nothing a record names is doomed.
pub async fn of_publish_and_cancel_at_once_exactly_one_happens(fixture: Fixture) {
    let a = repo("a");
    for round in 0..24 {
        let bytes = format!("round {round}");
        let claim = fixture.claim(&a).await;
        let publish = {
            let (store, claim, info) = (fixture.store.clone(), claim.clone(), info(&bytes));
            tokio::spawn(async move { store.publish(&claim, &info, Content::Uploaded).await })
        };
        let cancel = {
            let (store, claim) = (fixture.store.clone(), claim.clone());
            tokio::spawn(async move { store.cancel(&claim).await })
        };
        let (published, cancelled) = (publish.await.expect("no panic"), cancel.await.expect("no panic"));
        assert_ne!(
            published.is_ok(),
            cancelled.is_ok(),
            "{published:?} {cancelled:?}"
        );
        let doomed = fixture.doomed().await.contains(&claim.location);
        assert_eq!(
            (fixture.record(&bytes).await.is_some(), doomed),
            (published.is_ok(), cancelled.is_ok())
        );
    }
}
