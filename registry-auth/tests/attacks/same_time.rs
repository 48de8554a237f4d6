//! Whether two requests take the same time.
//!
//! They are asked in pairs, one right after the other, in an order that a fair coin decides for each pair: whatever else the
//! machine does meanwhile befalls either as often as the other. Of each pair is noted whether A took longer than B by more than
//! the tolerance, and whether B took longer than A by more than that. The statistic is the larger of the two shares.
//!
//! If the two take the same time up to the tolerance (the median of the difference of a pair is within it), each
//! share is expected to be at most one half, whatever the distribution of times looks like; and by Hoeffding's inequality, in n
//! independent pairs it exceeds one half by t with a probability of at most exp(-2nt²). So the stated bounds hold without
//! any assumption about noise, and nothing is tried again:
//!
//! - called different by mistake: at most 2·exp(-2·1000·0.1²) = 4·10⁻⁹ of all runs, far fewer if there is no difference at all;
//! - a difference that exceeds the tolerance in three of four pairs is missed in at most exp(-2·1000·0.15²) = 3·10⁻²⁰ of them.

use std::fmt;
use std::time::{Duration, Instant};

/// Pairs.
const PAIRS: usize = 1000;

/// Pairs that only warm up what is remembered.
const WARMING: usize = 50;

/// By how much a share may exceed one half.
const MARGIN: f64 = 0.10;

/// The tolerance, as a part of the median time of B. Below it is what a record in memory costs that is read and not only missed,
/// some microseconds without optimisation. Above it is what is looked for: a slow hash, a list, a blob that is looked for in other
/// repositories.
const TOLERANCE: f64 = 0.15;

/// What came of it.
pub(crate) struct Compared {
    medians: [Duration; 2],
    /// How often A took longer than B by more than the tolerance, and B longer than A.
    shares: [f64; 2],
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([a, b], [a_longer, b_longer]) = (self.medians, self.shares);
        write!(f, "{a:?} and {b:?}; longer: {a_longer:.3} and {b_longer:.3}")
    }
}

impl Compared {
    /// Whether whoever asks could tell the two apart.
    pub(crate) fn differ(&self) -> bool {
        self.shares.iter().any(|share| *share > 0.5 + MARGIN)
    }
}

/// Numbers that look random: splitmix64.
struct Coin(u64);

impl Coin {
    fn falls_on_its_head(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}

fn timed(ask: &mut dyn FnMut(usize), number: usize) -> f64 {
    let began = Instant::now();
    ask(number);
    began.elapsed().as_secs_f64()
}

/// Compares two requests, each of which is told how often it was asked before.
pub(crate) fn compare(a: &mut dyn FnMut(usize), b: &mut dyn FnMut(usize)) -> Compared {
    let mut coin = Coin(0x7061_6972);
    let mut pairs = Vec::with_capacity(PAIRS);
    for number in 0..WARMING + PAIRS {
        let pair = if coin.falls_on_its_head() {
            let first = timed(a, number);
            (first, timed(b, number))
        } else {
            let first = timed(b, number);
            (timed(a, number), first)
        };
        if number >= WARMING {
            pairs.push(pair);
        }
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut times: Vec<f64> = pairs.iter().map(of).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let medians = [median(|pair| pair.0), median(|pair| pair.1)];
    let tolerance = medians[1] * TOLERANCE;
    let share = |longer: &dyn Fn(&(f64, f64)) -> bool| {
        pairs.iter().filter(|pair| longer(pair)).count() as f64 / PAIRS as f64
    };
    Compared {
        medians: medians.map(Duration::from_secs_f64),
        shares: [
            share(&|(a, b)| a - b > tolerance),
            share(&|(a, b)| b - a > tolerance),
        ],
    }
}

/// Asserts that two requests take the same time.
#[track_caller]
pub(crate) fn assert_same_time(what: &str, a: &mut dyn FnMut(usize), b: &mut dyn FnMut(usize)) {
    let compared = compare(a, b);
    println!("{what}: {compared}");
    assert!(!compared.differ(), "{what} can be told apart: {compared}");
}

/// Asserts that two requests do not, where they are made to leak: so that the comparison is known to find it.
#[track_caller]
pub(crate) fn assert_told_apart(what: &str, a: &mut dyn FnMut(usize), b: &mut dyn FnMut(usize)) {
    let compared = compare(a, b);
    println!("{what}, made to leak: {compared}");
    assert!(compared.differ(), "{what}: the leak is not found: {compared}");
}

#[test]
fn what_is_the_same_is_found_to_be_and_what_takes_longer_is_found_too() {
    let work = |rounds: u32| {
        let mut sum = 0u32;
        for round in 0..rounds {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(round));
        }
        std::hint::black_box(sum);
    };
    assert_same_time("the same work", &mut |_| work(2000), &mut |_| work(2000));
    // Less than the tolerance.
    assert_same_time("nearly the same work", &mut |_| work(2040), &mut |_| work(2000));
    for (a, b) in [(3000, 2000), (2000, 3000)] {
        assert_told_apart("more work", &mut |_| work(a), &mut |_| work(b));
    }
}
