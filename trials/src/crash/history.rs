//! What happened in a round: every request that was made, in a form that is kept, read again and judged.

use std::fmt;
use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

use super::content::{REPOSITORIES, SLOTS};
use super::linear::{self, Operation, Verdict};
use super::shelf::{Action, Layout, Outcome, State};

/// Shelves of the registry.
pub const SHELVES: usize = REPOSITORIES * SLOTS;

/// What a round began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The trial's seed.
    pub seed: u64,
    /// The round.
    pub round: u64,
    /// What ended it.
    pub ending: String,
    /// When the power was cut, from and to, in nanoseconds since the round began.
    pub cut: Option<(u64, u64)>,
    /// What each slot's manifests name.
    pub layouts: Vec<Layout>,
    /// What was on each shelf.
    pub states: Vec<State>,
}

/// One request, or several that are one to the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which client made it.
    pub thread: u64,
    /// In which way it was asked.
    pub kind: String,
    /// Of which shelf: repository × [`SLOTS`] + slot.
    pub shelf: usize,
    /// What was asked for.
    #[serde(flatten)]
    pub action: Action,
    /// What was answered.
    pub outcome: Outcome,
    /// When it was sent, in nanoseconds since the round began.
    pub invoked: u64,
    /// When its answer had come, or the server had ended.
    pub ended: u64,
}

/// A round, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// What it began with.
    pub opening: Opening,
    /// What happened, in the order in which the requests were sent.
    pub records: Vec<Record>,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which, in plain words.
    pub what: String,
    /// The requests concerned.
    pub records: Vec<Record>,
}

/// What a history was found to be.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// What was violated.
    pub violations: Vec<Violation>,
    /// Shelves whose search was given up.
    pub undecided: u64,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[{:>10.3} .. {:>10.3} ms] client {} on crash/r{} slot {}: {} {:?} -> {:?}",
            self.invoked as f64 / 1e6,
            self.ended as f64 / 1e6,
            self.thread,
            self.shelf / SLOTS,
            self.shelf % SLOTS,
            self.kind,
            self.action,
            self.outcome
        )
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        for record in &self.records {
            writeln!(f, "    {record}")?;
        }
        Ok(())
    }
}

impl History {
    /// Writes it, one JSON value a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, mut to: impl Write) -> std::io::Result<()> {
        serde_json::to_writer(&mut to, &self.opening)?;
        for record in &self.records {
            to.write_all(b"\n")?;
            serde_json::to_writer(&mut to, record)?;
        }
        to.write_all(b"\n")?;
        to.flush()
    }

    /// Reads what [`write`](History::write) wrote.
    ///
    /// # Errors
    /// If it cannot be read, or is something else.
    pub fn read(from: impl BufRead) -> std::io::Result<Self> {
        let mut lines = from.lines();
        let first = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
        let opening: Opening = serde_json::from_str(&first)?;
        if opening.layouts.len() != SLOTS || opening.states.len() != SHELVES {
            return Err(std::io::Error::other(
                "the history is of a universe of another size",
            ));
        }
        let records = lines
            .map(|line| Ok(serde_json::from_str(&line?)?))
            .collect::<std::io::Result<_>>()?;
        Ok(History { opening, records })
    }

    /// Judges it.
    pub fn judge(&self) -> Judgement {
        let mut judgement = Judgement::default();
        for record in &self.records {
            if let Some(what) = wrong_by_itself(record) {
                judgement.violations.push(Violation {
                    what,
                    records: vec![record.clone()],
                });
            }
        }
        for shelf in 0..SHELVES {
            self.judge_shelf(shelf, &mut judgement);
        }
        judgement
    }

    fn judge_shelf(&self, shelf: usize, judgement: &mut Judgement) {
        let layout = &self.opening.layouts[shelf % SLOTS];
        let records: Vec<&Record> = self
            .records
            .iter()
            .filter(|record| record.shelf == shelf && concerns_the_order(record))
            .collect();
        for record in &records {
            if let Outcome::State(state) = &record.outcome {
                for hole in state.holes(layout) {
                    judgement.violations.push(Violation {
                        what: format!("not closed: {hole}"),
                        records: vec![(*record).clone()],
                    });
                }
            }
        }
        let operations: Vec<Operation> = records
            .iter()
            .map(|record| Operation {
                invoked: record.invoked,
                ended: record.ended,
                action: record.action,
                outcome: record.outcome.clone(),
            })
            .collect();
        let initial = &self.opening.states[shelf];
        match linear::explained(layout, initial, &operations) {
            Verdict::Explained => {}
            Verdict::Undecided => judgement.undecided += 1,
            Verdict::Unexplained(left) => judgement.violations.push(Violation {
                what: format!(
                    "no order of these requests explains their answers; it began as {initial:?}, where the manifests \
                     name {layout:?}; the longest attempt left {} unexplained, the first of them: {}",
                    left.len(),
                    left.first().map(|at| records[*at].to_string()).unwrap_or_default()
                ),
                records: records.into_iter().cloned().collect(),
            }),
        }
    }
}

/// Reads without an answer say nothing, and uploads are judged by themselves.
fn concerns_the_order(record: &Record) -> bool {
    match (&record.action, &record.outcome) {
        (Action::ReadUpload { .. }, _) | (_, Outcome::Wrong(_)) => false,
        (action, Outcome::Unknown) => action.writes(),
        _ => true,
    }
}

fn wrong_by_itself(record: &Record) -> Option<String> {
    match (&record.action, &record.outcome) {
        (_, Outcome::Wrong(why)) => Some(why.clone()),
        (
            Action::ReadUpload {
                acknowledged, sent, ..
            },
            Outcome::Offset(at),
        ) => {
            let lost = at < acknowledged;
            let invented = at > sent;
            (lost || invented).then(|| {
                format!(
                    "an upload is at byte {at}, though {acknowledged} were acknowledged and {sent} were sent"
                )
            })
        }
        (Action::ReadUpload { may_be_gone, .. }, Outcome::Absent) => {
            (!may_be_gone).then(|| "an upload that made progress just now is gone".to_owned())
        }
        _ => None,
    }
}
