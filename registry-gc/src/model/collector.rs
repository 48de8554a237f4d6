//! The collector: it works off the queue, expired claims and doomed locations, and asserts all that it read.

use super::BlobContract;
use super::rules::Weakening;
use super::state::*;

impl BlobContract {
    /// Reads a due entry, the record, its edges and its leases, and decides.
    pub(super) fn examine(&self, s: &mut State, collector: usize, blob: usize, entry: usize) -> Option<()> {
        let due = s.blobs[blob].pending[entry].due;
        (due == OVERDUE || due == DUE_NOW).then_some(())?;
        let decision = self.decide(s, blob);
        s.blobs[blob].pending[entry].read_by |= 1 << collector;
        // What a step does not assert, it need not remember.
        let asserts_record = matches!(decision, Decision::Condemn | Decision::Remove);
        s.collectors[collector] = CollectorStep::Collecting {
            blob: blob as u8,
            decision,
            seen: if asserts_record {
                s.blobs[blob].existence
            } else {
                Existence::Absent
            },
            location: if decision == Decision::Remove {
                s.blobs[blob].location
            } else {
                0
            },
            age: 0,
            outdated: false,
        };
        Some(())
    }

    fn decide(&self, s: &State, blob: usize) -> Decision {
        let record = &s.blobs[blob];
        let leased_for = if self.rules.lack(Weakening::CondemnIgnoresLeases) {
            0
        } else {
            s.leased_for(blob)
        };
        if !record.exists() || s.held(blob, self.rules.keep(Weakening::TrashDoesNotHold)) {
            Decision::Drop
        } else if leased_for > 0 {
            Decision::Requeue(leased_for)
        } else if record.existence != Existence::Condemned {
            Decision::Condemn
        } else if record.remove_after > 0 && self.rules.keep(Weakening::SecondDelaySkipped) {
            Decision::Requeue(record.remove_after)
        } else {
            Decision::Remove
        }
    }

    /// The digest and the decision of a collector whose transaction may commit.
    fn collecting(
        &self,
        s: &State,
        collector: usize,
        expected: fn(Decision) -> bool,
    ) -> Option<(usize, Decision)> {
        self.collector_commits(s, collector)?;
        match s.collectors[collector] {
            CollectorStep::Collecting { blob, decision, .. } if expected(decision) => {
                Some((usize::from(blob), decision))
            }
            _ => None,
        }
    }

    /// Deletes the entry that the collector has read; the process forgets what it read.
    fn consume_entry(s: &mut State, collector: usize, blob: usize) {
        if let Some((entry, _)) = s.entry_of(blob, collector) {
            s.blobs[blob].pending[entry] = Entry::default();
        }
        s.collectors[collector] = CollectorStep::Idle;
    }

    /// `drop_pending`: edges hold the blob, or it has no record; asserts the entry's stamp.
    pub(super) fn drop_pending(&self, s: &mut State, collector: usize) -> Option<()> {
        let (blob, _) = self.collecting(s, collector, |decision| decision == Decision::Drop)?;
        Self::consume_entry(s, collector, blob);
        Some(())
    }

    /// `requeue`: at the end of the leases, or at `remove_after`; asserts the entry's stamp.
    pub(super) fn requeue(&self, s: &mut State, collector: usize) -> Option<()> {
        let (blob, decision) =
            self.collecting(s, collector, |decision| matches!(decision, Decision::Requeue(_)))?;
        let Decision::Requeue(ticks) = decision else {
            return None;
        };
        Self::consume_entry(s, collector, blob);
        s.insert_pending(blob, DUE_NOW + ticks, self.bounds.entries)
    }

    /// `condemn`: asserts the entry's and the blob's stamps, no edge, no unexpired lease, and that the clock has not
    /// passed the tick by which `remove_after` was computed; queues again at `remove_after`.
    pub(super) fn condemn(&self, s: &mut State, collector: usize) -> Option<()> {
        let CollectorStep::Collecting { age, .. } = s.collectors[collector] else {
            return None;
        };
        let (blob, _) = self.collecting(s, collector, |decision| decision == Decision::Condemn)?;
        self.is_unreferenced(s, blob).then_some(())?;
        Self::consume_entry(s, collector, blob);
        let delay = self.bounds.timing.second_delay.saturating_sub(age);
        s.blobs[blob].existence = Existence::Condemned;
        s.blobs[blob].remove_after = delay;
        s.blob_written(blob);
        if self.rules.keep(Weakening::CondemnConsumesEntry) {
            s.insert_pending(blob, DUE_NOW + delay, self.bounds.entries)?;
        }
        Some(())
    }

    /// The range assertions of condemn and remove, at commit.
    fn is_unreferenced(&self, s: &State, blob: usize) -> bool {
        !s.held(blob, self.rules.keep(Weakening::TrashDoesNotHold))
            && (s.leased_for(blob) == 0 || self.rules.lack(Weakening::CondemnIgnoresLeases))
    }

    /// `remove`: asserts the entry's and the condemned record's stamps, no edge, no unexpired lease; writes `doomed`.
    pub(super) fn remove(&self, s: &mut State, collector: usize) -> Option<()> {
        let CollectorStep::Collecting { location, age, .. } = s.collectors[collector] else {
            return None;
        };
        let (blob, _) = self.collecting(s, collector, |decision| decision == Decision::Remove)?;
        let unlinked = s.locations[usize::from(location)].bytes == Bytes::Unlinked;
        (unlinked || self.rules.keep(Weakening::UnlinkBeforeRemove)).then_some(())?;
        if self.rules.keep(Weakening::RemoveWithoutRecheck) {
            self.is_unreferenced(s, blob).then_some(())?;
        }
        if s.held(blob, true) || s.leased_for(blob) > 0 {
            s.breach = Breach::CollectedWhileHeld;
        }
        Self::consume_entry(s, collector, blob);
        s.blobs[blob].existence = Existence::Absent;
        s.blobs[blob].location = 0;
        s.blobs[blob].remove_after = 0;
        if self.rules.keep(Weakening::UnlinkBeforeRemove) {
            s.locations[usize::from(location)].doom(self.hold_for_writers().saturating_sub(age));
        }
        s.blob_written(blob);
        Some(())
    }

    /// `unlink` of a condemned blob's bytes while its record still stands (only in that weakening).
    pub(super) fn unlink_condemned(&self, s: &mut State, collector: usize) -> Option<()> {
        let CollectorStep::Collecting { location, .. } = s.collectors[collector] else {
            return None;
        };
        self.collecting(s, collector, |decision| decision == Decision::Remove)?;
        self.rules.lack(Weakening::UnlinkBeforeRemove).then_some(())?;
        s.locations[usize::from(location)].bytes = Bytes::Unlinked;
        Some(())
    }

    /// Reads a claim that has expired.
    pub(super) fn examine_claim(&self, s: &mut State, collector: usize, location: usize) -> Option<()> {
        (s.locations[location].claim == REACHED).then_some(())?;
        s.collectors[collector] = CollectorStep::Abandoning {
            location: location as u8,
            age: 0,
            reclaimed: false,
        };
        Some(())
    }

    /// `abandon`: asserts the claim's stamp, which it read when the claim had expired; deletes the claim and dooms its
    /// location. The hold may count from that read: no write begins after the expiry.
    pub(super) fn abandon(&self, s: &mut State, collector: usize) -> Option<()> {
        let CollectorStep::Abandoning { location, age, .. } = s.collectors[collector] else {
            return None;
        };
        self.collector_commits(s, collector)?;
        let location = usize::from(location);
        s.collectors[collector] = CollectorStep::Idle;
        s.locations[location].claim = ABSENT;
        s.claim_written(location);
        if self.rules.keep(Weakening::ClaimSweptWithoutDoom) {
            s.locations[location].doom(self.hold_for_writers().saturating_sub(age));
        }
        Some(())
    }

    /// Reads a doomed entry that is due.
    pub(super) fn examine_doomed(&self, s: &mut State, collector: usize, location: usize) -> Option<()> {
        (s.locations[location].doomed == REACHED).then_some(())?;
        s.collectors[collector] = CollectorStep::Unlinking {
            location: location as u8,
        };
        Some(())
    }

    /// `unlink`: a file operation; it asserts nothing, because the doomed entry is never taken back.
    pub(super) fn unlink(&self, s: &mut State, collector: usize) -> Option<()> {
        let CollectorStep::Unlinking { location } = s.collectors[collector] else {
            return None;
        };
        s.locations[usize::from(location)].bytes = Bytes::Unlinked;
        s.collectors[collector] = CollectorStep::Clearing { location };
        Some(())
    }

    /// `clear_doomed`: after the unlink.
    pub(super) fn clear_doomed(&self, s: &mut State, collector: usize) -> Option<()> {
        let CollectorStep::Clearing { location } = s.collectors[collector] else {
            return None;
        };
        s.locations[usize::from(location)].doomed = ABSENT;
        s.collectors[collector] = CollectorStep::Idle;
        Some(())
    }
}
