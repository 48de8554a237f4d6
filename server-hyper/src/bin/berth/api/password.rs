//! The password that a user is given.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use registry_auth::secret::{DRAWN, Secret};

use super::login::{from_file, line};
use crate::terminal;

/// Longest that is read from standard input, in bytes.
const LONGEST: u64 = 4096;

/// Where the new password comes from; without any of these it is asked for, twice.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct NewPassword {
    /// Read the new password from this file
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Read the new password from standard input
    #[arg(long)]
    new_password_stdin: bool,
    /// Make up a password, and print it once
    #[arg(long)]
    generate: bool,
}

/// A password that was made up, or chosen by somebody who knows it.
pub(crate) struct Chosen {
    pub(crate) password: Secret,
    is_drawn: bool,
}

impl Chosen {
    /// What is to be told, since nobody knows it yet.
    pub(crate) fn drawn(&self) -> Option<(&'static str, &Secret)> {
        self.is_drawn.then_some(("password", &self.password))
    }
}

impl NewPassword {
    /// The new password of a user.
    pub(crate) fn of(&self, username: &str) -> Result<Chosen, String> {
        let chosen = |password| Chosen {
            password,
            is_drawn: false,
        };
        if self.generate {
            // What begins as what the registry draws is never a password.
            let drawn = Secret::draw();
            return Ok(Chosen {
                password: Secret::new(drawn.reveal().trim_start_matches(DRAWN)),
                is_drawn: true,
            });
        }
        if let Some(file) = &self.new_password_file {
            return from_file(file).map(chosen);
        }
        if self.new_password_stdin {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(LONGEST).read_to_string(&mut text);
            read.map_err(|why| format!("the password cannot be read from standard input: {why}"))?;
            return line(&text)
                .map(chosen)
                .ok_or_else(|| "there is no password at standard input".to_owned());
        }
        if !terminal::is_there() {
            return Err(format!(
                "no new password for {username}: add --generate, --new-password-file or --new-password-stdin; there is no \
                 terminal to ask at"
            ));
        }
        let first = terminal::secret(&format!("New password of {username}: "))?;
        let second = terminal::secret("Once more: ")?;
        match first == second {
            true => Ok(chosen(first)),
            false => Err("the two are not the same; nothing was changed".to_owned()),
        }
    }
}
