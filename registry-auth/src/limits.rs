//! How often somebody may ask for a token or try a password.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, Quota, RateLimiter};
use registry_core::{Error, ErrorKind, Result};

/// So many at once, and so many each second after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many each second in the long run.
    pub per_second: NonZeroU32,
    /// How many at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate.
    ///
    /// # Panics
    /// If either is zero: nothing could ever be done.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Rate {
            per_second: NonZeroU32::new(per_second).expect("a rate is not zero"),
            burst: NonZeroU32::new(burst).expect("a burst is not zero"),
        }
    }

    fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

/// What [`LoginLimits`] allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests to the token endpoint from one address. A cluster behind one address asks for many at once.
    pub requests: Rate,
    /// Passwords tried from one address. One that was right a moment ago does not count.
    pub attempts_from: Rate,
    /// Passwords tried for one name, from wherever.
    pub attempts_for: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Rates {
            requests: Rate::new(100, 1000),
            attempts_from: Rate::new(20, 100),
            attempts_for: Rate::new(2, 60),
        }
    }
}

/// Addresses, and names, that are counted one by one; beyond these all others share what a hundred of them may.
const COUNTED_MAX: usize = 65_536;

/// What those that are not counted one by one may, in multiples of one.
const SHARED: u32 = 100;

/// Between two looks for counters that are full again and may be forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// Limits on asking for tokens and on trying passwords, by address and by name.
///
/// An IPv6 client is known by its first 64 bits, as it can choose the others. Memory is bounded however many come.
pub struct LoginLimits<C: Clock = DefaultClock> {
    requests: Counters<C>,
    attempts_from: Counters<C>,
    attempts_for: Counters<C>,
    names: RandomState,
}

impl LoginLimits {
    /// These limits, by the system's clock.
    pub fn new(rates: &Rates) -> Self {
        LoginLimits::with_clock(rates, DefaultClock::default())
    }
}

impl<C: Clock + Clone> LoginLimits<C> {
    /// These limits, by another clock.
    pub fn with_clock(rates: &Rates, clock: C) -> Self {
        LoginLimits {
            requests: Counters::new(rates.requests, clock.clone()),
            attempts_from: Counters::new(rates.attempts_from, clock.clone()),
            attempts_for: Counters::new(rates.attempts_for, clock),
            names: RandomState::new(),
        }
    }

    /// Counts a request to the token endpoint. Who has no address is not limited by it.
    ///
    /// # Errors
    /// [`TooManyRequests`](ErrorKind::TooManyRequests); its detail says after how many seconds to come back.
    pub fn request(&self, from: Option<IpAddr>) -> Result<()> {
        from.map_or(Ok(()), |from| self.requests.count(self.network(from)))
    }

    /// Counts an attempt to log in.
    ///
    /// # Errors
    /// As [`request`](LoginLimits::request).
    pub fn attempt(&self, from: Option<IpAddr>, name: &str) -> Result<()> {
        if let Some(from) = from {
            self.attempts_from.count(self.network(from))?;
        }
        self.attempts_for.count(self.names.hash_one(name))
    }

    /// The part of an address that a client cannot choose, hashed.
    fn network(&self, address: IpAddr) -> u64 {
        let network = match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        };
        self.names.hash_one(network)
    }
}

impl<C: Clock> fmt::Debug for LoginLimits<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginLimits(..)")
    }
}

type Keyed<C> = RateLimiter<u64, HashMapStateStore<u64>, C, NoOpMiddleware<<C as Clock>::Instant>>;
type Direct<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A counter for each key.
struct Counters<C: Clock> {
    each: Keyed<C>,
    /// For those that have no counter of their own.
    others: Direct<C>,
    clock: C,
    began: C::Instant,
    /// Nanoseconds from the beginning to the last sweep.
    swept: AtomicU64,
}

impl<C: Clock + Clone> Counters<C> {
    fn new(rate: Rate, clock: C) -> Self {
        let shared = Rate {
            per_second: rate
                .per_second
                .saturating_mul(NonZeroU32::new(SHARED).expect("not zero")),
            burst: rate
                .burst
                .saturating_mul(NonZeroU32::new(SHARED).expect("not zero")),
        };
        Counters {
            each: RateLimiter::new(rate.quota(), HashMapStateStore::default(), clock.clone()),
            others: RateLimiter::direct_with_clock(shared.quota(), clock.clone()),
            began: clock.now(),
            clock,
            swept: AtomicU64::new(0),
        }
    }

    fn count(&self, key: u64) -> Result<()> {
        if self.each.len() >= COUNTED_MAX {
            self.sweep();
            if self.each.len() >= COUNTED_MAX {
                return self.others.check().map_err(|until| self.refusal(&until));
            }
        }
        self.each.check_key(&key).map_err(|until| self.refusal(&until))
    }

    /// Forgets counters that are as good as new.
    fn sweep(&self) {
        let now = self.clock.now().duration_since(self.began).as_u64();
        let last = self.swept.load(Ordering::Relaxed);
        let due = now.saturating_sub(last) >= SWEEP.as_nanos() as u64 || last == 0;
        let mine = due
            && self
                .swept
                .compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            self.each.retain_recent();
        }
    }

    fn refusal(&self, until: &NotUntil<C::Instant>) -> Error {
        let wait = until.wait_time_from(self.clock.now());
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Error::new(
            ErrorKind::TooManyRequests,
            "too many attempts; wait and try again",
        )
        .with_detail(serde_json::json!({ "retryAfter": seconds.max(1) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn limits(clock: &FakeRelativeClock) -> LoginLimits<FakeRelativeClock> {
        let rates = Rates {
            requests: Rate::new(1, 3),
            attempts_from: Rate::new(1, 4),
            attempts_for: Rate::new(1, 2),
        };
        LoginLimits::with_clock(&rates, clock.clone())
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn who_asks_too_often_is_told_when_to_come_back_and_may_then() {
        let clock = FakeRelativeClock::default();
        let limits = limits(&clock);
        for _ in 0..3 {
            limits.request(ip("192.0.2.1")).unwrap();
        }
        let refused = limits.request(ip("192.0.2.1")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TooManyRequests);
        assert_eq!(refused.detail().unwrap()["retryAfter"], 1);
        limits.request(ip("192.0.2.2")).unwrap();
        limits.request(None).unwrap();
        clock.advance(Duration::from_secs(1));
        limits.request(ip("192.0.2.1")).unwrap();
        assert!(limits.request(ip("192.0.2.1")).is_err());
    }

    #[test]
    fn an_ipv6_client_is_its_first_64_bits_and_a_mapped_ipv4_one_itself() {
        let limits = limits(&FakeRelativeClock::default());
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3:4"] {
            limits.request(ip(host)).unwrap();
        }
        assert!(limits.request(ip("2001:db8::ffff")).is_err());
        limits.request(ip("2001:db8:0:1::1")).unwrap();
        for host in ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"] {
            limits.request(ip(host)).unwrap();
        }
        assert!(limits.request(ip("::ffff:192.0.2.1")).is_err());
        limits.request(ip("::ffff:192.0.2.2")).unwrap();
    }

    #[test]
    fn a_name_is_guarded_against_many_addresses_and_an_address_against_many_names() {
        let limits = limits(&FakeRelativeClock::default());
        limits.attempt(ip("192.0.2.1"), "alice").unwrap();
        limits.attempt(ip("192.0.2.2"), "alice").unwrap();
        assert!(limits.attempt(ip("192.0.2.3"), "alice").is_err());
        for name in ["a", "b", "c", "d"] {
            limits.attempt(ip("192.0.2.9"), name).unwrap();
        }
        assert!(limits.attempt(ip("192.0.2.9"), "e").is_err());
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let clock = FakeRelativeClock::default();
        let limits = limits(&clock);
        let address = |number: u32| Some(IpAddr::from(number.to_be_bytes()));
        let mut refused = 0;
        for number in 0..COUNTED_MAX as u32 + 1000 {
            refused += u32::from(limits.request(address(number)).is_err());
        }
        assert!(limits.requests.each.len() <= COUNTED_MAX);
        // The hundredfold burst of one, and then no more.
        assert_eq!(refused, 1000 - 3 * SHARED);
        clock.advance(Duration::from_secs(10));
        limits.request(address(u32::MAX)).unwrap();
        assert!(limits.requests.each.len() <= 1);
    }
}
