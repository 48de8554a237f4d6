//! The project's commands for contributors: one place that tests it, checks it against the official
//! conformance suite, makes real images and drives real clients against it.
#![forbid(unsafe_code)]

mod bench;
mod command;
mod conformance;
mod crash;
mod e2e;
mod http1;
mod images;
mod layout;
mod proxy;
mod release;
mod report;
mod server;
mod test;
mod tools;
mod trials;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything a contributor runs")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Every check that a change must pass; installs what is missing and says what.
    Test(test::Args),
    /// The official conformance suite, against both servers on real ports.
    Conformance(conformance::Args),
    /// Ends berth at the worst moments, and holds it to what it had answered.
    Crash(crash::Args),
    /// Lets clients and the collector of berth work against each other, and holds it to what it had answered.
    Stress(crash::Args),
    /// Measures berth beside its peers, and writes `docs/benchmarks.md`.
    Bench(bench::Args),
    /// Makes real images from Debian packages, for `e2e`.
    Images(images::Args),
    /// Round-trips the images with real clients.
    E2e(e2e::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Task::Test(args) => test::run(&args),
        Task::Conformance(args) => conformance::run(&args),
        Task::Crash(args) => crash::run("crash", &args),
        Task::Stress(args) => crash::run("stress", &args),
        Task::Bench(args) => bench::run(&args),
        Task::Images(args) => images::run(&args),
        Task::E2e(args) => e2e::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the workspace")
}

/// The build folder, where everything made or installed by these commands goes.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
