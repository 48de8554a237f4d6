//! Who sends a request, by the token that it bears.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::request::Parts;
use registry_core::auth::{Authenticated, Authenticator, Challenge};
use registry_core::{Error, ErrorKind, Result};

use super::authority::TokenAuthority;
use super::jwt::refused;
use crate::credentials::scheme;
use crate::origin::Trust;

/// Where tokens are given out, below the registry's origin.
pub const TOKEN_PATH: &str = "/service/token";

/// Takes the tokens of a [`TokenAuthority`], and sends who has none to where there are some (RFC 6750).
///
/// `GET /v2/` without credentials is refused: that is how clients find out whether and how to log in.
#[derive(Debug)]
pub struct Bearer {
    authority: Arc<TokenAuthority>,
    trust: Arc<Trust>,
}

impl Bearer {
    /// Takes the tokens of `authority`. The endpoint's address is derived as `trust` says.
    pub fn new(authority: Arc<TokenAuthority>, trust: Arc<Trust>) -> Self {
        Bearer { authority, trust }
    }
}

#[async_trait]
impl Authenticator for Bearer {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Authenticated>> {
        let Some(value) = head.headers.get(AUTHORIZATION) else {
            return match head.uri.path() {
                "/v2/" | "/v2" => Err(Error::new(ErrorKind::Unauthorized, "log in, or ask for a token")),
                _ => Ok(None),
            };
        };
        if head.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return Err(refused("the request has several Authorization headers; send one"));
        }
        let Some(token) = scheme(value, "bearer") else {
            return Ok(None);
        };
        let token = std::str::from_utf8(token).map_err(|_| refused("the token cannot be read"))?;
        self.authority.check(token).await.map(Some)
    }

    /// A request without an origin that could be told back gets the challenge that needs none.
    fn challenge(&self, head: &Parts) -> Challenge {
        match self.trust.origin(head) {
            Some(origin) => Challenge::Bearer {
                realm: format!("{origin}{TOKEN_PATH}"),
                service: self.authority.options().service.clone(),
            },
            None => Challenge::Basic {
                realm: self.authority.options().service.clone(),
            },
        }
    }
}
