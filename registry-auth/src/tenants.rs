//! All of it together: accounts, projects, and the decision about them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use registry_core::store::Kv;
use registry_core::{Result, Runtime};

use crate::accounts::{Accounts, Settings};
use crate::authorizer::RoleAuthorizer;
use crate::credentials::PasswordHashing;
use crate::projects::Projects;
use crate::snapshots::Snapshots;
use crate::tables::Tables;

/// The accounts and projects in some records, and who may do what.
///
/// Its parts share what they keep in memory: what is written through any of them counts at once for the others. Another node's
/// writes count within a [second](crate::STALE_AFTER).
///
/// ```
/// use std::sync::Arc;
/// use registry_auth::{Argon2id, Settings, Tenants};
/// use registry_core::runtime::Threads;
/// use registry_storage::memory::MemoryKv;
///
/// # futures_executor::block_on(async {
/// let records = Arc::new(MemoryKv::new());
/// let hashing = Arc::new(Argon2id::owasp());
/// let tenants = Tenants::open(records, Threads::shared(), hashing, Settings::default())?;
/// let password = tenants.accounts.first_start(None).await?.expect("nobody was there");
/// println!("log in as admin with {}", password.reveal());
/// # Ok::<_, registry_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Tenants {
    /// Users, groups, robots and access tokens. It is the [`Directory`](crate::Directory) of all of them.
    pub accounts: Accounts,
    /// Projects and their members.
    pub projects: Projects,
    /// The decision.
    pub authorizer: RoleAuthorizer,
}

impl Tenants {
    /// What is in these records. The `runtime` tells the time by which robots and tokens expire; passwords are hashed by
    /// `hashing`.
    ///
    /// # Errors
    /// If the settings make no sense.
    pub fn open(
        records: Arc<dyn Kv>,
        runtime: Arc<dyn Runtime>,
        hashing: Arc<dyn PasswordHashing>,
        settings: Settings,
    ) -> Result<Self> {
        settings.check()?;
        let written = Arc::new(AtomicU64::new(0));
        let tables = Tables::new(records, Arc::clone(&written));
        let snapshots = Snapshots::new(tables.clone(), written, Arc::clone(&runtime), settings);
        let snapshots = Arc::new(snapshots);
        Ok(Tenants {
            projects: Projects::new(tables.clone(), Arc::clone(&snapshots), Arc::clone(&runtime)),
            authorizer: RoleAuthorizer::new(Arc::clone(&snapshots)),
            accounts: Accounts::new(tables, snapshots, hashing, runtime),
        })
    }
}
