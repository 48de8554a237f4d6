//! What tokens know of accounts and projects.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use registry_core::Result;
use registry_core::auth::Scope;

/// The accounts and projects behind tokens.
///
/// A token remembers the stamp of its account and the ids of its projects, and is worth nothing once either has
/// changed. So the stamp of an account changes with whatever could make [`verify`](Directory::verify) answer
/// otherwise, and the id of a project is never used again for another of the same name.
#[async_trait]
pub trait Directory: Send + Sync {
    /// The account that `name` and `secret` prove; nothing if there is none, or the secret is wrong. Takes as long for
    /// an unknown name as for a wrong secret.
    ///
    /// # Errors
    /// If it cannot be found out, or not now.
    async fn verify(&self, name: &str, secret: &str) -> Result<Option<Verified>>;

    /// The present stamp of the account that [`Verified::subject`] names; nothing if there is none, or it may not be
    /// used.
    ///
    /// # Errors
    /// If it cannot be found out.
    async fn subject(&self, name: &str) -> Result<Option<u64>>;

    /// The id of the project of this name.
    ///
    /// # Errors
    /// If it cannot be found out.
    async fn project(&self, name: &str) -> Result<Option<u64>>;
}

/// An account that has proven who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// The account's name, as [`Identity::Named`](registry_core::auth::Identity::Named) has it.
    pub subject: Arc<str>,
    /// Its present stamp.
    pub stamp: u64,
    /// What these credentials open, if that is less than all that the account may.
    pub limit: Option<Arc<Scope>>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("subject", &self.subject)
            .field("stamp", &self.stamp)
            .field("limited", &self.limit.is_some())
            .finish()
    }
}
