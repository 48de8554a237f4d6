//! Logging in, put together.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use registry_core::Runtime;
use registry_core::auth::{Authenticator, Authorizer, FirstOf};
use registry_core::http::{Body, Service};
use registry_core::store::Kv;

use crate::credentials::{Basic, Logins};
use crate::directory::Directory;
use crate::limits::{LoginLimits, Rates};
use crate::origin::Trust;
use crate::tokens::{
    Bearer, Keys, RefreshOptions, RefreshTokens, TokenAuthority, TokenEndpoint, TokenOptions, TokenService,
};

/// How an [`Entrance`] behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntranceOptions {
    /// What tokens say, and how long they live.
    pub tokens: TokenOptions,
    /// How refresh tokens are kept.
    pub refresh: RefreshOptions,
    /// How often somebody may try.
    pub rates: Rates,
    /// Whom to believe about where a request came from.
    pub trust: Trust,
}

/// All that a registry needs so that clients log in: the accounts of a [`Directory`] by name and password, and tokens
/// for them. An embedder has the parts too, and puts them together as it likes.
pub struct Entrance {
    authenticator: Arc<FirstOf>,
    endpoint: TokenEndpoint,
    logins: Arc<Logins>,
}

impl Entrance {
    /// Lets the accounts of `directory` in, with tokens for what `authorizer` allows. Keys and refresh tokens are in `kv`,
    /// which all nodes share.
    pub fn new(
        kv: Arc<dyn Kv>,
        keys: Arc<Keys>,
        directory: Arc<dyn Directory>,
        authorizer: Arc<dyn Authorizer>,
        runtime: Arc<dyn Runtime>,
        options: EntranceOptions,
    ) -> Self {
        let trust = Arc::new(options.trust);
        let limits = Arc::new(LoginLimits::new(&options.rates));
        let service = options.tokens.service.clone();
        let authority = Arc::new(TokenAuthority::new(
            keys,
            Arc::clone(&directory),
            Arc::clone(&runtime),
            options.tokens,
        ));
        let logins = Arc::new(Logins::new(
            Arc::clone(&directory),
            Arc::clone(&runtime),
            Arc::clone(&limits),
        ));
        let bearer = Arc::new(Bearer::new(Arc::clone(&authority), Arc::clone(&trust)));
        let basic: Arc<dyn Authenticator> =
            Arc::new(Basic::new(Arc::clone(&logins), Arc::clone(&trust), service));
        let refresh = RefreshTokens::new(kv, directory, Arc::clone(&runtime), options.refresh);
        let tokens = TokenService::new(authority, authorizer, Arc::clone(&logins), refresh);
        Entrance {
            authenticator: Arc::new(FirstOf::new(bearer, [basic])),
            endpoint: TokenEndpoint::new(tokens, trust, limits, runtime),
            logins,
        }
    }

    /// Finds out who sends a request, by token or by name and password.
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::clone(&self.authenticator) as _
    }

    /// Gives out the tokens.
    pub fn endpoint(&self) -> &TokenEndpoint {
        &self.endpoint
    }

    /// What finds out whether a name and a secret belong together, for other things than the registry.
    pub fn logins(&self) -> &Arc<Logins> {
        &self.logins
    }

    /// `registry` behind this entrance: with its authenticator, and with the token endpoint beside it. What the accounts
    /// may do there is for the registry to ask ([`Authorized`](registry_core::wrappers::Authorized)).
    pub fn in_front_of(&self, registry: Service) -> Entered {
        Entered {
            registry: registry.authenticator(self.authenticator()),
            endpoint: self.endpoint.clone(),
        }
    }
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrance")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// A registry that clients log in to. Cheap to clone; answers every request and never fails.
#[derive(Clone, Debug)]
pub struct Entered {
    registry: Service,
    endpoint: TokenEndpoint,
}

impl Entered {
    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match TokenEndpoint::answers(request.uri().path()) {
            true => self.endpoint.handle(request).await,
            false => self.registry.handle(request).await,
        }
    }
}

registry_core::tower_service!(Entered);
