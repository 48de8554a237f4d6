//! Who a name and a secret prove.
//!
//! The work depends on the form of the secret and never on the account. A drawn secret is looked for by its hash: one look among
//! access tokens and one among robots, whatever the name; what is found by a hash of 238 random bits needs no comparison that takes
//! the same time. Anything else is held against one slow hash: that of the account, or one that is nobody's.

use std::sync::Arc;

use async_trait::async_trait;
use registry_core::store::collection::Row;
use registry_core::{Result, Timestamp};

use super::records::{Hash, Robot, RobotSecret, Token};
use super::{Accounts, Name};
use crate::directory::{Directory, Verified};
use crate::error::AccountError;
use crate::power::{Account, ProjectView};
use crate::secret::{fingerprint, is_drawn};

#[async_trait]
impl Directory for Accounts {
    async fn verify(&self, name: &str, secret: &str) -> Result<Option<Verified>> {
        let account = match is_drawn(secret) {
            true => self.drawn(name, secret).await?,
            false => self.chosen(name, secret).await?,
        };
        Ok(account
            .filter(|account| account.is_alive(self.now()))
            .map(|account| Verified {
                subject: account.name.clone(),
                stamp: account.stamp,
                // An access token is an account of its own, which is narrower than its user.
                limit: None,
            }))
    }

    async fn subject(&self, name: &str) -> Result<Option<u64>> {
        let now = self.now();
        let known = self.snapshots.warm(now).and_then(|warm| warm.account(name));
        let account = match known {
            Some(account) => account,
            // Boxed, as most questions never come here.
            None => Box::pin(self.read_account(now, name)).await?,
        };
        Ok(account
            .filter(|account| account.is_alive(now))
            .map(|account| account.stamp))
    }

    async fn project(&self, name: &str) -> Result<Option<u64>> {
        let now = self.now();
        let known = self.snapshots.warm(now).and_then(|warm| warm.project(name));
        let project = match known {
            Some(project) => project,
            None => Box::pin(self.read_project(now, name)).await?,
        };
        Ok(project.map(|project| project.id))
    }
}

impl Accounts {
    async fn read_account(&self, now: Timestamp, name: &str) -> Result<Option<Arc<Account>>, AccountError> {
        let generation = self.snapshots.generation(now).await?;
        Ok(self.snapshots.account(generation, name).await?)
    }

    async fn read_project(&self, now: Timestamp, name: &str) -> Result<Option<ProjectView>, AccountError> {
        let generation = self.snapshots.generation(now).await?;
        Ok(self.snapshots.project(generation, name).await?)
    }

    /// The account whose drawn secret this is, if it goes by that name. Its stamp is of the very record whose secret it is.
    async fn drawn(&self, name: &str, secret: &str) -> Result<Option<Arc<Account>>, AccountError> {
        let hash = fingerprint(secret);
        let token = self.tables.tokens.by("secret", &hash).await?;
        let robot = self.tables.robots.by("secret", &hash).await?;
        match (token, robot) {
            (Some(token), _) => self.token_called(token, name).await,
            (None, Some(robot)) => self.robot_called(robot, name).await,
            (None, None) => Ok(None),
        }
    }

    /// A token goes by its user's name, as where clients have no other, and by its own.
    async fn token_called(
        &self,
        token: Row<Token>,
        name: &str,
    ) -> Result<Option<Arc<Account>>, AccountError> {
        let Some(user) = self.tables.users.get(token.value.user).await? else {
            return Ok(None);
        };
        let is_called = match Name::parse(name, self.settings()) {
            Name::User(name) => name == user.value.username,
            Name::Token { user: of, name } => of == user.value.username && name == token.value.name,
            Name::Robot { .. } => false,
        };
        match is_called {
            true => Ok(self.snapshots.token(user.id, user.value, token.value).await?),
            false => Ok(None),
        }
    }

    async fn robot_called(
        &self,
        robot: Row<Robot>,
        name: &str,
    ) -> Result<Option<Arc<Account>>, AccountError> {
        let Name::Robot { project, name } = Name::parse(name, self.settings()) else {
            return Ok(None);
        };
        let named = self.tables.robot_named(project, name).await?;
        match named.is_some_and(|named| named.id == robot.id) {
            true => Ok(self.snapshots.robot(robot.value).await?),
            false => Ok(None),
        }
    }

    /// The account of this name, if that is its password.
    async fn chosen(&self, name: &str, secret: &str) -> Result<Option<Arc<Account>>, AccountError> {
        match Name::parse(name, self.settings()) {
            Name::Robot { project, name } => {
                let robot = self.tables.robot_named(project, name).await?;
                let hash = robot.as_ref().and_then(|robot| match &robot.value.secret {
                    RobotSecret::Chosen(hash) => Some(hash),
                    RobotSecret::Drawn(_) => None,
                });
                let is_right = self.is_behind(hash, secret).await?;
                match robot.filter(|_| is_right) {
                    Some(robot) => Ok(self.snapshots.robot(robot.value).await?),
                    None => Ok(None),
                }
            }
            Name::User(name) => {
                let user = self.tables.users.by("username", name).await?;
                let hash = user.as_ref().and_then(|user| user.value.password.as_ref());
                let is_right = self.is_behind(hash, secret).await?;
                match user.filter(|_| is_right) {
                    Some(user) => Ok(self.snapshots.user(user.id, user.value).await?),
                    None => Ok(None),
                }
            }
            Name::Token { .. } => {
                self.is_behind(None, secret).await?;
                Ok(None)
            }
        }
    }

    /// Whether this is the password behind a hash. Without one, as much work and no.
    pub(super) async fn is_behind(&self, hash: Option<&Hash>, password: &str) -> Result<bool, AccountError> {
        let held = hash.map_or(&*self.nobodys, Hash::as_str);
        let is_right = self
            .hashing
            .verify(password, held)
            .await
            .map_err(AccountError::Hashing)?;
        Ok(is_right && hash.is_some())
    }
}
