//! The contract holds in small worlds, and each of its guards is needed.

use registry_gc::model::{BlobContract, COVERED, Outcome, Promise, Rules, SMALL, Weakening, catch, check};
use std::collections::BTreeSet;

#[test]
fn every_promise_is_kept_in_every_state_and_every_transition_is_exercised() {
    let mut covered = BTreeSet::new();
    for world in SMALL {
        let outcome = check(&BlobContract::new(*world, Rules::CONTRACT), 2, None);
        if let Some(violation) = outcome.violation {
            let steps: Vec<String> = violation
                .trace
                .iter()
                .map(|step| step.action.to_string())
                .collect();
            panic!(
                "{} is broken in {}:\n{}",
                violation.promise.name(),
                world.name,
                steps.join("\n")
            );
        }
        covered.extend(outcome.covered);
    }
    let idle: Vec<&str> = COVERED
        .into_iter()
        .filter(|name| !covered.contains(name))
        .collect();
    assert!(idle.is_empty(), "never exercised: {idle:?}");
}

/// Without this guard the expected promise breaks, and the trace shows how.
fn assert_needed(weakening: Weakening) {
    let caught = catch(weakening);
    let found = caught.outcome.violation.as_ref();
    assert_eq!(
        found.map(|violation| violation.promise),
        Some(caught.expected),
        "in {}",
        caught.world.name
    );
    assert!(found.is_some_and(|violation| !violation.trace.is_empty()));
}

macro_rules! each_guard_is_needed {
    ($($test:ident: $weakening:ident,)*) => {
        $(#[test] fn $test() { assert_needed(Weakening::$weakening); })*

        #[test]
        fn every_weakening_has_its_test() {
            let tested = [$(Weakening::$weakening),*];
            assert!(Weakening::ALL.iter().all(|weakening| tested.contains(weakening)));
        }
    };
}

each_guard_is_needed! {
    publish_asserts_its_claim: PublishWithoutClaim,
    publish_looks_whether_the_bytes_are_there: KeepWithoutLooking,
    publish_waits_until_the_bytes_are_durable: PublishBeforeDurable,
    publish_commits_in_the_bucket_that_it_read: PublishTimedByEarlierRead,
    a_publish_that_revives_dooms_the_location_that_loses: ReviveForgetsLoser,
    a_lease_asserts_that_the_blob_is_live: LeaseWithoutLive,
    a_lease_commits_in_the_bucket_that_it_read: LeaseTimedByEarlierRead,
    exists_is_told_only_with_a_lease_of_the_current_bucket: OlderLeaseSuffices,
    a_lease_outlasts_its_bucket_by_the_grace: LeaseEndsWithItsBucket,
    put_manifest_asserts_that_its_children_are_live: PutWithoutLive,
    put_manifest_asserts_name_to_id: PutWithoutNameToId,
    put_manifest_asserts_the_record_that_it_replaces: PutOverwritesBlindly,
    an_index_asserts_its_child_manifests: IndexWithoutChildManifest,
    a_deferred_child_asserts_its_stamp_or_absence: DeferredAssertsNothing,
    a_deferred_put_opens_no_less_than_what_it_replaces: DeferredForgetsSuspect,
    a_deferred_child_opens_nothing: DeferredOpens,
    edges_carry_their_put_id: EdgesWithoutPutId,
    the_lease_of_a_delete_goes_with_the_edge: LeaseLeftBeforeSweep,
    delete_manifest_leaves_a_lease: DeleteLeavesNoLease,
    delete_manifest_leaves_a_queue_entry: DeleteLeavesNoEntry,
    delete_manifest_is_refused_while_a_live_index_needs_it: DeleteIgnoresParents,
    undelete_asserts_its_children: UndeleteWithoutChildren,
    trash_counts_for_collecting: TrashDoesNotHold,
    sweep_repository_leaves_a_queue_entry: SweepLeavesNothing,
    drop_pending_asserts_the_entrys_stamp: PendingDroppedWithoutStamp,
    condemn_queues_again: CondemnConsumesEntry,
    condemn_looks_at_leases: CondemnIgnoresLeases,
    condemn_times_its_second_delay_at_commit: CondemnTimedByEarlierRead,
    remove_looks_at_edges_again: RemoveWithoutRecheck,
    remove_waits_for_the_second_delay: SecondDelaySkipped,
    remove_comes_before_unlink: UnlinkBeforeRemove,
    stamps_never_repeat: StampsRepeat,
    an_unknown_outcome_unlinks_nothing: UnknownOutcomeUnlinks,
    abandon_dooms_what_the_claim_named: ClaimSweptWithoutDoom,
    abandon_asserts_the_claims_stamp: AbandonWithoutStamp,
    doomed_is_held_for_the_longest_write: DoomedHeldTooShort,
    doomed_is_held_from_the_claims_expiry: DoomedHeldFromCommit,
    writers_fence_themselves: LateWriter,
    a_resumed_upload_has_a_location_of_its_own: ResumeWithoutEpoch,
    a_swapped_out_location_is_held_for_the_longest_read: SwappedHeldTooShort,
}

/// Merging states that differ only in numbering neither hides a behaviour nor adds one: it would change how many
/// steps the shortest trace takes.
#[test]
fn merged_states_break_the_same_promise_in_as_many_steps() {
    for weakening in Weakening::ALL {
        let merged = catch(*weakening).outcome;
        let numbered = check(&weakening.model().numbered(), 1, None);
        let length = |outcome: &Outcome| {
            outcome
                .violation
                .as_ref()
                .map(|found| (found.promise, found.trace.len()))
        };
        assert_eq!(length(&merged), length(&numbered), "{}", weakening.name());
        assert!(merged.states <= numbered.states);
    }
}

/// What the promise about leaks calls a leak is one: a collector left alone with it never clears it away.
#[test]
fn what_leaks_stays_when_collectors_are_left_alone() {
    for weakening in Weakening::ALL
        .iter()
        .filter(|weakening| weakening.harm().1 == Promise::NoLeak)
    {
        let found = catch(*weakening).outcome.violation.expect("caught");
        let last = found.trace.last().expect("not the empty registry").state;
        assert!(!weakening.model().drains(&last), "{}: {last}", weakening.name());
    }
}
