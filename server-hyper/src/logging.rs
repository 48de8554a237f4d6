//! Logs on standard error: for people on a terminal, as JSON for machines.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{Level, LogFormat};

/// Sends what is logged from now on to standard error.
///
/// # Errors
/// If the process logs somewhere already.
pub fn init(format: LogFormat, level: Level) -> Result<(), TryInitError> {
    let terminal = stderr().is_terminal();
    let human = match format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let builder = fmt().with_writer(stderr).with_env_filter(filter(level));
    if human {
        builder.with_ansi(terminal).finish().try_init()
    } else {
        builder.json().flatten_event(true).finish().try_init()
    }
}

/// Our own words at `level`; those of the libraries below at `warn` at most, unless everything is asked for.
fn filter(level: Level) -> EnvFilter {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .parse_lossy("");
    if level == LevelFilter::TRACE {
        return filter;
    }
    let quiet = level.min(LevelFilter::WARN);
    ["hyper", "h2", "rustls", "tokio_util"]
        .into_iter()
        .fold(filter, |filter, library| {
            let directive = format!("{library}={quiet}")
                .parse()
                .expect("a target and a level");
            filter.add_directive(directive)
        })
}
