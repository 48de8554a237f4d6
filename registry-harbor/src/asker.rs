//! Who sends a request.

use std::fmt;

use http::header::AUTHORIZATION;
use http::request::Parts as Head;
use registry_auth::Standing;
use registry_core::auth::{Authenticated, Identity};

use crate::api::State;
use crate::refusal::Refusal;

/// Who sends a request, and what kind of account that is.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) identity: Identity,
    /// None if the request does not say who sends it.
    pub(crate) standing: Option<Standing>,
    /// Whether they may do everything.
    pub(crate) admin: bool,
}

impl Asker {
    pub(crate) fn nobody() -> Self {
        Asker {
            identity: Identity::Anonymous,
            standing: None,
            admin: false,
        }
    }

    /// The name of the account.
    pub(crate) fn name(&self) -> &str {
        match &self.identity {
            Identity::Named(name) => name,
            Identity::Anonymous | Identity::System => "",
        }
    }

    /// Whether it is a user, or whatever may all that a user may: not a robot, and no token that is limited.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(
            self.standing,
            Some(Standing::User { .. } | Standing::Token { limited: false, .. })
        )
    }

    /// The user who asks, if it is one and nothing that they gave out.
    pub(crate) fn user_in_person(&self) -> Option<u64> {
        match self.standing {
            Some(Standing::User { user }) => Some(user),
            _ => None,
        }
    }

    /// That they may not: to whoever did not say who they are, that they should.
    pub(crate) fn refused(&self, message: impl Into<String>) -> Refusal {
        match self.standing {
            None => Refusal::unauthorized("this takes an account: log in with a name and a password"),
            Some(_) => Refusal::forbidden(message),
        }
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

impl State {
    /// Who sends the request with this head.
    pub(crate) async fn asker(&self, head: &Head) -> Result<Asker, Refusal> {
        let Authenticated { identity, scope } = match self.parts.authenticator.authenticate(head).await? {
            Some(known) => known,
            None if head.headers.contains_key(AUTHORIZATION) => {
                return Err(Refusal::unauthorized(
                    "the credentials are of a kind that is not known here; log in with a name and a password (Basic)",
                ));
            }
            None => Identity::Anonymous.into(),
        };
        if scope.is_some() {
            return Err(Refusal::unauthorized(
                "a token for repositories opens no management; log in with a name and a password (Basic)",
            ));
        }
        let name = match &identity {
            Identity::Named(name) => name,
            Identity::Anonymous => return Ok(Asker::nobody()),
            // No request from outside has this identity.
            Identity::System => return Err(Refusal::unauthorized("log in with a name and a password")),
        };
        let standing = self.parts.tenants.accounts.standing(name).await?;
        let gone = || Refusal::unauthorized(format!("{name} has no account here, or not any more"));
        Ok(Asker {
            standing: Some(standing.ok_or_else(gone)?),
            admin: self.parts.tenants.authorizer.is_admin(&identity).await?,
            identity,
        })
    }
}
