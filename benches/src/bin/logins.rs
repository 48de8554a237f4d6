//! `cargo run --release -p benches --bin logins`: what logins cost those who pull.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use benches::logins::{Outcome, Plan, measured};
use benches::place::Place;
use clap::Parser;

/// Measures pulls of manifests and small blobs, at a part of what the server could do, alone and while accounts log in whose
/// passwords are hashed with argon2id at OWASP's parameters, in turn. A server whose hashing takes the processors from those who
/// pull makes them wait.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    plan: Plan,
    /// Fail if the 99th of a hundred pulls takes more than so many times as long during logins
    #[arg(long, default_value_t = 1.5)]
    most: f64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("logins: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether pulls wait no longer than they may.
fn run(arguments: &Arguments) -> io::Result<bool> {
    let Place { berth, directory } = &arguments.place;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let progress = |what: &str| eprintln!("logins: {what}");
    let outcome = runtime.block_on(measured(berth, directory, arguments.plan, &progress))?;
    let ratio = outcome.ratio();
    match arguments.json {
        true => println!("{}", serde_json::json!({ "outcome": outcome, "ratio": ratio })),
        false => tell(arguments.plan, &outcome),
    }
    let is_kept = ratio <= arguments.most;
    if !is_kept {
        eprintln!(
            "logins: {ratio:.2} times as long, and {} is the most",
            arguments.most
        );
    }
    Ok(is_kept)
}

fn tell(plan: Plan, outcome: &Outcome) {
    println!(
        "pulls, {:.0} a second of {:.0} that it could answer, in ms; {} logins a second",
        outcome.capacity * plan.load,
        outcome.capacity,
        plan.logins
    );
    println!(
        "{:<14} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "", "p50", "p99", "p99.9", "CPU s", "login p50"
    );
    for one in &outcome.all {
        let pulls = &one.pulls;
        let (what, login) = match &one.logins {
            Some(logins) => ("during logins", format!("{:.1}", logins.p50)),
            None => ("alone", String::new()),
        };
        println!(
            "{what:<14} {:>8.3} {:>8.3} {:>8.3} {:>8.2} {login:>10}",
            pulls.p50, pulls.p99, pulls.p999, pulls.cpu
        );
    }
    println!(
        "p99: {:.3} alone, {:.3} during logins: {:.2} times as long",
        outcome.median(false, |one| one.pulls.p99),
        outcome.median(true, |one| one.pulls.p99),
        outcome.ratio()
    );
}
