//! What can be given to robots, and what the caller may.

use std::str::FromStr;

use registry_auth::AccountError;
use registry_auth::roles::{self, Act, Resource, Role};

use crate::api::State;
use crate::call::Call;
use crate::model::{Access, Permissions};
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply};

/// All of it to administrators, what there is in projects to those of some project, as in Harbor.
pub(crate) async fn all(state: &State, call: &Call<'_>) -> Answer {
    let asker = &call.asker;
    let manages = match asker.standing.filter(|_| asker.is_whole() && !asker.admin) {
        Some(standing) => {
            let roles = state
                .parts
                .tenants
                .projects
                .roles_of(standing.user(), None)
                .await?;
            let whole =
                |role: &registry_auth::Member| role.role == Role::ProjectAdmin && role.pattern.is_none();
            roles.iter().any(|row| whole(&row.value))
        }
        None => false,
    };
    if !asker.admin && !manages {
        return Err(asker.refused(
            "only administrators, of the registry or of a project, may see what robots can be given",
        ));
    }
    Ok(Reply::json(&Permissions {
        system: asker
            .admin
            .then(|| roles::system_permissions().map(access).collect()),
        project: roles::project_permissions().map(access).collect(),
    }))
}

/// What the caller may in a project (`scope=/project/1`) or on the registry as a whole (`scope=/system`); nothing without a scope.
pub(crate) async fn own(state: &State, call: &Call<'_>) -> Answer {
    let relative = call.query.parse("relative", "true or false")?.unwrap_or(false);
    let scope = call.query.get("scope").unwrap_or_default().trim_end_matches('/');
    let asker = &call.asker;
    let mut held = Vec::new();
    if scope == "/system" {
        for (resource, action) in roles::system_permissions() {
            let act = Act::from_str(action).map_err(|why| Refusal::invalid(why.to_string()))?;
            if state.may_system(asker, resource, act).await? {
                held.push((resource, action));
            }
        }
    } else if let Some(id) = scope.strip_prefix("/project/").and_then(|id| id.parse().ok()) {
        let project = match state.parts.tenants.projects.get(id).await {
            Ok(project) => Some(project.value.name),
            // As for one in which the caller may nothing.
            Err(AccountError::Missing(_)) => None,
            Err(other) => return Err(other.into()),
        };
        if let Some(project) = project {
            for (resource, act) in Role::ProjectAdmin.rights().iter() {
                let resource: Resource = resource;
                if state.may(asker, &project, resource, act).await? {
                    held.push((resource.as_str(), act.as_str()));
                }
            }
        }
    } else if !scope.is_empty() {
        return Err(Refusal::invalid(format!(
            "scope is /system or /project/ and an id, and not {scope:?}"
        )));
    }
    let held = held.into_iter().map(|(resource, action)| {
        let mut access = access((resource, action));
        if !relative {
            access.resource = format!("{scope}/{resource}");
        }
        access
    });
    Ok(Reply::json(&held.collect::<Vec<_>>()))
}

fn access((resource, action): (&str, &str)) -> Access {
    Access {
        resource: resource.to_owned(),
        action: action.to_owned(),
        effect: None,
    }
}
