//! Searches schedules of the real code for one that breaks a promise.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use trials::schedules::{Report, Search, replay};

/// Searches schedules of the real code for one that breaks a promise.
///
/// The same seed gives the same schedule. Ends with 1 if a promise was broken, or a transition never exercised.
#[derive(Parser)]
struct Arguments {
    /// Schedules
    #[arg(long, default_value_t = 100_000)]
    schedules: u64,
    /// Seed of the first schedule; the next ones count on from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Print the schedule of this seed step by step
    #[arg(long)]
    replay: Option<u64>,
    /// The outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Violations after which the search ends.
const ENOUGH: usize = 10;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.replay {
        let (trace, violation) = replay(seed);
        trace.iter().for_each(|line| println!("{line}"));
        return match violation {
            Some(violation) => {
                println!("seed {seed}: {}: {}", violation.promise, violation.found);
                ExitCode::FAILURE
            }
            None => {
                println!("seed {seed}: nothing is broken");
                ExitCode::SUCCESS
            }
        };
    }
    let watched = io::stderr().is_terminal();
    let report = Search {
        seed: arguments.seed,
        schedules: arguments.schedules,
        violations: ENOUGH,
        threads: arguments.threads,
    }
    .run(&|so_far| {
        if watched {
            eprint!(
                "\r{} of {} schedules, {:.0} a second, {} violations ",
                so_far.schedules,
                arguments.schedules,
                rate(so_far),
                so_far.violations.len()
            );
        }
    });
    if watched {
        eprintln!();
    }
    print(&report, arguments.seed);
    let uncovered = report.uncovered();
    match report.violations.is_empty() && uncovered.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn rate(report: &Report) -> f64 {
    report.schedules as f64 / report.wall.as_secs_f64().max(0.001)
}

fn print(report: &Report, seed: u64) {
    println!(
        "{} schedules from seed {seed}, {} steps, {} violations, {:.1} s, {:.0} schedules a second",
        report.schedules,
        report.steps,
        report.violations.len(),
        report.wall.as_secs_f64(),
        rate(report),
    );
    for (name, count) in &report.covered {
        println!("  {count:>8}  {name}");
    }
    for name in report.uncovered() {
        println!("  never exercised: {name}");
    }
    for violation in &report.violations {
        println!(
            "seed {}: {}: {}",
            violation.seed, violation.promise, violation.found
        );
    }
}
