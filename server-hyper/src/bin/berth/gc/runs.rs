//! `berth gc runs`.

use std::process::ExitCode;

use registry_core::store::{Run, RunEnd, Trigger};
use server_hyper::control::Request;

use super::Runs;
use crate::progress::{duration, size, table, time};

pub(super) fn runs(args: &Runs) -> Result<ExitCode, String> {
    let client = args.place.client()?;
    let request = Request::GcRuns { limit: args.limit };
    let runs: Vec<Run> = client
        .ask(&request, &mut |_| {})
        .map_err(|error| error.to_string())?;
    if args.json {
        println!("{}", serde_json::json!(runs));
    } else if runs.is_empty() {
        println!("no run is recorded: nothing was due so far");
    } else {
        print!("{}", tell(&runs));
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(runs: &[Run]) -> String {
    let head = [
        "started",
        "why",
        "took",
        "ended",
        "looked at",
        "condemned",
        "removed",
        "given back",
        "failures",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for run in runs {
        let counts = &run.counts;
        let why = match run.begin.trigger {
            Trigger::Due => "due",
            Trigger::Asked => "asked",
        };
        let ended = match &run.outcome {
            None => "under way",
            Some(RunEnd::Done) => "done",
            Some(RunEnd::Stopped) => "stopped",
            Some(RunEnd::Overtaken) => "overtaken",
            Some(RunEnd::Failed { .. }) => "failed",
            Some(RunEnd::Interrupted) => "interrupted",
        };
        rows.push(vec![
            time(run.started),
            why.to_owned(),
            duration(run.noted.since(run.started)),
            ended.to_owned(),
            counts.looked_at.to_string(),
            counts.condemned.to_string(),
            counts.removed.to_string(),
            size(counts.bytes),
            counts.failures.to_string(),
        ]);
    }
    let mut text = table(&rows);
    for run in runs {
        if let Some(RunEnd::Failed { problem }) = &run.outcome {
            text.push_str(&format!("{}: {problem}\n", time(run.started)));
        }
    }
    text
}
