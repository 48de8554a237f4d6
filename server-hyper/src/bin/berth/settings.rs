//! The flags that set configuration keys, for `serve` and `check` alike.

use std::path::PathBuf;

use clap::Args;
use server_hyper::config::{ConfigError, Flag, Loaded, Problem, load};

/// Flags win over `BERTH_…` variables, those over the file, and that over the defaults.
#[derive(Args, Default)]
pub(crate) struct Settings {
    /// Read this TOML file; berth.example.toml shows every key [env: BERTH_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here; port 0 is one that the system chooses. May be given several times [default: 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Keep records and blobs in this directory [default: ./data]
    #[arg(long, value_name = "DIR", conflicts_with = "memory")]
    data: Option<String>,
    /// Keep everything in memory; it is gone when the server stops
    #[arg(long)]
    memory: bool,
    /// Let everybody who can reach the registry push, pull and delete
    #[arg(long)]
    allow_anonymous: bool,
    /// Speak TLS with this certificate, a PEM file
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// The certificate's key, a PEM file
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Speak TLS with a certificate that berth makes, by an authority of its own; `berth trust` says how clients trust it
    #[arg(long)]
    tls_self_signed: bool,
    /// Serve /metrics, /healthz and /readyz here, or "off" [default: 127.0.0.1:5001]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Log for people ("human") or machines ("json") [default: by whether standard error is a terminal]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Log this much: error, warn, info, debug, trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Set any key of the configuration, such as limits.drain=10s. May be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// Those that say where a registry is and how its stores are kept.
    pub(crate) fn of(config: Option<PathBuf>, data: Option<String>, set: Vec<String>) -> Self {
        Settings {
            config,
            data,
            set,
            ..Settings::default()
        }
    }

    /// The configuration that flags, environment and file make together.
    pub(crate) fn load(&self) -> Result<Loaded, ConfigError> {
        load(self.config.as_deref(), std::env::vars_os(), &self.flags()?)
    }

    fn flags(&self) -> Result<Vec<Flag>, ConfigError> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(ConfigError(vec![Problem {
                    source: None,
                    key: None,
                    message: format!("flag --set: {pair:?} is not KEY=VALUE, such as limits.drain=10s"),
                }]));
            };
            flags.push(flag("--set", key, value));
        }
        if !self.listen.is_empty() {
            flags.push(flag("--listen", "listen", &self.listen.join(",")));
        }
        for (name, key, given) in [
            ("--memory", "memory", self.memory),
            ("--allow-anonymous", "allow_anonymous", self.allow_anonymous),
            ("--tls-self-signed", "tls.self_signed", self.tls_self_signed),
        ] {
            if given {
                flags.push(flag(name, key, "true"));
            }
        }
        // A directory on the command line is meant, whatever else says that everything be kept in memory.
        if self.data.is_some() {
            flags.push(flag("--data", "memory", "false"));
        }
        for (name, key, value) in [
            ("--data", "data", &self.data),
            ("--tls-certificate", "tls.certificate", &self.tls_certificate),
            ("--tls-key", "tls.key", &self.tls_key),
            ("--admin-listen", "admin.listen", &self.admin_listen),
            ("--log-format", "log.format", &self.log_format),
            ("--log-level", "log.level", &self.log_level),
        ] {
            if let Some(value) = value {
                flags.push(flag(name, key, value));
            }
        }
        Ok(flags)
    }
}

fn flag(name: &str, key: &str, value: &str) -> Flag {
    Flag {
        name: name.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    }
}
