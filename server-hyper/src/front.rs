//! What stands between clients and the registry: who they are, and what they may.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use registry_auth::origin::Trust;
use registry_auth::{
    CreatesProjects, Directory, Entered, Entrance, EntranceOptions, Htpasswd, StaticPolicy, Tenants,
};
use registry_core::Registry;
use registry_core::auth::Authorizer;
use registry_core::http::{Body, Limits, Service};
use registry_core::wrappers::Authorized;
use registry_harbor::{About, Api, Parts};

use crate::readiness::Readiness;
use crate::runtime::TokioRuntime;
use crate::stores::Stores;

/// Between two looks for logins that are over.
const SWEEP: Duration = Duration::from_secs(3600);

/// A registry without accounts: everybody may push, pull and delete.
pub fn open(stores: &Stores, limits: Limits) -> Service {
    let registry = Authorized::around(Arc::clone(&stores.registry), StaticPolicy::open());
    Service::new(Arc::new(registry), TokioRuntime::shared()).limits(limits)
}

/// A registry that clients log in to.
///
/// ```
/// # futures_executor::block_on(async {
/// use std::sync::Arc;
/// use registry_auth::credentials::{HashingOptions, HashingPool};
/// use registry_auth::{EntranceOptions, Settings, Tenants};
/// use registry_core::store::Lifetimes;
/// use server_hyper::{Front, Stores, TokioRuntime};
///
/// let stores = Stores::memory(Lifetimes::default());
/// let hashing = Arc::new(HashingPool::new(&HashingOptions::default())?);
/// let tenants = Tenants::open(
///     Arc::clone(stores.kv()),
///     TokioRuntime::shared(),
///     hashing,
///     Settings::default(),
/// )?;
/// tenants.accounts.first_start(None).await?;
/// let front = Front::of_tenants(&stores, &tenants, EntranceOptions::default());
/// let service = front.service(Default::default());
/// # drop(service);
/// # Ok::<_, registry_core::Error>(())
/// # }).unwrap();
/// ```
pub struct Front {
    registry: Arc<dyn Registry>,
    entrance: Arc<Entrance>,
    api: Option<Api>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}

impl Front {
    /// With the accounts, projects and roles that are in the records, and the API that manages them.
    pub fn of_tenants(stores: &Stores, tenants: &Tenants, options: EntranceOptions) -> Self {
        let trust = options.trust.clone();
        let registry = CreatesProjects::around(Arc::clone(&stores.registry), tenants.projects.clone());
        let accounts = Arc::new(tenants.accounts.clone());
        let front = Front::new(stores, registry, accounts, tenants.authorizer.clone(), options);
        let api = front.api(stores, tenants, trust);
        Front {
            api: Some(api),
            ..front
        }
    }

    fn api(&self, stores: &Stores, tenants: &Tenants, trust: Trust) -> Api {
        Api::new(Parts {
            tenants: tenants.clone(),
            authenticator: self.entrance.authenticator(),
            trust: Arc::new(trust),
            health: Arc::new(Readiness::of(stores.clone())),
            registry: Arc::clone(&stores.registry),
            runtime: TokioRuntime::shared(),
            about: About {
                // What is said of a Harbor, for clients that look whether they know this one.
                version: format!("v2.16.0-berth-{}", env!("CARGO_PKG_VERSION")),
                read_only: false,
            },
        })
    }

    /// With the users of a file, each of whom may everything; others may nothing.
    pub fn of_file(stores: &Stores, users: Htpasswd, options: EntranceOptions) -> Self {
        let registry = Arc::clone(&stores.registry);
        Front::new(
            stores,
            registry,
            Arc::new(users),
            StaticPolicy::for_users(),
            options,
        )
    }

    fn new<R: Registry, A: Authorizer + Clone>(
        stores: &Stores,
        registry: R,
        directory: Arc<dyn Directory>,
        authorizer: A,
        options: EntranceOptions,
    ) -> Self {
        let entrance = Entrance::new(
            Arc::clone(stores.kv()),
            Arc::clone(&stores.keys),
            directory,
            Arc::new(authorizer.clone()),
            TokioRuntime::shared(),
            options,
        );
        Front {
            registry: Arc::new(Authorized::around(registry, authorizer)),
            entrance: Arc::new(entrance),
            api: None,
        }
    }

    /// Answers clients, who keep to these limits.
    pub fn service(&self, limits: Limits) -> FrontService {
        let registry = Service::new(Arc::clone(&self.registry), TokioRuntime::shared()).limits(limits);
        FrontService {
            registry: self.entrance.in_front_of(registry),
            api: self.api.clone(),
        }
    }

    /// The registry, as it answers whoever is known.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// What finds out who somebody is.
    pub fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// Forgets logins that are over, every now and then, for as long as it is polled.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            match self.entrance.endpoint().service().refresh_tokens().sweep().await {
                Ok(forgotten) => tracing::debug!(forgotten, "logins that are over were forgotten"),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "logins that are over stay for now"
                    );
                }
            }
        }
    }
}

/// What clients talk to: the registry, the tokens for it, and the API that manages it. Cheap to clone; answers every request and
/// never fails.
#[derive(Clone, Debug)]
pub struct FrontService {
    registry: Entered,
    api: Option<Api>,
}

impl FrontService {
    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match &self.api {
            Some(api) if Api::answers(request.uri().path()) => api.handle(request).await,
            _ => self.registry.handle(request).await,
        }
    }
}

registry_core::tower_service!(FrontService);
