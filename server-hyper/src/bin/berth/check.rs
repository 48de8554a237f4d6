//! `berth check`.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use registry_auth::{Argon2id, Htpasswd};
use registry_core::runtime::Threads;
use registry_core::{SAMPLE, Verify};
use registry_storage::backup::UNFINISHED;
use registry_storage::kv::{EngineKind, OpenError};
use server_hyper::config::{Config, Loaded, Problem};
use server_hyper::{StoreOptions, Stores};

use crate::settings::Settings;

#[derive(Args)]
#[command(after_help = "\
Takes the flags of `serve`. Makes nothing, and starts no server; so it can be run beside one.

Examples:
  berth check --config /etc/berth.toml
  berth check --data /srv/berth")]
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
    let scheme = config.scheme();
    for address in &config.listen {
        println!("listens at: {scheme}://{address}");
    }
    // What keeps it from working is told among the problems.
    for sentence in config.certificate_plan().unwrap_or_default() {
        println!("TLS: {sentence}");
    }
    match config.admin_address() {
        Some(address) if config.admin_tls => println!("metrics and health: https://{address}"),
        Some(address) => println!("metrics and health: http://{address}"),
        None => println!("metrics and health: off"),
    }
    if config.memory {
        println!("keeps: everything in memory");
        println!("durability: none; everything is gone when berth stops");
    } else {
        println!("keeps: records and blobs in {}", config.data.display());
        println!("durability: {}", config.durability.promise());
        println!("records: {}", engine(config.records_engine));
    }
    match config.verify {
        Verify::Off => {
            println!("reads: blobs are sent as the disk gives them; damage is for clients to find")
        }
        Verify::Sampled => println!(
            "reads: one blob in {SAMPLE} is checked against its digest before it is sent; damage is marked, and \
             repaired by the next push"
        ),
        Verify::Full => println!(
            "reads: every blob is checked against its digest before it is sent; damage is marked, and repaired by the \
             next push"
        ),
    }
    match (config.allow_anonymous, &config.auth.htpasswd) {
        (true, _) => println!("access: everybody who can reach it may push, pull and delete"),
        (false, Some(file)) => println!("access: the users in {}, who may everything", file.display()),
        (false, None) => println!("access: accounts, by their roles in projects"),
    }
}

/// What an engine promises, and what that rests on.
fn engine(engine: EngineKind) -> &'static str {
    match engine {
        EngineKind::Lmdb => {
            "in lmdb, the default: a reader never waits, opening after a crash has nothing to do, and it was chosen \
             for what it kept in the engines' kill and power-cut trials"
        }
        EngineKind::Sled => {
            "in sled 0.34: the same promises, but sled's authors call it beta, and it syncs nothing itself, berth \
             does; a reader waits while a commit is synced, opening reads the log, and a write that failed for \
             want of room stops all writes until berth is started again"
        }
    }
}

/// What would keep `serve` from working.
fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(error) = config.certificate_plan() {
        problems.push(Problem::of(config.tls.key_of(&error), error.to_string()));
    }
    if let (false, Some(file)) = (config.allow_anonymous, &config.auth.htpasswd) {
        let hashing = Arc::new(Argon2id::owasp());
        let users = futures_executor::block_on(Htpasswd::open(file, Threads::shared(), hashing));
        problems.extend(users.err().map(|error| Problem::caused("auth.htpasswd", &error)));
    }
    problems.extend(
        config
            .auth
            .keys()
            .err()
            .map(|error| Problem::caused("auth.sealing_key", &error)),
    );
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
    let options = StoreOptions {
        keep_format: true,
        ..config.store_options()
    };
    match Stores::open(&config.data, options) {
        Ok(_) => Ok(()),
        Err(OpenError::OlderFormat { found, known, .. }) => {
            println!("the data has format {found}; `serve` brings it to format {known}");
            Ok(())
        }
        Err(OpenError::InUse(_)) => {
            println!("the data is in use: a server runs on it");
            Ok(())
        }
        Err(error) => Err(Problem::caused(Config::key_of(&error), &error)),
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
