//! Accounts: users, groups, robots and personal access tokens.
//!
//! Four kinds of records, each a typed collection. [`Accounts`] makes and changes them; the rules that hold for each are in
//! the file of its kind. What they may is for [`RoleAuthorizer`](crate::RoleAuthorizer).

mod first;
mod groups;
pub(crate) mod name;
mod permission;
mod records;
mod robots;
mod standing;
mod tokens;
mod users;
mod verify;

use std::fmt;
use std::sync::Arc;

use registry_core::store::collection::{Found, Query, Record};
use registry_core::{Error, ErrorKind, Result, Runtime, Timestamp};

use crate::credentials::PasswordHashing;
use crate::error::AccountError;
use crate::secret::Secret;
use crate::snapshots::Snapshots;
use crate::tables::Tables;

pub use first::{ADMIN, ADMIN_PASSWORD, initial_password};
pub use groups::NewGroup;
pub use permission::{Kind, Operation, Permission};
pub use records::{Creator, Group, GroupKind, Hash, Robot, RobotSecret, Token, User};
pub use robots::{NewRobot, RobotChange};
pub use standing::Standing;
pub use tokens::NewToken;
pub use users::{NewUser, Profile};

pub(crate) use name::Name;
pub(crate) use permission::Limit;
pub(crate) use records::robot_key;

/// What an operator decides about accounts and projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How robots' names begin. `robot-` is understood as well, since `$` means something to shells.
    pub robot_prefix: String,
    /// For how many days a robot is made that does not say; -1 for ever.
    pub robot_duration: i64,
    /// Whether every user may make projects, and not only administrators.
    pub users_create_projects: bool,
    /// Whether the first push into a project that does not exist makes it, by whoever may make projects.
    pub auto_create: bool,
}

impl Settings {
    /// Whether they make sense.
    ///
    /// # Errors
    /// [`RequestInvalid`](ErrorKind::RequestInvalid) about the prefix of robots' names: what else these may have in them would be
    /// read otherwise.
    pub fn check(&self) -> Result<()> {
        match self.robot_prefix.is_empty() || self.robot_prefix.contains(['+', '#', ':', '/']) {
            true => Err(Error::new(
                ErrorKind::RequestInvalid,
                "the prefix of robots' names is not empty and has none of + # : / in it",
            )),
            false => Ok(()),
        }
    }
}

impl Default for Settings {
    /// As Harbor has it: `robot$`, 30 days, every user makes projects, and no push does.
    fn default() -> Self {
        Settings {
            robot_prefix: "robot$".to_owned(),
            robot_duration: 30,
            users_create_projects: true,
            auto_create: false,
        }
    }
}

/// The accounts of a registry.
#[derive(Clone)]
pub struct Accounts {
    pub(crate) tables: Tables,
    pub(crate) snapshots: Arc<Snapshots>,
    hashing: Arc<dyn PasswordHashing>,
    runtime: Arc<dyn Runtime>,
    /// What a password is held against if there is no account of that name: as much work as for one.
    nobodys: Arc<str>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

impl Accounts {
    /// The accounts in these records.
    pub(crate) fn new(
        tables: Tables,
        snapshots: Arc<Snapshots>,
        hashing: Arc<dyn PasswordHashing>,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        let nobodys = hashing.nobodys().into();
        Accounts {
            tables,
            snapshots,
            hashing,
            runtime,
            nobodys,
        }
    }

    /// What the operator decided.
    pub fn settings(&self) -> &Settings {
        self.snapshots.settings()
    }

    /// A page of the users.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] about the query; [`AccountError::Records`].
    pub async fn users(&self, query: &Query) -> Result<Found<User>, AccountError> {
        Ok(self.tables.users.query(query).await?)
    }

    /// A page of the groups.
    ///
    /// # Errors
    /// As for [`users`](Accounts::users).
    pub async fn groups(&self, query: &Query) -> Result<Found<Group>, AccountError> {
        Ok(self.tables.groups.query(query).await?)
    }

    /// A page of the robots.
    ///
    /// # Errors
    /// As for [`users`](Accounts::users).
    pub async fn robots(&self, query: &Query) -> Result<Found<Robot>, AccountError> {
        Ok(self.tables.robots.query(query).await?)
    }

    /// A page of the access tokens.
    ///
    /// # Errors
    /// As for [`users`](Accounts::users).
    pub async fn tokens(&self, query: &Query) -> Result<Found<Token>, AccountError> {
        Ok(self.tables.tokens.query(query).await?)
    }

    fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    /// The hash of what somebody chose.
    async fn hash(&self, password: &Secret) -> Result<Hash, AccountError> {
        crate::secret::check_password(password.reveal())?;
        let hash = self.hashing.hash(password.reveal()).await;
        Ok(Hash::new(hash.map_err(AccountError::Hashing)?))
    }
}

/// That there is none with this id.
fn missing<T: Record>(id: u64) -> AccountError {
    AccountError::Missing(format!("there is no {} {id}", T::TABLE))
}
