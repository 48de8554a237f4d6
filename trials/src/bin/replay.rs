//! `cargo run --release -p trials --bin replay`: whether the code follows the model.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use registry_gc::model::COVERED;
use trials::replay::stress::{Engine, Stress, Work, record};
use trials::replay::{Totals, Trace, follow};

/// Records what a registry commits under stress, and replays it in the model of the blob contract. Exits with an error
/// if the code does what the model does not allow, or if a transition that the code can take did not occur.
#[derive(Parser)]
struct Arguments {
    /// How many runs are recorded, each in a registry of its own.
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Names the chances of the first run; each other has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What keeps records and bytes.
    #[arg(long, value_enum, default_value = "memory")]
    engine: Engine,
    /// Clients at once.
    #[arg(long, default_value_t = 6)]
    clients: u64,
    /// Operations of each client in a run.
    #[arg(long, default_value_t = 60)]
    operations: u64,
    /// Keep the last recorded trace here, as JSON lines.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Replay a trace that was kept, and record none.
    #[arg(long)]
    from: Option<PathBuf>,
}

/// Transitions of the model that the code does not take.
const NOT_IN_THE_CODE: &[(&str, &str)] = &[(
    "touch (resume)",
    "a resumed upload goes on in its own file, fenced by epochs",
)];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match trial(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("replay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn trial(arguments: &Arguments) -> io::Result<bool> {
    let started = Instant::now();
    let mut totals = Totals::default();
    if let Some(from) = &arguments.from {
        let trace = Trace::load(BufReader::new(File::open(from)?))?;
        return Ok(replay(&trace, "the trace", &mut totals) && {
            print(&totals, started);
            true
        });
    }
    for round in 0..arguments.rounds {
        let seed = arguments.seed + round;
        let work = match round % 10 {
            9 => Work::Pieces,
            odd if odd % 2 == 1 => Work::Trash,
            _ => Work::Everything,
        };
        let trace = record(Stress {
            // So much at once is for memory, where it is done within a bucket.
            engine: match work {
                Work::Pieces => Engine::Memory,
                Work::Everything | Work::Trash => arguments.engine,
            },
            work,
            seed,
            clients: match work {
                Work::Pieces => 1,
                Work::Everything | Work::Trash => arguments.clients,
            },
            operations: arguments.operations,
        })?;
        if let Some(save) = &arguments.save {
            trace.save(File::create(save)?)?;
        }
        if !replay(&trace, &format!("seed {seed}"), &mut totals) {
            return Ok(false);
        }
    }
    print(&totals, started);
    Ok(all_occurred(&totals))
}

fn replay(trace: &Trace, which: &str, totals: &mut Totals) -> bool {
    match follow(trace) {
        Ok(more) => {
            totals.add(&more);
            true
        }
        Err(failure) => {
            eprintln!("replay: the code left the model in {which}, at {failure}");
            false
        }
    }
}

fn print(totals: &Totals, started: Instant) {
    for (name, times) in &totals.events {
        let name = if name.is_empty() { "(no transition)" } else { name };
        println!("{times:>9}  {name}");
    }
    println!(
        "{} transitions of {} digests and uploads followed in {:.1} s",
        totals.followed,
        totals.worlds,
        started.elapsed().as_secs_f64()
    );
}

fn all_occurred(totals: &Totals) -> bool {
    let left_out: BTreeMap<_, _> = NOT_IN_THE_CODE.iter().copied().collect();
    let missing: Vec<&str> = COVERED
        .into_iter()
        .filter(|name| !left_out.contains_key(name) && !totals.covered.contains(*name))
        .collect();
    if !missing.is_empty() {
        eprintln!("replay: never occurred: {}", missing.join(", "));
    }
    missing.is_empty()
}
