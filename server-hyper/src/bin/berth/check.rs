//! `berth check`.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use registry_storage::backup::UNFINISHED;
use registry_storage::kv::OpenError;
use server_hyper::Stores;
use server_hyper::config::{Config, Loaded, Problem};
use server_hyper::tls::Tls;

use crate::settings::Settings;

#[derive(Args)]
#[command(after_help = "\
Takes the flags of `serve`. Makes nothing, and starts no server; so it can be run beside one.

Examples:
  berth check --config /etc/berth.toml
  berth check --allow-anonymous --data /srv/berth")]
pub(crate) struct Check {
    #[command(flatten)]
    settings: Settings,
    /// Also print every key with its value, as a file would write it
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Check) -> ExitCode {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            for problem in &error.0 {
                eprintln!("problem: {problem}");
            }
            return ExitCode::FAILURE;
        }
    };
    describe(&loaded);
    if args.all {
        println!();
        for (key, value) in loaded.config.show() {
            match loaded.sources.get(key) {
                Some(source) => println!("{key} = {value}  # {source}"),
                None => println!("{key} = {value}"),
            }
        }
    }
    let problems = problems(&loaded.config);
    for problem in &problems {
        eprintln!("problem: {}", loaded.locate(problem.clone()));
    }
    if problems.is_empty() {
        println!("no problems found");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn describe(loaded: &Loaded) {
    let config = &loaded.config;
    match &loaded.file {
        Some(file) => println!("configuration: {}", file.display()),
        None => println!("configuration: defaults, environment and flags; no file"),
    }
    let scheme = if config.tls.certificate.is_some() {
        "https"
    } else {
        "http"
    };
    for address in &config.listen {
        println!("listens at: {scheme}://{address}");
    }
    match config.admin_address() {
        Some(address) => println!("metrics and health: http://{address}"),
        None => println!("metrics and health: off"),
    }
    if config.memory {
        println!("keeps: everything in memory");
        println!("durability: none; everything is gone when berth stops");
    } else {
        println!("keeps: records and blobs in {}", config.data.display());
        println!(
            "durability: strict; what is acknowledged was synced to the disk, and survives a crash and a power cut"
        );
    }
    if config.allow_anonymous {
        println!("access: everybody who can reach it may push, pull and delete");
    }
}

/// What would keep `serve` from working.
fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(config.admission().err());
    if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key)
        && let Err(error) = Tls::from_files(certificate, key)
    {
        problems.push(Problem::of(config.tls.key_of(&error), error.to_string()));
    }
    if !config.memory {
        problems.extend(data(config).err());
    }
    problems
}

/// Whether the data can be opened, or the directory for it be made.
fn data(config: &Config) -> Result<(), Problem> {
    let begun = |name| config.data.join(name).exists();
    if !begun("records") && !begun(UNFINISHED) {
        return writable(&config.data).map_err(|why| Problem::of("data", why));
    }
    match Stores::open(&config.data, config.lifetimes) {
        Ok(_) => Ok(()),
        Err(OpenError::InUse(_)) => {
            println!("the data is in use: a server runs on it");
            Ok(())
        }
        Err(error) => Err(Problem::caused("data", &error)),
    }
}

/// Whether files can be made in a directory, or in the one in which it would be made.
fn writable(data: &Path) -> Result<(), String> {
    let exists = |path: &&Path| path.as_os_str().is_empty() || path.exists();
    let nearest = match data.ancestors().find(exists) {
        Some(path) if !path.as_os_str().is_empty() => path,
        _ => Path::new("."),
    };
    let shown = nearest.display();
    if !nearest.is_dir() {
        return Err(format!(
            "{} cannot be used: {shown} is not a directory",
            data.display()
        ));
    }
    let trial = nearest.join(format!(".berth-check-{}", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&trial)
        .and_then(|_| std::fs::remove_file(&trial))
        .map_err(|error| {
            format!(
                "{} cannot be used: {shown} cannot be written to: {error}",
                data.display()
            )
        })
}
