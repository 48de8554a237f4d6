//! What a trial did and found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::history::Record;
use super::shelf::Outcome;

/// The sums over a trial.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The seed of every choice.
    pub seed: u64,
    /// What was done to the server, such as `SIGKILL` or `power cut on xfs`.
    pub trial: String,
    /// Rounds that came to their end.
    pub rounds: u64,
    /// How the server was ended, and how often.
    pub endings: BTreeMap<String, u64>,
    /// Requests by kind and outcome.
    pub requests: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Writes that were acknowledged.
    pub acknowledged_writes: u64,
    /// Writes whose answer never came.
    pub unknown_writes: u64,
    /// Bytes that were read back, and whose hash was compared.
    pub bytes_hashed: u64,
    /// The longest time from a start to an address, in milliseconds.
    pub slowest_start_ms: f64,
    /// Shelves whose search for an order was given up: neither right nor wrong.
    pub undecided: u64,
    /// Promises that were broken.
    pub violations: u64,
    /// Where each failing round's history is.
    pub failures: Vec<String>,
    /// How long all of it took, in seconds.
    pub seconds: f64,
}

impl Report {
    /// Counts the requests of a round.
    pub fn count(&mut self, records: &[Record]) {
        for record in records {
            let outcome = match &record.outcome {
                Outcome::Done | Outcome::At(_) | Outcome::Offset(_) | Outcome::State(_) => "ok",
                Outcome::Absent => "absent",
                Outcome::Precondition => "precondition failed",
                Outcome::InUse => "in use",
                Outcome::Missing => "child missing",
                Outcome::Mismatch => "digest mismatch",
                Outcome::Busy => "busy",
                Outcome::Unknown => "unknown",
                Outcome::Wrong(_) => "wrong",
            };
            *self
                .requests
                .entry(record.kind.clone())
                .or_default()
                .entry(outcome)
                .or_default() += 1;
            if record.action.writes() {
                self.acknowledged_writes += u64::from(record.outcome == Outcome::Done);
                self.unknown_writes += u64::from(record.outcome == Outcome::Unknown);
            }
        }
    }

    /// Counts an end of the server.
    pub fn ended(&mut self, how: &str) {
        *self.endings.entry(how.to_owned()).or_default() += 1;
    }

    /// Counts a start.
    pub fn started(&mut self, took: Duration) {
        self.slowest_start_ms = self.slowest_start_ms.max(took.as_secs_f64() * 1e3);
    }

    /// Adds what another found in the same trial.
    pub fn add(&mut self, other: Report) {
        self.rounds += other.rounds;
        for (how, times) in other.endings {
            *self.endings.entry(how).or_default() += times;
        }
        for (kind, outcomes) in other.requests {
            let sums = self.requests.entry(kind).or_default();
            for (outcome, times) in outcomes {
                *sums.entry(outcome).or_default() += times;
            }
        }
        self.acknowledged_writes += other.acknowledged_writes;
        self.unknown_writes += other.unknown_writes;
        self.bytes_hashed += other.bytes_hashed;
        self.slowest_start_ms = self.slowest_start_ms.max(other.slowest_start_ms);
        self.undecided += other.undecided;
        self.violations += other.violations;
        self.failures.extend(other.failures);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} rounds in {:.1} s, seed {}",
            self.trial, self.rounds, self.seconds, self.seed
        )?;
        let endings: Vec<String> = self
            .endings
            .iter()
            .map(|(how, times)| format!("{times} {how}"))
            .collect();
        writeln!(f, "  the server was ended: {}", endings.join(", "))?;
        for (kind, outcomes) in &self.requests {
            let outcomes: Vec<String> = outcomes
                .iter()
                .map(|(outcome, times)| format!("{times} {outcome}"))
                .collect();
            writeln!(f, "  {kind:<28} {}", outcomes.join(", "))?;
        }
        writeln!(
            f,
            "  {} acknowledged writes, {} without an answer; {:.1} MiB read back and hashed; slowest start {:.0} ms",
            self.acknowledged_writes,
            self.unknown_writes,
            self.bytes_hashed as f64 / f64::from(1 << 20),
            self.slowest_start_ms
        )?;
        if self.undecided > 0 {
            writeln!(f, "  {} searches for an order were given up", self.undecided)?;
        }
        for failure in &self.failures {
            writeln!(f, "  kept: {failure}")?;
        }
        write!(f, "  {} violations", self.violations)
    }
}
