//! The life of an upload: claim, write, resume, publish.

use super::BlobContract;
use super::rules::Weakening;
use super::state::*;

/// What a publish does to the record, decided by what was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// There was no record.
    Fresh,
    /// Live, with its bytes: the record stays, the new location loses.
    Keep,
    /// Condemned, with its bytes: live again, the new location loses.
    Revive,
    /// Bytes missing or suspect: the new location takes over, the old one loses.
    Swap,
}

impl BlobContract {
    /// `claim`: durable before the first byte of its location.
    pub(super) fn claim(&self, s: &mut State, blob: usize) -> Option<()> {
        let slot = s.free_location(self.bounds.locations)?;
        s.locations[slot] = Location {
            used: true,
            blob: blob as u8,
            ..self.fresh_claim()
        };
        Some(())
    }

    fn fresh_claim(&self) -> Location {
        if self.bounds.uploads {
            Location {
                claim: REACHED + self.bounds.timing.claim,
                session: self.bounds.timing.claim,
                ..Location::default()
            }
        } else {
            Location {
                claim: NEVER,
                bytes: Bytes::Good,
                ..Location::default()
            }
        }
    }

    /// A session begins a write while it takes its claim for unexpired; the write lands within the longest write or
    /// fails.
    pub(super) fn begin_write(&self, s: &mut State, location: usize) -> Option<()> {
        let it = &mut s.locations[location];
        (it.session > 0 && !it.bytes.on_disk() && it.write == 0).then_some(())?;
        it.write = self.bounds.timing.longest_write;
        Some(())
    }

    /// The write lands: the bytes are durable, wherever the claim has gone meanwhile.
    pub(super) fn land_write(&self, s: &mut State, location: usize) -> Option<()> {
        let it = &mut s.locations[location];
        (it.write != 0).then_some(())?;
        it.write = 0;
        it.bytes = Bytes::Good;
        Some(())
    }

    /// The write of a session that was resumed by another lands in the same location (only without epochs).
    pub(super) fn land_stale_write(&self, s: &mut State, location: usize) -> Option<()> {
        let it = &mut s.locations[location];
        (it.stale_write != 0).then_some(())?;
        it.stale_write = 0;
        it.bytes = if it.bytes == Bytes::Good {
            Bytes::Torn
        } else {
            it.bytes
        };
        Some(())
    }

    /// `touch`: renews a claim, asserting its stamp.
    pub(super) fn touch(&self, s: &mut State, location: usize) -> Option<()> {
        s.locations[location].is_claimed().then_some(())?;
        s.locations[location].claim = REACHED + self.bounds.timing.claim;
        s.locations[location].session = self.bounds.timing.claim;
        s.claim_written(location);
        Some(())
    }

    /// How long the location of a deleted claim is held: its session may begin a write until the claim expires.
    fn hold_for_session(&self, location: &Location) -> u8 {
        let counted_from_expiry = self.rules.keep(Weakening::DoomedHeldFromCommit);
        self.hold_for_writers() + if counted_from_expiry { location.session } else { 0 }
    }

    /// `touch` by another session: a fresh epoch, so a location of its own; the one it replaces is doomed.
    pub(super) fn resume(&self, s: &mut State, location: usize) -> Option<()> {
        let it = &mut s.locations[location];
        it.is_claimed().then_some(())?;
        if self.rules.lack(Weakening::ResumeWithoutEpoch) {
            it.stale_write = it.stale_write.max(it.write);
            it.write = 0;
            it.bytes = Bytes::Unwritten;
            it.claim = REACHED + self.bounds.timing.claim;
            it.session = self.bounds.timing.claim;
        } else {
            let blob = it.blob;
            it.claim = ABSENT;
            it.doom(self.hold_for_session(it));
            self.claim(s, usize::from(blob))?;
        }
        s.claim_written(location);
        Some(())
    }

    /// `cancel`: the client gives the upload up; asserts the claim's stamp, deletes it, dooms its location.
    pub(super) fn cancel(&self, s: &mut State, location: usize) -> Option<()> {
        let it = &mut s.locations[location];
        it.is_claimed().then_some(())?;
        it.claim = ABSENT;
        it.doom(self.hold_for_session(it));
        s.claim_written(location);
        Some(())
    }

    /// The uploader has its bytes durable, reads the blob's record, and looks whether the record's bytes are there.
    pub(super) fn read_for_publish(
        &self,
        s: &mut State,
        client: usize,
        repository: usize,
        location: usize,
    ) -> Option<()> {
        let upload = &s.locations[location];
        let durable = upload.bytes == Bytes::Good || self.rules.lack(Weakening::PublishBeforeDurable);
        (s.repositories[repository].naming == Naming::Live && upload.is_claimed() && durable).then_some(())?;
        let record = &s.blobs[usize::from(upload.blob)];
        s.clients[client] = ClientStep::Publishing {
            repository: repository as u8,
            location: location as u8,
            seen: record.existence,
            intact: self.looks_intact(s, record),
            age: 0,
            outdated: false,
            reclaimed: false,
        };
        Some(())
    }

    /// The uploader reads the clock and the record later than it looked whether the record's bytes are there: the record
    /// is unchanged, and the bucket another one.
    pub(super) fn read_clock(&self, s: &mut State, client: usize) -> Option<()> {
        match &mut s.clients[client] {
            ClientStep::Publishing { age, .. } if *age > 0 => *age = 0,
            _ => return None,
        }
        Some(())
    }

    fn looks_intact(&self, s: &State, record: &Blob) -> bool {
        record.exists()
            && record.existence != Existence::Suspect
            && (s.locations[usize::from(record.location)].bytes.on_disk()
                || (self.rules.lack(Weakening::KeepWithoutLooking) && record.existence == Existence::Live))
    }

    pub(super) fn outcome(seen: Existence, intact: bool) -> Outcome {
        match (seen, intact) {
            (Existence::Absent, _) => Outcome::Fresh,
            (Existence::Live, true) => Outcome::Keep,
            (Existence::Condemned, true) => Outcome::Revive,
            _ => Outcome::Swap,
        }
    }

    /// What a publish that ran now without a pause would do.
    pub(super) fn outcome_now(&self, s: &State, blob: usize) -> Outcome {
        let record = &s.blobs[blob];
        Self::outcome(record.existence, self.looks_intact(s, record))
    }

    /// `publish`: asserts name -> id, the claim's stamp, the blob's stamp or absence as read, and `now() < ` the end of
    /// the bucket read; consumes the claim, writes the record, a lease and its queue entry, and dooms whichever
    /// location loses.
    pub(super) fn publish(&self, s: &mut State, client: usize, told: bool) -> Option<()> {
        let ClientStep::Publishing {
            repository,
            location,
            seen,
            intact,
            age,
            ..
        } = s.clients[client]
        else {
            return None;
        };
        self.client_commits(s, client)?;
        let (repository, location) = (usize::from(repository), usize::from(location));
        let blob = usize::from(s.locations[location].blob);
        s.clients[client] = ClientStep::Idle;
        s.locations[location].claim = ABSENT;
        s.locations[location].session = 0; // the session that publishes has nothing more to write
        s.claim_written(location);
        let outcome = Self::outcome(seen, intact);
        self.cover_publish(outcome);
        let old = usize::from(s.blobs[blob].location);
        match outcome {
            Outcome::Fresh => {}
            Outcome::Keep => s.locations[location].doom(self.hold_for_writers()),
            Outcome::Revive if self.rules.lack(Weakening::ReviveForgetsLoser) => {}
            Outcome::Revive => s.locations[location].doom(self.hold_for_writers()),
            Outcome::Swap => s.locations[old].doom(self.hold_for_readers().saturating_sub(age)),
        }
        if matches!(outcome, Outcome::Fresh | Outcome::Swap) {
            s.blobs[blob].location = location as u8;
        }
        if outcome != Outcome::Keep {
            s.blobs[blob].existence = Existence::Live;
            s.blobs[blob].remove_after = 0;
            s.blob_written(blob);
        }
        self.insert_lease(s, repository, blob, age)?;
        s.repositories[repository].entitled[blob] = self.bounds.deferred;
        if told {
            s.repositories[repository].promises[blob] = self.bounds.timing.lease;
        } else if self.rules.lack(Weakening::UnknownOutcomeUnlinks) {
            s.clients[client] = ClientStep::Despairing {
                location: location as u8,
            };
        }
        Some(())
    }

    /// `unlink` by an uploader that took an unknown outcome for a failure (only in that weakening).
    pub(super) fn despair(&self, s: &mut State, client: usize) -> Option<()> {
        let ClientStep::Despairing { location } = s.clients[client] else {
            return None;
        };
        s.clients[client] = ClientStep::Idle;
        s.locations[usize::from(location)].bytes = Bytes::Unlinked;
        Some(())
    }
}
