//! `cargo run --release -p benches --bin instructions`: whether parts of a request take more instructions than are held.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use benches::instructions::{Complaint, PARTS, Part, Table};
use clap::{Parser, Subcommand};

/// Counts the instructions of parts of a request with valgrind, and exits with an error if one takes more than is held.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Take>,
    /// The counts that are held
    #[arg(long, default_value = "benches/instructions.json")]
    table: PathBuf,
    /// By which share a part may take more
    #[arg(long, default_value_t = 0.05)]
    tolerance: f64,
    /// Hold the counts as they are now
    #[arg(long)]
    bless: bool,
}

#[derive(Subcommand)]
enum Take {
    /// Take turns of a part and nothing else, which is what is counted
    Take { part: String, turns: u64 },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Take::Take { part, turns }) => take(part, *turns),
        None => arguments.held(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("instructions: {why}");
            ExitCode::FAILURE
        }
    }
}

fn take(part: &str, turns: u64) -> io::Result<bool> {
    let part = Part::named(part).ok_or_else(|| io::Error::other(format!("there is no part {part}")))?;
    part.take(turns).map(|()| true)
}

fn compiler() -> io::Result<String> {
    let said = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

impl Arguments {
    fn held(&self) -> io::Result<bool> {
        let program = std::env::current_exe()?;
        let held = match self.bless {
            true => Table::default(),
            false => serde_json::from_slice(&std::fs::read(&self.table)?)?,
        };
        let mut counted = Table {
            compiler: compiler()?,
            ..Table::default()
        };
        println!("{:<26} {:>10} {:>10}", "part", "held", "now");
        for part in &PARTS {
            let count = part.count(&program)?;
            let known = held.instructions.get(part.name);
            let known = known.map_or_else(|| "-".to_owned(), u64::to_string);
            println!("{:<26} {known:>10} {count:>10}", part.name);
            counted.instructions.insert(part.name.to_owned(), count);
        }
        if self.bless {
            let text = serde_json::to_string_pretty(&counted)? + "\n";
            std::fs::write(&self.table, text)?;
            return Ok(true);
        }
        Ok(self.judged(&held, &counted))
    }

    fn judged(&self, held: &Table, counted: &Table) -> bool {
        let complaints = held.complaints(counted, self.tolerance);
        for complaint in &complaints {
            match complaint {
                Complaint::More(part, ratio) => println!(
                    "{part} takes {ratio:.2} times the instructions that are held: find out why, or run this with --bless"
                ),
                Complaint::Less(part, ratio) => {
                    println!(
                        "{part} takes only {ratio:.2} times what is held: run this with --bless to hold it"
                    )
                }
                Complaint::Missing(part) => {
                    println!("{part} is either not counted or not held: run this with --bless")
                }
            }
        }
        let is_less = |complaint: &Complaint| matches!(complaint, Complaint::Less(..));
        let holds = complaints.iter().all(is_less);
        if !holds && held.compiler != counted.compiler {
            println!(
                "held are counts of {}, and this is {}: if nothing else has changed, that is why",
                held.compiler, counted.compiler
            );
        }
        holds
    }
}
