//! The programs of the workspace in release.
//!
//! All of them are built at once: cargo turns on the features that the packages it is told of need, so that each choice of packages
//! is another build of nearly everything.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::watched;
use crate::{root, target};

/// Builds every program but those of contributors themselves.
pub(crate) fn build() -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .args(["build", "--quiet", "--locked", "--release", "--bins"])
        .args(["--workspace", "--exclude", "xtask", "--exclude", "fuzz"]);
    ensure!(watched(&mut cargo, true)?, "the build in release failed");
    Ok(())
}

/// Where a program is once it is built.
pub(crate) fn program(name: &str) -> PathBuf {
    target().join("release").join(name)
}
