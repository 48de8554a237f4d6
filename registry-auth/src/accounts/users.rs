//! Users.

use registry_core::store::collection::Row;

use super::records::User;
use super::{Accounts, missing, name};
use crate::error::AccountError;
use crate::projects::Grantee;
use crate::secret::{Secret, draw_number};

/// A user who is to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The name to log in with.
    pub username: String,
    /// What else is known of them.
    pub profile: Profile,
    /// The password to log in with.
    pub password: Secret,
    /// Whether they may do everything.
    pub admin: bool,
}

impl NewUser {
    /// Somebody of whom nothing more is known, and who may no more than their roles say.
    pub fn new(username: impl Into<String>, password: Secret) -> Self {
        NewUser {
            username: username.into(),
            profile: Profile::default(),
            password,
            admin: false,
        }
    }
}

/// What is known of a user beside what they may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Where to write to; may be empty.
    pub email: String,
    /// What they are called; may be empty.
    pub realname: String,
    /// Whatever else is to be known; may be empty.
    pub comment: String,
}

impl Profile {
    fn check(&self) -> Result<(), AccountError> {
        let parts = self.email.split_once('@');
        let is_address = parts.is_some_and(|(who, host)| !who.is_empty() && !host.is_empty());
        let too_long = [&self.email, &self.realname, &self.comment]
            .iter()
            .any(|text| text.len() > 255);
        if too_long || !(self.email.is_empty() || is_address) {
            return Err(AccountError::Invalid(
                "an e-mail address has an @ in it, and no part of a profile more than 255 bytes".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The id of the administrator who was there first. It stays one, so that a registry always has one.
const FIRST: u64 = 1;

impl Accounts {
    /// Makes a user.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] about the name, the profile or the password; [`AccountError::Conflict`] if the name or the
    /// address is taken.
    pub async fn create_user(&self, new: NewUser) -> Result<Row<User>, AccountError> {
        name::check_user(&new.username, self.settings())?;
        new.profile.check()?;
        let now = self.now();
        let user = User {
            password: Some(self.hash(&new.password).await?),
            username: new.username,
            email: new.profile.email,
            realname: new.profile.realname,
            comment: new.profile.comment,
            admin: new.admin,
            enabled: true,
            groups: Vec::new(),
            generation: draw_number(),
            created: now,
            updated: now,
        };
        Ok(self.tables.users.insert(&user).await?)
    }

    /// The user with this id.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn user(&self, id: u64) -> Result<Row<User>, AccountError> {
        self.tables
            .users
            .get(id)
            .await?
            .ok_or_else(|| missing::<User>(id))
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn user_named(&self, name: &str) -> Result<Row<User>, AccountError> {
        let found = self.tables.users.by("username", name).await?;
        found.ok_or_else(|| AccountError::Missing(format!("there is no user {name:?}")))
    }

    /// Changes what is known of a user.
    ///
    /// # Errors
    /// As for [`create_user`](Accounts::create_user); [`AccountError::Missing`].
    pub async fn set_profile(&self, id: u64, profile: Profile) -> Result<Row<User>, AccountError> {
        profile.check()?;
        let now = self.now();
        let change = |user: &mut User| {
            user.email.clone_from(&profile.email);
            user.realname.clone_from(&profile.realname);
            user.comment.clone_from(&profile.comment);
            user.updated = now;
            Ok::<_, AccountError>(())
        };
        self.tables.users.update(id, change).await
    }

    /// Gives a user another password. What was given out on the strength of the old one is worth nothing any more.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] about the password; [`AccountError::Missing`].
    pub async fn set_password(&self, id: u64, password: &Secret) -> Result<(), AccountError> {
        let hash = self.hash(password).await?;
        self.change_user(id, |user| {
            user.password = Some(hash.clone());
            Ok(())
        })
        .await
    }

    /// Whether this is the password of an enabled user.
    ///
    /// # Errors
    /// [`AccountError::Missing`]; [`AccountError::Hashing`] if it cannot be found out now.
    pub async fn is_password_of(&self, id: u64, password: &str) -> Result<bool, AccountError> {
        let user = self.user(id).await?.value;
        Ok(self.is_behind(user.password.as_ref(), password).await? && user.enabled)
    }

    /// Says whether a user may do everything.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] about the first administrator; [`AccountError::Missing`].
    pub async fn set_admin(&self, id: u64, admin: bool) -> Result<(), AccountError> {
        if !admin {
            spare_the_first(id)?;
        }
        self.change_user(id, |user| {
            user.admin = admin;
            Ok(())
        })
        .await
    }

    /// Says whether a user may do anything.
    ///
    /// # Errors
    /// As for [`set_admin`](Accounts::set_admin).
    pub async fn set_enabled(&self, id: u64, enabled: bool) -> Result<(), AccountError> {
        if !enabled {
            spare_the_first(id)?;
        }
        self.change_user(id, |user| {
            user.enabled = enabled;
            Ok(())
        })
        .await
    }

    /// Puts a user in these groups and no others.
    ///
    /// # Errors
    /// [`AccountError::Missing`] about the user or a group.
    pub async fn set_groups(&self, id: u64, groups: &[u64]) -> Result<(), AccountError> {
        for group in groups {
            self.group(*group).await?;
        }
        let mut groups: Vec<i64> = groups.iter().map(|group| *group as i64).collect();
        groups.sort();
        groups.dedup();
        self.change_user(id, |user| {
            user.groups.clone_from(&groups);
            Ok(())
        })
        .await
    }

    /// Deletes a user with their access tokens. Robots that they made are worth nothing any more.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] about the first administrator; [`AccountError::Missing`].
    pub async fn delete_user(&self, id: u64) -> Result<(), AccountError> {
        spare_the_first(id)?;
        self.tables
            .users
            .delete(id)
            .await?
            .ok_or_else(|| missing::<User>(id))?;
        // With the user gone their tokens and roles are worth nothing; this only gives room back.
        for token in self.tables.tokens_of(id).await?.rows {
            self.tables.tokens.delete(token.id).await?;
        }
        for member in self.tables.members_who(&Grantee::User(id)).await?.rows {
            self.tables.members.delete(member.id).await?;
        }
        Ok(())
    }

    async fn change_user(
        &self,
        id: u64,
        mut change: impl FnMut(&mut User) -> Result<(), AccountError> + Send,
    ) -> Result<(), AccountError> {
        let now = self.now();
        let change = |user: &mut User| {
            change(user)?;
            user.generation = draw_number();
            user.updated = now;
            Ok::<_, AccountError>(())
        };
        self.tables.users.update(id, change).await?;
        Ok(())
    }
}

fn spare_the_first(id: u64) -> Result<(), AccountError> {
    match id {
        FIRST => Err(AccountError::Forbidden(
            "the first administrator stays one, so that the registry always has one".to_owned(),
        )),
        _ => Ok(()),
    }
}
