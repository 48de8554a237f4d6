//! Policies and views: registries around a registry.
//!
//! A wrapper that decides is a [`Gate`]: one function, asked before every operation, that matches on [`Call`]
//! exhaustively, so a new operation cannot slip past it. [`Gated`] puts a gate in front of any registry; it is the
//! one place where operations are forwarded, and `clippy::missing_trait_methods` is denied there.
//!
//! ```
//! use registry_core::wrappers::{ReadOnly, Select};
//! use registry_core::{Registry, auth::Visible};
//!
//! /// What the public may see of `inner`: nothing can be written, and only one team's repositories are there.
//! fn showcase(inner: impl Registry) -> impl Registry {
//!     let team = Visible::Only { names: [].into(), prefixes: ["team/".to_owned()].into() };
//!     ReadOnly::around(Select::around(inner, team))
//! }
//! ```

mod authorized;
mod gate;
mod prefix;
mod read_only;
mod select;
mod shared;

pub use authorized::Authorized;
pub use gate::{Call, Gate, Gated};
pub use prefix::Prefix;
pub use read_only::ReadOnly;
pub use select::Select;
