//! `cargo xtask crash` and `cargo xtask stress`: builds `berth` and the trial in release, and runs it with the arguments
//! as they are.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::watched;
use crate::{root, target};

/// What the trial itself is told; `--help` is its own page.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the trial.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Whether every promise was kept in the trial of this name.
pub(crate) fn run(name: &str, args: &Args) -> Result<bool> {
    let told = |flag: &str| args.arguments.iter().any(|argument| argument.starts_with(flag));
    let release = target().join("release");
    build(&["-p", "trials", "--bin", name])?;
    let mut trial = Command::new(release.join(name));
    trial.args(&args.arguments);
    if !["--berth", "--help", "-h", "--replay"].into_iter().any(told) {
        build(&["-p", "server-hyper", "--bin", "berth"])?;
        trial.arg("--berth").arg(release.join("berth"));
    }
    watched(&mut trial, false)
}

/// Builds programs of the workspace in release.
pub(crate) fn build(what: &[&str]) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--locked", "--release"])
        .args(what)
        .current_dir(root());
    ensure!(
        watched(&mut cargo, true)?,
        "the build of {} failed",
        what.join(" ")
    );
    Ok(())
}
