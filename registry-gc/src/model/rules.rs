//! The guards of the contract, and the deliberate weakenings that take away one of them each.

/// One guard taken away. A weakening that no property catches would mean that the guard, or the property, is idle.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Weakening {
    /// `lease` is inserted without asserting that the blob is live at the stamp that was read.
    LeaseWithoutLive,
    /// `lease` commits after its bucket's end: no `now() < T` at commit.
    LeaseTimedByEarlierRead,
    /// A pusher is told "exists" on the strength of a lease of an earlier bucket.
    OlderLeaseSuffices,
    /// A lease ends `grace` after its bucket's start.
    LeaseEndsWithItsBucket,
    /// `put_manifest` asserts nothing about its required children.
    PutWithoutLive,
    /// `put_manifest` does not assert name -> id.
    PutWithoutNameToId,
    /// `put_manifest` does not assert the manifest record that it replaces.
    PutOverwritesBlindly,
    /// `put_manifest` of an index does not assert the child manifest.
    IndexWithoutChildManifest,
    /// A `Deferred` child asserts neither stamp nor absence.
    DeferredAssertsNothing,
    /// A `Deferred` put takes a suspect blob for one that does not belong, and replaces an edge by one that opens
    /// nothing.
    DeferredForgetsSuspect,
    /// A `Deferred` edge makes the blob belong.
    DeferredOpens,
    /// Edges are keyed by manifest, not by put id.
    EdgesWithoutPutId,
    /// A delete in pieces leaves its lease with the record, and none with the edges that are removed later.
    LeaseLeftBeforeSweep,
    /// `delete_manifest` leaves no lease (and so no grace), only a queue entry.
    DeleteLeavesNoLease,
    /// `delete_manifest` leaves a lease without a queue entry.
    DeleteLeavesNoEntry,
    /// `delete_manifest` does not ask whether a live index needs the manifest.
    DeleteIgnoresParents,
    /// `undelete` does not assert that the children are there.
    UndeleteWithoutChildren,
    /// Edges of the trash do not count for collecting.
    TrashDoesNotHold,
    /// `sweep_repository` removes edges without a queue entry.
    SweepLeavesNothing,
    /// `publish` does not assert its claim.
    PublishWithoutClaim,
    /// `publish` does not look whether the bytes of a live record are there.
    KeepWithoutLooking,
    /// `publish` may run before the bytes are durable.
    PublishBeforeDurable,
    /// `publish` commits after the end of the bucket that it read.
    PublishTimedByEarlierRead,
    /// `publish` that revives does not doom the location that loses.
    ReviveForgetsLoser,
    /// A commit of unknown outcome counts as a failure, and the uploader unlinks its bytes.
    UnknownOutcomeUnlinks,
    /// `drop_pending` does not assert the entry's own stamp.
    PendingDroppedWithoutStamp,
    /// `condemn` consumes the entry and queues nothing.
    CondemnConsumesEntry,
    /// `condemn` does not look at leases.
    CondemnIgnoresLeases,
    /// `condemn` sets `remove_after` by an earlier read of the clock.
    CondemnTimedByEarlierRead,
    /// `remove` does not look at edges and leases again.
    RemoveWithoutRecheck,
    /// `remove` does not wait for `remove_after`, so that an older entry skips the second delay.
    SecondDelaySkipped,
    /// Bytes are unlinked before the record is removed, without `doomed`.
    UnlinkBeforeRemove,
    /// Stamps may repeat: a record looks unchanged when it has come back to the same state.
    StampsRepeat,
    /// `abandon` deletes a claim and dooms nothing.
    ClaimSweptWithoutDoom,
    /// `abandon` does not assert the claim's stamp.
    AbandonWithoutStamp,
    /// Doomed locations of uploads are held shorter than the longest write.
    DoomedHeldTooShort,
    /// `cancel` and a resumed upload hold the doomed location for the longest write from their own commit, not from
    /// the claim's expiry.
    DoomedHeldFromCommit,
    /// A writer does not fence itself: what it began may land at any time.
    LateWriter,
    /// A resumed upload goes on in the same location as the session before it.
    ResumeWithoutEpoch,
    /// A swapped-out location is held shorter than the longest read.
    SwappedHeldTooShort,
}

impl Weakening {
    /// All of them, in the order of the contract's clauses.
    pub const ALL: &'static [Weakening] = {
        use Weakening::*;
        &[
            PublishWithoutClaim,
            KeepWithoutLooking,
            PublishBeforeDurable,
            PublishTimedByEarlierRead,
            ReviveForgetsLoser,
            LeaseWithoutLive,
            LeaseTimedByEarlierRead,
            OlderLeaseSuffices,
            LeaseEndsWithItsBucket,
            PutWithoutLive,
            PutWithoutNameToId,
            PutOverwritesBlindly,
            IndexWithoutChildManifest,
            DeferredAssertsNothing,
            DeferredForgetsSuspect,
            DeferredOpens,
            EdgesWithoutPutId,
            LeaseLeftBeforeSweep,
            DeleteLeavesNoLease,
            DeleteLeavesNoEntry,
            DeleteIgnoresParents,
            UndeleteWithoutChildren,
            TrashDoesNotHold,
            SweepLeavesNothing,
            PendingDroppedWithoutStamp,
            CondemnConsumesEntry,
            CondemnIgnoresLeases,
            CondemnTimedByEarlierRead,
            RemoveWithoutRecheck,
            SecondDelaySkipped,
            UnlinkBeforeRemove,
            StampsRepeat,
            UnknownOutcomeUnlinks,
            ClaimSweptWithoutDoom,
            AbandonWithoutStamp,
            DoomedHeldTooShort,
            DoomedHeldFromCommit,
            LateWriter,
            ResumeWithoutEpoch,
            SwappedHeldTooShort,
        ]
    };

    /// Its name on the command line.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    /// The weakening of that name.
    pub fn named(name: &str) -> Option<Weakening> {
        Weakening::ALL
            .iter()
            .copied()
            .find(|weakening| weakening.name() == name)
    }
}

/// Which guards are in force: all of them, or all but one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rules {
    without: Option<Weakening>,
}

impl Rules {
    /// The contract as it is written.
    pub const CONTRACT: Rules = Rules { without: None };

    /// The contract without one guard.
    pub fn without(weakening: Weakening) -> Rules {
        Rules {
            without: Some(weakening),
        }
    }

    /// Whether the guard that `weakening` would take away has been taken away.
    pub fn lack(&self, weakening: Weakening) -> bool {
        self.without == Some(weakening)
    }

    /// Whether the guard that `weakening` would take away is in force.
    pub fn keep(&self, weakening: Weakening) -> bool {
        !self.lack(weakening)
    }
}
