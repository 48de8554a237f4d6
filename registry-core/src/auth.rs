//! Who asks, and what they may: the two seams that an embedder replaces.
//!
//! An [`Authenticator`] turns a request's head into an [`Identity`]; an [`Authorizer`] decides what that identity may
//! reach. Both know nothing of HTTP bodies or of stores; [`Authorized`](crate::wrappers::Authorized) asks the
//! second before each operation.

mod challenge;
mod first_of;
mod scope;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::name::RepositoryName;

pub use challenge::{CHALLENGE_MAX, Challenge, TokenProblem};
pub use first_of::FirstOf;
pub use scope::{Actions, SCOPE_ENTRIES_MAX, SCOPE_TEXT_MAX, Scope};

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// A user, robot or other account, by the name that audit records show.
    Named(Arc<str>),
    /// The registry itself: its own maintenance. No request from outside has this identity.
    System,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Anonymous => f.write_str("anonymous"),
            Identity::Named(name) => f.write_str(name),
            Identity::System => f.write_str("system"),
        }
    }
}

/// What can be done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Read blobs, manifests, tags and referrers.
    Pull,
    /// Write blobs, manifests and tags.
    Push,
    /// Delete blobs, manifests, tags or the repository.
    Delete,
}

impl Action {
    /// The action's name in a token scope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
        }
    }
}

/// What an operation needs to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// An action on one repository.
    Repository(RepositoryName, Action),
    /// The list of repositories.
    Catalog,
}

impl fmt::Display for Access {
    /// As a token scope: `repository:team/app:pull`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::Repository(name, action) => write!(f, "repository:{name}:{}", action.as_str()),
            Access::Catalog => f.write_str("registry:catalog:*"),
        }
    }
}

/// An authorizer's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every access asked for is granted.
    Allowed,
    /// At least one is not.
    Denied {
        /// Whether the caller may know that the thing exists.
        visible: bool,
    },
    /// At least one is not, since what the repository would be in does not exist, and the caller may know that: what it
    /// is and what to do, in plain words.
    Missing(String),
}

/// The repositories that a caller may know of, as far as lists and anonymous mounts are concerned.
///
/// Prefixes, so that filtering a list costs the page and not the total: a store seeks from one prefix to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visible {
    /// All of them.
    All,
    /// Those named exactly, or that lie below one of the prefixes (`team/` covers `team/app`).
    Only {
        /// Whole repository names.
        names: Arc<[RepositoryName]>,
        /// What names begin with: `team/` covers `team/app`, `team/app-` covers `team/app-one`.
        prefixes: Arc<[String]>,
    },
}

impl Visible {
    /// Nothing at all.
    pub fn none() -> Self {
        Visible::Only {
            names: Arc::new([]),
            prefixes: Arc::new([]),
        }
    }

    /// Whether `name` may be shown.
    pub fn contains(&self, name: &RepositoryName) -> bool {
        match self {
            Visible::All => true,
            Visible::Only { names, prefixes } => {
                names.contains(name)
                    || prefixes
                        .iter()
                        .any(|prefix| name.as_str().starts_with(prefix.as_str()))
            }
        }
    }
}

impl Visible {
    /// What both let be seen.
    #[must_use]
    pub fn and(&self, other: &Visible) -> Visible {
        let (
            Visible::Only { names, prefixes },
            Visible::Only {
                names: other_names,
                prefixes: other_prefixes,
            },
        ) = (self, other)
        else {
            return if *self == Visible::All {
                other.clone()
            } else {
                self.clone()
            };
        };
        let common = names.iter().filter(|name| other.contains(name)).chain(
            other_names
                .iter()
                .filter(|name| self.contains(name) && !names.contains(name)),
        );
        // Of two prefixes, either one covers the other or they have nothing in common.
        let covered =
            |prefix: &&String, by: &[String]| by.iter().any(|other| prefix.starts_with(other.as_str()));
        let narrower = prefixes
            .iter()
            .filter(|prefix| covered(prefix, other_prefixes))
            .chain(
                other_prefixes
                    .iter()
                    .filter(|prefix| covered(prefix, prefixes) && !prefixes.contains(prefix)),
            );
        Visible::Only {
            names: common.cloned().collect(),
            prefixes: narrower.cloned().collect(),
        }
    }
}

/// Decides what an identity may do. Must answer from what is true now: a revoked right is gone with the next request.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `identity` holds every one of `accesses`.
    ///
    /// # Errors
    /// Only if the decision cannot be made; the caller then refuses.
    async fn authorize(&self, identity: &Identity, accesses: &[Access]) -> Result<Decision>;

    /// The repositories that `identity` may pull from: those whose names lists show it, and from which it may mount
    /// without saying which.
    ///
    /// # Errors
    /// As for [`authorize`](Authorizer::authorize).
    async fn visible(&self, identity: &Identity) -> Result<Visible>;
}

#[async_trait]
impl<A: Authorizer + ?Sized> Authorizer for Arc<A> {
    async fn authorize(&self, identity: &Identity, accesses: &[Access]) -> Result<Decision> {
        (**self).authorize(identity, accesses).await
    }

    async fn visible(&self, identity: &Identity) -> Result<Visible> {
        (**self).visible(identity).await
    }
}

/// What the head of a request proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// Who sent it.
    pub identity: Identity,
    /// What its token opens, however much more the sender may; without one, all that the sender may.
    pub scope: Option<Arc<Scope>>,
}

impl From<Identity> for Authenticated {
    /// Everything that `identity` may.
    fn from(identity: Identity) -> Self {
        Authenticated {
            identity,
            scope: None,
        }
    }
}

/// Finds out who sent a request.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who sent the request with this head. `None` if it holds no credentials of a kind that this authenticator
    /// knows: then [another](FirstOf) is asked. A request that holds none at all is anonymous in the end; one
    /// whose credentials nobody knows is refused.
    ///
    /// # Errors
    /// [`Unauthorized`](crate::ErrorKind::Unauthorized) if credentials are given and wrong.
    async fn authenticate(&self, head: &http::request::Parts) -> Result<Option<Authenticated>>;

    /// How to ask for credentials, given the request that lacked them.
    fn challenge(&self, head: &http::request::Parts) -> Challenge;
}

/// Takes everybody for [`Identity::Anonymous`]: for open registries and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anyone;

#[async_trait]
impl Authenticator for Anyone {
    async fn authenticate(&self, _head: &http::request::Parts) -> Result<Option<Authenticated>> {
        Ok(Some(Identity::Anonymous.into()))
    }

    fn challenge(&self, _head: &http::request::Parts) -> Challenge {
        Challenge::Basic {
            realm: "berth".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_views_have_in_common_is_what_both_contain() {
        let view = |names: &[&str], prefixes: &[&str]| Visible::Only {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        };
        let (a, b) = (
            view(&["x", "a/b/c", "y"], &["a/b/", "d/"]),
            view(&["x", "d/e"], &["a/", "d/e/", "z/"]),
        );
        let both = a.and(&b);
        for name in ["x", "y", "a/b/c", "a/b/d", "a/c", "d/e", "d/e/f", "d/g", "z/1"] {
            let name = name.parse().unwrap();
            assert_eq!(
                both.contains(&name),
                a.contains(&name) && b.contains(&name),
                "{name}"
            );
        }
        assert_eq!(a.and(&Visible::All), a);
        assert_eq!(Visible::All.and(&a), a);
    }

    #[test]
    fn visibility_by_prefix_stops_at_the_slash() {
        let visible = Visible::Only {
            names: Arc::new([]),
            prefixes: Arc::new(["team/".to_owned()]),
        };
        assert!(visible.contains(&"team/app".parse().unwrap()));
        assert!(!visible.contains(&"teammate/app".parse().unwrap()));
    }
}
