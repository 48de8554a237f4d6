//! Who may do what.
//!
//! The seams are [`Authenticator`](registry_core::auth::Authenticator) and
//! [`Authorizer`](registry_core::auth::Authorizer) in `registry-core`; this crate fills them. [`Tenants`] keeps accounts and
//! projects in the records and decides by [roles]; [`StaticPolicy`] decides by rules that are written down once, and
//! [`Htpasswd`] knows the users of a file. Both kinds of users are a [`Directory`]. [`tokens`] are given out to the accounts of
//! a directory and taken from whoever bears them; [`credentials`] are the names and secrets that they are given out for,
//! [`limits`] how often these may be tried, and [`origin`] where clients are sent for them. An [`Entrance`] is all of this, put
//! together.
#![forbid(unsafe_code)]

mod accounts;
mod authorizer;
pub mod credentials;
pub mod directory;
mod entrance;
mod error;
mod htpasswd;
pub mod limits;
pub mod origin;
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
pub mod tokens;
mod view;

pub use accounts::{
    ADMIN, ADMIN_PASSWORD, Accounts, Creator, Group, GroupKind, Hash, Kind, NewGroup, NewRobot, NewToken,
    NewUser, Operation, Permission, Profile, Robot, RobotChange, RobotSecret, Settings, Standing, Token,
    User, initial_password,
};
pub use authorizer::RoleAuthorizer;
pub use credentials::{Argon2id, PasswordHashing};
pub use directory::{Directory, Verified};
pub use entrance::{Entered, Entrance, EntranceOptions};
pub use error::AccountError;
pub use htpasswd::Htpasswd;
pub use pattern::{InvalidPattern, Pattern};
pub use projects::{AutoCreate, CreatesProjects, Grantee, Member, Project, Projects, project_of};
pub use snapshots::STALE_AFTER;
pub use static_policy::{Rule, StaticPolicy, Who};
pub use tenants::Tenants;

/// What every write to accounts and projects changes.
const MARK: &str = "access";
