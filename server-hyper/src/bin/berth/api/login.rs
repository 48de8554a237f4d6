//! Which server is asked, and as whom.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use registry_auth::ADMIN;
use registry_auth::secret::Secret;
use server_hyper::config::{Config, PASSWORD, SERVER, USERNAME};
use server_hyper::outgoing::{AddressError, Clear, agent};

use super::client::Client;
use super::docker;
use crate::settings::Settings;
use crate::terminal;

/// The authority of a server that made its certificate itself, in its data directory.
const AUTHORITY: &str = "tls/ca.pem";
/// Longest file with a password, in bytes.
const LONGEST: u64 = 4096;

/// What each command that asks the API says about logging in.
pub(crate) const LOGIN: &str = "\
The password comes from --password-file, else from BERTH_PASSWORD, else from what `docker login` wrote down for this server \
(plain entries of ~/.docker/config.json; helpers are not asked), else it is asked for. It is never given on the command line, \
where others could read it.";

/// Where the management API is, and who asks.
#[derive(Args)]
#[command(next_help_heading = "Server and login")]
pub(crate) struct Login {
    /// Ask this server [env: BERTH_SERVER] [default: where the configuration listens, http://127.0.0.1:5000]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Log in as this user or robot [env: BERTH_USERNAME] [default: who is logged in with docker, else admin]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password to log in with from this file [env: BERTH_PASSWORD, the password itself]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file instead of the system's [default: tls/ca.pem of --data, if there]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send the password to another machine although anybody between can read it
    #[arg(long)]
    insecure_http: bool,
    /// Ask the server of this configuration file [env: BERTH_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Trust the authority of the server with this data directory
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
}

impl Login {
    /// The way to the API.
    pub(crate) fn client(&self) -> Result<Client, String> {
        let server = match self.server.clone().or_else(|| variable(SERVER)) {
            Some(server) => complete(&server),
            None => served_at(&self.configured()?)?,
        };
        let authority = self.authority()?;
        let clear = match self.insecure_http {
            true => Clear::Anywhere,
            false => Clear::Loopback,
        };
        let agent = agent(&server, authority.as_deref(), clear).map_err(|why| match why {
            AddressError::Clear(_) => format!("{why}; to send it all the same, add --insecure-http"),
            why => why.to_string(),
        })?;
        let (username, password) = self.account(&server)?;
        Ok(Client::new(agent, server, username, password))
    }

    fn configured(&self) -> Result<Config, String> {
        let settings = Settings::of(self.config.clone(), self.data.clone(), Vec::new());
        let loaded = settings.load().map_err(|error| error.to_string())?;
        Ok(loaded.config)
    }

    /// The certificates to trust, if not the system's.
    fn authority(&self) -> Result<Option<PathBuf>, String> {
        if self.ca.is_some() || self.config.is_none() && self.data.is_none() {
            return Ok(self.ca.clone());
        }
        let authority = self.configured()?.data.join(AUTHORITY);
        Ok(authority.is_file().then_some(authority))
    }

    /// Who logs in, and with which password.
    fn account(&self, server: &str) -> Result<(String, Secret), String> {
        let named = self.username.clone().or_else(|| variable(USERNAME));
        let username = || named.clone().unwrap_or_else(|| ADMIN.to_owned());
        if let Some(file) = &self.password_file {
            return Ok((username(), from_file(file)?));
        }
        if let Some(password) = variable(PASSWORD) {
            return Ok((username(), Secret::new(password)));
        }
        let file = docker::file();
        let entry = file.as_deref().and_then(|file| docker::entry(file, host(server)));
        let is_meant = |entry: &docker::Entry| named.as_ref().is_none_or(|name| *name == entry.username);
        if let Some(entry) = entry.filter(is_meant) {
            return Ok((entry.username, entry.password));
        }
        let username = username();
        if terminal::is_there() {
            let password = terminal::secret(&format!("Password of {username} at {server}: "))?;
            return Ok((username, password));
        }
        Err(format!(
            "no password of {username} for {server}: name a file with --password-file, set {PASSWORD}, or log in with \
             docker; there is no terminal to ask at"
        ))
    }
}

/// A password in a file, without the end of its line.
pub(crate) fn from_file(file: &Path) -> Result<Secret, String> {
    let failed = |why: String| format!("{}: {why}", file.display());
    let length = std::fs::metadata(file)
        .map_err(|why| failed(why.to_string()))?
        .len();
    if length > LONGEST {
        return Err(failed("this is no file with a password".to_owned()));
    }
    let text = std::fs::read_to_string(file).map_err(|why| failed(why.to_string()))?;
    line(&text).ok_or_else(|| failed("there is no password in it".to_owned()))
}

/// The password that a text is.
pub(crate) fn line(text: &str) -> Option<Secret> {
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| Secret::new(text))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// An address without what need not be said.
fn complete(server: &str) -> String {
    let server = server.trim_end_matches('/').trim_end_matches("/api/v2.0");
    match server.contains("://") {
        true => server.to_owned(),
        // As docker does: plain only on this machine.
        false => {
            let name = match server.starts_with('[') {
                true => server.split(']').next(),
                false => server.split(':').next(),
            };
            match name.is_some_and(server_hyper::outgoing::is_loopback) {
                true => format!("http://{server}"),
                false => format!("https://{server}"),
            }
        }
    }
}

/// The registry's name in an address, as images are called by.
pub(crate) fn host(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Where a server with this configuration is found: where clients know it, else where it listens on the same machine.
fn served_at(config: &Config) -> Result<String, String> {
    if let Some(external) = &config.trust.external {
        return Ok(external.to_string());
    }
    let address = config.listen.iter().find(|address| address.port() != 0);
    let address = address.ok_or("the configuration names no address to ask at; name one with --server")?;
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        ip if ip.is_ipv4() => std::net::Ipv4Addr::LOCALHOST.into(),
        _ => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(ip, address.port());
    Ok(format!("{}://{address}", config.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_short() {
        for (given, meant) in [
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
            ("localhost:5000", "http://localhost:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("registry.test", "https://registry.test"),
            ("https://registry.test/api/v2.0/", "https://registry.test"),
        ] {
            assert_eq!(complete(given), meant);
        }
        assert_eq!(host("https://registry.test:8443"), "registry.test:8443");
    }

    #[test]
    fn a_server_is_asked_where_it_listens() {
        let config = Config {
            listen: vec!["[::]:0".parse().unwrap(), "0.0.0.0:8080".parse().unwrap()],
            ..Config::default()
        };
        assert_eq!(served_at(&config).unwrap(), "http://127.0.0.1:8080");
        let mut known = config;
        known.trust.external = Some("https://registry.test".parse().unwrap());
        assert_eq!(served_at(&known).unwrap(), "https://registry.test");
    }

    #[test]
    fn a_password_is_its_line() {
        assert_eq!(line("a b \r\n").unwrap().reveal(), "a b ");
        assert!(line("\n").is_none());
    }
}
