//! When the next pass is due, and when a node that says nothing is dead, whatever the records' clock does.
//!
//! That clock never goes back: after the system's was ahead and was set right, it stands still until the true time has
//! caught up with it, for a year perhaps. So what the scrubber slept between two looks at a cursor that nobody has written
//! meanwhile counts too.

use std::sync::PoisonError;
use std::time::Duration;

use registry_core::Timestamp;
use registry_core::store::{ScrubCursor, Stamp};

use super::{HOLD, Scrubber};

/// From how much on the clock is taken to stand still, and not only to be corrected.
const LOST: Duration = Duration::from_secs(60);

/// The cursor as it was found.
#[derive(Clone, Copy)]
pub(super) struct Look {
    stamp: Stamp,
    at: Timestamp,
    slept: Duration,
}

impl Scrubber {
    /// The sleep between two looks is over.
    pub(super) fn has_slept(&self, time: Duration) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = &mut *looked {
            look.slept += time;
        }
    }

    /// The first look at this write of the cursor.
    pub(super) fn look(&self, stamp: Stamp, now: Timestamp) -> Look {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Look {
            stamp,
            at: now,
            slept: Duration::ZERO,
        };
        match *looked {
            Some(look) if look.stamp == stamp => look,
            _ => *looked.insert(first),
        }
    }

    /// When the last pass began, if the clock had gone on since as it should have. If that is not what the cursor says,
    /// it is to be saved: so it counts whoever looks next, and after a restart.
    pub(super) fn began(&self, cursor: &ScrubCursor, stamp: Stamp, now: Timestamp) -> Timestamp {
        let look = self.look(stamp, now);
        let lost = look.slept.saturating_sub(now.since(look.at));
        let began = cursor.began.min(now);
        if lost < LOST { began } else { began - lost }
    }

    /// How much longer a pass is another node's.
    pub(super) fn held_for(&self, cursor: &ScrubCursor, stamp: Stamp, now: Timestamp) -> Duration {
        if cursor.holder == self.me {
            return Duration::ZERO;
        }
        let patience = HOLD.saturating_sub(self.look(stamp, now).slept);
        cursor.held_until.since(now).min(patience)
    }
}
