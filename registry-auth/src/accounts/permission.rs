//! What a robot or an access token is given: Harbor's permissions, and what they come to.

use registry_core::store::collection::Collection;
use serde::{Deserialize, Serialize};

use crate::error::AccountError;
use crate::projects::Project;
use crate::roles::{self, Act, Resource, Rights, Role};

/// Most permissions of one account, and most accesses of one permission.
const MOST: usize = 100;

/// Accesses to one project, to all of them, or to the registry as a whole, as Harbor's API has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// What kind of place it is about.
    pub kind: Kind,
    /// A project's name, `*` for all of them; `/` for the registry as a whole.
    pub namespace: String,
    /// The project's id, so that nothing is given in one that is made later under the same name. Whatever is given here when
    /// an account is made is found anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<u64>,
    /// What is given there.
    pub access: Vec<Operation>,
}

/// What kind of place a permission is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A project, or all of them.
    Project,
    /// The registry as a whole.
    System,
}

/// One operation on one kind of thing; `*` stands for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The kind of thing.
    pub resource: String,
    /// What is done to it.
    pub action: String,
}

impl Permission {
    /// In a project, or with `*` in all of them.
    pub fn project(namespace: impl Into<String>, access: &[(&str, &str)]) -> Self {
        Permission {
            kind: Kind::Project,
            namespace: namespace.into(),
            project: None,
            access: Operation::all(access),
        }
    }

    /// On the registry as a whole.
    pub fn system(access: &[(&str, &str)]) -> Self {
        Permission {
            kind: Kind::System,
            namespace: "/".to_owned(),
            project: None,
            access: Operation::all(access),
        }
    }

    /// The operations on things of a project.
    fn rights(&self) -> Result<Rights, AccountError> {
        let mut rights = Rights::NONE;
        for access in &self.access {
            let is_meant = |asked: &str, name: &str| asked == "*" || asked == name;
            // Whatever there is, some role may.
            let all = Role::ProjectAdmin.rights().iter();
            let mut meant = all.filter(|(resource, act)| {
                is_meant(&access.resource, resource.as_str()) && is_meant(&access.action, act.as_str())
            });
            let (resource, act) = meant.next().ok_or_else(|| {
                AccountError::Invalid(format!(
                    "there is no {}:{} in a project; `permissions` lists what there is",
                    access.resource, access.action
                ))
            })?;
            rights.add(resource, act);
            meant.for_each(|(resource, act)| rights.add(resource, act));
        }
        Ok(rights)
    }

    /// The operations on the registry as a whole.
    fn system_rights(&self) -> Result<Vec<(String, Act)>, AccountError> {
        let mut rights = Vec::new();
        for access in &self.access {
            let before = rights.len();
            for (resource, letters) in roles::SYSTEM {
                let is_it = access.resource == "*" || access.resource == *resource;
                let acts =
                    roles::acts(letters).filter(|act| access.action == "*" || access.action == act.as_str());
                rights.extend(acts.filter(|_| is_it).map(|act| ((*resource).to_owned(), act)));
            }
            if rights.len() == before {
                return Err(AccountError::Invalid(format!(
                    "there is no {}:{} on the registry as a whole; `permissions` lists what there is",
                    access.resource, access.action
                )));
            }
        }
        Ok(rights)
    }
}

impl Operation {
    fn all(access: &[(&str, &str)]) -> Vec<Operation> {
        let access = access.iter().map(|(resource, action)| Operation {
            resource: (*resource).to_owned(),
            action: (*action).to_owned(),
        });
        access.collect()
    }
}

/// Finds the projects that permissions name.
pub(super) async fn resolve(
    permissions: Vec<Permission>,
    projects: &Collection<Project>,
) -> Result<Vec<Permission>, AccountError> {
    let invalid = |message: &str| Err(AccountError::Invalid(message.to_owned()));
    if permissions.len() > MOST || permissions.iter().any(|it| it.access.len() > MOST) {
        return invalid("at most 100 permissions, each with at most 100 accesses");
    }
    let mut resolved = Vec::new();
    for permission in permissions {
        if permission.access.is_empty() {
            return invalid("a permission without any access gives nothing");
        }
        let project = match (permission.kind, permission.namespace.as_str()) {
            (Kind::System, "/") => None,
            (Kind::System, _) => return invalid("the namespace of a system permission is /"),
            (Kind::Project, "*") => None,
            (Kind::Project, name) => match projects.by("name", name).await? {
                Some(project) => Some(project.id),
                None => return Err(AccountError::Missing(format!("project {name:?} does not exist"))),
            },
        };
        resolved.push(Permission {
            project,
            ..permission
        });
    }
    // Whether all of it means something.
    Limit::of(&resolved)?;
    Ok(resolved)
}

/// What permissions come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limit {
    /// In all projects.
    pub(crate) everywhere: Option<Rights>,
    /// In some, by their ids, each once and in order.
    pub(crate) projects: Vec<(u64, Rights)>,
    /// On the registry as a whole.
    pub(crate) system: Vec<(String, Act)>,
}

impl Limit {
    pub(crate) fn of(permissions: &[Permission]) -> Result<Limit, AccountError> {
        let mut limit = Limit::default();
        for permission in permissions {
            match (permission.kind, permission.project) {
                (Kind::System, _) => limit.system.extend(permission.system_rights()?),
                (Kind::Project, None) if permission.namespace == "*" => {
                    let rights = permission.rights()?;
                    limit.everywhere.get_or_insert(Rights::NONE).add_all(&rights);
                }
                // A project that was never found gives nothing.
                (Kind::Project, None) => {}
                (Kind::Project, Some(id)) => {
                    let rights = permission.rights()?;
                    match limit.projects.binary_search_by_key(&id, |(project, _)| *project) {
                        Ok(at) => limit.projects[at].1.add_all(&rights),
                        Err(at) => limit.projects.insert(at, (id, rights)),
                    }
                }
            }
        }
        Ok(limit)
    }

    /// Whether an operation in a project is within it.
    pub(crate) fn contains(&self, project: u64, resource: Resource, act: Act) -> bool {
        let there = self.projects.binary_search_by_key(&project, |(id, _)| *id);
        self.everywhere
            .is_some_and(|rights| rights.contains(resource, act))
            || there.is_ok_and(|at| self.projects[at].1.contains(resource, act))
    }

    /// Whether an operation on the registry as a whole is.
    pub(crate) fn contains_system(&self, resource: &str, act: Act) -> bool {
        self.system
            .iter()
            .any(|(known, its)| known == resource && *its == act)
    }
}
