//! Installing what a command needs, and saying so.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{capture, limited, stdout, watched};
use crate::target;

/// The release of cargo-deny that the checks are written for.
const CARGO_DENY: &str = "0.20.2";

/// The Python clients, pinned.
const PYTHON_CLIENTS: [&str; 2] = ["oras==0.2.43", "helm-python-sdk==0.2.2"];

/// Where programs that these commands build are put.
fn bin_dir() -> PathBuf {
    target().join("tools/bin")
}

/// Installs the Debian packages that are missing.
pub(crate) fn debian(packages: &[&str]) -> Result<()> {
    let installed = |package: &str| {
        let query = stdout(limited("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]));
        query.is_ok_and(|status| status == "installed")
    };
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing from Debian: {}", missing.join(" "));
    let apt = || {
        let mut command = limited("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-o", "DPkg::Lock::Timeout=300", "-qq"]);
        command
    };
    capture(apt().arg("update"))?;
    capture(
        apt()
            .args(["install", "-y", "--no-install-recommends"])
            .args(missing),
    )?;
    Ok(())
}

/// The Python interpreter of a virtual environment that has the Python clients.
pub(crate) fn python() -> Result<PathBuf> {
    let venv = target().join("tools/venv");
    let python = venv.join("bin/python");
    let list = |python: &PathBuf| stdout(limited(python).args(["-m", "pip", "list", "--format=freeze"]));
    let complete = |installed: &str| {
        PYTHON_CLIENTS
            .iter()
            .all(|pin| installed.lines().any(|line| line == *pin))
    };
    if python.exists() && list(&python).is_ok_and(|installed| complete(&installed)) {
        return Ok(python);
    }
    eprintln!("installing Python packages: {}", PYTHON_CLIENTS.join(" "));
    capture(limited("python3").args(["-m", "venv"]).arg(&venv)).context("a Python with venv is needed")?;
    capture(
        limited(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PYTHON_CLIENTS),
    )?;
    Ok(python)
}

/// Builds the Go program `name` from `package` at a pinned version, once.
pub(crate) fn go(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    // The version is part of the folder's name, so a new pin is built afresh.
    let dir = bin_dir().join(version);
    let program = dir.join(name);
    if !program.exists() {
        eprintln!("installing with go: {package}@{version}");
        let install = capture(
            limited("go")
                .env("GOBIN", &dir)
                .args(["install", &format!("{package}@{version}")]),
        );
        install.with_context(|| format!("{name} could not be installed"))?;
    }
    ensure!(
        program.exists(),
        "go install of {package} made no {}",
        program.display()
    );
    Ok(program)
}

/// Makes sure that the pinned cargo-deny answers.
pub(crate) fn cargo_deny() -> Result<String> {
    let version = || stdout(limited("cargo").args(["deny", "--version"]));
    let wanted = format!("cargo-deny {CARGO_DENY}");
    if version().is_ok_and(|found| found == wanted) {
        return Ok(wanted);
    }
    eprintln!("installing with cargo: cargo-deny {CARGO_DENY}");
    if !watched(
        Command::new("cargo").args(["install", "--locked", "--version", CARGO_DENY, "cargo-deny"]),
        true,
    )? {
        bail!("cargo-deny {CARGO_DENY} could not be installed");
    }
    version()
}
