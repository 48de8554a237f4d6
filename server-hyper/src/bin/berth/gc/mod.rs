//! `berth gc`.

mod explain;
mod plan;
mod runs;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use registry_core::Digest;
use registry_core::store::{Counts, RunEnd};
use registry_gc::{Phase, Progress as HowFar, Summary};
use server_hyper::control::{Client, ClientError, Collect, Line, Request};

use crate::place::{self, EXIT_CODES, Place};
use crate::progress::{Progress, duration, refuse_line, size, table};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, after_help = format!("\
A server collects by itself, all the time; this is for whoever wants the room now, or wants to know what will go. Pushes \
and pulls go on meanwhile. A blob that no manifest names is kept for lifetimes.grace after it was last pushed or \
mounted, is then condemned, and goes for good after lifetimes.second_delay, unless somebody pushes it again in \
between. --grace shortens the first of the two. On a registry that no server runs on nobody can be reading, so the \
second is not waited for. What was deleted and can still be undeleted is kept.

Leaving (with ^C) ends the run at its next step; what is done is done, and the next run goes on.

{EXIT_CODES}

Examples:
  berth gc --dry-run --data /srv/berth            say what would go, and why
  berth gc --data /srv/berth                      give back what is due, whether a server runs there or not
  berth gc --grace 0s --data /srv/berth           and what nothing points at, however fresh
  berth gc --server https://registry.example:5001 --token-file control.token
  berth gc explain sha256:90c4ceec21ed… --data /srv/berth
  berth gc runs --json --data /srv/berth | jq '.[0].counts'"))]
pub(crate) struct Gc {
    #[command(subcommand)]
    about: Option<About>,
    #[command(flatten)]
    place: Place,
    /// How long a blob that nothing points at is kept after it was last pushed or mounted, such as 0s or 2h; if longer
    /// than lifetimes.grace it changes nothing [default: lifetimes.grace]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    grace: Option<Duration>,
    /// Say what would be given back, and why, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON, one object a line: progress, what is found, and at last the result
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum About {
    /// Say who points at a blob, until when it is leased, and what becomes of it.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth gc explain sha256:90c4ceec21edfcd78fb016307d8fb8c47629897f22e161967bfa87474b07f76b --data /srv/berth"))]
    Explain(Explain),
    /// List the latest runs of the collector, the last first.
    #[command(after_help = format!("{EXIT_CODES}

Examples:
  berth gc runs --data /srv/berth
  berth gc runs --limit 1 --json --data /srv/berth"))]
    Runs(Runs),
}

#[derive(Args)]
struct Explain {
    /// The blob
    digest: Digest,
    #[command(flatten)]
    place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Runs {
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    place: Place,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Gc) -> ExitCode {
    let done = match &args.about {
        Some(About::Explain(about)) => explain::explain(about),
        Some(About::Runs(about)) => runs::runs(about),
        None if args.dry_run => plan::plan(args),
        None => collect(args),
    };
    done.unwrap_or_else(|why| refuse_line(&why))
}

impl Gc {
    fn asked(&self) -> Collect {
        Collect {
            grace_ms: self
                .grace
                .map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
            each: false,
        }
    }
}

/// Asks, and gives lines to somebody who reads JSON, or else to `told`.
fn ask<T>(client: &Client, request: &Request, json: bool, told: &mut dyn FnMut(Line)) -> Result<T, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let asked: Result<T, ClientError> = client.ask(request, &mut |line| match json {
        true => place::print(&line),
        false => told(line),
    });
    if json {
        let last = match &asked {
            Ok(result) => serde_json::to_value(result).map(Line::Done),
            Err(error) => Ok(Line::Error(error.to_string())),
        };
        place::print(&last.map_err(|error| error.to_string())?);
    }
    asked.map_err(|error| error.to_string())
}

fn collect(args: &Gc) -> Result<ExitCode, String> {
    let client = args.place.client()?;
    let mut progress = Progress::begin();
    let summary: Result<Summary, String> = ask(&client, &Request::Gc(args.asked()), args.json, &mut |line| {
        if let Line::Progress(how_far) = line
            && let Ok(how_far) = serde_json::from_value::<HowFar>(how_far)
        {
            let what = match how_far.phase {
                Phase::Untagged => "deleting untagged manifests",
                Phase::Sweep => "cleaning up what was deleted",
                Phase::Uploads => "ending uploads",
                Phase::Blobs => "looking at blobs",
                Phase::Unlink => "giving back bytes",
            };
            progress.count(what, how_far.done, how_far.of);
        }
    });
    progress.clear();
    let summary = summary?;
    if !args.json {
        print!("{}", conclude(&summary, client.is_served()));
    }
    let well = summary.outcome == RunEnd::Done && summary.counts.failures == 0;
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What a run did, in a few lines; what is zero is left out.
fn conclude(summary: &Summary, served: bool) -> String {
    let counts = &summary.counts;
    let took = duration(summary.took);
    let mut text = match &summary.outcome {
        RunEnd::Done if *counts == Counts::default() => return "nothing to do\n".to_owned(),
        RunEnd::Done if counts.bytes == 0 => format!("no bytes given back yet, in {took}\n"),
        RunEnd::Done => format!("{} given back in {took}\n", size(counts.bytes)),
        RunEnd::Stopped => format!("stopped after {took}; {} given back\n", size(counts.bytes)),
        RunEnd::Overtaken => format!("another node took over after {took}\n"),
        RunEnd::Interrupted => format!("interrupted after {took}\n"),
        RunEnd::Failed { problem } => format!("failed after {took}: {problem}\n"),
    };
    let mut rows = Vec::new();
    for (what, count) in [
        ("blobs removed", counts.removed),
        ("blobs condemned", counts.condemned),
        ("blobs kept", counts.dropped + counts.requeued),
        ("uploads ended", counts.abandoned),
        ("untagged manifests deleted", counts.untagged),
        ("locations unlinked", counts.unlinked),
        ("steps that failed", counts.failures),
    ] {
        if count > 0 {
            rows.push(vec![format!("  {what}"), count.to_string()]);
        }
    }
    text.push_str(&table(&rows));
    if counts.condemned > counts.removed && served {
        text.push_str("what is condemned goes after lifetimes.second_delay, unless it is pushed again\n");
    }
    text
}
