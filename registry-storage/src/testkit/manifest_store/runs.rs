//! Runs of the collector: on an operator's terms, one node at a time, foreseen and explained.

use std::time::Duration;

use registry_core::store::{
    Begin, BlobState, Collected, Counts, HeldBy, Pending, RunEnd, Step, Terms, Trigger, Why,
};
use registry_core::{ErrorKind, Tag};

use super::{Fixture, assert_kind, digest, image, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_runs_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::runs,
            $name,
            $factory,
            [
                lists_go_on_from_the_one_they_are_asked_for,
                a_shorter_grace_ends_leases_and_leaves_no_broken_image,
                a_shorter_grace_touches_nothing_that_a_manifest_names,
                a_grace_that_is_no_shorter_changes_nothing,
                a_shorter_grace_keeps_the_second_delay,
                a_run_that_is_alone_waits_for_nothing,
                what_is_foreseen_is_what_is_done,
                a_blob_is_explained_at_every_stage,
                one_node_leads_at_a_time,
                a_lead_that_ended_is_taken_over_and_cannot_be_renewed,
                a_lead_that_was_given_up_is_anybodys,
                runs_are_listed_from_the_latest_and_forgotten_from_the_oldest,
                a_run_whose_node_lost_the_lead_was_interrupted,
                the_backlog_counts_what_waits,
            ]
        );
    };
}

/// As if the collector were called now, with no grace at all.
const NO_GRACE: Terms = Terms {
    grace: Some(Duration::ZERO),
    alone: false,
};

const ALONE: Terms = Terms {
    grace: Some(Duration::ZERO),
    alone: true,
};

impl Fixture {
    async fn queue(&self) -> Vec<Pending> {
        self.store.queued(None, 1000).await.expect("the queue")
    }

    async fn collect_on(&self, entry: &Pending, terms: &Terms) -> Collected {
        let step: Step = self.store.collect_on(entry, terms).await.expect("a step");
        step.done
    }

    /// One step for each entry that is queued, due or not.
    async fn pass(&self, terms: &Terms) -> Vec<Collected> {
        let mut done = Vec::new();
        for entry in self.queue().await {
            done.push(self.collect_on(&entry, terms).await);
        }
        done
    }
}

/// So what cannot be dealt with keeps nothing from its turn.
pub async fn lists_go_on_from_the_one_they_are_asked_for(fixture: Fixture) {
    let a = repo("a");
    for n in 0..7 {
        fixture.publish(&a, &format!("blob {n}")).await;
        fixture.claim(&a).await;
    }
    let lifetimes = *fixture.store.lifetimes();
    fixture.clock.advance(
        lifetimes
            .upload_idle
            .max(2 * lifetimes.grace + 2 * lifetimes.bucket),
    );
    let (due, expired) = (fixture.due().await, fixture.expired().await);
    assert_eq!((due.len(), expired.len()), (7, 7));
    let (mut paged, mut after) = (Vec::new(), None);
    while let page @ [_, ..] = &fixture.store.due(after.as_ref(), 3).await.expect("a page")[..] {
        paged.extend_from_slice(page);
        after = paged.last().cloned();
    }
    assert_eq!(paged, due);
    let (mut paged, mut after) = (Vec::new(), None);
    while let page @ [_, ..] = &fixture
        .store
        .expired_uploads(after.as_ref(), 3)
        .await
        .expect("a page")[..]
    {
        paged.extend(page.iter().map(|expired| expired.id.clone()));
        after = page.last().cloned();
    }
    assert_eq!(paged, expired);
}

/// Whoever pushes meanwhile is told that the blob is unknown, and pushes it again.
pub async fn a_shorter_grace_ends_leases_and_leaves_no_broken_image(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    assert_eq!(fixture.pass(&Terms::default()).await, [Collected::Waits]);
    assert!(fixture.belongs(&a, "x").await);
    assert_eq!(fixture.pass(&NO_GRACE).await, [Collected::Condemned]);
    assert!(!fixture.belongs(&a, "x").await);
    assert_kind(
        fixture.put(&a, image(&["x"], &["v"])).await,
        ErrorKind::ManifestBlobUnknown,
    );
    fixture.image(&a, "x", "v").await;
    fixture.collect_all().await;
    assert!(fixture.belongs(&a, "x").await);
}

/// However short it is.
pub async fn a_shorter_grace_touches_nothing_that_a_manifest_names(fixture: Fixture) {
    let a = repo("a");
    fixture.image(&a, "x", "v").await;
    let lone = fixture.image(&a, "y", "w").await;
    fixture.delete(&a, &lone).await.expect("a delete");
    fixture.pass(&ALONE).await;
    fixture.pass(&ALONE).await;
    assert!(fixture.belongs(&a, "x").await);
    // What is in the trash can come back.
    let has_trash = !fixture.store.lifetimes().undo.is_zero();
    assert_eq!(fixture.record("y").await.is_some(), has_trash);
}

/// Nor does a longer one prolong anything.
pub async fn a_grace_that_is_no_shorter_changes_nothing(fixture: Fixture) {
    fixture.publish(&repo("a"), "x").await;
    let lifetimes = *fixture.store.lifetimes();
    let grace = Some(2 * (lifetimes.grace + lifetimes.bucket));
    let longer = Terms { grace, alone: false };
    assert_eq!(fixture.pass(&longer).await, [Collected::Waits]);
    fixture.outlive_leases();
    assert_eq!(fixture.pass(&longer).await, [Collected::Condemned]);
}

/// A pull may be under way.
pub async fn a_shorter_grace_keeps_the_second_delay(fixture: Fixture) {
    fixture.publish(&repo("a"), "x").await;
    fixture.pass(&NO_GRACE).await;
    fixture
        .clock
        .advance(fixture.store.lifetimes().second_delay - Duration::from_millis(1));
    assert_eq!(fixture.pass(&NO_GRACE).await, [Collected::Waits]);
    fixture.collect_until(Collected::Removed).await;
}

/// Nobody reads, and nobody writes.
pub async fn a_run_that_is_alone_waits_for_nothing(fixture: Fixture) {
    let a = repo("a");
    let (_, location) = fixture.publish(&a, "x").await;
    let (_, condemned) = fixture.publish(&a, "y").await;
    let y = fixture
        .queue()
        .await
        .into_iter()
        .find(|entry| entry.digest == digest("y"));
    fixture.collect_on(&y.expect("an entry"), &NO_GRACE).await;
    for _ in 0..2 {
        fixture.pass(&ALONE).await;
    }
    assert_eq!(
        (fixture.record("x").await, fixture.record("y").await),
        (None, None)
    );
    assert_eq!(fixture.queue().await, []);
    let mut all: Vec<_> = fixture.store.all_doomed(None, 10).await.expect("the doomed");
    all.sort_by_key(|doomed| doomed.location.clone());
    let locations: Vec<_> = all.into_iter().map(|doomed| doomed.location).collect();
    assert_eq!(locations, [location, condemned]);
}

/// At every step of a blob's life, and nothing is written for it.
pub async fn what_is_foreseen_is_what_is_done(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.publish(&a, "y").await;
    fixture.publish(&b, "y").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    let mut seen = Vec::new();
    while fixture.until_due().await {
        let entry = fixture.due().await.remove(0);
        let foreseen = fixture
            .store
            .foresee(&entry, &Terms::default())
            .await
            .expect("an outlook");
        let again = fixture
            .store
            .foresee(&entry, &Terms::default())
            .await
            .expect("an outlook");
        assert_eq!(foreseen, again, "looking changed something");
        if foreseen.digest == digest("y") && foreseen.step == Collected::Condemned {
            let names: Vec<_> = foreseen.last_held_by.iter().map(ToString::to_string).collect();
            assert_eq!(names.len(), 2, "{names:?}");
            assert_eq!(foreseen.size, Some(1));
        }
        let done = fixture.collect_on(&entry, &Terms::default()).await;
        assert_eq!(foreseen.step, done, "{foreseen:?}");
        seen.push(done);
    }
    for step in [Collected::Condemned, Collected::Removed] {
        assert_eq!(seen.iter().filter(|done| **done == step).count(), 2, "{seen:?}");
    }
}

/// Who points at it, until when, and what follows.
pub async fn a_blob_is_explained_at_every_stage(fixture: Fixture) {
    let a = repo("a");
    let explain = async || fixture.store.explain(&digest("x")).await.expect("an explanation");
    assert!(explain().await.conclusion.contains("no such blob"));

    fixture.publish(&a, "x").await;
    let leased = explain().await;
    assert_eq!(leased.leases.len(), 1);
    assert_eq!(leased.leases[0].repository.name.as_ref(), Some(&a));
    assert_eq!(leased.queued, [leased.leases[0].until]);
    assert!(leased.conclusion.contains("lease in a"), "{}", leased.conclusion);

    let manifest = fixture
        .put(&a, image(&["x"], &["v"]))
        .await
        .expect("an image")
        .digest;
    let named = explain().await;
    assert_eq!(named.holders.len(), 1);
    assert_eq!(
        (named.holders[0].manifest, named.holders[0].by),
        (manifest, HeldBy::Edge)
    );
    assert_eq!(named.holders[0].tags, ["v".parse::<Tag>().expect("a tag")]);
    assert!(named.conclusion.contains("(tag v)"), "{}", named.conclusion);

    fixture.delete(&a, &manifest).await.expect("a delete");
    let holders = explain().await.holders;
    let has_trash = !fixture.store.lifetimes().undo.is_zero();
    assert_eq!(holders.iter().any(|holder| holder.by == HeldBy::Trash), has_trash);

    fixture.collect_until(Collected::Condemned).await;
    let condemned = explain().await;
    let Some(BlobState::Condemned { remove_after }) = condemned.blob.map(|blob| blob.state) else {
        panic!("it is condemned");
    };
    assert!(
        condemned.conclusion.contains(&remove_after.to_string()),
        "{}",
        condemned.conclusion
    );
    let entry = fixture.queue().await.remove(0);
    let outlook = fixture
        .store
        .foresee(&entry, &Terms::default())
        .await
        .expect("an outlook");
    assert_eq!(outlook.why, Why::Condemned { remove_after });
    fixture.collect_until(Collected::Removed).await;
    assert_eq!(explain().await.blob, None);
}

const MINUTE: Duration = Duration::from_secs(60);

/// Until it gives it up, or says nothing for as long as it said.
pub async fn one_node_leads_at_a_time(fixture: Fixture) {
    let store = &fixture.store;
    let lead = store
        .lead("a", "run 1", MINUTE)
        .await
        .expect("a look")
        .expect("the lead");
    assert_eq!(store.lead("b", "run 2", MINUTE).await.expect("a look"), None);
    fixture.clock.advance(MINUTE / 2);
    let lead = store
        .renew(&lead, MINUTE)
        .await
        .expect("a look")
        .expect("the lead");
    fixture.clock.advance(MINUTE / 2);
    assert_eq!(store.lead("b", "run 2", MINUTE).await.expect("a look"), None);
    assert_eq!(store.leader().await.expect("a look"), Some(lead));
    // Its process was started again.
    let again = store
        .lead("a", "run 3", MINUTE)
        .await
        .expect("a look")
        .expect("the lead");
    assert_eq!(again.run, "run 3");
}

/// A node that slept finds out when it wakes.
pub async fn a_lead_that_ended_is_taken_over_and_cannot_be_renewed(fixture: Fixture) {
    let store = &fixture.store;
    let lead = store
        .lead("a", "run 1", MINUTE)
        .await
        .expect("a look")
        .expect("the lead");
    fixture.clock.advance(MINUTE);
    assert_eq!(store.leader().await.expect("a look"), None);
    let other = store
        .lead("b", "run 2", MINUTE)
        .await
        .expect("a look")
        .expect("the lead");
    assert_eq!(store.renew(&lead, MINUTE).await.expect("a look"), None);
    store.resign(&lead).await.expect("nothing to give up");
    assert_eq!(store.leader().await.expect("a look"), Some(other));
}

/// At once.
pub async fn a_lead_that_was_given_up_is_anybodys(fixture: Fixture) {
    let store = &fixture.store;
    let lead = store
        .lead("a", "run 1", MINUTE)
        .await
        .expect("a look")
        .expect("the lead");
    store.resign(&lead).await.expect("it is given up");
    assert!(store.lead("b", "run 2", MINUTE).await.expect("a look").is_some());
}

fn begin(node: &str) -> Begin {
    Begin {
        node: node.to_owned(),
        trigger: Trigger::Asked,
        terms: NO_GRACE,
    }
}

/// With what they did.
pub async fn runs_are_listed_from_the_latest_and_forgotten_from_the_oldest(fixture: Fixture) {
    let store = &fixture.store;
    for n in 0..7_u64 {
        let id = format!("{n:04}");
        store.begin_run(&id, &begin("a"), 5).await.expect("a run");
        let counts = Counts {
            removed: n,
            ..Counts::default()
        };
        store
            .note_run(&id, &counts, Some(&RunEnd::Done))
            .await
            .expect("an end");
    }
    let runs = store.runs(3).await.expect("the runs");
    let listed: Vec<_> = runs
        .iter()
        .map(|run| (run.id.as_str(), run.counts.removed))
        .collect();
    assert_eq!(listed, [("0006", 6), ("0005", 5), ("0004", 4)]);
    assert_eq!(
        (&runs[0].begin, &runs[0].outcome),
        (&begin("a"), &Some(RunEnd::Done))
    );
    assert_eq!(store.runs(100).await.expect("the runs").len(), 5);
}

/// While it has the lead it is under way.
pub async fn a_run_whose_node_lost_the_lead_was_interrupted(fixture: Fixture) {
    let store = &fixture.store;
    store
        .lead("a", "0001", MINUTE)
        .await
        .expect("a look")
        .expect("the lead");
    store.begin_run("0001", &begin("a"), 5).await.expect("a run");
    let outcome = async || store.runs(1).await.expect("the runs").remove(0).outcome;
    assert_eq!(outcome().await, None);
    fixture.clock.advance(MINUTE);
    assert_eq!(outcome().await, Some(RunEnd::Interrupted));
    store
        .lead("b", "0002", MINUTE)
        .await
        .expect("a look")
        .expect("the lead");
    assert_eq!(outcome().await, Some(RunEnd::Interrupted));
}

/// And says when the next is due.
pub async fn the_backlog_counts_what_waits(fixture: Fixture) {
    let a = repo("a");
    let before = fixture.store.backlog().await.expect("a look");
    assert!(!before.any() && before.next.is_none());
    fixture.publish(&a, "x").await;
    fixture.claim(&a).await;
    let waiting = fixture.store.backlog().await.expect("a look");
    assert!(!waiting.any(), "{waiting:?}");
    assert_eq!(waiting.next, Some(fixture.queue().await[0].due));
    fixture.outlive_leases();
    fixture.clock.advance(fixture.store.lifetimes().upload_idle);
    let due = fixture.store.backlog().await.expect("a look");
    assert_eq!((due.due, due.expired), (1, 1));
    fixture
        .store
        .delete_repository(&super::caller(), &a)
        .await
        .expect("a delete");
    assert_eq!(fixture.store.backlog().await.expect("a look").deleted, 1);
}
