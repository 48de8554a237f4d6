//! `berth scrub`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use server_hyper::control::{Damaged, Line, Request, Scrubbing, Standing};

use crate::place::{self, EXIT_CODES, Place};
use crate::progress::{rate, size, time};
use crate::undo::{ask, end};

#[derive(Args)]
#[command(after_help = format!("\
A server reads everything that it stores again, slowly and all the time, at scrub.rate and as often as scrub.interval \
says. What it finds damaged it refuses from then on; the next push of it replaces the bytes. This says what it found, since \
when, and who needs it. To read everything now: berth fsck --deep.

{EXIT_CODES}

Examples:
  berth scrub --data /srv/berth              how far it is, and what it found
  berth scrub --list --json --data /srv/berth | jq 'select(.found.standing == \"damaged\").found.digest'
  berth scrub --status --server https://registry.example:5001 --token-file control.token"))]
pub(crate) struct Scrub {
    /// Only say what it found
    #[arg(long, conflicts_with = "status")]
    list: bool,
    /// Only say how far it is
    #[arg(long)]
    status: bool,
    #[command(flatten)]
    place: Place,
    /// Print JSON, one object a line: what it found, and at last how far it is
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Scrub) -> ExitCode {
    end(scrub(args))
}

fn scrub(args: &Scrub) -> Result<(), String> {
    let mut found: Vec<Damaged> = Vec::new();
    let how_far: Scrubbing = ask(&args.place, &Request::Scrub {}, false, &mut |one| found.push(one))?;
    if !args.status {
        for one in &found {
            match args.json {
                true => place::print(&Line::Found(serde_json::json!(one))),
                false => print!("{}", told(one)),
            }
        }
        if !args.json && found.is_empty() {
            println!("nothing was found damaged");
        }
    }
    if !args.list {
        match args.json {
            true => place::print(&Line::Done(serde_json::json!(how_far))),
            false => print!("{}", state(&how_far)),
        }
    }
    Ok(())
}

/// What was found, who needs it, and what to do.
fn told(one: &Damaged) -> String {
    let found = &one.finding;
    let what = match &found.location {
        Some(location) => format!("blob {} at {location}", found.digest),
        None => format!("manifest {}", found.digest),
    };
    let mut text = format!("{what}: {}; found {}\n", found.damage, time(one.since));
    match &found.unlisted {
        Some(why) => text.push_str(&format!("  who needs it is not known: {why}\n")),
        None if found.needed_by.is_empty() => text.push_str("  no manifest needs it\n"),
        None => {
            for needed in &found.needed_by {
                text.push_str(&format!("  needed by {needed}\n"));
            }
        }
    }
    let todo = match (one.standing, &found.location) {
        (Standing::Mended, _) => "it was pushed again since, and is whole",
        (Standing::Gone, _) => "it was deleted since",
        (Standing::Damaged, location) if found.suspect || location.is_none() => {
            "it is refused; push it again"
        }
        (Standing::Damaged, _) => {
            "it is not marked, since this may not be its own fault; see that the file can be read, the next pass looks again"
        }
    };
    text.push_str(&format!("  {todo}\n"));
    text
}

fn state(at: &Scrubbing) -> String {
    let mut text = match at.began {
        None => "nothing was read again so far\n".to_owned(),
        Some(began) => {
            let read = format!(
                "{} blobs and {} manifests ({}) read, {} found damaged",
                at.done.blobs,
                at.done.manifests,
                size(at.done.bytes),
                at.done.damaged
            );
            let begun = time(began);
            match at.over {
                true => format!("the pass of {begun} is over: {read}\n"),
                false => {
                    let speed = rate(at.done.bytes, at.now.since(began));
                    let percent = at.position * 100.0;
                    format!("the pass of {begun} is at {percent:.1} %: {read}, {speed} on average\n")
                }
            }
        }
    };
    match at.finished {
        Some(finished) => text.push_str(&format!("everything was read last by {}\n", time(finished))),
        None => text.push_str("no pass has read everything yet\n"),
    }
    match at.settings {
        Some(settings) => text.push_str(&format!(
            "at most {}/s, a pass every {}\n",
            size(settings.rate),
            humantime::format_duration(Duration::from_millis(settings.interval_ms))
        )),
        None => text.push_str("no server reads it again now\n"),
    }
    if let Some(why) = &at.waits {
        text.push_str(&format!("it cannot go on, and tries again every minute: {why}\n"));
    }
    match at.standing {
        0 => text.push_str("nothing is known to be damaged\n"),
        1 => text.push_str("1 finding stands\n"),
        more => text.push_str(&format!("{more} findings stand\n")),
    }
    text
}
