//! Many connections at once, and how long each of their turns took.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::Target;
use super::connection::Connection;
use super::meter::{Meter, Spent};

/// When a loop ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this long.
    Elapsed(Duration),
    /// After so many turns.
    Turns(u64),
}

/// What came of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Turns: what is measured as one, such as a pull of an image.
    pub turns: u64,
    /// Requests of all turns.
    pub requests: u64,
    /// Bytes of bodies, either way.
    pub bytes: u64,
    /// On the clock, in seconds.
    pub wall: f64,
    /// Of the server's processors, in seconds.
    pub cpu: f64,
    /// The most anonymous memory that the server had, in MiB.
    pub anonymous_mib: f64,
    /// Turns in a second that were asked for, if the plan said.
    pub offered: Option<f64>,
    /// Latencies of turns in milliseconds: half were no longer than this.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// 99 in a hundred.
    pub p99: f64,
    /// 999 in a thousand.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Measured {
    /// Requests in a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.wall
    }

    /// Megabytes (10^6) in a second.
    pub fn throughput(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.wall
    }

    /// Seconds of the server's processors for a GiB.
    pub fn cpu_per_gib(&self) -> f64 {
        self.cpu / (self.bytes as f64 / (1u64 << 30) as f64)
    }

    /// Seconds of the server's processors for a thousand requests.
    pub fn cpu_per_thousand(&self) -> f64 {
        self.cpu / (self.requests as f64 / 1000.0)
    }
}

/// Latencies are told to three digits, up to ten minutes.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(600_000_000, 3).expect("the bounds are right")
}

/// What all connections of one load share.
struct Counts {
    latencies: RefCell<Histogram<u64>>,
    bytes: Cell<u64>,
    requests: Cell<u64>,
}

impl Counts {
    fn new() -> Self {
        Counts {
            latencies: RefCell::new(histogram()),
            bytes: Cell::new(0),
            requests: Cell::new(0),
        }
    }

    fn turn(&self, since: Instant, bytes: u64) {
        let micros = since.elapsed().as_micros() as u64;
        self.latencies.borrow_mut().saturating_record(micros.max(1));
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn measured(self, wall: Duration, spent: Spent, offered: Option<f64>) -> Measured {
        let latencies = self.latencies.into_inner();
        let at = |share| latencies.value_at_quantile(share) as f64 / 1000.0;
        Measured {
            turns: latencies.len(),
            requests: self.requests.get(),
            bytes: self.bytes.get(),
            wall: wall.as_secs_f64(),
            cpu: spent.cpu,
            anonymous_mib: spent.anonymous as f64 / f64::from(1 << 20),
            offered,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: latencies.max() as f64 / 1000.0,
        }
    }
}

/// Each connection takes turn after turn without a pause. A turn is told its number, and tells how many bytes it moved.
///
/// # Errors
/// If a turn fails.
pub async fn closed(
    target: &Target,
    connections: usize,
    until: Until,
    turn: impl AsyncFn(&mut Connection, u64) -> io::Result<u64>,
) -> io::Result<Measured> {
    let began = Instant::now();
    let may_go_on = |number: u64| match until {
        Until::Elapsed(time) => began.elapsed() < time,
        Until::Turns(turns) => number < turns,
    };
    let at_once = |number| may_go_on(number).then(Instant::now);
    drive(target, connections, None, at_once, turn).await
}

/// Turns begin at the moments of a plan, `rate` in a second and as far from each other, on whichever connection is free. Latencies count
/// from the moment at which a turn was to begin: if the server stands still, all that were to begin meanwhile have
/// waited.
///
/// # Errors
/// If a turn fails.
pub async fn open(
    target: &Target,
    connections: usize,
    rate: f64,
    lasting: Duration,
    turn: impl AsyncFn(&mut Connection, u64) -> io::Result<u64>,
) -> io::Result<Measured> {
    let total = (rate * lasting.as_secs_f64()) as u64;
    let began = Instant::now();
    let planned = |number| (number < total).then(|| began + Duration::from_secs_f64(number as f64 / rate));
    drive(target, connections, Some(rate), planned, turn).await
}

/// Takes turns on whichever connection is free, each from the moment that it `begins`, until one does not. Latencies count from
/// then.
async fn drive(
    target: &Target,
    connections: usize,
    offered: Option<f64>,
    begins: impl Fn(u64) -> Option<Instant>,
    turn: impl AsyncFn(&mut Connection, u64) -> io::Result<u64>,
) -> io::Result<Measured> {
    let (counts, next) = (Counts::new(), Cell::new(0));
    let meter = target.process.map(Meter::of).transpose()?;
    let began = Instant::now();
    let one = async || {
        let mut connection = Connection::to(target);
        while let Some(since) = begins(next.get()) {
            let number = next.replace(next.get() + 1);
            // A timer is for what is to come: for what is due it would take until its next tick.
            if since > Instant::now() {
                tokio::time::sleep_until(since.into()).await;
            }
            let bytes = turn(&mut connection, number).await?;
            counts.turn(since, bytes);
        }
        counts.requests.set(counts.requests.get() + connection.requests);
        io::Result::Ok(())
    };
    let mut all: FuturesUnordered<_> = (0..connections).map(|_| one()).collect();
    while let Some(ended) = all.next().await {
        ended?;
    }
    drop(all);
    let wall = began.elapsed();
    let spent = meter.map(Meter::spent).unwrap_or_default();
    Ok(counts.measured(wall, spent, offered))
}
