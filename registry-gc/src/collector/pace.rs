//! The pace: at most so many steps in a second, and more for a run that cannot keep up.

use std::time::Duration;

use registry_core::{Runtime, Timestamp};

const SECOND: u64 = 1_000_000;

/// What is due within this many microseconds is done at once, as timers are no finer.
const GRAIN: u64 = 10_000;

/// Most steps that are taken together.
const MOST: u64 = 1000;

/// How many times the rate a run comes to that goes on and on.
pub(super) const FASTEST: u64 = 4;

/// Gives each step a moment, a second divided by the rate after the one before, and waits for it. Whoever was idle catches up
/// on nothing.
///
/// A run that has more to do than it gets done within an interval falls behind, as others become due meanwhile. So with each
/// interval that it lasts the rate is added once more, up to [`FASTEST`] times.
pub(super) struct Pacer {
    /// Microseconds from one step to the next, to begin with.
    gap: u64,
    /// Milliseconds.
    interval: u64,
    began: Option<Timestamp>,
    /// How many times the rate it is now.
    times: u64,
    /// When the next step may begin, in microseconds of the runtime's clock.
    next: u64,
}

impl Pacer {
    pub(super) fn new(rate: Option<u32>, interval: Duration) -> Self {
        Pacer {
            gap: rate.map_or(0, |rate| SECOND / u64::from(rate.max(1))),
            interval: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1),
            began: None,
            times: 1,
            next: 0,
        }
    }

    /// Waits until the next step may be taken.
    pub(super) async fn wait(&mut self, runtime: &dyn Runtime) {
        if self.gap == 0 {
            return;
        }
        let clock = runtime.now();
        let lasted = clock.since(*self.began.get_or_insert(clock)).as_millis() as u64;
        self.times = (1 + lasted / self.interval).min(FASTEST);
        let now = clock.0 * 1000;
        // Idle, or the clock stepped back.
        if self.next < now || self.next > now + self.gap * MOST + SECOND {
            self.next = now;
        }
        let ahead = self.next - now;
        self.next += self.gap / self.times;
        if ahead >= GRAIN {
            runtime.sleep(Duration::from_micros(ahead)).await;
        }
    }

    /// Counts steps that were taken together.
    pub(super) fn charge(&mut self, steps: u32) {
        self.next += self.gap / self.times * u64::from(steps);
    }
}
