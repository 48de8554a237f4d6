//! `cargo run --release -p benches --bin lists`: whether a page of a long list costs more than one of a short list.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use benches::lists::measure;
use benches::place::Place;
use clap::Parser;

/// Measures pages of 100 entries: of tags in a short list and in a long one, and of repositories. Exits with an error if a
/// figure is beyond its limit.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Tags of the short list
    #[arg(long, default_value_t = 1000)]
    few: usize,
    /// Tags of the long list
    #[arg(long, default_value_t = 1_000_000)]
    many: usize,
    /// Repositories
    #[arg(long, default_value_t = 200_000)]
    repositories: usize,
    /// Rounds of 1,000 pages of each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The longest that 99 of 100 pages of the long list may take, in milliseconds
    #[arg(long, default_value_t = 2.0)]
    limit: f64,
    /// How many times as long as one of the short list a page of the long one may take
    #[arg(long, default_value_t = 1.2)]
    ratio: f64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("lists: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let directory = tempfile::tempdir_in(&arguments.place.directory)?;
    eprintln!(
        "filling a store with {} tags and {} repositories …",
        arguments.many, arguments.repositories
    );
    let lists = measure(
        &runtime,
        &arguments.place.berth,
        directory.path(),
        [arguments.few, arguments.many, arguments.repositories],
        arguments.rounds,
    )?;
    let (few, many) = (&lists[0], &lists[1]);
    let ratio = many.p50 / few.p50;
    let holds = many.p99 < arguments.limit && ratio <= arguments.ratio;
    if arguments.json {
        println!(
            "{}",
            serde_json::json!({ "lists": lists, "ratio": ratio, "holds": holds })
        );
        return Ok(holds);
    }
    println!("{:<12} {:>10} {:>8} {:>8}", "list", "entries", "p50 ms", "p99 ms");
    for list in &lists {
        println!(
            "{:<12} {:>10} {:>8.3} {:>8.3}",
            list.list, list.entries, list.p50, list.p99
        );
    }
    println!(
        "a page of the long list takes {ratio:.2} times as long as one of the short (limit {}), and 99 of 100 less than {:.3} ms (limit {}): {}",
        arguments.ratio,
        many.p99,
        arguments.limit,
        if holds { "holds" } else { "DOES NOT HOLD" }
    );
    Ok(holds)
}
