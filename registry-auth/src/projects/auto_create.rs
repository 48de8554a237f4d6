//! Projects that come to be by the first push into them.

use async_trait::async_trait;
use registry_core::auth::Identity;
use registry_core::wrappers::{Call, Gate, Gated};
use registry_core::{Context, Registry, Result};

use super::{Projects, project_of};
use crate::error::AccountError;

/// A registry in which the first write into a project that does not exist makes it, private and owned by whoever writes, if
/// they may make projects and the operator wants that ([`Settings::auto_create`](crate::Settings::auto_create)).
///
/// It goes inside [`Authorized`](registry_core::wrappers::Authorized), so that nothing comes to be by a write that is refused,
/// nor by asking for a token.
pub struct CreatesProjects;

impl CreatesProjects {
    /// Makes what is missing before `inner` is written to.
    pub fn around<R: Registry>(inner: R, projects: Projects) -> Gated<R, AutoCreate> {
        Gated::new(inner, AutoCreate(projects))
    }
}

/// The gate of [`CreatesProjects`].
#[derive(Clone, Debug)]
pub struct AutoCreate(Projects);

#[async_trait]
impl Gate for AutoCreate {
    async fn admit(&self, ctx: &Context, call: Call<'_>) -> Result<Context> {
        // What every push does first.
        if let Call::BeginUpload(name) | Call::MountBlob(name) | Call::PutManifest(name) = call
            && let Identity::Named(by) = &ctx.identity
        {
            self.make(by, project_of(name)).await?;
        }
        Ok(ctx.clone())
    }
}

impl AutoCreate {
    async fn make(&self, by: &str, project: &str) -> Result<(), AccountError> {
        let snapshots = &self.0.snapshots;
        let now = snapshots.now();
        let generation = snapshots.generation(now).await?;
        if !snapshots.settings().auto_create || snapshots.project(generation, project).await?.is_some() {
            return Ok(());
        }
        let account = snapshots.account(generation, by).await?;
        let Some(account) = account.filter(|it| it.may_create_projects(now, snapshots.settings())) else {
            return Ok(());
        };
        match self
            .0
            .create(project, account.user(), false, Default::default())
            .await
        {
            Ok(_) | Err(AccountError::Conflict(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }
}
