//! What an account may: a question to plain data, without a read.

use std::sync::Arc;

use registry_core::{RepositoryName, Timestamp};

use crate::accounts::{Limit, Settings};
use crate::pattern::Pattern;
use crate::roles::{Act, Resource, Role};

/// What an account may.
pub(crate) struct Account {
    /// Its name as it is shown.
    pub(crate) name: Arc<str>,
    /// Drawn anew whenever the account changes.
    pub(crate) stamp: u64,
    /// Until when it may do anything.
    pub(crate) until: Option<Timestamp>,
    /// What it may.
    pub(crate) power: Power,
}

/// Where what an account may comes from.
pub(crate) enum Power {
    /// From a user's own roles.
    User {
        id: u64,
        admin: bool,
        grants: Box<[Grant]>,
    },
    /// Not more than another account, and not more than the limit if there is one.
    Narrowed { limit: Option<Limit>, by: Arc<Account> },
}

/// A role in one project. An account's are in the order of their projects.
pub(crate) struct Grant {
    pub(crate) project: u64,
    pub(crate) role: Role,
    pub(crate) pattern: Option<Pattern>,
}

/// A project that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProjectView {
    pub(crate) id: u64,
    pub(crate) public: bool,
}

impl Account {
    /// Whether it may be used, and whoever it depends on.
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        let by = match &self.power {
            Power::User { .. } => true,
            Power::Narrowed { by, .. } => by.is_alive(now),
        };
        by && self.until.is_none_or(|until| now < until)
    }

    /// Whether it may do everything.
    pub(crate) fn is_admin(&self, now: Timestamp) -> bool {
        self.is_alive(now)
            && match &self.power {
                Power::User { admin, .. } => *admin,
                Power::Narrowed { limit, by } => limit.is_none() && by.is_admin(now),
            }
    }

    /// Whether it may do this in a project, to the named repository if one is named; what anybody may is left aside.
    pub(crate) fn holds(
        &self,
        now: Timestamp,
        project: u64,
        repository: Option<&RepositoryName>,
        resource: Resource,
        act: Act,
    ) -> bool {
        self.is_alive(now)
            && match &self.power {
                Power::User { admin: true, .. } => true,
                Power::User { grants, .. } => {
                    let from = grants.partition_point(|grant| grant.project < project);
                    let theirs = grants[from..].iter().take_while(|grant| grant.project == project);
                    theirs
                        .filter(|grant| grant.is_about(repository))
                        .any(|grant| grant.role.rights().contains(resource, act))
                }
                Power::Narrowed { limit, by } => {
                    let within = limit
                        .as_ref()
                        .is_none_or(|limit| limit.contains(project, resource, act));
                    within && by.holds(now, project, repository, resource, act)
                }
            }
    }

    /// Whether it may do this in every project, those that are made later included.
    pub(crate) fn holds_everywhere(&self, now: Timestamp, resource: Resource, act: Act) -> bool {
        self.is_alive(now)
            && match &self.power {
                Power::User { admin, .. } => *admin,
                Power::Narrowed { limit, by } => {
                    let everywhere =
                        |limit: &Limit| limit.everywhere.is_some_and(|it| it.contains(resource, act));
                    limit.as_ref().is_none_or(everywhere) && by.holds_everywhere(now, resource, act)
                }
            }
    }

    /// Whether it may do this to the registry as a whole.
    pub(crate) fn holds_system(&self, now: Timestamp, resource: &str, act: Act) -> bool {
        self.is_alive(now)
            && match &self.power {
                Power::User { admin, .. } => *admin,
                Power::Narrowed { limit, by } => {
                    let within = limit
                        .as_ref()
                        .is_none_or(|limit| limit.contains_system(resource, act));
                    within && by.holds_system(now, resource, act)
                }
            }
    }

    /// Whether it may make projects.
    pub(crate) fn may_create_projects(&self, now: Timestamp, settings: &Settings) -> bool {
        self.is_alive(now)
            && match &self.power {
                Power::User { admin, .. } => *admin || settings.users_create_projects,
                Power::Narrowed { limit, by } => {
                    let within = limit
                        .as_ref()
                        .is_none_or(|limit| limit.contains_system("project", Act::Create));
                    within && by.may_create_projects(now, settings)
                }
            }
    }

    /// The user who is behind it in the end.
    pub(crate) fn user(&self) -> u64 {
        match &self.power {
            Power::User { id, .. } => *id,
            Power::Narrowed { by, .. } => by.user(),
        }
    }
}

impl Grant {
    fn is_about(&self, repository: Option<&RepositoryName>) -> bool {
        match (&self.pattern, repository) {
            (None, _) => true,
            (Some(pattern), Some(repository)) => pattern.matches(repository),
            (Some(_), None) => false,
        }
    }
}
