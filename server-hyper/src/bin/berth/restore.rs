//! `berth restore`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use registry_storage::backup::{BackupError, Restoring, Source, Told};
use registry_storage::kv;
use server_hyper::TokioRuntime;
use server_hyper::config::Config;

use crate::fsck::check;
use crate::progress::{Progress, rate, refuse, refuse_line, size};
use crate::settings::Settings;

#[derive(Args)]
#[command(after_help = "\
The data directory must hold nothing, or not be there. The records go into the engine that the configuration names, \
whichever they came from. Then every record and every byte is checked as by `berth fsck --deep`, and only then does \
`berth serve` take the directory; if this is cut off before, empty the directory and run it again. If the check finds \
anything, it is printed and the exit code is 1; the registry can be served nevertheless, and does not give out what \
is damaged.

Uploads that were under way are not restored: their clients begin them again.

Examples:
  berth restore /mnt/backup --data /srv/berth
  berth restore /mnt/backup --config /etc/berth.toml
  berth restore /mnt/records --blobs /mnt/snapshot/blobs --data /srv/berth     a backup with --records-only")]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "DIRECTORY")]
    from: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Take the blobs from here, not from the backup
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,
    /// Print what the check finds as JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Restore) -> ExitCode {
    let config = match args.settings.load() {
        Ok(loaded) => loaded.config,
        Err(error) => return refuse_line(&error.to_string()),
    };
    if config.memory {
        return refuse_line("a restore needs a data directory, and everything is to be kept in memory");
    }
    match restore(args, &config) {
        Ok(code) => code,
        Err(error) => refuse(&error),
    }
}

fn restore(args: &Restore, config: &Config) -> Result<ExitCode, BackupError> {
    let source = Source::open(&args.from)?;
    let blobs = match &args.blobs {
        Some(blobs) => blobs.clone(),
        None => source.blobs()?,
    };
    let restoring = Restoring::begin(&config.data)?;
    fill(&restoring, &source, &blobs, config.store_options().records())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|source| BackupError::Io {
        path: config.data.clone(),
        source,
    })?;
    let checked = runtime.block_on(async {
        let stores = restoring.open(TokioRuntime::shared(), config.store_options().records())?;
        Ok::<_, BackupError>(check(stores.kv, stores.bytes, args.json).await)
    })?;
    let report = match checked {
        Ok(report) => report,
        Err(error) => return Ok(refuse(&error)),
    };
    restoring.finish()?;
    let data = config.data.display();
    if report.findings == 0 {
        eprintln!("restored; try: berth serve --data {data}");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("restored to {data}, with what was found");
    Ok(ExitCode::FAILURE)
}

fn fill(
    restoring: &Restoring,
    source: &Source,
    blobs: &Path,
    options: kv::Options,
) -> Result<(), BackupError> {
    let mut progress = Progress::begin();
    let copied = restoring.fill(source, blobs, options, &mut |told| match told {
        Told::Records(loaded) => eprintln!("records: {} in {} entries", size(loaded.bytes), loaded.entries),
        Told::Copying(copied) => progress.say(|time| {
            let done = copied.copied;
            let speed = rate(done.bytes, time);
            format!("{} blobs, {} ({speed})", done.count, size(done.bytes))
        }),
        Told::Damaged(what) => {
            progress.clear();
            eprintln!("damaged: {what}");
        }
    })?;
    progress.clear();
    eprintln!(
        "blobs: {} files, {} in {:.1} s; now checking all of it",
        copied.copied.count,
        size(copied.copied.bytes),
        progress.elapsed().as_secs_f64()
    );
    Ok(())
}
