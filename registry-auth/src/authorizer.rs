//! The decision: what an account may, by its roles.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use registry_core::auth::{Access, Action, Authorizer, Decision, Identity, Visible};
use registry_core::{RepositoryName, Result, Timestamp};

use crate::error::AccountError;
use crate::power::{Account, ProjectView};
use crate::projects::project_of;
use crate::roles::{self, Act, Resource};
use crate::snapshots::Snapshots;

/// Decides by roles in projects.
///
/// Administrators may everything. Others may what any of their roles gives them, and what anybody may in a public project.
/// Robots and access tokens may what they were given, as far as whoever made them may it at that moment. What is not granted is
/// denied.
///
/// It is never more than a second behind what another node writes, and not behind what this one does.
#[derive(Clone)]
pub struct RoleAuthorizer {
    snapshots: Arc<Snapshots>,
}

impl fmt::Debug for RoleAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoleAuthorizer")
    }
}

impl RoleAuthorizer {
    pub(crate) fn new(snapshots: Arc<Snapshots>) -> Self {
        RoleAuthorizer { snapshots }
    }

    /// Whether an identity may do this to things of a project: the question of the management API. It may not where there is no
    /// such project.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub async fn may(
        &self,
        identity: &Identity,
        project: &str,
        resource: Resource,
        act: Act,
    ) -> Result<bool> {
        let now = self.snapshots.now();
        let Asker::Somebody { generation, account } = self.asker(identity, now).await? else {
            return Ok(*identity == Identity::System);
        };
        let found = self.snapshots.project(generation, project).await;
        Ok(found.map_err(AccountError::from)?.is_some_and(|project| {
            let held = account
                .as_ref()
                .is_some_and(|account| account.holds(now, project.id, None, resource, act));
            held || project.public && roles::public().contains(resource, act)
        }))
    }

    /// Whether an identity may do this to the registry as a whole; to projects, `project:create`.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub async fn may_system(&self, identity: &Identity, resource: &str, act: Act) -> Result<bool> {
        let now = self.snapshots.now();
        Ok(match self.asker(identity, now).await? {
            Asker::Registry => true,
            Asker::Somebody {
                account: Some(account),
                ..
            } if (resource, act) == ("project", Act::Create) => {
                account.may_create_projects(now, self.snapshots.settings())
            }
            Asker::Somebody {
                account: Some(account),
                ..
            } => account.holds_system(now, resource, act),
            Asker::Somebody { account: None, .. } | Asker::Nobody => false,
        })
    }

    /// Whether an identity may do everything.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub async fn is_admin(&self, identity: &Identity) -> Result<bool> {
        let now = self.snapshots.now();
        Ok(match self.asker(identity, now).await? {
            Asker::Registry => true,
            Asker::Somebody { account, .. } => account.is_some_and(|account| account.is_admin(now)),
            Asker::Nobody => false,
        })
    }

    /// How many accounts and how many projects are kept in memory, for metrics. Either is bounded.
    pub fn kept(&self) -> (usize, usize) {
        self.snapshots.kept()
    }

    async fn asker(&self, identity: &Identity, now: Timestamp) -> Result<Asker> {
        let name = match identity {
            Identity::System => return Ok(Asker::Registry),
            Identity::Anonymous => None,
            Identity::Named(name) => Some(name),
        };
        let generation = self.snapshots.generation(now).await.map_err(AccountError::from)?;
        let account = match name {
            None => None,
            Some(name) => {
                let found = self.snapshots.account(generation, name).await;
                match found
                    .map_err(AccountError::from)?
                    .filter(|account| account.is_alive(now))
                {
                    None => return Ok(Asker::Nobody),
                    found => found,
                }
            }
        };
        Ok(Asker::Somebody { generation, account })
    }

    /// The answer from what is in memory, if that is enough.
    fn warm(&self, now: Timestamp, identity: &Identity, accesses: &[Access]) -> Option<Decision> {
        let warm = self.snapshots.warm(now)?;
        let account = match identity {
            Identity::System => return Some(Decision::Allowed),
            Identity::Anonymous => None,
            Identity::Named(name) => match warm.account(name)?.filter(|account| account.is_alive(now)) {
                None => return Some(NOBODY),
                found => found,
            },
        };
        for access in accesses {
            let project = match access {
                Access::Repository(name, _) => warm.project(project_of(name))?,
                Access::Catalog => None,
            };
            match self.decide(now, project, account.as_deref(), access) {
                Decision::Allowed => {}
                refused => return Some(refused),
            }
        }
        Some(Decision::Allowed)
    }

    /// The answer, after reading what it takes.
    async fn cold(&self, now: Timestamp, identity: &Identity, accesses: &[Access]) -> Result<Decision> {
        let (generation, account) = match self.asker(identity, now).await? {
            Asker::Registry => return Ok(Decision::Allowed),
            Asker::Nobody => return Ok(NOBODY),
            Asker::Somebody { generation, account } => (generation, account),
        };
        for access in accesses {
            let project = match access {
                Access::Repository(name, _) => {
                    let found = self.snapshots.project(generation, project_of(name)).await;
                    found.map_err(AccountError::from)?
                }
                Access::Catalog => None,
            };
            match self.decide(now, project, account.as_deref(), access) {
                Decision::Allowed => {}
                refused => return Ok(refused),
            }
        }
        Ok(Decision::Allowed)
    }

    fn decide(
        &self,
        now: Timestamp,
        project: Option<ProjectView>,
        account: Option<&Account>,
        access: &Access,
    ) -> Decision {
        let (name, action) = match access {
            Access::Repository(name, action) => (name, *action),
            // It shows what each may see. Who says nothing of themselves is asked to, since that may be more.
            Access::Catalog => {
                return match account {
                    Some(_) => Decision::Allowed,
                    None => Decision::Denied { visible: true },
                };
            }
        };
        let Some(project) = project else {
            return self.without_project(now, account, name, action);
        };
        let may = |act: Act| {
            let held =
                account.is_some_and(|it| it.holds(now, project.id, Some(name), Resource::Repository, act));
            held || project.public && roles::public().contains(Resource::Repository, act)
        };
        let act = match action {
            Action::Pull => Act::Pull,
            Action::Push => Act::Push,
            Action::Delete => Act::Delete,
        };
        match may(act) {
            true => Decision::Allowed,
            false => Decision::Denied {
                visible: act != Act::Pull && may(Act::Pull),
            },
        }
    }

    /// What is said of a repository whose project there is not. That there is none may know who could find out by making one.
    fn without_project(
        &self,
        now: Timestamp,
        account: Option<&Account>,
        name: &RepositoryName,
        action: Action,
    ) -> Decision {
        let settings = self.snapshots.settings();
        let Some(account) = account else {
            return Decision::Denied { visible: false };
        };
        let may_create = account.may_create_projects(now, settings);
        if may_create && settings.auto_create && action != Action::Delete {
            // The first write makes it.
            return Decision::Allowed;
        }
        if account.is_admin(now) || may_create && action == Action::Push {
            let project = project_of(name);
            return Decision::Missing(format!(
                "project \"{project}\" does not exist; create it with: berth project create {project}"
            ));
        }
        Decision::Denied { visible: false }
    }
}

/// What is said to an account that there is not, or that may not be used.
const NOBODY: Decision = Decision::Denied { visible: false };

/// Who asks.
enum Asker {
    /// The registry itself.
    Registry,
    /// An account that may be used, or whoever does not say who they are.
    Somebody {
        generation: u64,
        account: Option<Arc<Account>>,
    },
    /// An account that there is not, or that may not be used.
    Nobody,
}

#[async_trait]
impl Authorizer for RoleAuthorizer {
    async fn authorize(&self, identity: &Identity, accesses: &[Access]) -> Result<Decision> {
        let now = self.snapshots.now();
        match self.warm(now, identity, accesses) {
            Some(decision) => Ok(decision),
            // Boxed, so that the common case does not carry around what only this needs.
            None => Box::pin(self.cold(now, identity, accesses)).await,
        }
    }

    async fn visible(&self, identity: &Identity) -> Result<Visible> {
        let now = self.snapshots.now();
        let visible = match self.asker(identity, now).await? {
            Asker::Registry => Ok(Visible::All),
            Asker::Nobody => Ok(Visible::none()),
            Asker::Somebody {
                generation,
                account: Some(account),
            } => self.snapshots.visible(generation, &account).await,
            Asker::Somebody {
                generation,
                account: None,
            } => self.snapshots.public(generation).await,
        };
        Ok(visible.map_err(AccountError::from)?)
    }
}
