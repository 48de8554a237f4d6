//! The guards of the blob contract, each of which a test build can leave out.
//!
//! The model of a blob's life has a [`Weakening`] for every guard, and the code asks [`keep`] at the place of each. With the
//! feature `weaken` one of them can be [left out](leave_out), so that a search of schedules shows what it is for. Without
//! it `keep` is always true, and there is nothing to set; `berth` refuses to be built with it.

macro_rules! weakenings {
    ($($name:ident)*) => {
        /// A guard left out, by the name that it has in the model.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the model says what each is")]
        pub enum Weakening {
            $($name,)*
        }

        impl Weakening {
            /// All of them, as the model lists them.
            pub const ALL: &'static [Weakening] = &[$(Weakening::$name,)*];
        }
    };
}

weakenings! {
    PublishWithoutClaim KeepWithoutLooking PublishBeforeDurable PublishTimedByEarlierRead ReviveForgetsLoser
    LeaseWithoutLive LeaseTimedByEarlierRead OlderLeaseSuffices LeaseEndsWithItsBucket
    PutWithoutLive PutWithoutNameToId PutOverwritesBlindly IndexWithoutChildManifest
    DeferredAssertsNothing DeferredForgetsSuspect DeferredOpens EdgesWithoutPutId LeaseLeftBeforeSweep
    DeleteLeavesNoLease DeleteLeavesNoEntry DeleteIgnoresParents UndeleteWithoutChildren TrashDoesNotHold
    SweepLeavesNothing PendingDroppedWithoutStamp CondemnConsumesEntry CondemnIgnoresLeases
    CondemnTimedByEarlierRead RemoveWithoutRecheck SecondDelaySkipped UnlinkBeforeRemove StampsRepeat
    UnknownOutcomeUnlinks ClaimSweptWithoutDoom AbandonWithoutStamp DoomedHeldTooShort DoomedHeldFromCommit
    LateWriter ResumeWithoutEpoch SwappedHeldTooShort
}

/// Whether a guard can be left out in this build.
pub const BUILT_IN: bool = cfg!(feature = "weaken");

#[cfg(feature = "weaken")]
static LEFT_OUT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(usize::MAX);

/// Leaves this guard out from now on, in the whole process; or none.
#[cfg(feature = "weaken")]
pub fn leave_out(guard: Option<Weakening>) {
    let number = guard.map_or(usize::MAX, |guard| guard as usize);
    LEFT_OUT.store(number, std::sync::atomic::Ordering::SeqCst);
}

/// Whether the guard is in force.
#[cfg(feature = "weaken")]
pub fn keep(guard: Weakening) -> bool {
    LEFT_OUT.load(std::sync::atomic::Ordering::Relaxed) != guard as usize
}

/// Whether the guard is in force: it is.
#[cfg(not(feature = "weaken"))]
#[inline(always)]
pub const fn keep(_: Weakening) -> bool {
    true
}

/// Whether the guard is left out.
#[inline(always)]
pub fn lack(guard: Weakening) -> bool {
    !keep(guard)
}
