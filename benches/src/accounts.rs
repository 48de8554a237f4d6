//! A store with accounts, made before a berth serves it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use registry_auth::secret::Secret;
use registry_auth::{Argon2id, Settings, Tenants};
use server_hyper::{StoreOptions, Stores, TokioRuntime};

/// The password of whoever is made, the administrator first.
pub const PASSWORD: &str = "Correct1Horse";

/// Makes the administrator, and a project that is theirs. Passwords are hashed at OWASP's parameters, as berth does.
///
/// # Errors
/// If the store cannot be opened or written, or has accounts already.
pub async fn made(data: &Path, project: &str, public: bool) -> io::Result<Tenants> {
    let stores = Stores::open(data, StoreOptions::default()).map_err(io::Error::other)?;
    let hashing = Arc::new(Argon2id::owasp());
    let kv = Arc::clone(stores.kv());
    let tenants = Tenants::open(kv, TokioRuntime::shared(), hashing, Settings::default());
    let tenants = tenants.map_err(io::Error::other)?;
    let first = tenants.accounts.first_start(Some(Secret::new(PASSWORD)));
    first.await.map_err(io::Error::other)?;
    let made = tenants.projects.create(project, 1, public, Default::default());
    made.await.map_err(io::Error::other)?;
    Ok(tenants)
}
