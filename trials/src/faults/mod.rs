//! Disks that fail under a running `berth`: calls that answer errors, disks that fill, bytes that rot, files that may
//! not grow.
//!
//! Each scenario starts a server on a directory of its own, lets it promise something, makes the fault, and then asks:
//! is every refusal a proper one, do others go on, is nothing lost that was acknowledged, now and after a SIGKILL and a
//! restart, and does the same push work when the fault is gone. A fault that did not happen fails its scenario.
//!
//! It needs Linux, root, `strace`, `prlimit`, `mount` and `mkfs.ext4`; what is missing is named.

mod calls;
mod client;
mod damage;
mod full;
mod growth;
mod inject;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::mounted;
pub use crate::mounted::{Result, run};
use crate::server::Berth;
use client::Ledger;

/// No scenario takes longer than this; one that does has failed.
const LIMIT: Duration = Duration::from_secs(60);

fn failed(why: impl Into<String>) -> Box<dyn std::error::Error + Send + Sync> {
    why.into().into()
}

/// Asks until the answer is yes.
fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        if Instant::now() > deadline {
            return Err(failed(format!("waited {limit:?} for {what}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// What a scenario saw.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Seen {
    /// Faults that happened.
    pub faults: u64,
    /// Requests that were refused for them.
    pub refused: u64,
    /// Things that were acknowledged, and found again at the end.
    pub kept: u64,
}

/// Where a scenario runs.
pub struct Place {
    berth: PathBuf,
    directory: PathBuf,
}

impl Place {
    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts the server; what it logs goes to a file beside the data.
    fn start(&self, settings: &[&str]) -> Result<Berth> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))?;
        let berth = Berth::start_with(&self.berth, &self.data(), |command| {
            for setting in settings {
                command.args(["--set", setting]);
            }
            command.stderr(Stdio::from(log));
        })?;
        Ok(berth)
    }

    /// Ends the server as a crash would, starts it again, and looks whether all that was promised is there.
    fn crash_and_verify(&self, berth: Berth, ledger: &mut Ledger, settings: &[&str]) -> Result<Berth> {
        berth.kill()?;
        let berth = self.start(settings)?;
        ledger.address = berth.address;
        ledger.verify()?;
        Ok(berth)
    }
}

type Scenario = (String, Box<dyn Fn(&Place) -> Result<Seen>>);

/// Every scenario, in the order in which they run.
fn scenarios() -> Vec<Scenario> {
    let mut all = calls::scenarios();
    all.extend(full::scenarios());
    all.extend(damage::scenarios());
    all.extend(growth::scenarios());
    all
}

/// What became of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub scenario: String,
    /// Whether every promise was kept.
    pub passed: bool,
    /// What it saw.
    #[serde(flatten)]
    pub seen: Seen,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What became of all.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One for each scenario.
    pub rows: Vec<Row>,
}

/// Names the tools that are not here.
///
/// # Errors
/// If any is missing.
pub fn tools() -> Result<()> {
    let missing = mounted::missing(&["strace", "prlimit", "mount", "umount", "mkfs.ext4", "unshare"]);
    match missing[..] {
        [] => Ok(()),
        _ => Err(failed(format!("the fault trials need {}", missing.join(", ")))),
    }
}

/// Runs the scenarios whose names contain `only`, in directories below `directory`, which are removed unless the
/// scenario fails.
///
/// # Errors
/// If a directory cannot be made. A scenario that fails is a row of the report.
pub fn run_all(berth: &Path, directory: &Path, only: &str) -> Result<Report> {
    let mut rows = Vec::new();
    for (at, (name, scenario)) in scenarios().into_iter().enumerate() {
        if !name.contains(only) {
            continue;
        }
        let place = Place {
            berth: berth.to_owned(),
            directory: directory.join(format!("{at:02}")),
        };
        std::fs::create_dir_all(&place.directory)?;
        let began = Instant::now();
        let outcome = scenario(&place).and_then(|seen| match () {
            () if seen.faults == 0 => Err(failed("the fault never happened")),
            () if began.elapsed() > LIMIT => Err(failed(format!("took longer than {LIMIT:?}"))),
            () => Ok(seen),
        });
        let seconds = began.elapsed().as_secs_f64();
        rows.push(match outcome {
            Ok(seen) => {
                std::fs::remove_dir_all(&place.directory)?;
                Row {
                    scenario: name,
                    passed: true,
                    seen,
                    seconds,
                    why: None,
                }
            }
            Err(error) => Row {
                scenario: name,
                passed: false,
                seen: Seen::default(),
                seconds,
                why: Some(format!("{error} (see {})", place.directory.display())),
            },
        });
    }
    Ok(Report { rows })
}

impl Report {
    /// Whether every scenario passed, and there was one.
    pub fn passed(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.passed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.scenario.len()).max().unwrap_or(0);
        writeln!(
            f,
            "{:<width$}  {:>6}  {:>7}  {:>5}  {:>7}",
            "scenario", "faults", "refused", "kept", "seconds"
        )?;
        for row in &self.rows {
            let Seen {
                faults,
                refused,
                kept,
            } = row.seen;
            let verdict = if row.passed { "passed" } else { "FAILED" };
            writeln!(
                f,
                "{:<width$}  {faults:>6}  {refused:>7}  {kept:>5}  {:>7.2}  {verdict}",
                row.scenario, row.seconds
            )?;
            if let Some(why) = &row.why {
                writeln!(f, "    {why}")?;
            }
        }
        let passed = self.rows.iter().filter(|row| row.passed).count();
        writeln!(f, "{passed} of {} scenarios passed", self.rows.len())
    }
}
