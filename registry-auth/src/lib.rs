//! Who may do what.
//!
//! The seams are [`Authenticator`](registry_core::auth::Authenticator) and
//! [`Authorizer`](registry_core::auth::Authorizer) in `registry-core`; this crate fills them. [`StaticPolicy`] are
//! rules that are written down once. [`tokens`] are given out to the accounts of a [`Directory`] and taken from whoever
//! bears them; [`credentials`] are the names and secrets that they are given out for, [`limits`] how often these may be tried,
//! and [`origin`] where clients are sent for them. An [`Entrance`] is all of this, put together.
#![forbid(unsafe_code)]

pub mod credentials;
pub mod directory;
mod entrance;
pub mod limits;
pub mod origin;
mod static_policy;
pub mod tokens;

pub use directory::{Directory, Verified};
pub use entrance::{Entered, Entrance, EntranceOptions};
pub use static_policy::{InvalidPattern, Pattern, Rule, StaticPolicy, Who};
