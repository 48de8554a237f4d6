//! `berth fsck`.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use registry_core::store::{BlobStore, Kv, Lifetimes};
use registry_storage::kv::OpenError;
use registry_storage::records::Records;
use registry_storage::records::check::{Options, Report, Told};
use server_hyper::TokioRuntime;

use crate::progress::{Progress, rate, refuse, refuse_line, size};
use crate::settings::Settings;

#[derive(Args)]
#[command(after_help = "\
Reads and changes nothing, and needs the data for itself: stop the server first. What is found is printed on standard \
output, one thing a line: its kind and a sentence. The exit code is 1 if anything was found. Counters are only read; \
nothing says yet what they must add up to.

Examples:
  berth fsck --data /srv/berth               every record, and the length of every blob
  berth fsck --deep --config /etc/berth.toml and hash every byte
  berth fsck --json --data /srv/berth        one JSON object a line, the last with the totals")]
pub(crate) struct Fsck {
    #[command(flatten)]
    settings: Settings,
    /// Read and hash every blob, instead of only looking at its length
    #[arg(long)]
    deep: bool,
    /// Print findings and totals as JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Fsck) -> ExitCode {
    let config = match args.settings.load() {
        Ok(loaded) => loaded.config,
        Err(error) => return refuse_line(&error.to_string()),
    };
    if config.memory {
        return refuse_line("everything is kept in memory; there is nothing to check");
    }
    if let Err(why) = holds_records(&config.data) {
        return refuse_line(&why);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    runtime.block_on(async {
        let options = config.store_options().records();
        match registry_storage::open_with(&config.data, TokioRuntime::shared(), options) {
            Ok(stores) => match check(stores.kv, stores.bytes, args.deep, args.json).await {
                Ok(report) if report.findings == 0 => ExitCode::SUCCESS,
                Ok(_) => ExitCode::FAILURE,
                Err(error) => refuse(&error),
            },
            Err(error @ OpenError::InUse(_)) => refuse_line(&format!("{error}; stop the server first")),
            Err(error) => refuse(&error),
        }
    })
}

/// Why there is nothing to open in a directory; opening it would make something.
pub(crate) fn holds_records(data: &Path) -> Result<(), String> {
    match data.join("records").is_dir() {
        true => Ok(()),
        false => Err(format!("{} holds no registry: it has no records", data.display())),
    }
}

/// Checks stores, and says what is found as it is.
pub(crate) async fn check(
    kv: impl Kv,
    blobs: impl BlobStore,
    deep: bool,
    json: bool,
) -> registry_core::Result<Report> {
    let records = Records::new(
        std::sync::Arc::new(kv),
        TokioRuntime::shared(),
        Lifetimes::default(),
    );
    let mut progress = Progress::begin();
    let checked = records
        .check(&blobs, Options { deep }, &mut |told| match told {
            Told::Found(finding) => {
                progress.clear();
                match json {
                    true => println!("{}", serde_json::json!(finding)),
                    false => println!("{finding}"),
                }
            }
            Told::Progress(report) => progress.say(|time| {
                format!(
                    "checking: {} records, {} blobs, {} hashed ({})",
                    report.records,
                    report.blobs,
                    size(report.hashed),
                    rate(report.hashed, time)
                )
            }),
        })
        .await;
    progress.clear();
    let report = checked?;
    conclude(&report, deep, json, &progress);
    Ok(report)
}

fn conclude(report: &Report, deep: bool, json: bool, progress: &Progress) {
    if json {
        println!("{}", serde_json::json!({ "checked": report }));
    }
    let found = match report.findings {
        0 => "nothing wrong".to_owned(),
        1 => "1 finding".to_owned(),
        more => format!("{more} findings"),
    };
    let hashed = match deep {
        true => format!(", {} hashed", size(report.hashed)),
        false => String::new(),
    };
    eprintln!(
        "{found}: {} records, {} blobs, {} files{hashed}, in {:.1} s",
        report.records,
        report.blobs,
        report.files,
        progress.elapsed().as_secs_f64()
    );
}
