//! The administrator who is there first.

use std::env;
use std::fs;
use std::path::Path;

use super::Accounts;
use super::users::{NewUser, Profile};
use crate::error::AccountError;
use crate::secret::Secret;

/// The name of the first administrator.
pub const ADMIN: &str = "admin";

/// The variable of the environment that says the first administrator's password.
pub const ADMIN_PASSWORD: &str = "BERTH_ADMIN_PASSWORD";

/// The password that the operator wants the first administrator to have: what `BERTH_ADMIN_PASSWORD` says, or else what the
/// file holds, without the end of its last line.
///
/// # Errors
/// [`AccountError::Invalid`] if the file cannot be read, or either is not a text.
pub fn initial_password(file: Option<&Path>) -> Result<Option<Secret>, AccountError> {
    if let Some(given) = env::var_os(ADMIN_PASSWORD) {
        let text = given.into_string();
        let text = text.map_err(|_| AccountError::Invalid(format!("{ADMIN_PASSWORD} is not a text")))?;
        return Ok(Some(Secret::new(text)));
    }
    let Some(file) = file else {
        return Ok(None);
    };
    let text = fs::read_to_string(file).map_err(|why| {
        AccountError::Invalid(format!(
            "the administrator's password cannot be read from {}: {why}",
            file.display()
        ))
    })?;
    Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
}

impl Accounts {
    /// Makes the first administrator, unless there was ever a user. Without a `given` password a random one is drawn and
    /// returned, to be shown once; there is no password that is the same everywhere.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] if the given password is not acceptable: then there still is no administrator.
    pub async fn first_start(&self, given: Option<Secret>) -> Result<Option<Secret>, AccountError> {
        if self.tables.users.count().await? > 0 {
            return Ok(None);
        }
        let is_drawn = given.is_none();
        let password = match given {
            Some(given) => given,
            None => Secret::draw(),
        };
        let made = match is_drawn {
            // What was drawn has the form that is never asked of a password: it loses its beginning.
            true => Secret::new(password.reveal().trim_start_matches(crate::secret::DRAWN)),
            false => password,
        };
        let admin = NewUser {
            username: ADMIN.to_owned(),
            profile: Profile {
                realname: "Administrator".to_owned(),
                ..Profile::default()
            },
            password: made.clone(),
            admin: true,
        };
        match self.create_user(admin).await {
            Ok(_) => Ok(is_drawn.then_some(made)),
            // Another node was first, and has shown its own.
            Err(AccountError::Conflict(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }
}
