//! `berth backup`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use registry_storage::backup::{self, BackupError, Told, Written};
use server_hyper::TokioRuntime;
use server_hyper::config::Config;
use server_hyper::control::Held;

use crate::fsck::holds_records;
use crate::progress::{Progress, rate, refuse, refuse_line, size};
use crate::settings::Settings;

#[derive(Args)]
#[command(after_help = "\
A running server goes on serving pushes, pulls and deletes; only giving back room waits until the backup is done. The \
backup has the records as they were at one moment, and the blobs that they name. Without a server the data is opened \
by this command itself. Run it as the user that the server runs as.

DIRECTORY may hold an earlier backup: then only new blobs are copied, and the earlier one counts until the new one is \
whole. Every blob is hashed as it is copied. One that is missing or damaged is told and left out; then the exit code \
is 1, and the rest is a good backup.

Examples:
  berth backup --data /srv/berth /mnt/backup
  berth backup --config /etc/berth.toml /mnt/backup     with the data that a file names
  berth backup --data /srv/berth --records-only /mnt/records     where the blobs are kept safe otherwise")]
pub(crate) struct Backup {
    #[command(flatten)]
    settings: Settings,
    /// Where the backup goes; it is created if it is not there
    #[arg(value_name = "DIRECTORY")]
    to: PathBuf,
    /// Only the records, without the blobs that lie in files
    #[arg(long)]
    records_only: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Backup) -> ExitCode {
    let config = match args.settings.load() {
        Ok(loaded) => loaded.config,
        Err(error) => return refuse_line(&error.to_string()),
    };
    if config.memory {
        return refuse_line("everything is kept in memory; there is nothing to back up");
    }
    if let Err(why) = holds_records(&config.data).and_then(|()| apart(&config.data, &args.to)) {
        return refuse_line(&why);
    }
    let mut progress = Progress::begin();
    match back_up(args, &config, &mut progress) {
        Ok(written) => {
            progress.clear();
            conclude(args, &written, &progress)
        }
        Err(Failure::Server(error)) => {
            refuse_line(&format!("the server cannot be asked to hold its blobs: {error}"))
        }
        Err(Failure::Backup(error)) => {
            progress.clear();
            refuse(&error)
        }
    }
}

/// A backup inside the data would be a part of itself.
fn apart(data: &Path, to: &Path) -> Result<(), String> {
    let whole = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // What is not there yet has no links in it; what is above it may.
        let (above, real) = path
            .ancestors()
            .find_map(|above| Some((above, above.canonicalize().ok()?)))
            .unwrap_or((Path::new(""), PathBuf::new()));
        match path.strip_prefix(above) {
            Ok(rest) if rest.as_os_str().is_empty() => real,
            Ok(rest) => real.join(rest),
            Err(_) => path.clone(),
        }
    };
    let (data, to) = (whole(data), whole(to));
    match to.starts_with(&data) || data.starts_with(&to) {
        true => Err(format!(
            "{} and {} must not lie in each other",
            data.display(),
            to.display()
        )),
        false => Ok(()),
    }
}

enum Failure {
    Server(io::Error),
    Backup(BackupError),
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        Failure::Backup(error)
    }
}

fn back_up(args: &Backup, config: &Config, progress: &mut Progress) -> Result<Written, Failure> {
    let data = config.data.as_path();
    let blobs = data.join("blobs");
    let blobs = (!args.records_only).then_some(blobs.as_path());
    let mut tell = |told: Told<'_>| match told {
        Told::Records(dumped) => {
            progress.clear();
            eprintln!("records: {} in {} entries", size(dumped.bytes), dumped.entries);
        }
        Told::Copying(copied) => progress.say(|time| {
            let (new, old) = (copied.copied, copied.kept);
            let speed = rate(new.bytes, time);
            format!(
                "{} blobs copied, {} ({speed}), {} there already",
                new.count,
                size(new.bytes),
                old.count
            )
        }),
        Told::Damaged(what) => {
            progress.clear();
            eprintln!("damaged: {what}");
        }
    };
    if let Some(held) = Held::begin(data).map_err(Failure::Server)? {
        let dump = &held;
        return Ok(backup::write(
            &args.to,
            dump,
            blobs,
            || held.release(),
            &mut tell,
        )?);
    }
    // Nobody serves, and while this has the data open nobody will.
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::Server)?;
    let _inside = runtime.enter();
    let stores = registry_storage::open_with(data, TokioRuntime::shared(), config.store_options().records())
        .map_err(BackupError::from)?;
    let (dump, out) = io::pipe().map_err(Failure::Server)?;
    std::thread::scope(|scope| {
        let dumping = scope.spawn(|| stores.kv.dump(io::BufWriter::with_capacity(1 << 20, out)));
        let written = backup::write(&args.to, dump, blobs, || Ok(()), &mut tell);
        match dumping.join().expect("dumping does not panic") {
            // Whoever reads a dump that broke off knows only that it did.
            Err(source) if written.is_err() => {
                let path = data.join("records");
                Err(BackupError::Dump { path, source }.into())
            }
            _ => Ok(written?),
        }
    })
}

fn conclude(args: &Backup, written: &Written, progress: &Progress) -> ExitCode {
    let blobs = &written.blobs;
    if args.json {
        let done = serde_json::json!({ "backup": written.description, "blobs": blobs });
        println!("{done}");
    } else {
        let time = progress.elapsed();
        println!(
            "backed up {} of records and {} files of blobs ({}) in {:.1} s; {} copied ({}, {}), {} there already",
            size(written.description.records.bytes),
            blobs.copied.count + blobs.kept.count,
            size(blobs.copied.bytes + blobs.kept.bytes),
            time.as_secs_f64(),
            blobs.copied.count,
            size(blobs.copied.bytes),
            rate(blobs.copied.bytes, time),
            blobs.kept.count
        );
    }
    match blobs.damaged {
        0 => ExitCode::SUCCESS,
        1 => refuse_line("1 blob is damaged and not in the backup"),
        damaged => refuse_line(&format!("{damaged} blobs are damaged and not in the backup")),
    }
}
