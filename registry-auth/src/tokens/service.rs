//! Who gets a token, and for what.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use registry_core::auth::{Access, Actions, Authorizer, Decision, Identity, Scope};
use registry_core::{Error, ErrorKind, Result};

use super::authority::{Issued, TokenAuthority};
use super::refresh::RefreshTokens;
use crate::credentials::{Credentials, Logins, wrong};
use crate::directory::Verified;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// The service that the token is to be for, if it says so.
    pub service: Option<String>,
    /// What the token is to open.
    pub scope: Scope,
    /// Whether a refresh token is wanted too.
    pub offline: bool,
    /// Who it says it is.
    pub who: Claimed,
}

/// Who a client says it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody in particular.
    Nobody,
    /// The account with this name, or so the secret is to prove.
    Login(Credentials),
    /// The holder of this refresh token.
    Refresh(String),
}

impl fmt::Debug for Claimed {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Claimed::Nobody => f.write_str("Nobody"),
            Claimed::Login(credentials) => write!(f, "Login({credentials:?})"),
            Claimed::Refresh(_) => f.write_str("Refresh(..)"),
        }
    }
}

/// What it gets.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenReply {
    /// The token.
    pub issued: Issued,
    /// What the token opens: of what was asked for, what the account may. Names what it does not open too.
    pub scope: Scope,
    /// A refresh token.
    pub refresh: Option<String>,
}

impl fmt::Debug for TokenReply {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReply")
            .field("issued", &self.issued)
            .field("scope", &self.scope)
            .field("refresh", &self.refresh.is_some())
            .finish()
    }
}

/// Gives out tokens: what is asked for as far as the account may have it. Less than that is no error, which
/// clients count on (distribution, `docs/content/spec/auth/token.md`).
pub struct TokenService {
    authority: Arc<TokenAuthority>,
    authorizer: Arc<dyn Authorizer>,
    logins: Arc<Logins>,
    refresh: RefreshTokens,
}

impl TokenService {
    /// Gives out tokens of `authority` to who logs in, for what `authorizer` allows.
    pub fn new(
        authority: Arc<TokenAuthority>,
        authorizer: Arc<dyn Authorizer>,
        logins: Arc<Logins>,
        refresh: RefreshTokens,
    ) -> Self {
        TokenService {
            authority,
            authorizer,
            logins,
            refresh,
        }
    }

    /// What makes its tokens.
    pub fn authority(&self) -> &Arc<TokenAuthority> {
        &self.authority
    }

    /// The refresh tokens that it gives out.
    pub fn refresh_tokens(&self) -> &RefreshTokens {
        &self.refresh
    }

    /// A token for whoever asks `from` this address.
    ///
    /// # Errors
    /// [`RequestInvalid`](ErrorKind::RequestInvalid) for another service; [`Unauthorized`](ErrorKind::Unauthorized)
    /// for credentials that prove nothing, and for a request without any that asks for nothing;
    /// [`TooManyRequests`](ErrorKind::TooManyRequests).
    pub async fn token(&self, request: &TokenRequest, from: Option<IpAddr>) -> Result<TokenReply> {
        let own = &self.authority.options().service;
        if let Some(other) = request.service.as_ref().filter(|service| *service != own) {
            return Err(Error::new(
                ErrorKind::RequestInvalid,
                format!(
                    "tokens from here are for the service {own:?}, not {:?}",
                    other.chars().take(100).collect::<String>()
                ),
            ));
        }
        let holder = self.holder(request, from).await?;
        let scope = self.grant(holder.as_ref(), &request.scope).await?;
        let issued = self.authority.issue(holder.as_ref(), &scope).await?;
        let refresh = match (&request.who, &holder) {
            _ if !request.offline => None,
            (Claimed::Refresh(token), _) => self.refresh.replace(token).await?,
            // Credentials that open less than their account would open all of it again with a refresh token.
            (Claimed::Login(_), Some(holder)) if holder.limit.is_none() => {
                Some(self.refresh.issue(holder).await?)
            }
            _ => None,
        };
        Ok(TokenReply {
            issued,
            scope,
            refresh,
        })
    }

    async fn holder(&self, request: &TokenRequest, from: Option<IpAddr>) -> Result<Option<Verified>> {
        let holder = match &request.who {
            Claimed::Nobody if request.scope.is_empty() => {
                return Err(Error::new(
                    ErrorKind::Unauthorized,
                    "log in, or say by a scope what the token is to open",
                ));
            }
            Claimed::Nobody => return Ok(None),
            Claimed::Login(credentials) => self.logins.verify(credentials, from).await?,
            Claimed::Refresh(token) => self.refresh.holder(token).await?,
        };
        match (holder, &request.who) {
            (Some(holder), _) => Ok(Some(holder)),
            (None, Claimed::Refresh(_)) => Err(Error::new(
                ErrorKind::Unauthorized,
                "the refresh token is not valid, or no longer; log in again",
            )),
            (None, who) => {
                tracing::info!(?who, from = from.map(tracing::field::display), "a login failed");
                Err(wrong())
            }
        }
    }

    /// Of what is asked for, what the holder may have.
    async fn grant(&self, holder: Option<&Verified>, asked: &Scope) -> Result<Scope> {
        let identity = match holder {
            Some(holder) => Identity::Named(Arc::clone(&holder.subject)),
            None => Identity::Anonymous,
        };
        let limit = holder.and_then(|holder| holder.limit.as_deref());
        let allowed = async |access: &Access| -> Result<bool> {
            Ok(limit.is_none_or(|limit| limit.permits(access))
                && self
                    .authorizer
                    .authorize(&identity, std::slice::from_ref(access))
                    .await?
                    == Decision::Allowed)
        };
        let mut granted = Scope::new();
        for (name, actions) in asked.repositories() {
            let mut open = Actions::NONE;
            for action in actions.iter() {
                if allowed(&Access::Repository(name.clone(), action)).await? {
                    open = open.with(action);
                }
            }
            granted.name(name.clone(), open);
        }
        if asked.opens_catalog() && allowed(&Access::Catalog).await? {
            granted.open(Access::Catalog);
        }
        Ok(granted)
    }
}

impl fmt::Debug for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenService")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}
