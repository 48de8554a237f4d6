//! Slices of the trials that take their time in full: enough of each to notice that a promise was broken.

use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::command::{limited, watched};
use crate::report::NotHere;
use crate::{release, root, target, tools};

/// Choices that can be had again.
const SEED: &str = "20261121";

/// The engines that keep records.
const ENGINES: [&str; 2] = ["lmdb", "sled"];

/// The trials that run a server; the others have its parts within them.
const BESIDE_A_SERVER: [&str; 3] = ["crash", "faults", "stress"];

/// Kills a berth under load, on each engine.
pub(crate) fn crash(quiet: bool) -> Result<String> {
    release::build()?;
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
    tools::debian(&["e2fsprogs", "mount", "xfsprogs"])?;
    mountable(&["ext4", "xfs"])?;
    release::build()?;
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
    release::build()?;
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

/// Runs the code under a scheduler that tries orders of its steps.
pub(crate) fn schedules(quiet: bool) -> Result<String> {
    release::build()?;
    run(quiet, "schedules", &["--schedules", "30000"])?;
    Ok("30,000 schedules".to_owned())
}

/// The same with each guard of the contract left out of the code, in a build of its own that never holds a berth.
pub(crate) fn guards(quiet: bool) -> Result<String> {
    let apart = target().join("weaken");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(root())
        .args(["run", "--quiet", "--locked", "--release", "-p", "trials"])
        .args(["--features", "weaken", "--bin", "schedules", "--target-dir"])
        .arg(&apart)
        .args(["--", "--weaken", "all", "--schedules", "100000"]);
    ensure!(
        watched(&mut cargo, quiet)?,
        "a guard that was left out was not missed"
    );
    Ok("each guard is missed, but for one that nothing needs".to_owned())
}

/// Asks the model whether it would do what the records commit under stress.
pub(crate) fn replay(quiet: bool) -> Result<String> {
    release::build()?;
    run(quiet, "replay", &["--rounds", "40"])?;
    Ok("40 recorded runs".to_owned())
}

/// Lets the collector work against clients over HTTP, under kills.
pub(crate) fn stress(quiet: bool) -> Result<String> {
    release::build()?;
    run(quiet, "stress", &["--seconds", "60", "--seed", SEED])?;
    Ok("a minute".to_owned())
}

/// Makes the disks under a running berth fail.
pub(crate) fn faults(quiet: bool) -> Result<String> {
    tools::debian(&["e2fsprogs", "mount", "strace", "util-linux"])?;
    mountable(&["ext4"])?;
    let traced = limited("strace")
        .args(["-qq", "-e", "trace=none", "true"])
        .output()?;
    if !traced.status.success() {
        bail!(NotHere("strace may not trace here".to_owned()));
    }
    release::build()?;
    let directory = target();
    run(
        quiet,
        "faults",
        &["--directory", &directory.display().to_string()],
    )?;
    Ok("every scenario".to_owned())
}

fn run(quiet: bool, trial: &str, arguments: &[&str]) -> Result<()> {
    let mut command = limited(release::program(trial));
    command.args(arguments);
    if BESIDE_A_SERVER.contains(&trial) {
        command.arg("--berth").arg(release::program("berth"));
    }
    ensure!(
        watched(&mut command, quiet)?,
        "{trial} {} failed",
        arguments.join(" ")
    );
    Ok(())
}

/// A file system in an image, mounted where nobody else sees it, and unmounted.
const MOUNT: &str = r#"
set -e
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
truncate -s 320M "$directory/image"
mkfs.$0 -q "$directory/image"
mkdir "$directory/mounted"
mount -o loop "$directory/image" "$directory/mounted"
umount "$directory/mounted"
"#;

/// Whether this user can mount these file systems on this machine.
fn mountable(file_systems: &[&str]) -> Result<()> {
    for file_system in file_systems {
        let mut mounting = limited("unshare");
        mounting.args(["--mount", "--propagation", "private", "sh", "-c", MOUNT]);
        mounting.arg(file_system);
        if !mounting.output().is_ok_and(|output| output.status.success()) {
            let why = format!("no {file_system} can be mounted: that needs root and loop devices");
            bail!(NotHere(why));
        }
    }
    Ok(())
}
