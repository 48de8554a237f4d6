//! Slices of the trials that take their time in full: enough of each to notice that a promise was broken.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::command::{limited, watched};
use crate::report::NotHere;
use crate::{root, target, tools};

/// Choices that can be had again.
const SEED: &str = "20261121";

/// The engines that keep records.
const ENGINES: [&str; 2] = ["lmdb", "sled"];

/// Kills a berth under load, on each engine.
pub(crate) fn crash(quiet: bool) -> Result<String> {
    build()?;
    for engine in ENGINES {
        run(
            quiet,
            "crash",
            &["--rounds", "60", "--seed", SEED, "--engine", engine],
        )?;
    }
    Ok("60 kills on each engine".to_owned())
}

/// Cuts the power of its disks, on each engine and file system.
pub(crate) fn power_cut(quiet: bool) -> Result<String> {
    mountable()?;
    tools::debian(&["e2fsprogs", "mount", "xfsprogs"])?;
    build()?;
    for engine in ENGINES {
        let rounds = [
            "--power-cut",
            "--rounds",
            "15",
            "--seed",
            SEED,
            "--engine",
            engine,
        ];
        run(quiet, "crash", &rounds)?;
    }
    Ok("15 cuts on ext4 and XFS, on each engine".to_owned())
}

/// Cuts the power of a simulated disk after each operation, with every sync and with each kind left out.
pub(crate) fn syncs(quiet: bool) -> Result<String> {
    build()?;
    run(quiet, "disk_log", &["--cuts", "15000", "--seed", SEED])?;
    run(
        quiet,
        "disk_log",
        &["--cuts", "3000", "--seed", SEED, "--omit", "all"],
    )?;
    run(
        quiet,
        "disk_log",
        &["--cuts", "3000", "--seed", SEED, "--relaxed"],
    )?;
    Ok("15,000 cut points; each kind of sync is missed when it is left out".to_owned())
}

/// Makes the disks under a running berth fail.
pub(crate) fn faults(quiet: bool) -> Result<String> {
    mountable()?;
    tools::debian(&["e2fsprogs", "mount", "strace", "util-linux"])?;
    build()?;
    let directory = target();
    run(
        quiet,
        "faults",
        &["--directory", &directory.display().to_string()],
    )?;
    Ok("every scenario".to_owned())
}

fn build() -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args([
        "build",
        "--quiet",
        "--locked",
        "--release",
        "-p",
        "server-hyper",
        "-p",
        "trials",
    ]);
    ensure!(watched(&mut cargo, true)?, "the build in release failed");
    Ok(())
}

fn run(quiet: bool, trial: &str, arguments: &[&str]) -> Result<()> {
    let release = target().join("release");
    let mut command = limited(release.join(trial));
    command.args(arguments);
    if trial != "disk_log" {
        command.arg("--berth").arg(release.join("berth"));
    }
    ensure!(
        watched(&mut command, quiet)?,
        "{trial} {} failed",
        arguments.join(" ")
    );
    Ok(())
}

/// Whether file systems can be mounted by this user on this machine.
fn mountable() -> Result<()> {
    let mut unshared = limited("unshare");
    unshared.args(["--mount", "--propagation", "private", "true"]);
    let allowed = unshared.output().is_ok_and(|output| output.status.success());
    if !allowed || !Path::new("/dev/loop-control").exists() {
        bail!(NotHere("disks to cut off need root and loop devices".to_owned()));
    }
    Ok(())
}
