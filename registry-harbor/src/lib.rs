//! The management API of a registry: users, projects, members, robots and tokens, as Harbor has them.
//!
//! Paths, parameters, fields and status codes are those of Harbor 2.16's `api/v2.0/swagger.yaml`, so that what was written
//! for Harbor works with this too. What is here and not there is marked as such in the OpenAPI document, which is served
//! at `/api/v2.0/openapi.json` and held against the [operations] by a test.
//!
//! [`Api`] knows no server: it takes a request's head and body, and answers. Who may what is decided by
//! [`registry_auth`]; here it is only said which [right](Needs) an operation asks for.
//!
//! - **Who asks** is what `Authorization` says, and nothing else: there are no sessions and no cookies. A token that was given
//!   out for repositories (`/service/token`) opens none of it, since no scope speaks of management; a robot or an access
//!   token may what its permissions say.
//! - **A browser** sends passwords that it remembers along with requests of foreign pages. So a request that changes something is refused
//!   if its `Origin` is another than the registry's own, and bodies are JSON, which no form sends.
//! - **What a caller may not know of** is answered as if it did not exist: with 401 to whoever did not say who they are, with 403 to
//!   whoever did, and with 404 to administrators, who may know of everything.
//!
//! # Mounting it
//!
//! It stands beside the registry that it manages, with the same accounts, the same entrance and the same trust:
//!
//! ```
//! use std::sync::Arc;
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! use registry_auth::origin::Trust;
//! use registry_auth::{Entrance, Tenants};
//! use registry_core::http::{Body, Service};
//! use registry_core::{Registry, Runtime};
//! use registry_harbor::{About, Api, Health, Parts};
//!
//! # async fn answer(
//! #     tenants: Tenants, entrance: Entrance, trust: Trust, health: Arc<dyn Health>, registry: Arc<dyn Registry>,
//! #     runtime: Arc<dyn Runtime>, service: Service, request: Request<Full<Bytes>>,
//! # ) -> Response<Body> {
//! let api = Api::new(Parts {
//!     tenants,
//!     authenticator: entrance.authenticator(),
//!     trust: Arc::new(trust),
//!     health,
//!     registry,
//!     runtime,
//!     about: About { version: "v2.16.0".to_owned(), read_only: false },
//! });
//! let registry = entrance.in_front_of(service);
//! match Api::answers(request.uri().path()) {
//!     true => api.handle(request).await,
//!     false => registry.handle(request).await,
//! }
//! # }
//! ```
#![forbid(unsafe_code)]

mod api;
mod asker;
mod body;
mod call;
mod gates;
mod groups;
mod list;
mod members;
pub mod model;
mod permissions;
mod projects;
mod query;
mod refusal;
mod reply;
mod robots;
mod routes;
mod system;
mod tokens;
mod users;

pub use api::{About, Api, Component, Health, Parts};
pub use list::{filter, order};
pub use routes::{BASE, Needs, Operation, operations};

/// The API's description in OpenAPI 3.1, as it is served.
pub const OPENAPI: &str = include_str!("../openapi.json");
