//! A registry on the other end of HTTP, as a [`Registry`](registry_core::Registry).
//!
//! [`RemoteRegistry`] speaks the OCI distribution protocol to any registry that keeps to it, and so can stand wherever
//! a registry can: behind a wrapper, behind the HTTP service, behind another remote registry. It trusts the far end
//! with nothing that it can check: bytes are verified against the digest they were asked for by, answers are bounded,
//! an upload's address must stay on the origin that gave it.
//!
//! ```no_run
//! use registry_core::{Context, Registry};
//! use registry_remote::RemoteRegistry;
//!
//! # async fn pull() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = RemoteRegistry::new("http://127.0.0.1:5000")?;
//! let (repository, tag) = ("library/alpine".parse()?, "latest".parse()?);
//! let reference = registry_core::Reference::Tag(tag);
//! let manifest = registry.get_manifest(&Context::system(), &repository, &reference).await?;
//! println!("{} has {} bytes", manifest.info.digest, manifest.info.size);
//! # Ok(())
//! # }
//! ```
//!
//! It runs on tokio, as its HTTP client does.
#![forbid(unsafe_code)]

mod answer;
mod blobs;
mod body;
mod builder;
mod lists;
mod manifests;
mod origin;
mod refusal;
mod registry;
mod session;
mod uploads;
mod wire;

pub use builder::{BuildError, Builder};
pub use origin::InvalidOrigin;
pub use registry::RemoteRegistry;
