//! Which registry a command is about, and the way to it.

use std::path::PathBuf;

use clap::Args;
use registry_storage::kv::OpenError;
use server_hyper::Stores;
use server_hyper::config::{CONTROL_TOKEN, Loaded};
use server_hyper::control::{Client, Line, TOKEN, Token};

use crate::fsck::holds_records;
use crate::progress::causes;
use crate::settings::Settings;

/// What every command that asks a registry says about its end.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 if it was done, 1 if it was not, or not all of it, 2 if the command line is wrong.";

/// A server over the network, or a data directory: then the server that runs on it if there is one, else its files.
#[derive(Args)]
pub(crate) struct Place {
    /// Ask the server whose admin listener is here, such as http://127.0.0.1:5001. It wants its token: from
    /// --token-file, or from the variable BERTH_CONTROL_TOKEN
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "data", "set"])]
    server: Option<String>,
    /// The server's token, which it keeps in its data directory as control.token
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file instead of the system's
    #[arg(long, value_name = "FILE", requires = "server")]
    ca_file: Option<PathBuf>,
    /// The configuration file that the registry is served with [env: BERTH_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The registry's data directory [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Set any key of the configuration. May be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Place {
    /// The way to the registry.
    pub(crate) fn client(&self) -> Result<Client, String> {
        if let Some(url) = &self.server {
            return Client::at(url, self.token()?, self.ca_file.as_deref())
                .map_err(|error| error.to_string());
        }
        let settings = Settings::of(self.config.clone(), self.data.clone(), self.set.clone());
        let loaded = settings.load().map_err(|error| error.to_string())?;
        let config = &loaded.config;
        if config.memory {
            return Err("everything is kept in memory; ask its server, with --server".to_owned());
        }
        holds_records(&config.data)?;
        match Client::on(&config.data).map_err(|error| error.to_string())? {
            Some(client) => Ok(client),
            None => within(&loaded),
        }
    }

    fn token(&self) -> Result<Token, String> {
        if let Some(file) = &self.token_file {
            return Token::read(file).map_err(|error| match error.to_string() {
                why if why.contains(&file.display().to_string()) => why,
                why => format!("{}: {why}", file.display()),
            });
        }
        match std::env::var(CONTROL_TOKEN) {
            Ok(token) => Token::parse(&token).map_err(|error| format!("{CONTROL_TOKEN}: {error}")),
            Err(_) => Err(format!(
                "the server wants its token: name the file with --token-file, or set {CONTROL_TOKEN}; the server keeps \
                 it in its data directory as {TOKEN}"
            )),
        }
    }
}

/// The stores, opened here since nobody serves; while they are open nobody will.
fn within(loaded: &Loaded) -> Result<Client, String> {
    let config = &loaded.config;
    let keys = config
        .auth
        .keys()
        .map_err(|error| format!("auth.sealing_key: {}", causes(&error)))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let inside = runtime.enter();
    let stores = Stores::open(&config.data, config.store_options()).map_err(|error| match error {
        OpenError::InUse(_) => {
            format!("{error}, and its server does not answer there; try --server")
        }
        error => causes(&error),
    })?;
    drop(inside);
    Ok(Client::within(
        stores.collecting(config.collector_settings()).signing(keys),
        runtime,
    ))
}

/// Prints a line of an answer as JSON.
pub(crate) fn print(line: &Line) {
    match serde_json::to_string(line) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("berth: {error}"),
    }
}
