//! Who may do what.
//!
//! The seams are [`Authenticator`](registry_core::auth::Authenticator) and
//! [`Authorizer`](registry_core::auth::Authorizer) in `registry-core`; this crate fills them. [`Tenants`] keeps accounts and
//! projects in the records and decides by [roles]; [`StaticPolicy`] decides by rules that are written down once, and
//! [`Htpasswd`] knows the users of a file. Both kinds of users are a [`Directory`].
#![forbid(unsafe_code)]

mod accounts;
mod authorizer;
mod directory;
mod error;
mod htpasswd;
mod password;
mod pattern;
mod power;
mod projects;
pub mod query;
pub mod roles;
pub mod secret;
mod snapshots;
mod static_policy;
mod tables;
mod tenants;
mod view;

pub use accounts::{
    ADMIN, Accounts, Creator, Group, GroupKind, Hash, Kind, NewGroup, NewRobot, NewToken, NewUser, Operation,
    Permission, Profile, Robot, RobotChange, RobotSecret, Settings, Token, User, initial_password,
};
pub use authorizer::RoleAuthorizer;
pub use directory::{Directory, Verified};
pub use error::AccountError;
pub use htpasswd::Htpasswd;
pub use password::{Argon2id, PasswordHashing};
pub use pattern::{InvalidPattern, Pattern};
pub use projects::{AutoCreate, CreatesProjects, Grantee, Member, Project, Projects, project_of};
pub use snapshots::STALE_AFTER;
pub use static_policy::{Rule, StaticPolicy, Who};
pub use tenants::Tenants;

/// What every write to accounts and projects changes.
const MARK: &str = "access";
