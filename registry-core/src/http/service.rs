//! From a request to a response.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, Response, StatusCode};

use super::body::Body;
use super::intake::{BoxError, Intake};
use super::operation::Operation;
use super::respond::{self, Answer, REQUEST_ID, Refused, Reply};
use crate::auth::{Anyone, Authenticated, Authenticator, Identity, TokenProblem};
use crate::context::Context;
use crate::digest::write_hex;
use crate::error::{Error, ErrorKind, Result};
use crate::registry::Registry;
use crate::runtime::Runtime;

/// The client's address, which a shell puts among a request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddr(pub IpAddr);

/// Says that a request came over an encrypted connection, which a shell that ends TLS puts among its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encrypted;

/// What the service does not let a client exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request whose body stands still for this long is given up. Measured in whole periods, so at the latest
    /// after twice as long.
    pub body_idle: Duration,
    /// Entries of a list if the client names no number.
    pub page_default: usize,
    /// Entries of a list at most, whatever number the client names.
    pub page_max: usize,
    /// When a request's [deadline](Context::deadline) falls, counted from its start; without it, never.
    pub request_time: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_idle: Duration::from_secs(60),
            page_default: 1000,
            page_max: 10_000,
            request_time: None,
        }
    }
}

/// The protocol, served from a registry. Cheap to clone; answers every request and never fails.
///
/// It authenticates; what the caller may is decided by the registry it is given
/// (see [`Authorized`](crate::wrappers)). Whether `/v2/` itself asks for credentials is the authenticator's
/// choice, as it sees that request too.
#[derive(Clone)]
pub struct Service {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) limits: Limits,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Serves `registry` to anyone.
    pub fn new(registry: Arc<dyn Registry>, runtime: Arc<dyn Runtime>) -> Self {
        Service {
            registry,
            runtime,
            authenticator: Arc::new(Anyone),
            limits: Limits::default(),
        }
    }

    /// Finds out who asks with this.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = authenticator;
        self
    }

    /// Keeps to these limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The registry itself: called by way of the `Arc`, which is a registry too, each operation would be a future more.
    pub(super) fn registry(&self) -> &dyn Registry {
        &*self.registry
    }

    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let intake = Intake::new(body, Arc::clone(&self.runtime), self.limits.body_idle);
        let request_id = self.request_id(&head);
        let response = match Operation::parse(&head.method, &head.uri, &head.headers) {
            Ok(operation) => {
                let mut response = match self.answer(&head, &request_id, &operation, intake).await {
                    Ok(response) => response,
                    Err(refused) => respond::refusal(self, &head, &request_id, &operation.needs(), refused),
                };
                response.extensions_mut().insert(operation.name());
                response
            }
            Err(error) => respond::refusal(self, &head, &request_id, &[], error.into()),
        };
        respond::finish(&head, &request_id, response)
    }

    async fn answer(
        &self,
        head: &Parts,
        request_id: &Arc<str>,
        operation: &Operation,
        intake: Intake,
    ) -> Answer {
        let known = self.authenticate(head).await;
        let Authenticated { identity, scope } =
            known.map_err(|why| Refused::from(why).token(TokenProblem::Invalid))?;
        let scoped = scope.is_some();
        let ctx = Context {
            scope,
            remote: head.extensions.get::<RemoteAddr>().map(|remote| remote.0),
            deadline: self.limits.request_time.map(|time| self.runtime.now() + time),
            ..Context::request(identity, Arc::clone(request_id))
        };
        let answer = self.perform(&ctx, operation, intake).await;
        match scoped {
            true => answer.map_err(|refused| refused.token(TokenProblem::InsufficientScope)),
            false => answer,
        }
    }

    /// Who sent this; nobody in particular if nothing says so.
    async fn authenticate(&self, head: &Parts) -> Result<Authenticated> {
        match self.authenticator.authenticate(head).await? {
            Some(known) => Ok(known),
            None if head.headers.contains_key(AUTHORIZATION) => Err(Error::new(
                ErrorKind::Unauthorized,
                "the request's Authorization is of no kind that is known here; log in",
            )),
            None => Ok(Identity::Anonymous.into()),
        }
    }

    async fn perform(&self, ctx: &Context, operation: &Operation, intake: Intake) -> Answer {
        use Operation as Op;
        match operation {
            Op::Ping => Ok(Reply::new(StatusCode::OK).json("application/json", &serde_json::json!({}))),
            Op::ListRepositories { paging } => self.list_repositories(ctx, paging).await,
            Op::ListTags { repository, paging } => self.list_tags(ctx, repository, paging).await,
            Op::ListReferrers {
                repository,
                subject,
                artifact_type,
                after,
                limit,
            } => {
                let filter = artifact_type.as_deref();
                self.list_referrers(ctx, repository, subject, filter, *after, *limit)
                    .await
            }
            Op::StatBlob {
                repository,
                digest,
                unless,
            } => self.stat_blob(ctx, repository, digest, unless.as_ref()).await,
            Op::ReadBlob {
                repository,
                digest,
                range,
                unless,
            } => {
                self.read_blob(ctx, repository, digest, *range, unless.as_ref())
                    .await
            }
            Op::DeleteBlob { repository, digest } => self.delete_blob(ctx, repository, digest).await,
            Op::BeginUpload {
                repository,
                algorithm,
            } => self.begin_upload(ctx, repository, *algorithm).await,
            Op::PushBlob {
                repository,
                digest,
                chunk,
            } => self.push_blob(ctx, repository, digest, *chunk, intake).await,
            Op::MountBlob {
                repository,
                digest,
                from,
            } => self.mount_blob(ctx, repository, digest, from).await,
            Op::UploadStatus { repository, id } => self.upload_status(ctx, repository, id).await,
            Op::AppendUpload {
                repository,
                id,
                chunk,
            } => self.append_upload(ctx, repository, id, *chunk, intake).await,
            Op::FinishUpload {
                repository,
                id,
                chunk,
                digest,
            } => {
                self.finish_upload(ctx, repository, id, *chunk, digest, intake)
                    .await
            }
            Op::CancelUpload { repository, id } => self.cancel_upload(ctx, repository, id).await,
            Op::StatManifest {
                repository,
                reference,
                unless,
            } => {
                self.stat_manifest(ctx, repository, reference, unless.as_ref())
                    .await
            }
            Op::GetManifest {
                repository,
                reference,
                unless,
            } => {
                self.get_manifest(ctx, repository, reference, unless.as_ref())
                    .await
            }
            Op::PutManifest { .. } => self.put_manifest(ctx, operation, intake).await,
            Op::DeleteManifest {
                repository,
                reference,
            } => self.delete_manifest(ctx, repository, reference).await,
        }
    }

    /// The client's own id for the request, if it is short and plain; otherwise a new one.
    fn request_id(&self, head: &Parts) -> Arc<str> {
        const ID_MAX: usize = 128;
        let given = head.headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match given {
            Some(id) if (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => {
                id.into()
            }
            _ => {
                let mut drawn = [0; 32];
                write_hex(&self.runtime.random().to_be_bytes(), &mut drawn);
                str::from_utf8(&drawn).expect("hex is ASCII").into()
            }
        }
    }

    /// How many entries of a list to give: what the client asks for, within the limits.
    pub(super) fn page(&self, asked: Option<u64>) -> usize {
        asked
            .map_or(self.limits.page_default, |asked| {
                usize::try_from(asked).unwrap_or(usize::MAX)
            })
            .min(self.limits.page_max)
    }
}

crate::tower_service!(Service);
