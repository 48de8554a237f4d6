//! Names and passwords, made up for one run, and the files that hand them to clients: never an argument that other
//! users of the machine could read, never the machine's own credentials.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::server::random_password;

/// A name and its password.
pub(super) struct Login {
    pub(super) name: String,
    pub(super) password: String,
}

impl Login {
    /// With a password that is drawn.
    pub(super) fn drawn(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            password: random_password()?,
        })
    }

    /// What comes after `Basic ` in a request's Authorization.
    pub(super) fn basic(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.name, self.password))
    }

    /// A file with the password alone, to be a command's standard input.
    pub(super) fn on_stdin(&self, dir: &Path) -> Result<File> {
        let path = dir.join("password");
        secret_file(&path, self.password.as_bytes())?;
        Ok(File::open(path)?)
    }

    /// A file as clients keep their logins in, for `registry`.
    pub(super) fn auth_file(&self, dir: &Path, registry: &str) -> Result<PathBuf> {
        let path = dir.join("auth.json");
        let text = json!({ "auths": { registry: { "auth": self.basic() } } });
        secret_file(&path, text.to_string().as_bytes())?;
        Ok(path)
    }
}

fn secret_file(path: &Path, content: &[u8]) -> Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    Ok(options.open(path)?.write_all(content)?)
}
