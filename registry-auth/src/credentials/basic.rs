//! Who sends a request, by name and secret.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::request::Parts;
use registry_core::auth::{Authenticated, Authenticator, Challenge, Identity};
use registry_core::{Error, ErrorKind, Result};

use super::authorization::{Credentials, scheme};
use super::remembered::Logins;
use crate::origin::Trust;

/// Takes names and secrets with every request (RFC 7617), as scripts and some clients send them.
#[derive(Debug)]
pub struct Basic {
    logins: Arc<Logins>,
    trust: Arc<Trust>,
    realm: String,
}

impl Basic {
    /// Takes the accounts that `logins` knows; `realm` is what people are shown.
    pub fn new(logins: Arc<Logins>, trust: Arc<Trust>, realm: impl Into<String>) -> Self {
        Basic {
            logins,
            trust,
            realm: realm.into(),
        }
    }
}

#[async_trait]
impl Authenticator for Basic {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Authenticated>> {
        let Some(encoded) = head
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| scheme(value, "basic"))
        else {
            return Ok(None);
        };
        let credentials = Credentials::from_basic(encoded)?;
        match self.logins.verify(&credentials, self.trust.client(head)).await? {
            Some(verified) => Ok(Some(Authenticated {
                identity: Identity::Named(verified.subject),
                scope: verified.limit,
            })),
            None => Err(wrong()),
        }
    }

    fn challenge(&self, _head: &Parts) -> Challenge {
        Challenge::Basic {
            realm: self.realm.clone(),
        }
    }
}

/// The one answer to an unknown name and to a wrong secret.
pub(crate) fn wrong() -> Error {
    Error::new(ErrorKind::Unauthorized, "the name or the password is wrong")
}
