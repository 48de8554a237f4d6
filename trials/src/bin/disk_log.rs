//! Cuts the power of a simulated disk after every single operation, and looks whether what was acknowledged is there.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser;
use registry_storage::Omission;
use trials::disk_log::{Report, Trial, Violation, replay, run};

/// Violations after which the honest stores are not cut any further.
const ENOUGH: usize = 3;

/// Cuts the power of a simulated disk after every single operation.
///
/// The same seed gives the same operations, cuts and draws. Ends with 1 if a promise was broken; with --omit, if
/// leaving the sync out was not noticed.
#[derive(Parser)]
struct Arguments {
    /// Cut points
    #[arg(long, default_value_t = 10_000)]
    cuts: usize,
    /// Seed of the first log; the next ones count on from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave one kind of sync out (file, directory, records or upload-state), and see whether that is noticed; or "all"
    /// of them one after the other, after a run with none left out
    #[arg(long)]
    omit: Option<String>,
    /// Keep only what `durability = "relaxed"` promises, and expect only that
    #[arg(long, conflicts_with = "omit")]
    relaxed: bool,
    /// Look at one cut of the seed's log, as a violation names it
    #[arg(long)]
    at: Option<usize>,
    /// The outcome as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.trial() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("disk_log: {why}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    /// Whether it came out as it should.
    fn trial(&self) -> Result<bool, String> {
        let honest = match self.relaxed {
            true => Trial::RELAXED,
            false => Trial::STRICT,
        };
        let omissions = match self.omit.as_deref() {
            None => Vec::new(),
            Some("all") => Omission::ALL.to_vec(),
            Some(name) => vec![name.parse()?],
        };
        if let Some(cut) = self.at {
            let trial = omissions
                .first()
                .map_or(honest, |omission| Trial::without(*omission));
            let violation = replay(trial, self.seed, cut);
            match &violation {
                Some(violation) => print!("{violation}"),
                None => println!("seed {}, cut {cut}: nothing is broken", self.seed),
            }
            return Ok(violation.is_none() != self.omit.is_some());
        }
        let mut noticed = true;
        if omissions.len() != 1 {
            let name = if self.relaxed { "relaxed" } else { "strict" };
            noticed = self.run(name, honest, ENOUGH).violations.is_empty();
        }
        for omission in omissions {
            let name = format!("without {}", omission.name());
            let report = self.run(&name, Trial::without(omission), 1);
            noticed &= !report.violations.is_empty();
        }
        Ok(noticed)
    }

    fn run(&self, name: &str, trial: Trial, violations: usize) -> Report {
        // A line that is written over is for people only.
        let watched = io::stderr().is_terminal();
        let report = run(trial, self.seed, self.cuts, violations, &mut |so_far| {
            if !watched {
                return;
            }
            eprint!(
                "\r{name}: {} of {} cuts, {} violations ",
                so_far.cuts,
                self.cuts,
                so_far.violations.len()
            );
        });
        if watched {
            eprintln!();
        }
        match self.json {
            true => println!("{}", json(name, self.seed, &report)),
            false => print(name, self.seed, &report),
        }
        report
    }
}

fn print(name: &str, seed: u64, report: &Report) {
    println!(
        "{name}: {} cuts in {} logs, {} disks looked at, {} acknowledgements, {} violations; seed {seed}, {:.1} s, {:.0} cuts a minute",
        report.cuts,
        report.logs,
        report.disks,
        report.acknowledged,
        report.violations.len(),
        report.wall.as_secs_f64(),
        per_minute(report),
    );
    for violation in &report.violations {
        print!("{violation}");
    }
}

fn per_minute(report: &Report) -> f64 {
    report.cuts as f64 * 60.0 / report.wall.as_secs_f64().max(0.001)
}

fn json(name: &str, seed: u64, report: &Report) -> serde_json::Value {
    let violation = |violation: &Violation| {
        serde_json::json!({
            "seed": violation.seed,
            "cut": violation.cut,
            "draw": violation.draw,
            "promise": violation.promise,
            "found": violation.found,
            "tail": violation.tail,
        })
    };
    serde_json::json!({
        "trial": name,
        "seed": seed,
        "cuts": report.cuts,
        "logs": report.logs,
        "disks": report.disks,
        "acknowledged": report.acknowledged,
        "seconds": report.wall.as_secs_f64(),
        "cuts_per_minute": per_minute(report),
        "violations": report.violations.iter().map(violation).collect::<Vec<_>>(),
    })
}
