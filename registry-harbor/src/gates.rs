//! What a caller must hold before an operation is done. The rights themselves are [`registry_auth::roles`].

use registry_auth::roles::{Act, Resource};
use registry_auth::{AccountError, Project, project_of};
use registry_core::auth::{Authorizer, Visible};
use registry_core::store::collection::Row;

use crate::api::State;
use crate::asker::Asker;
use crate::call::Call;
use crate::refusal::Refusal;
use crate::routes::Needs;

/// Says whether the path has a project's name, however much that looks like an id.
const IS_NAME: &str = "x-is-resource-name";
/// The part of the path that names a project.
pub(crate) const PROJECT: &str = "project_name_or_id";

/// How a request names a project.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named<'a> {
    Id(u64),
    Name(&'a str),
}

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Named::Id(id) => write!(f, "project {id}"),
            Named::Name(name) => write!(f, "project {name:?}"),
        }
    }
}

impl State {
    /// Lets a call through that holds what the operation needs.
    pub(crate) async fn admit(&self, call: &mut Call<'_>, needs: Needs) -> Result<(), Refusal> {
        match needs {
            Needs::Nothing | Needs::Anyone => Ok(()),
            Needs::Login => match call.asker.standing {
                Some(_) => Ok(()),
                None => Err(call.asker.refused("")),
            },
            Needs::Admin => match call.asker.admin {
                true => Ok(()),
                false => Err(call.asker.refused(format!(
                    "only administrators may do this, and {} is none",
                    call.asker
                ))),
            },
            Needs::System(resource, act) => self.need_system(&call.asker, resource, act).await,
            Needs::Project(resource, act) => {
                let text = call.part(PROJECT);
                let named = match text.parse() {
                    Ok(id) if !call.flag(IS_NAME) => Named::Id(id),
                    _ => Named::Name(text),
                };
                let project = self.need_project(&call.asker, named, resource, act).await?;
                call.project = Some(project);
                Ok(())
            }
        }
    }

    /// Whether the caller may do this to the registry as a whole.
    pub(crate) async fn may_system(&self, asker: &Asker, resource: &str, act: Act) -> Result<bool, Refusal> {
        let authorizer = &self.parts.tenants.authorizer;
        Ok(authorizer.may_system(&asker.identity, resource, act).await?)
    }

    /// Refuses a caller who may not do this to the registry as a whole.
    pub(crate) async fn need_system(&self, asker: &Asker, resource: &str, act: Act) -> Result<(), Refusal> {
        match self.may_system(asker, resource, act).await? {
            true => Ok(()),
            false => Err(asker.refused(format!(
                "{asker} may not {} a {resource} of the registry; an administrator may",
                act.as_str()
            ))),
        }
    }

    /// Whether the caller may do this in a project.
    pub(crate) async fn may(
        &self,
        asker: &Asker,
        project: &str,
        resource: Resource,
        act: Act,
    ) -> Result<bool, Refusal> {
        let authorizer = &self.parts.tenants.authorizer;
        Ok(authorizer.may(&asker.identity, project, resource, act).await?)
    }

    /// The project, if the caller may do this there. Who may not even know of it is told what they would be told if there
    /// were none.
    pub(crate) async fn need_project(
        &self,
        asker: &Asker,
        named: Named<'_>,
        resource: Resource,
        act: Act,
    ) -> Result<Row<Project>, Refusal> {
        let projects = &self.parts.tenants.projects;
        let found = match named {
            Named::Id(id) => projects.get(id).await,
            Named::Name(name) => projects.named(name).await,
        };
        let project = match found {
            Ok(project) => project,
            Err(AccountError::Missing(_)) => return Err(unknown(asker, named)),
            Err(other) => return Err(other.into()),
        };
        if self.may(asker, &project.value.name, resource, act).await? {
            return Ok(project);
        }
        if !self.sees(asker, &project.value.name).await? {
            return Err(unknown(asker, named));
        }
        // A role on a pattern is one in the project too, as far as knowing of it goes.
        if (resource, act) == (Resource::Project, Act::Read) && asker.is_whole() {
            return Ok(project);
        }
        Err(asker.refused(format!(
            "{asker} may not {} a {} in project {}; its administrators may give a role that may",
            act.as_str(),
            resource.as_str(),
            project.value.name
        )))
    }

    /// Whether the caller may know that there is this project: they may look at it, or pull something of it.
    pub(crate) async fn sees(&self, asker: &Asker, project: &str) -> Result<bool, Refusal> {
        if self.may(asker, project, Resource::Project, Act::Read).await? {
            return Ok(true);
        }
        let visible = self.parts.tenants.authorizer.visible(&asker.identity).await?;
        Ok(shown(&visible).is_none_or(|mut shown| shown.any(|name| name == project)))
    }
}

/// The projects of which something can be seen; nothing if that is all of them.
pub(crate) fn shown(visible: &Visible) -> Option<impl Iterator<Item = &str>> {
    match visible {
        Visible::All => None,
        Visible::Only { names, prefixes } => {
            let of_prefix = |prefix: &'_ String| -> Option<usize> { prefix.find('/') };
            let prefixes = prefixes
                .iter()
                .filter_map(move |it| of_prefix(it).map(|end| &it[..end]));
            Some(names.iter().map(project_of).chain(prefixes))
        }
    }
}

/// That there is no such project, or none that the caller may know of.
pub(crate) fn unknown(asker: &Asker, named: Named<'_>) -> Refusal {
    match asker.standing {
        None => Refusal::unauthorized(format!(
            "{named} does not exist, or takes an account to be seen: log in"
        )),
        Some(_) if asker.admin => Refusal::missing(format!("{named} does not exist")),
        Some(_) => Refusal::forbidden(format!("{named} does not exist, or {asker} may not know of it")),
    }
}
