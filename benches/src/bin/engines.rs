//! `cargo run --release -p benches --bin engines -- [open|commits|power|all]`: the trial of record engines.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use benches::engines::{
    EngineKind, Options, PowerOptions, Result, child::Role, commits, first_get, power, power_here,
};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// Compares embedded record engines: what survives a power cut, how soon the first manifest is answered after
/// a crash, and how many durable commits a second there are.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    trial: Trial,
    /// An engine to compare; repeat for several. All candidates by default.
    #[arg(long, global = true)]
    engine: Vec<EngineKind>,
    /// Keys in the store for `open` and `commits`.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    keys: u64,
    /// Cache that an engine may keep for itself, in MiB.
    #[arg(long, global = true, default_value_t = 16)]
    cache_mib: usize,
    /// Power cuts, kills, or rounds for each engine; by default 25, 16 and 5.
    #[arg(long, global = true)]
    rounds: Option<u64>,
    /// Where the stores are made; a new directory below it is removed at the end.
    #[arg(long, global = true)]
    directory: Option<PathBuf>,
    /// Repeats the random choices of an earlier run.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// Print one JSON object for each trial instead of tables.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Trial {
    /// Process start to the first manifest GET by tag.
    Open,
    /// Durable commits, point reads and pages a second.
    Commits,
    /// What survives a power cut on ext4 and XFS (needs root).
    Power,
    /// The three, in the order in which they decide.
    All,
    /// The power trial in this mount namespace; `power` runs it in one of its own.
    #[command(hide = true)]
    PowerHere,
    /// A process of the trial.
    #[command(hide = true, subcommand)]
    Child(Role),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engines: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let below = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    match arguments.trial {
        Trial::Child(role) => role.run(),
        Trial::PowerHere => {
            let report = power_here(&arguments.power(arguments.seed()?), &below)?;
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }
        Trial::Open | Trial::Commits | Trial::Power | Trial::All => {
            let seed = arguments.seed()?;
            eprintln!("seed {seed}");
            let home = tempfile::Builder::new().prefix("engines-").tempdir_in(below)?;
            let does =
                |trial| matches!((&arguments.trial, trial), (Trial::All, _)) || same(&arguments.trial, trial);
            if does(&Trial::Power) {
                let report = power(&arguments.power(seed), &home.path().join("power"))?;
                arguments.show(&report)?;
            }
            if does(&Trial::Open) {
                arguments.show(&first_get(&arguments.options(seed, 16), home.path())?)?;
            }
            if does(&Trial::Commits) {
                arguments.show(&commits(&arguments.options(seed, 5), home.path())?)?;
            }
            Ok(())
        }
    }
}

fn same(a: &Trial, b: &Trial) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

impl Arguments {
    /// The seed that was given, or one from the clock; kept to 16 bits so that it fits into transaction numbers.
    fn seed(&self) -> Result<u64> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
        Ok(self.seed.unwrap_or(clock) & 0xffff)
    }

    fn engines(&self) -> Vec<EngineKind> {
        if self.engine.is_empty() {
            EngineKind::CANDIDATES.to_vec()
        } else {
            self.engine.clone()
        }
    }

    fn options(&self, seed: u64, rounds: u64) -> Options {
        let rounds = self.rounds.unwrap_or(rounds) as usize;
        Options {
            engines: self.engines(),
            keys: self.keys,
            cache_mib: self.cache_mib,
            rounds,
            seed,
        }
    }

    fn power(&self, seed: u64) -> PowerOptions {
        let rounds = self.rounds.unwrap_or(25);
        PowerOptions {
            engines: self.engines(),
            rounds,
            cache_mib: self.cache_mib,
            seed,
        }
    }

    fn show(&self, report: &(impl Serialize + std::fmt::Display)) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(report)?);
        } else {
            println!("{report}");
        }
        Ok(())
    }
}
