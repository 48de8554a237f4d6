//! `cargo xtask crash` and `cargo xtask stress`: builds `berth` and the trial in release, and runs it with the arguments
//! as they are.

use std::process::Command;

use anyhow::Result;

use crate::command::watched;
use crate::release;

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
    release::build()?;
    let mut trial = Command::new(release::program(name));
    trial.args(&args.arguments);
    if !["--berth", "--help", "-h", "--replay"].into_iter().any(told) {
        trial.arg("--berth").arg(release::program("berth"));
    }
    watched(&mut trial, false)
}
