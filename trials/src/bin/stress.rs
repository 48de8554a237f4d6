//! `cargo xtask stress`: clients against a collector that runs all the time, and SIGKILL.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use registry_storage::kv::EngineKind;
use trials::crash::process::Program;
use trials::mounted::Result;
use trials::stress::client::Lifetimes;
use trials::stress::trial::{Options, run};

const EXAMPLES: &str = "\
Clients push images, indexes and signatures that share layers, skip what HEAD says is there, mount, delete, push again
what was just deleted and read slowly, against a berth that keeps nothing longer than it must and is killed now and then.
Every answer is held against all earlier ones. The first broken promise ends the trial with status 1: it is told in
plain words, with the requests that led to it. A run in which nothing was collected has failed too.

Examples:
  cargo xtask stress --minutes 1                       a slice, seed from the clock
  cargo xtask stress --minutes 30 --seed 7             the long run
  cargo xtask stress --seconds 60 --kill-every 0       without kills
  cargo xtask stress --control                         a server that forgets too soon, which must be found out
  cargo xtask stress --engine sled                     on the other engine";

/// Lets clients and the collector work against each other, and holds the registry to what it had answered.
#[derive(Parser)]
#[command(name = "cargo xtask stress", after_help = EXAMPLES)]
struct Arguments {
    /// How many minutes clients work.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The same in seconds.
    #[arg(long, conflicts_with = "minutes")]
    seconds: Option<f64>,
    /// Seed of every choice [default: from the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Mean seconds between two kills; 0 for none.
    #[arg(long, default_value_t = 8.0)]
    kill_every: f64,
    /// Clients that push, pull and delete.
    #[arg(long, default_value_t = 10)]
    clients: u64,
    /// Clients that read slowly.
    #[arg(long, default_value_t = 3)]
    readers: u64,
    /// How long a promise to a pusher lasts, in milliseconds.
    #[arg(long, default_value_t = 400)]
    grace: u64,
    /// Between condemning and removing, and the longest read, in milliseconds.
    #[arg(long, default_value_t = 600)]
    second_delay: u64,
    /// How long what was deleted can be undeleted, in milliseconds.
    #[arg(long, default_value_t = 300)]
    undo: u64,
    /// Engine under the records.
    #[arg(long, value_enum, default_value_t = Engine::Lmdb)]
    engine: Engine,
    /// Configuration key for the server. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The control: the server is told to keep its promises for an eighth of what clients are told, which must be found
    /// out; then the status is 0.
    #[arg(long)]
    control: bool,
    /// Print the sums as JSON.
    #[arg(long)]
    json: bool,
    /// Where the data goes, in a new directory there [default: the system's directory for temporary files].
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The server to try.
    #[arg(long, value_name = "FILE", default_value = "berth")]
    berth: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    Lmdb,
    Sled,
}

fn main() -> ExitCode {
    match trial(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn trial(arguments: &Arguments) -> Result<bool> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = arguments.seed.unwrap_or(clock.as_nanos() as u64 % 1_000_000_000);
    let directory = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    let directory = std::path::absolute(directory)?.join(format!("stress-{seed}-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    eprintln!("seed {seed}, in {}", directory.display());
    let kill_every = Duration::from_secs_f64(arguments.kill_every.max(0.0));
    let options = Options {
        seed,
        time: Duration::from_secs_f64(arguments.seconds.unwrap_or(60.0 * arguments.minutes).max(0.0)),
        kill_every: (kill_every > Duration::ZERO).then_some(kill_every),
        clients: arguments.clients,
        readers: arguments.readers,
        lifetimes: Lifetimes {
            grace: Duration::from_millis(arguments.grace),
            bucket: Duration::from_millis(arguments.grace / 4),
            second_delay: Duration::from_millis(arguments.second_delay),
            undo: Duration::from_millis(arguments.undo),
            upload_idle: Duration::from_millis(1500),
            longest_write: Duration::from_millis(1000),
            interval: Duration::from_millis(20),
        },
        control: arguments.control,
        engine: match arguments.engine {
            Engine::Lmdb => EngineKind::Lmdb,
            Engine::Sled => EngineKind::Sled,
        },
        program: Program {
            berth: arguments.berth.clone(),
            set: arguments.set.clone(),
            log: directory.join("berth.log"),
        },
        data: directory.join("data"),
    };
    let report = run(&options)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    let kept = report.violations.is_empty();
    if kept || arguments.control {
        std::fs::remove_dir_all(&directory)?;
    }
    // A control in which nothing was found has failed.
    Ok(kept != arguments.control)
}
