//! `cargo run --release -p trials --bin faults`: disks that fail under a running `berth`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use trials::faults;

/// Makes disks fail under a running `berth`: errors from system calls, disks that fill, bytes that rot, files that may
/// not grow. Exits with an error if a promise is broken. Needs Linux and root.
#[derive(Parser)]
struct Arguments {
    /// The program on trial.
    #[arg(long, default_value = "target/release/berth")]
    berth: PathBuf,
    /// Where the data is made; what a failed scenario leaves stays there.
    #[arg(long, default_value = "target")]
    directory: PathBuf,
    /// Only scenarios whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// In the current mount namespace, instead of one of its own.
    #[arg(long, hide = true)]
    here: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = if arguments.here {
        trial(&arguments)
    } else {
        elsewhere()
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this program again where its mounts are its own, so that none outlives it, however it ends.
fn elsewhere() -> faults::Result<bool> {
    faults::tools()?;
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--here")
        .status()?;
    Ok(status.success())
}

fn trial(arguments: &Arguments) -> faults::Result<bool> {
    let directory = tempfile::Builder::new()
        .prefix("faults-")
        .tempdir_in(std::path::absolute(&arguments.directory)?)?;
    let report = faults::run_all(&arguments.berth, directory.path(), &arguments.only)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    if !report.passed() {
        let kept = directory.keep();
        eprintln!("faults: what the failed ones left is in {}", kept.display());
    }
    Ok(report.passed())
}
