//! Who may do what.
//!
//! The seams are [`Authenticator`](registry_core::auth::Authenticator) and
//! [`Authorizer`](registry_core::auth::Authorizer) in `registry-core`; this crate fills them. So far it holds
//! [`StaticPolicy`]: rules that are written down once.
#![forbid(unsafe_code)]

mod static_policy;

pub use static_policy::{InvalidPattern, Pattern, Rule, StaticPolicy, Who};
