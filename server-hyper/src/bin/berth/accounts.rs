//! The accounts that `berth serve` lets in.

use std::io::Write as _;
use std::sync::Arc;

use registry_auth::credentials::{HashingOptions, HashingPool};
use registry_auth::secret::Secret;
use registry_auth::{ADMIN, ADMIN_PASSWORD, AccountError, Htpasswd, Tenants, initial_password};
use server_hyper::config::{Config, Loaded, Problem};
use server_hyper::{Front, Stores, TokioRuntime};

use crate::serve::problem;

/// Those that the configuration says: of a file, or of the records, which get their first administrator if need be.
pub(crate) async fn front(loaded: &Loaded, stores: &Stores) -> Result<Front, Problem> {
    let config = &loaded.config;
    let entrance = config.auth.entrance(config.trust.clone());
    let hashing = HashingPool::new(&HashingOptions::default());
    let hashing = Arc::new(hashing.map_err(|error| problem(loaded, "auth", &error))?);
    if let Some(file) = &config.auth.htpasswd {
        let users = Htpasswd::open(file, TokioRuntime::shared(), hashing).await;
        let users = users.map_err(|error| problem(loaded, "auth.htpasswd", &error))?;
        return Ok(Front::of_file(stores, users, entrance));
    }
    let tenants = Tenants::open(
        Arc::clone(stores.kv()),
        TokioRuntime::shared(),
        hashing,
        config.auth.settings(),
    );
    let tenants = tenants.map_err(|error| problem(loaded, "auth", &error))?;
    administrator(config, &tenants)
        .await
        .map_err(|error| problem(loaded, "auth.admin_password_file", &error))?;
    Ok(Front::of_tenants(stores, &tenants, entrance))
}

/// Sees to it that there is an administrator.
async fn administrator(config: &Config, tenants: &Tenants) -> Result<(), AccountError> {
    let given = initial_password(config.auth.admin_password_file.as_deref())?;
    if let Some(drawn) = tenants.accounts.first_start(given).await? {
        tell(&drawn);
    }
    Ok(())
}

/// Tells the password that was drawn, this once: not through the log, which is kept.
fn tell(password: &Secret) {
    let mut out = std::io::stderr().lock();
    // Whoever does not read it can stop this, remove what little there is, and begin again.
    let _nobody_reads = writeln!(
        out,
        "berth: this is the first start. The administrator is {ADMIN:?}, and the password is shown only now:\n\n    {}\n\n\
         berth: to choose it yourself, set {ADMIN_PASSWORD} or auth.admin_password_file before the first start",
        password.reveal()
    );
}
