//! `crash`: the trial's command line; `cargo xtask crash` builds what it needs and runs it.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use trials::crash::history::History;
use trials::crash::power::{Disks, missing};
use trials::crash::process::Program;
use trials::crash::report::Report;
use trials::crash::trial::{Options, Trial, tell};
use trials::mounted::FileSystem;

const EXAMPLES: &str = "\
Each round runs clients against a berth process, ends it at a random moment, starts it again on the same data, reads
back what was touched, and looks for an order of all requests that explains all answers. The first broken promise ends
the trial with status 1: it is told in plain words, and the round's history, the data and the log are kept.

Examples:
  cargo xtask crash                                  200 rounds of SIGKILL, seed from the clock
  cargo xtask crash --rounds 2000 --seed 7           the long run, with choices that can be had again
  cargo xtask crash --seed 7 --from 311 --rounds 1   one round's choices again, on a new store
  cargo xtask crash --replay round-311.jsonl         judges a kept history again, without a server
  cargo xtask crash --control --rounds 5             a server that forgets whole rounds, which must be found out
  sudo -E cargo xtask crash --power-cut --rounds 60  cuts the power instead, on ext4 and on XFS";

/// Ends a berth at the worst moments and holds it to what it had answered.
#[derive(Parser)]
#[command(name = "cargo xtask crash", after_help = EXAMPLES)]
struct Arguments {
    /// Rounds; with --power-cut, for each file system.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// Number of the first round; with the same seed a round makes the same choices.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Seed of every choice [default: from the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Engine under the records, such as lmdb [default: the server's].
    #[arg(long)]
    engine: Option<String>,
    /// Configuration key for the server. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Cut the power of the disks instead of killing the process only. Needs root.
    #[arg(long)]
    power_cut: bool,
    /// File system under a power cut.
    #[arg(long, value_enum, default_value_t = FileSystems::Both)]
    file_system: FileSystems,
    /// The control: put the data back after each end to what it was before the round, which must be found out; then
    /// the status is 0.
    #[arg(long, conflicts_with = "power_cut")]
    control: bool,
    /// Judge a kept history instead.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Print the sums as JSON.
    #[arg(long)]
    json: bool,
    /// Servers at once, which share the rounds.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Clients of each server.
    #[arg(long, default_value_t = 6)]
    clients: u64,
    /// Where the data goes, in a new directory there [default: the system's directory for temporary files].
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The server to try.
    #[arg(long, value_name = "FILE", default_value = "berth")]
    berth: PathBuf,
    /// Set once the mount namespace is this trial's own.
    #[arg(long, hide = true)]
    apart: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileSystems {
    Ext4,
    Xfs,
    Both,
}

/// Power cuts among which one must have taken something that was not synced.
const CUTS_MIN: u64 = 6;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.replay {
        Some(file) => replay(file),
        None if arguments.power_cut && !arguments.apart => apart(),
        None => run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Judges a kept history again.
fn replay(file: &PathBuf) -> Result<bool, Failure> {
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let history = History::read(BufReader::new(opened))?;
    let judgement = history.judge();
    tell(&history.opening, &judgement.violations);
    if judgement.undecided > 0 {
        return Err("a search for an order was given up".into());
    }
    Ok(judgement.violations.is_empty())
}

/// Runs this program again in a mount namespace of its own: no mount outlives it, however it ends.
fn apart() -> Result<bool, Failure> {
    let missing = missing();
    if !missing.is_empty() {
        return Err(format!("a power cut needs {}", missing.join(", and ")).into());
    }
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .arg("--apart")
        .args(std::env::args_os().skip(1))
        .status()?;
    Ok(status.success())
}

fn run(arguments: &Arguments) -> Result<bool, Failure> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = arguments.seed.unwrap_or(clock.as_nanos() as u64 % 1_000_000_000);
    let directory = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    let directory = std::path::absolute(directory)?.join(format!("crash-{seed}-{}", std::process::id()));
    let series: Vec<Option<FileSystem>> = match (arguments.power_cut, arguments.file_system) {
        (false, _) => vec![None],
        (true, FileSystems::Ext4) => vec![Some(FileSystem::Ext4)],
        (true, FileSystems::Xfs) => vec![Some(FileSystem::Xfs)],
        (true, FileSystems::Both) => FileSystem::ALL.map(Some).to_vec(),
    };
    let mut reports = Vec::new();
    for file_system in series {
        let name = file_system.map_or("kill", FileSystem::name);
        reports.push(rounds(arguments, seed, file_system, &directory.join(name))?);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        reports.iter().for_each(|report| println!("{report}"));
    }
    let kept = reports.iter().all(|report| report.violations == 0);
    if kept || arguments.control {
        std::fs::remove_dir_all(&directory)?;
    }
    // A control in which nothing was found has failed.
    Ok(kept != arguments.control)
}

/// Runs the rounds of one series, shared by the jobs.
fn rounds(
    arguments: &Arguments,
    seed: u64,
    file_system: Option<FileSystem>,
    directory: &std::path::Path,
) -> Result<Report, Failure> {
    let began = Instant::now();
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let job = |job: u64| -> Result<Report, Failure> {
        let directory = directory.join(format!("{job}"));
        let data = directory.join("data");
        std::fs::create_dir_all(&data)?;
        let mut set = arguments.set.clone();
        set.extend(
            arguments
                .engine
                .as_deref()
                .filter(|engine| *engine != "lmdb")
                .map(|engine| format!("records.engine={engine}")),
        );
        let options = Options {
            seed,
            clients: arguments.clients,
            program: Program {
                berth: arguments.berth.clone(),
                set,
                log: directory.join("berth.log"),
            },
            forget: arguments.control,
            directory: directory.clone(),
        };
        let disks = file_system
            .map(|file_system| Disks::new(file_system, &directory, &data))
            .transpose()?;
        let mut trial = Trial::new(options, disks)?;
        let end = arguments.from + arguments.rounds;
        let mut kept = true;
        for round in (arguments.from..end).filter(|round| round % arguments.jobs == job) {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            kept = trial.round(round)?;
            if !kept {
                stop.store(true, Ordering::SeqCst);
                break;
            }
            let done = done.fetch_add(1, Ordering::SeqCst) + 1;
            if done.is_multiple_of(25) {
                eprintln!(
                    "{done} of {} rounds, {:.0} s",
                    arguments.rounds,
                    began.elapsed().as_secs_f64()
                );
            }
        }
        if kept && trial.last(end)? && arguments.rounds >= CUTS_MIN && !trial.cuts_cut() {
            return Err(
                "nothing was missing after any cut: the cuts cut nothing, so there is no verdict".into(),
            );
        }
        trial.clear()
    };
    let job = &job;
    let outcomes: Vec<Result<Report, Failure>> = thread::scope(|scope| {
        let jobs: Vec<_> = (0..arguments.jobs.max(1))
            .map(|number| scope.spawn(move || job(number)))
            .collect();
        jobs.into_iter()
            .map(|job| job.join().unwrap_or_else(|_| Err("a job panicked".into())))
            .collect()
    });
    let mut report = Report {
        seed,
        trial: file_system.map_or("SIGKILL".to_owned(), |file_system| {
            format!("power cuts on {}", file_system.name())
        }),
        ..Report::default()
    };
    for outcome in outcomes {
        report.add(outcome?);
    }
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}
