//! `cargo run --release -p benches --bin cold`: what pulls that wait for the disk cost those that do not.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use benches::cold::{Plan, measured};
use benches::place::Place;
use clap::Parser;

/// Measures manifests, which are in memory, alone and while large blobs are pulled of which nothing is in memory, in turn. A
/// server whose polling threads wait for the disk makes the manifests wait too.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    plan: Plan,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cold: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let Place { berth, directory } = &arguments.place;
    let all = measured(berth, directory, arguments.plan)?;
    if arguments.json {
        println!("{}", serde_json::json!({ "measured": all }));
        return Ok(());
    }
    println!(
        "manifests over one connection, in ms; {} clients pull blobs of {} MiB that are not in memory",
        arguments.plan.pulls, arguments.plan.mib
    );
    println!(
        "{:<14} {:>8} {:>8} {:>8} {:>12}",
        "", "p50", "p99", "p99.9", "cold MB/s"
    );
    for one in &all {
        let what = if one.during { "during pulls" } else { "alone" };
        println!(
            "{what:<14} {:>8.3} {:>8.3} {:>8.3} {:>12.0}",
            one.p50, one.p99, one.p999, one.cold
        );
    }
    Ok(())
}
