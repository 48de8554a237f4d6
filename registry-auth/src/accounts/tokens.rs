//! Personal access tokens.

use registry_core::Timestamp;
use registry_core::store::collection::Row;

use super::permission::{self, Permission};
use super::records::{Hash, Token};
use super::robots::check_description;
use super::{Accounts, missing, name};
use crate::error::AccountError;
use crate::secret::{Secret, draw_number, fingerprint};

/// An access token that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its name, of which the user has no other.
    pub name: String,
    /// Whatever else is to be known; may be empty.
    pub description: String,
    /// What it may at most; without any, all that the user may.
    pub permissions: Option<Vec<Permission>>,
    /// Until when it is worth anything.
    pub expires: Option<Timestamp>,
}

/// Most access tokens of one user.
const MOST: u64 = 1000;

impl Accounts {
    /// Makes an access token for a user, and says its secret, which nobody is told again.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] about the name, the permissions or the time; [`AccountError::Conflict`] if the user has one of
    /// that name; [`AccountError::Missing`] about the user or a project.
    pub async fn create_token(&self, user: u64, new: NewToken) -> Result<(Row<Token>, Secret), AccountError> {
        name::check_part(&new.name)?;
        check_description(&new.description)?;
        self.user(user).await?;
        let now = self.now();
        if new.expires.is_some_and(|expires| expires <= now) {
            return Err(AccountError::Invalid(
                "an access token cannot expire before it is made".to_owned(),
            ));
        }
        if self.tables.tokens_of(user).await?.total >= MOST {
            return Err(AccountError::Invalid(format!(
                "a user has at most {MOST} access tokens; delete one that is not used"
            )));
        }
        let permissions = match new.permissions {
            Some(permissions) => Some(permission::resolve(permissions, &self.tables.projects).await?),
            None => None,
        };
        let secret = Secret::draw();
        let token = Token {
            user,
            name: new.name,
            description: new.description,
            secret: Hash::new(fingerprint(secret.reveal())),
            permissions,
            expires: new.expires,
            generation: draw_number(),
            created: now,
        };
        Ok((self.tables.tokens.insert(&token).await?, secret))
    }

    /// Deletes an access token of a user.
    ///
    /// # Errors
    /// [`AccountError::Missing`] also if it is somebody else's.
    pub async fn delete_token(&self, user: u64, id: u64) -> Result<(), AccountError> {
        let is_theirs = |token: &Token| match token.user == user {
            true => Ok(()),
            false => Err(missing::<Token>(id)),
        };
        let deleted = self.tables.tokens.delete_if(id, is_theirs).await?;
        deleted.map(drop).ok_or_else(|| missing::<Token>(id))
    }
}
