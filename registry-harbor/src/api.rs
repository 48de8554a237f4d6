//! The API as a whole: a request in, a response out.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts as Head;
use http::{Method, Request, Response, StatusCode};
use registry_auth::Tenants;
use registry_auth::origin::Trust;
use registry_core::auth::Authenticator;
use registry_core::http::Body;
use registry_core::{Registry, Runtime};

use crate::body;
use crate::call::Call;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::routes::{BASE, Needs, Router};

/// The client's own name for a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the API works on.
#[derive(Clone)]
pub struct Parts {
    /// Accounts and projects, and the decision about them.
    pub tenants: Tenants,
    /// Who sends a request. It counts and limits logins too.
    pub authenticator: Arc<dyn Authenticator>,
    /// Under which address clients know the registry.
    pub trust: Arc<Trust>,
    /// How the parts of the registry are.
    pub health: Arc<dyn Health>,
    /// What is in the projects.
    pub registry: Arc<dyn Registry>,
    /// The clock.
    pub runtime: Arc<dyn Runtime>,
    /// What clients are told of the registry.
    pub about: About,
}

/// What clients are told of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its version, as `harbor_version` has it. Some clients look for a `v2.` at its beginning.
    pub version: String,
    /// Whether it refuses pushes.
    pub read_only: bool,
}

/// How the parts of a registry are.
#[async_trait]
pub trait Health: Send + Sync + 'static {
    /// Each part, and whether it works. Anybody is told; so names are plain, and there are no reasons.
    async fn components(&self) -> Vec<Component>;
}

/// A part of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// What it is called.
    pub name: String,
    /// Whether it works.
    pub healthy: bool,
}

/// Harbor's API over these parts. Cheap to clone; answers every request and never fails.
///
/// A shell sends it the requests whose path it [answers](Api::answers).
#[derive(Clone)]
pub struct Api(Arc<State>);

/// What every operation has.
pub(crate) struct State {
    pub(crate) parts: Parts,
    router: Router,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("about", &self.0.parts.about)
            .finish_non_exhaustive()
    }
}

impl Api {
    /// The API over these parts.
    pub fn new(parts: Parts) -> Self {
        let router = Router::new();
        Api(Arc::new(State { parts, router }))
    }

    /// Whether requests with this path are for the API.
    pub fn answers(path: &str) -> bool {
        path == "/api" || path.starts_with("/api/")
    }

    /// Answers one request.
    ///
    /// The response's extensions have the [`Operation`](crate::Operation), if the request was one, for logs and metrics.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let request_id = self.0.request_id(&head);
        let found = self.0.router.find(&head.method, head.uri.path());
        let operation = found.as_ref().ok().map(|found| found.route.operation);
        let answer = match found {
            Ok(found) => self.0.answer(found, &head, body).await,
            Err(refusal) => Err(refusal),
        };
        let mut response = answer.map(Reply::into_response).unwrap_or_else(|refusal| {
            refusal.log(&head, &request_id);
            refusal.into_response()
        });
        if let Some(operation) = operation {
            response.extensions_mut().insert(operation);
        }
        let length = response.body().left();
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if head.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }
}

impl State {
    async fn answer<B>(&self, found: crate::routes::Found, head: &Head, body: B) -> Result<Reply, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let route = found.route;
        self.refuse_foreign_pages(head)?;
        // A probe asks often, and costs no login.
        let asker = match route.needs {
            Needs::Nothing => crate::asker::Asker::nobody(),
            _ => self.asker(head).await?,
        };
        let mut call = Call::new(asker, head, found.parameters);
        self.admit(&mut call, route.needs).await?;
        if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
            call.body = body::read(body, &*self.parts.runtime).await?;
        }
        let reply = (route.handler)(self, &call).await?;
        if head.method != Method::GET && head.method != Method::HEAD {
            let (operation, who) = (route.operation.id, call.asker.to_string());
            let (path, status) = (head.uri.path(), reply.status().as_u16());
            tracing::info!(operation, who, path, status, "managed");
        }
        Ok(reply)
    }

    /// Refuses what a page of somebody else's lets a browser send, with the password that it remembers.
    fn refuse_foreign_pages(&self, head: &Head) -> Result<(), Refusal> {
        let Some(page) = head.headers.get(ORIGIN) else {
            return Ok(());
        };
        let is_safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let own = self.parts.trust.origin(head).map(|origin| origin.to_string());
        let is_own = |own: String| page.as_bytes().eq_ignore_ascii_case(own.as_bytes());
        match is_safe || own.is_some_and(is_own) {
            true => Ok(()),
            false => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "a page of another origin cannot change anything here; send the request without a browser, or from this origin",
            )),
        }
    }

    /// The client's own id for the request, if it is short and plain; otherwise a new one.
    fn request_id(&self, head: &Head) -> String {
        let given = head.headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match given {
            Some(id) if (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
                id.to_owned()
            }
            _ => format!("{:032x}", self.parts.runtime.random()),
        }
    }

    /// The API's address with the version in it, without anything behind.
    pub(crate) fn location(path: impl fmt::Display) -> String {
        format!("{BASE}{path}")
    }
}

registry_core::tower_service!(Api);
