//! What was recorded of a run.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use registry_core::Timestamp;
use registry_core::store::{Lifetimes, Precondition, Stamp, Txn, Write as Change};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long things last in the run, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the field of `Lifetimes` of the same name")]
pub struct Lasting {
    pub bucket: u64,
    pub grace: u64,
    pub second_delay: u64,
    pub upload_idle: u64,
    pub longest_write: u64,
    pub longest_read: u64,
}

impl From<&Lifetimes> for Lasting {
    fn from(lifetimes: &Lifetimes) -> Self {
        let millis = |duration: Duration| duration.as_millis() as u64;
        Lasting {
            bucket: millis(lifetimes.bucket),
            grace: millis(lifetimes.grace),
            second_delay: millis(lifetimes.second_delay),
            upload_idle: millis(lifetimes.upload_idle),
            longest_write: millis(lifetimes.longest_write),
            longest_read: millis(lifetimes.longest_read),
        }
    }
}

/// One change of one key. Values that are no JSON (contents) are left out: they say nothing about who holds what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrote {
    /// Put a value.
    Put(String, Value),
    /// Removed a key.
    Delete(String),
}

impl Wrote {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Wrote::Put(key, _) | Wrote::Delete(key) => key,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// A transaction was committed.
    Commit {
        /// The transition, by its name in the model; empty if it is none.
        name: String,
        /// What it asserted, for whoever reads the trace.
        asserted: Vec<String>,
        /// What it changed.
        wrote: Vec<Wrote>,
    },
    /// The bytes at a location became durable and complete.
    Sealed(String),
    /// A location was unlinked.
    Unlinked(String),
    /// The fault action took the bytes at a location.
    Lost(String),
    /// A process went away between two of its steps. Changes nothing.
    Crashed,
    /// A commit's outcome was not told to its process. Changes nothing; the commit itself is recorded too.
    Untold(String),
}

/// What happened, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in commit order: the commit's own stamp, or the last one that was seen before it happened.
    pub stamp: u64,
    /// The records' clock then.
    pub now: u64,
    /// What it was.
    pub happened: Happened,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How long things lasted in it.
    pub lasting: Lasting,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl Event {
    /// The commit of `txn`.
    pub(super) fn commit(txn: &Txn, stamp: Stamp, now: Timestamp) -> Event {
        let asserted = txn.preconditions.iter().map(|it| match it {
            Precondition::At(key, stamp) => format!("{key} at {}", stamp.0),
            Precondition::Absent(key) => format!("no {key}"),
            Precondition::Damaged(key) => format!("{key} damaged"),
            Precondition::Empty(prefix) => format!("nothing under {prefix}"),
            Precondition::Before(time) => format!("before {}", time.0),
            Precondition::NotBefore(time) => format!("not before {}", time.0),
        });
        let wrote = txn.writes.iter().filter_map(|it| match it {
            Change::Put(key, value) => {
                let value = serde_json::from_slice(value)
                    .ok()
                    .filter(|_| !key.starts_with("content/"));
                Some(Wrote::Put(key.clone(), value.unwrap_or(Value::Null)))
            }
            Change::Delete(key) => Some(Wrote::Delete(key.clone())),
            Change::Append(..) => None,
        });
        Event {
            stamp: stamp.0,
            now: now.0,
            happened: Happened::Commit {
                name: txn.name.to_owned(),
                asserted: asserted.collect(),
                wrote: wrote.collect(),
            },
        }
    }

    /// The transition's name, for totals.
    pub fn name(&self) -> &str {
        match &self.happened {
            Happened::Commit { name, .. } => name,
            Happened::Sealed(_) => "write",
            Happened::Unlinked(_) => "unlink",
            Happened::Lost(_) => "lose bytes",
            Happened::Crashed => "crash",
            Happened::Untold(_) => "outcome unknown",
        }
    }
}

impl Trace {
    /// What was recorded, put in order.
    pub fn new(lasting: Lasting, mut events: Vec<Event>) -> Self {
        // A stable sort: what else happened after a commit was seen follows it, in the order in which it was noted.
        events.sort_by_key(|event| (event.stamp, !matches!(event.happened, Happened::Commit { .. })));
        Trace { lasting, events }
    }

    /// Writes it as JSON lines: first how long things last, then one line for each event.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save(&self, to: impl Write) -> io::Result<()> {
        let mut to = io::BufWriter::new(to);
        serde_json::to_writer(&mut to, &self.lasting)?;
        for event in &self.events {
            to.write_all(b"\n")?;
            serde_json::to_writer(&mut to, event)?;
        }
        to.write_all(b"\n")?;
        to.flush()
    }

    /// Reads what was saved.
    ///
    /// # Errors
    /// Those of reading, and if it is no trace.
    pub fn load(from: impl BufRead) -> io::Result<Self> {
        let mut lines = from.lines();
        let first = lines
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the trace is empty"))??;
        let lasting = serde_json::from_str(&first)?;
        let events = lines
            .map(|line| Ok(serde_json::from_str(&line?)?))
            .collect::<io::Result<_>>()?;
        Ok(Trace { lasting, events })
    }
}
