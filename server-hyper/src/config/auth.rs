//! The keys of `auth`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use registry_auth::limits::{Rate, Rates};
use registry_auth::origin::Trust;
use registry_auth::tokens::{
    KeyOptions, LIFETIME_MAX, LIFETIME_MIN, RefreshOptions, SealingKey, TokenOptions,
};
use registry_auth::{EntranceOptions, Settings};

use super::value::{Kind, Value, quote};

/// How clients log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// File with the key that seals those that sign tokens.
    pub sealing_key: Option<PathBuf>,
    /// File with the password that the first administrator gets.
    pub admin_password_file: Option<PathBuf>,
    /// File with all users, in place of those in the records.
    pub htpasswd: Option<PathBuf>,
    /// How long a token lives.
    pub token_lifetime: Duration,
    /// How long a login lives that is not used.
    pub login_lifetime: Duration,
    /// Whether every user may make projects.
    pub users_create_projects: bool,
    /// Whether a first push makes its project.
    pub auto_create_projects: bool,
    /// How robots' names begin.
    pub robot_prefix: String,
    /// For how many days a robot is made that does not say; 0 for ever.
    pub robot_days: u32,
    /// Requests for tokens from one address.
    pub token_requests: Rate,
    /// Passwords tried from one address.
    pub attempts_from_address: Rate,
    /// Passwords tried for one name.
    pub attempts_for_name: Rate,
}

impl Default for AuthConfig {
    fn default() -> Self {
        let (settings, rates) = (Settings::default(), Rates::default());
        AuthConfig {
            sealing_key: None,
            admin_password_file: None,
            htpasswd: None,
            token_lifetime: TokenOptions::default().lifetime,
            login_lifetime: RefreshOptions::default().lifetime,
            users_create_projects: settings.users_create_projects,
            auto_create_projects: settings.auto_create,
            robot_prefix: settings.robot_prefix,
            robot_days: u32::try_from(settings.robot_duration).unwrap_or(0),
            token_requests: rates.requests,
            attempts_from_address: rates.attempts_from,
            attempts_for_name: rates.attempts_for,
        }
    }
}

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// The file cannot be read.
    #[error("{path:?}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path:?}: it is to hold 64 hexadecimal digits, as `openssl rand -hex 32` prints them")]
    Invalid {
        /// The file.
        path: PathBuf,
    },
}

impl AuthConfig {
    /// Shows every key and its value to `visit`.
    pub(super) fn each(&mut self, visit: &mut dyn FnMut(&'static str, &mut dyn Value)) {
        visit("auth.admin_password_file", &mut self.admin_password_file);
        visit("auth.htpasswd", &mut self.htpasswd);
        visit("auth.users_create_projects", &mut self.users_create_projects);
        visit("auth.auto_create_projects", &mut self.auto_create_projects);
        visit("auth.robot_prefix", &mut self.robot_prefix);
        visit("auth.robot_days", &mut self.robot_days);
        visit("auth.token_lifetime", &mut self.token_lifetime);
        visit("auth.login_lifetime", &mut self.login_lifetime);
        visit("auth.token_requests", &mut self.token_requests);
        visit("auth.attempts_from_address", &mut self.attempts_from_address);
        visit("auth.attempts_for_name", &mut self.attempts_for_name);
        visit("auth.sealing_key", &mut self.sealing_key);
    }

    /// What is decided about accounts and projects.
    pub fn settings(&self) -> Settings {
        Settings {
            robot_prefix: self.robot_prefix.clone(),
            robot_duration: match self.robot_days {
                0 => -1,
                days => i64::from(days),
            },
            users_create_projects: self.users_create_projects,
            auto_create: self.auto_create_projects,
        }
    }

    /// How accounts log in, by clients whose origin is told like this.
    pub fn entrance(&self, trust: Trust) -> EntranceOptions {
        EntranceOptions {
            tokens: TokenOptions {
                lifetime: self.token_lifetime,
                ..TokenOptions::default()
            },
            refresh: RefreshOptions {
                lifetime: self.login_lifetime,
                ..RefreshOptions::default()
            },
            rates: Rates {
                requests: self.token_requests,
                attempts_from: self.attempts_from_address,
                attempts_for: self.attempts_for_name,
            },
            trust,
        }
    }

    /// What cannot be so: key and reason.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if !(LIFETIME_MIN..=LIFETIME_MAX).contains(&self.token_lifetime) {
            let (least, most) = (LIFETIME_MIN.show(), LIFETIME_MAX.show());
            found.push((
                "auth.token_lifetime",
                format!("{} is not between {least} and {most}", self.token_lifetime.show()),
            ));
        }
        if self.login_lifetime < self.token_lifetime {
            found.push((
                "auth.login_lifetime",
                format!(
                    "{} is shorter than auth.token_lifetime, which is {}",
                    self.login_lifetime.show(),
                    self.token_lifetime.show()
                ),
            ));
        }
        if let Err(why) = self.settings().check() {
            found.push(("auth.robot_prefix", why.to_string()));
        }
        if self.htpasswd.is_some() && self.admin_password_file.is_some() {
            found.push((
                "auth.admin_password_file",
                "with auth.htpasswd the users are those of that file, and none of them is an administrator"
                    .into(),
            ));
        }
        found
    }

    /// How the keys are kept that sign tokens.
    ///
    /// # Errors
    /// [`SealingKeyError`], about `auth.sealing_key`.
    pub fn keys(&self) -> Result<KeyOptions, SealingKeyError> {
        let Some(path) = self.sealing_key.clone() else {
            return Ok(KeyOptions::default());
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(SealingKeyError::Read { path, source }),
        };
        match SealingKey::from_hex(&text) {
            Ok(key) => Ok(KeyOptions {
                sealing: Some(key),
                ..KeyOptions::default()
            }),
            Err(_) => Err(SealingKeyError::Invalid { path }),
        }
    }
}

impl Value for Rate {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        "a rate such as \"20/s, 100 at once\"".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        let read = || {
            let (per_second, burst) = text.split_once(',')?;
            let per_second = per_second.trim().strip_suffix("/s")?.trim().parse().ok()?;
            let burst = burst.trim().strip_suffix("at once")?.trim().parse().ok()?;
            Some(Rate { per_second, burst })
        };
        read().map(|rate| *self = rate).is_some()
    }

    fn show(&self) -> String {
        quote(&format!("{}/s, {} at once", self.per_second, self.burst))
    }
}
