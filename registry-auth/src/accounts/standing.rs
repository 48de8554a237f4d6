//! What kind of account a name is of, for what an account may do to itself and what is its own.

use super::{Accounts, Name};
use crate::error::AccountError;
use crate::power::Power;

/// An account, and the user who is behind it in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A user who logged in as such.
    User {
        /// The user.
        user: u64,
    },
    /// An access token.
    Token {
        /// Whose it is.
        user: u64,
        /// Whether it may less than they.
        limited: bool,
    },
    /// A robot.
    Robot {
        /// Who made it, or whoever made the robot that did.
        user: u64,
    },
}

impl Standing {
    /// The user who is behind it in the end.
    pub const fn user(self) -> u64 {
        match self {
            Standing::User { user } | Standing::Token { user, .. } | Standing::Robot { user } => user,
        }
    }
}

impl Accounts {
    /// What kind of account this is; nothing if there is none, or it may not be used.
    ///
    /// # Errors
    /// [`AccountError::Records`].
    pub async fn standing(&self, name: &str) -> Result<Option<Standing>, AccountError> {
        let now = self.now();
        let generation = self.snapshots.generation(now).await?;
        let account = self.snapshots.account(generation, name).await?;
        let Some(account) = account.filter(|account| account.is_alive(now)) else {
            return Ok(None);
        };
        let user = account.user();
        Ok(Some(match Name::parse(name, self.settings()) {
            Name::User(_) => Standing::User { user },
            Name::Robot { .. } => Standing::Robot { user },
            Name::Token { .. } => Standing::Token {
                user,
                limited: matches!(account.power, Power::Narrowed { limit: Some(_), .. }),
            },
        }))
    }
}
