//! How fast.

use std::num::NonZeroU64;
use std::time::Duration;

use registry_core::Runtime;

/// What a blob or manifest costs beside its bytes: about as much as a disk reads while it seeks twice.
pub(super) const SEEK: u64 = 16 << 10;

/// Waits for as long as what was read since the last wait may take. So it is never further ahead than one piece, saves
/// nothing up while it stands still, and needs no clock. What reading itself takes comes on top: the rate is a bound.
pub(super) struct Pace {
    rate: NonZeroU64,
    owed: u64,
}

impl Pace {
    pub(super) fn new(rate: NonZeroU64) -> Self {
        Pace { rate, owed: 0 }
    }

    /// How much to read at once: an eighth of a second's worth, within what a system reads well.
    pub(super) fn piece(&self) -> usize {
        (self.rate.get() / 8).clamp(4 << 10, 1 << 20) as usize
    }

    /// `bytes` were read. Waits if that makes a piece. Gives how long it waited.
    pub(super) async fn charge(&mut self, runtime: &dyn Runtime, bytes: u64) -> Duration {
        self.owed += bytes;
        if self.owed < self.piece() as u64 {
            return Duration::ZERO;
        }
        let wait = Duration::from_secs_f64(self.owed as f64 / self.rate.get() as f64);
        self.owed = 0;
        runtime.sleep(wait).await;
        wait
    }
}
