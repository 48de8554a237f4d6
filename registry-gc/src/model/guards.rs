//! What each transaction asserts at commit about what its process has read.
//!
//! All of these are lost for good once they are lost: a stamp never repeats, an id that was dropped is never named
//! again, a bucket that is over stays over. So a process that could only be refused forgets what it has read at
//! once, which keeps the state space small and changes nothing: a refused transaction writes nothing, and its
//! process starts again with a read. (What may come back, the range assertions of condemn and remove, is evaluated in
//! those transitions.)

use super::BlobContract;
use super::rules::Weakening;
use super::state::*;

/// When a transaction is refused.
#[derive(Clone, Copy, Eq, PartialEq)]
enum When {
    /// If it were to commit now.
    AtCommit,
    /// Whenever it might commit.
    ForEver,
}

impl BlobContract {
    /// Whether `blob` belongs to the repository.
    pub(super) fn belongs(&self, s: &State, repository: usize, blob: usize) -> bool {
        s.repositories[repository].has(blob, self.rules.lack(Weakening::DeferredOpens))
    }

    /// The ids that a name maps to.
    pub(super) fn live_repositories<'a>(&self, s: &'a State) -> impl Iterator<Item = usize> + use<'a> {
        (0..REPOSITORIES).filter(|&id| s.repositories[id].naming == Naming::Live)
    }

    /// How long a lease of the current bucket is valid: one tick is one bucket.
    pub(super) fn lease_ticks(&self) -> u8 {
        self.bounds.timing.lease - u8::from(self.rules.lack(Weakening::LeaseEndsWithItsBucket))
    }

    /// How long `doomed` is held for what somebody may still write.
    pub(super) fn hold_for_writers(&self) -> u8 {
        if self.rules.lack(Weakening::DoomedHeldTooShort) {
            0
        } else {
            self.bounds.timing.longest_write
        }
    }

    /// How long `doomed` is held for what somebody may still read.
    pub(super) fn hold_for_readers(&self) -> u8 {
        if self.rules.lack(Weakening::SwappedHeldTooShort) {
            self.bounds.timing.longest_write
        } else {
            self.bounds
                .timing
                .longest_read
                .max(self.bounds.timing.longest_write)
        }
    }

    /// Whether a stamp that was read no longer matches, for ever or (at commit) now. The two differ only when stamps
    /// may repeat.
    fn mismatch(&self, s: &State, blob: usize, outdated: bool, seen: Existence, when: When) -> bool {
        if self.rules.lack(Weakening::StampsRepeat) {
            outdated && when == When::AtCommit && s.blobs[blob].existence != seen
        } else {
            outdated
        }
    }

    fn is_named(&self, s: &State, repository: u8) -> bool {
        s.repositories[usize::from(repository)].naming == Naming::Live
    }

    /// Whether a client's transaction would be refused.
    fn client_is_refused(&self, s: &State, client: usize, when: When) -> bool {
        let keep = |weakening| self.rules.keep(weakening);
        match s.clients[client] {
            ClientStep::Leasing {
                repository,
                blob,
                age,
                outdated,
            } => {
                !self.is_named(s, repository)
                    || (keep(Weakening::LeaseWithoutLive)
                        && self.mismatch(s, usize::from(blob), outdated, Existence::Live, when))
                    || (keep(Weakening::LeaseTimedByEarlierRead) && age > 0)
            }
            ClientStep::Putting {
                repository,
                manifest,
                deferred,
                outdated,
                replaced,
                ..
            } => {
                let children = match (usize::from(manifest), deferred) {
                    (INDEX, _) => Weakening::IndexWithoutChildManifest,
                    (_, true) => Weakening::DeferredAssertsNothing,
                    (_, false) => Weakening::PutWithoutLive,
                };
                (keep(Weakening::PutWithoutNameToId) && !self.is_named(s, repository))
                    || (keep(children) && outdated)
                    || (keep(Weakening::PutOverwritesBlindly) && replaced)
            }
            ClientStep::Publishing {
                repository,
                location,
                seen,
                age,
                outdated,
                reclaimed,
                ..
            } => {
                let blob = usize::from(s.locations[usize::from(location)].blob);
                !self.is_named(s, repository)
                    || (keep(Weakening::PublishTimedByEarlierRead)
                        && age > 0
                        && !(when == When::ForEver && self.bounds.looks_earlier))
                    || self.mismatch(s, blob, outdated, seen, when)
                    || (keep(Weakening::PublishWithoutClaim) && reclaimed)
            }
            ClientStep::Reading { remaining, .. } => remaining == 0,
            ClientStep::Missing { blob, outdated } => {
                self.mismatch(s, usize::from(blob), outdated, Existence::Live, when)
            }
            ClientStep::Idle | ClientStep::Despairing { .. } => false,
        }
    }

    /// Whether a collector's transaction would be refused.
    fn collector_is_refused(&self, s: &State, collector: usize, when: When) -> bool {
        let keep = |weakening| self.rules.keep(weakening);
        match s.collectors[collector] {
            CollectorStep::Collecting {
                blob,
                decision,
                seen,
                age,
                outdated,
                ..
            } => {
                let blob = usize::from(blob);
                let Some((_, as_read)) = s.entry_of(blob, collector) else {
                    return true;
                };
                match decision {
                    Decision::Drop => !as_read && keep(Weakening::PendingDroppedWithoutStamp),
                    Decision::Requeue(_) => !as_read,
                    Decision::Condemn => {
                        !as_read
                            || self.mismatch(s, blob, outdated, seen, when)
                            || (age > 0 && keep(Weakening::CondemnTimedByEarlierRead))
                    }
                    Decision::Remove => !as_read || self.mismatch(s, blob, outdated, seen, when),
                }
            }
            CollectorStep::Abandoning { reclaimed, .. } => reclaimed && keep(Weakening::AbandonWithoutStamp),
            CollectorStep::Idle | CollectorStep::Unlinking { .. } | CollectorStep::Clearing { .. } => false,
        }
    }

    /// What a client's transaction asserts, at commit.
    pub(super) fn client_commits(&self, s: &State, client: usize) -> Option<()> {
        (!self.client_is_refused(s, client, When::AtCommit)).then_some(())
    }

    /// What a collector's transaction asserts, at commit.
    pub(super) fn collector_commits(&self, s: &State, collector: usize) -> Option<()> {
        (!self.collector_is_refused(s, collector, When::AtCommit)).then_some(())
    }

    /// Lets every process that can only be refused forget what it has read.
    pub(super) fn forget_refused(&self, s: &mut State) {
        for client in 0..CLIENTS {
            if self.client_is_refused(s, client, When::ForEver) {
                s.clients[client] = ClientStep::Idle;
            }
        }
        for collector in 0..COLLECTORS {
            if self.collector_is_refused(s, collector, When::ForEver) {
                s.collectors[collector] = CollectorStep::Idle;
            }
        }
        // An idle collector has no entry in its hands.
        let mut idle = 0;
        for (collector, step) in s.collectors.iter().enumerate() {
            if !matches!(step, CollectorStep::Collecting { .. }) {
                idle |= 1 << collector;
            }
        }
        for entry in s.blobs.iter_mut().flat_map(|blob| &mut blob.pending) {
            entry.read_by &= !idle;
            entry.outdated_for &= !idle;
        }
    }

    /// One tick of the clock: everything that is timed comes one tick nearer.
    pub(super) fn tick(&self, s: &mut State) {
        let nearer = |countdown: &mut Countdown| {
            if *countdown > REACHED && *countdown != NEVER {
                *countdown -= 1;
            }
        };
        for blob in &mut s.blobs {
            blob.remove_after = blob.remove_after.saturating_sub(1);
            for entry in &mut blob.pending {
                entry.due = if entry.due > OVERDUE {
                    entry.due - 1
                } else {
                    entry.due
                };
            }
        }
        for location in &mut s.locations {
            nearer(&mut location.claim);
            nearer(&mut location.doomed);
            location.session = location.session.saturating_sub(1);
            if self.rules.keep(Weakening::LateWriter) {
                location.write = location.write.saturating_sub(1);
                location.stale_write = location.stale_write.saturating_sub(1);
            }
        }
        for repository in &mut s.repositories {
            for countdown in repository.leases.iter_mut().chain(&mut repository.promises) {
                *countdown = countdown.saturating_sub(1);
            }
        }
        let older = |age: &mut u8| *age = (*age + 1).min(3);
        for client in &mut s.clients {
            match client {
                ClientStep::Leasing { age, .. } | ClientStep::Publishing { age, .. } => older(age),
                ClientStep::Reading { remaining, .. } => *remaining = remaining.saturating_sub(1),
                _ => {}
            }
        }
        for collector in &mut s.collectors {
            match collector {
                CollectorStep::Collecting {
                    decision: Decision::Requeue(ticks),
                    ..
                } => {
                    *ticks = ticks.saturating_sub(1);
                }
                CollectorStep::Collecting {
                    decision: Decision::Condemn | Decision::Remove,
                    age,
                    ..
                }
                | CollectorStep::Abandoning { age, .. } => older(age),
                _ => {}
            }
        }
    }
}
