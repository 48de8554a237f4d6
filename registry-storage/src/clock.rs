//! What a store asks for the time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use registry_core::Timestamp;

/// Tells the time. It may step back; the stores that use it do not let that show.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The system's clock.
pub fn system() -> Clock {
    Arc::new(Timestamp::system)
}

/// A clock that stands still until it is set: for tests that own time.
///
/// ```
/// use registry_core::Timestamp;
/// use registry_storage::{clock::ManualClock, memory::MemoryKv};
/// let clock = ManualClock::at(Timestamp(1_000));
/// let kv = MemoryKv::with_clock(clock.clock());
/// clock.set(Timestamp(2_000));
/// # let _ = kv;
/// ```
#[derive(Clone, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        ManualClock(Arc::new(AtomicU64::new(now.0)))
    }

    /// Where the clock stands.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    /// Puts the clock to `now`, ahead or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Puts the clock ahead.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(by, Ordering::SeqCst);
    }

    /// As a store takes it.
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || this.now())
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({})", self.now())
    }
}
