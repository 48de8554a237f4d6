//! Where each weakening is caught, and by which promise.

use super::configurations::{Bounds, harm};
use super::{BlobContract, Outcome, Promise, Rules, Weakening, check};

/// A weakening, the world that shows its harm, and the promise that it breaks.
#[derive(Clone, Debug)]
pub struct Catch {
    /// What was taken away.
    pub weakening: Weakening,
    /// Where it was explored.
    pub world: Bounds,
    /// What it is expected to break.
    pub expected: Promise,
    /// What was found.
    pub outcome: Outcome,
}

impl Catch {
    /// Whether the expected promise was found broken.
    pub fn is_caught(&self) -> bool {
        self.outcome
            .violation
            .as_ref()
            .is_some_and(|violation| violation.promise == self.expected)
    }
}

/// Explores the world in which `weakening` does harm, with one thread, so that the trace is a shortest one.
pub fn catch(weakening: Weakening) -> Catch {
    let (world, expected) = weakening.harm();
    let outcome = check(&weakening.model(), 1, None);
    Catch {
        weakening,
        world,
        expected,
        outcome,
    }
}

impl Weakening {
    /// The world that shows its harm, without the guard.
    pub fn model(self) -> BlobContract {
        BlobContract::new(self.harm().0, Rules::without(self))
    }

    /// The smallest configuration that shows the harm, and the promise that it breaks first.
    pub fn harm(self) -> (Bounds, Promise) {
        use Weakening::*;
        match self {
            PublishWithoutClaim => (harm::UPLOAD, Promise::Unlinking),
            KeepWithoutLooking => (harm::LOSS, Promise::RePush),
            PublishBeforeDurable => (harm::UPLOAD, Promise::Durability),
            PublishTimedByEarlierRead => (harm::PUSH, Promise::Grace),
            ReviveForgetsLoser => (harm::PUSH, Promise::NoLeak),
            LeaseWithoutLive => (harm::PUSH, Promise::Safety),
            LeaseTimedByEarlierRead => (harm::PUSH, Promise::Grace),
            OlderLeaseSuffices => (harm::PUSH, Promise::Grace),
            LeaseEndsWithItsBucket => (harm::PUSH, Promise::Grace),
            PutWithoutLive => (harm::PUSH, Promise::Closure),
            PutWithoutNameToId => (harm::REPOSITORY, Promise::NoLeak),
            PutOverwritesBlindly => (harm::DEFER, Promise::Grace),
            IndexWithoutChildManifest => (harm::CHILD, Promise::Closure),
            DeferredAssertsNothing => (harm::DEFER, Promise::Closure),
            DeferredForgetsSuspect => (harm::DEFER_AND_LOSE, Promise::Grace),
            DeferredOpens => (harm::DEFER, Promise::Belonging),
            EdgesWithoutPutId => (harm::PIECE, Promise::Closure),
            LeaseLeftBeforeSweep => (harm::PIECE, Promise::Grace),
            DeleteLeavesNoLease => (harm::PUSH, Promise::Grace),
            DeleteLeavesNoEntry => (harm::PUSH, Promise::NoLeak),
            DeleteIgnoresParents => (harm::CHILD, Promise::Closure),
            UndeleteWithoutChildren => (harm::CHILD, Promise::Closure),
            TrashDoesNotHold => (harm::CHILD, Promise::Safety),
            SweepLeavesNothing => (harm::REPOSITORY, Promise::NoLeak),
            PendingDroppedWithoutStamp => (harm::REPOSITORY, Promise::NoLeak),
            CondemnConsumesEntry => (harm::PUSH, Promise::NoLeak),
            CondemnIgnoresLeases => (harm::PUSH, Promise::Safety),
            CondemnTimedByEarlierRead => (harm::READS, Promise::Reads),
            RemoveWithoutRecheck => (harm::DEFER_ALONE, Promise::Safety),
            SecondDelaySkipped => (harm::READS, Promise::Reads),
            UnlinkBeforeRemove => (harm::PUSH, Promise::Unlinking),
            StampsRepeat => (harm::SWAP, Promise::NoLeak),
            UnknownOutcomeUnlinks => (harm::PUSH, Promise::Unlinking),
            ClaimSweptWithoutDoom => (harm::UPLOAD, Promise::NoLeak),
            AbandonWithoutStamp => (harm::UPLOAD, Promise::NoLeak),
            DoomedHeldTooShort => (harm::UPLOAD, Promise::NoLeak),
            DoomedHeldFromCommit => (harm::UPLOAD, Promise::NoLeak),
            LateWriter => (harm::UPLOAD, Promise::NoLeak),
            ResumeWithoutEpoch => (harm::UPLOAD, Promise::Durability),
            SwappedHeldTooShort => (harm::LOSS, Promise::Reads),
        }
    }
}
