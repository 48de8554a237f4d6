//! The pace: at most so many steps in a second.

use std::time::Duration;

use registry_core::Runtime;

const SECOND: u64 = 1_000_000;

/// What is due within this many microseconds is done at once, as timers are no finer.
const GRAIN: u64 = 10_000;

/// Most steps that are taken together.
const MOST: u64 = 1000;

/// Gives each step a moment, a second divided by the rate after the one before, and waits for it. Whoever was idle catches up
/// on nothing.
pub(super) struct Pacer {
    gap: u64,
    /// When the next step may begin, in microseconds of the runtime's clock.
    next: u64,
}

impl Pacer {
    pub(super) fn new(rate: Option<u32>) -> Self {
        let gap = rate.map_or(0, |rate| SECOND / u64::from(rate.max(1)));
        Pacer { gap, next: 0 }
    }

    /// Waits until the next step may be taken.
    pub(super) async fn wait(&mut self, runtime: &dyn Runtime) {
        if self.gap == 0 {
            return;
        }
        let now = runtime.now().0 * 1000;
        // Idle, or the clock stepped back.
        if self.next < now || self.next > now + self.gap * MOST + SECOND {
            self.next = now;
        }
        let ahead = self.next - now;
        self.next += self.gap;
        if ahead >= GRAIN {
            runtime.sleep(Duration::from_micros(ahead)).await;
        }
    }

    /// Counts steps that were taken together.
    pub(super) fn charge(&mut self, steps: u32) {
        self.next += self.gap * u64::from(steps);
    }
}
