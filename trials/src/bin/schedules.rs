//! Searches schedules of the real code for one that breaks a promise.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use trials::schedules::{Guard, Report, Search, keep_all, replay};

/// Violations after which the search ends.
const ENOUGH: usize = 10;

/// Searches schedules of the real code for one that breaks a promise.
///
/// The same seed gives the same schedule. Ends with 1 if a promise was broken, or a transition never exercised; with
/// --weaken, if nothing was broken, or in that schedule something is with all guards too.
#[derive(Parser)]
struct Arguments {
    /// Schedules; with --weaken, at most so many for each guard
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
    /// Leave out one guard, by the model's name for its weakening, and search until a promise is broken; or "all", one
    /// after the other. Takes a build with --features weaken
    #[arg(long)]
    weaken: Option<String>,
    /// The guards that there are, and the promise that the model breaks without each
    #[arg(long)]
    list: bool,
    /// The outcome as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("schedules: {why}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    /// Whether it came out as it should.
    fn run(&self) -> Result<bool, String> {
        if self.list {
            for guard in Guard::all() {
                let why = guard.idle().map(|why| format!(" (idle: {why})"));
                println!(
                    "{:<30} {}{}",
                    guard.name(),
                    guard.promise(),
                    why.unwrap_or_default()
                );
            }
            return Ok(true);
        }
        let guards = match self.weaken.as_deref() {
            None => Vec::new(),
            Some("all") => Guard::all().collect(),
            Some(name) => {
                vec![Guard::named(name).ok_or_else(|| format!("there is no guard {name}; see --list"))?]
            }
        };
        if let Some(seed) = self.replay {
            guards.first().map_or(Ok(()), |guard| guard.leave_out())?;
            return Ok(show(seed) == self.weaken.is_none());
        }
        if guards.is_empty() {
            return Ok(self.honest());
        }
        let begun = Instant::now();
        let mut all = true;
        for guard in &guards {
            all &= self.weakened(*guard)?;
        }
        if !self.json {
            println!("{} guards, {:.1} s", guards.len(), begun.elapsed().as_secs_f64());
        }
        Ok(all)
    }

    fn search(&self, name: &str, violations: usize) -> Report {
        let watched = io::stderr().is_terminal();
        let report = Search {
            seed: self.seed,
            schedules: self.schedules,
            violations,
            threads: self.threads,
        }
        .run(&|so_far| {
            if watched {
                eprint!(
                    "\r{name}: {} of {} schedules, {:.0} a second, {} violations ",
                    so_far.schedules,
                    self.schedules,
                    rate(so_far),
                    so_far.violations.len()
                );
            }
        });
        if watched {
            eprintln!();
        }
        report
    }

    /// With every guard in force: nothing may break, and everything must be exercised.
    fn honest(&self) -> bool {
        let report = self.search("schedules", ENOUGH);
        match self.json {
            true => println!("{}", json(None, self.seed, &report)),
            false => print(&report, self.seed),
        }
        report.violations.is_empty() && report.uncovered().is_empty()
    }

    /// Without one of them: something must break that holds with it.
    fn weakened(&self, guard: Guard) -> Result<bool, String> {
        if let Some(why) = guard.idle() {
            println!("{:<30} idle: {why}", guard.name());
            return Ok(true);
        }
        guard.leave_out()?;
        let report = self.search(&guard.name(), 1);
        keep_all();
        let found = report.violations.first();
        let anyway = found.and_then(|violation| replay(violation.seed).1);
        if self.json {
            println!("{}", json(Some(guard), self.seed, &report));
            return Ok(found.is_some() && anyway.is_none());
        }
        let Some(violation) = found else {
            println!("{:<30} NOT FOUND in {} schedules", guard.name(), report.schedules);
            return Ok(false);
        };
        if let Some(anyway) = anyway {
            println!(
                "{:<30} BROKEN WITH ALL GUARDS: {} (seed {}): {}",
                guard.name(),
                anyway.promise,
                anyway.seed,
                anyway.found
            );
            return Ok(false);
        }
        let model = match violation.promise == guard.promise() {
            true => String::new(),
            false => format!("; the model breaks: {}", guard.promise()),
        };
        println!(
            "{:<30} {} (schedule {}, seed {}){model}",
            guard.name(),
            violation.promise,
            violation.seed.wrapping_sub(self.seed) + 1,
            violation.seed
        );
        Ok(true)
    }
}

/// Prints one schedule. Whether nothing is broken.
fn show(seed: u64) -> bool {
    let (trace, violation) = replay(seed);
    trace.iter().for_each(|line| println!("{line}"));
    match &violation {
        Some(violation) => println!("seed {seed}: {}: {}", violation.promise, violation.found),
        None => println!("seed {seed}: nothing is broken"),
    }
    violation.is_none()
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
    println!("in how many of them each transition was exercised:");
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

fn json(guard: Option<Guard>, seed: u64, report: &Report) -> serde_json::Value {
    let violations = report.violations.iter().map(|violation| {
        serde_json::json!({
            "seed": violation.seed,
            "promise": violation.promise,
            "found": violation.found,
        })
    });
    serde_json::json!({
        "without": guard.map(Guard::name),
        "seed": seed,
        "schedules": report.schedules,
        "steps": report.steps,
        "seconds": report.wall.as_secs_f64(),
        "covered": report.covered,
        "uncovered": report.uncovered(),
        "violations": violations.collect::<Vec<_>>(),
    })
}
