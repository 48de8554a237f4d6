//! `berth fsck`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use registry_core::store::{BlobStore, Kv, Lifetimes};
use registry_storage::kv::OpenError;
use registry_storage::records::Records;
use registry_storage::records::check::{Finding, Options, Report, Told};
use server_hyper::control::{Client, ClientError, Found, Fsck as Asked, Line, Request, Token};
use server_hyper::{StoreOptions, Stores, TokioRuntime};

use crate::progress::{Progress, rate, refuse, refuse_line, size};
use crate::settings::Settings;

/// Exit code of a check that did not take place.
const UNCHECKED: u8 = 2;

#[derive(Args)]
#[command(after_help = "\
Runs beside a server, which goes on: what others write meanwhile is never taken for wrong. Without a server it opens \
the data itself. What is found is printed on standard output, one thing a line: its kind, a sentence, and what to do.

Without --repair nothing is changed: data of an older format is refused. With it, each repair is one transaction that \
asserts what was found; what nothing tells how it was is named and left. It can be stopped at any time and run again.

Exit codes:
  0  nothing is wrong, or all that was is repaired
  1  something is wrong and not repaired; or blobs were marked as lost, which must be pushed again; or not everything \
could be looked at
  2  there was no check: the data cannot be opened, or the server not be asked

Examples:
  berth fsck --data /srv/berth               every record, and the length of every blob
  berth fsck --deep --config /etc/berth.toml and hash every byte
  berth fsck --repair --data /srv/berth      and repair what can be repaired
  berth fsck --json --data /srv/berth        one JSON object a line, the last with the totals
  berth fsck --server https://registry.example:5001 --token /etc/berth.token")]
pub(crate) struct Fsck {
    #[command(flatten)]
    settings: Settings,
    /// Read and hash every blob, instead of only looking at its length
    #[arg(long)]
    deep: bool,
    /// Repair what can be repaired without guessing
    #[arg(long)]
    repair: bool,
    /// Print findings and totals as JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Also print what each repository holds, added up from the records
    #[arg(long)]
    usage: bool,
    /// Ask the server whose admin listener is at this address
    #[arg(long, value_name = "URL", requires = "token", conflicts_with = "data")]
    server: Option<String>,
    /// The server's control token, a file such as control.token in its data directory
    #[arg(long, value_name = "FILE", requires = "server")]
    token: Option<PathBuf>,
    /// Trust the certificates in this PEM file, not those that the system trusts
    #[arg(long, value_name = "FILE", requires = "server")]
    authority: Option<PathBuf>,
}

pub(crate) fn run(args: &Fsck) -> ExitCode {
    let client = match args.client() {
        Ok(client) => client,
        Err(why) => {
            refuse_line(&why);
            return ExitCode::from(UNCHECKED);
        }
    };
    let mut printer = Printer::begin(args.json, args.deep);
    let request = Request::Fsck(Asked {
        deep: args.deep,
        repair: args.repair,
        stopped: !client.is_served(),
    });
    let asked = client.ask::<Report>(&request, &mut |line| printer.line(line, args.usage));
    printer.progress.clear();
    match asked {
        Ok(report) => {
            printer.conclude(&report);
            match report.is_well() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            refuse(&error);
            ExitCode::from(UNCHECKED)
        }
    }
}

impl Fsck {
    fn client(&self) -> Result<Client, String> {
        let said = |error: ClientError| error.to_string();
        if let (Some(url), Some(token)) = (&self.server, &self.token) {
            let token = Token::read(token).map_err(|error| error.to_string())?;
            return Client::at(url, token, self.authority.as_deref()).map_err(said);
        }
        let config = self.settings.load().map_err(|error| error.to_string())?.config;
        if config.memory {
            return Err("everything is kept in memory; there is nothing to check".to_owned());
        }
        holds_records(&config.data)?;
        if let Some(client) = Client::on(&config.data).map_err(said)? {
            return Ok(client);
        }
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let _within = runtime.enter();
        let options = StoreOptions {
            // Who only looks changes nothing.
            keep_format: !self.repair,
            ..config.store_options()
        };
        let stores = Stores::open(&config.data, options).map_err(|error| match error {
            OpenError::InUse(_) => format!("{error}, by something that cannot be asked"),
            OpenError::OlderFormat { .. } => format!("{error}. So does a check with --repair"),
            other => match std::error::Error::source(&other) {
                Some(cause) => format!("{other}: {cause}"),
                None => other.to_string(),
            },
        })?;
        drop(_within);
        Ok(Client::within(stores, runtime))
    }
}

/// Why there is nothing to open in a directory; opening it would make something.
pub(crate) fn holds_records(data: &Path) -> Result<(), String> {
    match data.join("records").is_dir() {
        true => Ok(()),
        false => Err(format!("{} holds no registry: it has no records", data.display())),
    }
}

/// Checks every record and every byte of stores that nobody uses, and says what is found as it is.
pub(crate) async fn check(kv: impl Kv, blobs: impl BlobStore, json: bool) -> registry_core::Result<Report> {
    let (kv, runtime) = (std::sync::Arc::new(kv), TokioRuntime::shared());
    let records = Records::new(kv, runtime, Lifetimes::default());
    let mut printer = Printer::begin(json, true);
    let options = Options {
        deep: true,
        ..Options::default()
    };
    let checked = records
        .check(&blobs, options, &mut |told| match told {
            Told::Found(finding) => printer.finding(finding),
            Told::Progress(report) => printer.progress(report),
            Told::Usage(_) => {}
        })
        .await;
    printer.progress.clear();
    let report = checked?;
    printer.conclude(&report);
    Ok(report)
}

/// Prints what is found, and how far the check is.
struct Printer {
    progress: Progress,
    json: bool,
    deep: bool,
    /// When the first byte was hashed.
    hashing: Option<Instant>,
}

impl Printer {
    fn begin(json: bool, deep: bool) -> Self {
        Printer {
            progress: Progress::begin(),
            json,
            deep,
            hashing: None,
        }
    }

    fn line(&mut self, line: Line, usage: bool) {
        match line {
            Line::Progress(value) => {
                if let Ok(report) = serde_json::from_value(value) {
                    self.progress(&report);
                }
            }
            Line::Found(value) => match serde_json::from_value(value) {
                Ok(Found::Finding(finding)) => self.finding(&finding),
                Ok(Found::Usage(held)) if usage => {
                    self.progress.clear();
                    match self.json {
                        true => println!("{}", serde_json::json!({ "usage": held })),
                        false => println!(
                            "usage: {}: {} manifests ({}), {} blobs ({})",
                            held.repository,
                            held.manifests,
                            size(held.manifest_bytes),
                            held.blobs,
                            size(held.blob_bytes)
                        ),
                    }
                }
                // A newer server may find what this one has no words for; its report counts it.
                Ok(Found::Usage(_)) | Err(_) => {}
            },
            Line::Done(_) | Line::Error(_) => {}
        }
    }

    fn finding(&mut self, finding: &Finding) {
        self.progress.clear();
        match self.json {
            true => println!("{}", serde_json::json!(finding)),
            false => println!("{finding}"),
        }
    }

    fn progress(&mut self, report: &Report) {
        if report.hashed > 0 && self.hashing.is_none() {
            self.hashing = Some(Instant::now());
        }
        let time = self.hashing.map(|since| since.elapsed());
        self.progress.say(|_| match time {
            Some(time) if report.hashed < report.bytes => hashing(report, time),
            _ => format!("checking: {} records, {} blobs", report.records, report.blobs),
        });
    }

    fn conclude(&self, report: &Report) {
        if self.json {
            println!("{}", serde_json::json!({ "checked": report }));
        }
        let found = match report.findings {
            0 => "nothing wrong".to_owned(),
            1 => "1 finding".to_owned(),
            more => format!("{more} findings"),
        };
        let repaired = match report.repaired {
            0 => String::new(),
            repaired => format!(", {repaired} repaired"),
        };
        let hashed = match self.deep {
            true => {
                let time = self.hashing.map_or(Duration::ZERO, |since| since.elapsed());
                let speed = match report.hashed {
                    0 => String::new(),
                    hashed => format!(" ({})", rate(hashed, time)),
                };
                format!(", {} hashed{speed}", size(report.hashed))
            }
            false => String::new(),
        };
        eprintln!(
            "{found}{repaired}: {} records, {} blobs, {} files{hashed}, in {:.1} s",
            report.records,
            report.blobs,
            report.files,
            self.progress.elapsed().as_secs_f64()
        );
        if report.lost > 0 {
            eprintln!("blobs marked as lost, to be pushed again: {}", report.lost);
        }
        if !report.incomplete.is_empty() {
            let tables: Vec<&str> = report.incomplete.keys().map(String::as_str).collect();
            eprintln!(
                "not every record could be looked at, of: {}; what would follow from what is not there was told and not \
                 done",
                tables.join(", ")
            );
        }
        if report.forgotten > 0 {
            eprintln!(
                "more blobs lost their bytes than can be remembered ({} times one was left out): repair, and run it again",
                report.forgotten
            );
        }
        if report.unsettled > 0 {
            eprintln!(
                "{} records were written by others each time that they were looked at; check again",
                report.unsettled
            );
        }
    }
}

/// How far the hashing is, and how long it will take.
fn hashing(report: &Report, time: Duration) -> String {
    let left = report.bytes - report.hashed;
    let left = Duration::from_secs((time.as_secs_f64() * left as f64 / report.hashed.max(1) as f64) as u64);
    format!(
        "hashing: {} of {} ({}), {} left",
        size(report.hashed),
        size(report.bytes),
        rate(report.hashed, time),
        humantime::format_duration(left)
    )
}
