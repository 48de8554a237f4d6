//! What a client's machine needs so that docker, containerd, podman, Kubernetes and others trust a registry: which
//! authority, and where each of them looks for it.

mod anchor;
mod place;
mod pull_secret;
mod snippets;

pub use anchor::{Anchor, AnchorError, covers};
pub use place::{Place, PlaceError};
pub use pull_secret::{Password, User, UserError};
pub use snippets::{Client, Snippet, Target, script, snippets};
