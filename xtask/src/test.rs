//! `cargo xtask test`: every check that a change must pass, each run even if another failed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::command::watched;
use crate::report::{Job, NotHere, Outcome, counts, seconds, summary};
use crate::server::Server;
use crate::{conformance, e2e, release, root, tools, trials};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only this job; may be given more than once.
    #[arg(long, value_name = "JOB", value_parser = job_name)]
    only: Vec<String>,
    /// Leave this job out; may be given more than once.
    #[arg(long, value_name = "JOB", value_parser = job_name)]
    skip: Vec<String>,
    /// Use this program of the conformance suite instead of installing the pinned one.
    #[arg(long, value_name = "PROGRAM")]
    suite: Option<PathBuf>,
    /// Print the outcome as JSON on standard output, and all else on standard error.
    #[arg(long)]
    json: bool,
}

/// A job: its name, what it is for, and what it does; the text it returns is a remark for the closing table.
struct Step {
    name: &'static str,
    about: &'static str,
    work: fn(&Shell) -> Result<String>,
}

/// The jobs in order: the quick ones first, so that a slip shows early.
const STEPS: [Step; 23] = [
    Step {
        name: "format",
        about: "rustfmt changes nothing",
        work: format,
    },
    Step {
        name: "clippy",
        about: "no lint warns",
        work: clippy,
    },
    Step {
        name: "tests",
        about: "unit, integration and documentation tests",
        work: tests,
    },
    Step {
        name: "deny",
        about: "licences, banned crates, sources",
        work: deny,
    },
    Step {
        name: "advisories",
        about: "known vulnerabilities in dependencies",
        work: advisories,
    },
    Step {
        name: "programs",
        about: "every program builds in release",
        work: programs,
    },
    Step {
        name: "model",
        about: "the model of push and collection holds its properties",
        work: model,
    },
    Step {
        name: "weakenings",
        about: "the model catches each rule taken away",
        work: weakenings,
    },
    Step {
        name: "conformance-hyper",
        about: "the official suite against berth",
        work: conformance_hyper,
    },
    Step {
        name: "conformance-accounts",
        about: "the official suite against a berth that it logs in to",
        work: conformance_accounts,
    },
    Step {
        name: "conformance-actix",
        about: "the official suite against the actix example",
        work: conformance_actix,
    },
    Step {
        name: "schedules",
        about: "no order of the code's steps breaks a promise",
        work: |shell| trials::schedules(shell.quiet),
    },
    Step {
        name: "guards",
        about: "each rule taken away from the code breaks a promise",
        work: |shell| trials::guards(shell.quiet),
    },
    Step {
        name: "replay",
        about: "what the code commits, the model does too",
        work: |shell| trials::replay(shell.quiet),
    },
    Step {
        name: "stress",
        about: "the collector takes nothing from clients that push, delete and read",
        work: |shell| trials::stress(shell.quiet),
    },
    Step {
        name: "syncs",
        about: "a power cut after any operation loses nothing, and every sync is needed",
        work: |shell| trials::syncs(shell.quiet),
    },
    Step {
        name: "crash",
        about: "berth killed under load keeps what it acknowledged",
        work: |shell| trials::crash(shell.quiet),
    },
    Step {
        name: "power-cut",
        about: "berth whose disks lose their power keeps what it acknowledged",
        work: |shell| trials::power_cut(shell.quiet),
    },
    Step {
        name: "faults",
        about: "disks that fail under berth are told and lose nothing",
        work: |shell| trials::faults(shell.quiet),
    },
    Step {
        name: "footprint",
        about: "start-up and memory stay within their limits",
        work: footprint,
    },
    Step {
        name: "instructions",
        about: "parts of a request take no more instructions than are held",
        work: instructions,
    },
    Step {
        name: "e2e",
        about: "real clients round-trip tiny images",
        work: e2e_slice,
    },
    Step {
        name: "e2e-accounts",
        about: "real clients log in and may what their account may",
        work: |shell| e2e::slice_with_accounts(shell.quiet),
    },
];

fn job_name(text: &str) -> Result<String, String> {
    match STEPS.iter().find(|step| step.name == text) {
        Some(step) => Ok(step.name.to_owned()),
        None => Err(format!("the jobs are {}", STEPS.map(|step| step.name).join(", "))),
    }
}

pub(crate) fn run(args: &Args) -> Result<bool> {
    let shell = Shell {
        quiet: args.json,
        suite: args.suite.clone(),
    };
    let mut jobs = Vec::new();
    for step in &STEPS {
        let chosen = args.only.is_empty() || args.only.iter().any(|name| name == step.name);
        if !chosen || args.skip.iter().any(|name| name == step.name) {
            continue;
        }
        shell.say(&format!("\n== {}: {}", step.name, step.about));
        let job = Job::run(step.name, || (step.work)(&shell));
        if let Outcome::Failed(why) | Outcome::NotRun(why) = &job.outcome {
            shell.say(why);
        }
        shell.say(&format!(
            "== {} {} in {}",
            job.name,
            job.outcome.word(),
            seconds(job.took)
        ));
        jobs.push(job);
    }
    ensure!(!jobs.is_empty(), "--only and --skip leave no job");
    let (passed, failed) = counts(&jobs);
    if args.json {
        let list: Vec<Value> = jobs.iter().map(Job::to_json).collect();
        println!("{}", json!({ "jobs": list, "passed": passed, "failed": failed }));
    } else {
        println!("{}", summary(&jobs));
    }
    Ok(failed == 0)
}

/// What the jobs need to know of the command line: whether their output leaves standard output alone.
struct Shell {
    quiet: bool,
    /// The conformance suite's program, if one was given.
    suite: Option<PathBuf>,
}

impl Shell {
    fn say(&self, text: &str) {
        if self.quiet {
            eprintln!("{text}")
        } else {
            println!("{text}")
        }
    }

    fn cargo(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("cargo");
        command.current_dir(root()).args(arguments);
        ensure!(
            watched(&mut command, self.quiet)?,
            "cargo {} failed",
            arguments.join(" ")
        );
        Ok(String::new())
    }

    /// Runs a program of the workspace that is built.
    fn program(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(release::program(name));
        command.current_dir(root()).args(arguments);
        ensure!(
            watched(&mut command, self.quiet)?,
            "{name} {} failed",
            arguments.join(" ")
        );
        Ok(())
    }
}

fn format(shell: &Shell) -> Result<String> {
    shell.cargo(&["fmt", "--all", "--check"])
}

fn clippy(shell: &Shell) -> Result<String> {
    shell.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

fn tests(shell: &Shell) -> Result<String> {
    shell.cargo(&["test", "--workspace", "--no-fail-fast"])
}

fn deny(shell: &Shell) -> Result<String> {
    tools::cargo_deny()?;
    shell.cargo(&["deny", "check", "licenses", "bans", "sources"])
}

/// Says so and goes on if the advisory database cannot be fetched: that is the network's state and not the
/// code's. Anything else that cargo-deny refuses is a failure.
fn advisories(_: &Shell) -> Result<String> {
    tools::cargo_deny()?;
    let mut command = Command::new("cargo");
    let output = command
        .current_dir(root())
        .args(["deny", "check", "advisories"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok("checked".to_owned());
    }
    if said.contains("failed to fetch advisory database") {
        bail!(NotHere(
            "the advisory database cannot be fetched from here".to_owned()
        ));
    }
    bail!("{}", said.trim())
}

/// A build of its own: with the features of the others its states are wider.
const MODEL: [&str; 8] = [
    "run",
    "--quiet",
    "--release",
    "-p",
    "registry-gc",
    "--bin",
    "model",
    "--",
];

fn model(shell: &Shell) -> Result<String> {
    shell.cargo(&[&MODEL[..], &["check"]].concat())
}

fn weakenings(shell: &Shell) -> Result<String> {
    shell.cargo(&[&MODEL[..], &["weakenings"]].concat())
}

fn conformance_hyper(shell: &Shell) -> Result<String> {
    conform(shell, |suite| {
        conformance::check_server(suite, Server::Hyper, conformance::Version::All)
    })
}

fn conformance_accounts(shell: &Shell) -> Result<String> {
    conform(shell, |suite| {
        conformance::check_with_accounts(suite, conformance::Version::All)
    })
}

fn conformance_actix(shell: &Shell) -> Result<String> {
    conform(shell, |suite| {
        conformance::check_server(suite, Server::Actix, conformance::Version::All)
    })
}

fn conform(shell: &Shell, check: impl FnOnce(&Path) -> Vec<Job>) -> Result<String> {
    let suite = match conformance::suite(shell.suite.as_deref()) {
        // A module proxy that does not offer the suite says nothing of the registry.
        Err(error) if shell.suite.is_none() && format!("{error:#}").contains("Forbidden") => {
            let why = "the module proxy does not offer the official suite; `--suite PROGRAM` takes one that is built";
            bail!(NotHere(why.to_owned()));
        }
        found => found?,
    };
    let jobs = check(&suite);
    let remarks: Vec<String> = jobs
        .iter()
        .map(|job| match &job.outcome {
            Outcome::Passed => format!("{}: {}", job.name, job.note),
            Outcome::Failed(why) | Outcome::NotRun(why) => format!("{}: {why}", job.name),
        })
        .collect();
    shell.say(&remarks.join("\n"));
    ensure!(counts(&jobs).1 == 0, "{}", remarks.join("; "));
    Ok(remarks.join("; "))
}

/// All together, and `berth` by itself too: it must not need what only others turn on.
fn programs(shell: &Shell) -> Result<String> {
    shell.cargo(&["check", "--quiet", "--locked", "-p", "server-hyper"])?;
    release::build()?;
    Ok(String::new())
}

/// A slice of the measurements: as many clients at once as in full, fewer tags and uploads, and smaller blobs.
fn footprint(shell: &Shell) -> Result<String> {
    release::build()?;
    let berth = release::program("berth").display().to_string();
    let bench = |name, arguments: &[&str]| shell.program(name, &[&["--berth", &berth], arguments].concat());
    bench("start", &["--tags", "100000", "--rounds", "3"])?;
    bench("memory", &["--mib", "16"])?;
    bench("abandoned", &["--uploads", "2000", "--no-wait"])?;
    Ok(String::new())
}

/// Counts them under valgrind, where they do not depend on what else the machine does.
fn instructions(shell: &Shell) -> Result<String> {
    tools::debian(&["valgrind"])?;
    release::build()?;
    shell.program("instructions", &[])?;
    Ok(String::new())
}

fn e2e_slice(shell: &Shell) -> Result<String> {
    e2e::slice(Server::Hyper, shell.quiet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_job_is_refused_with_the_names_of_the_known() {
        assert!(job_name("clippy").is_ok());
        assert!(job_name("clipy").unwrap_err().contains("weakenings"));
    }
}
