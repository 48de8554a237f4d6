//! Members of projects: users and groups with a role, in all of a project or on repositories that match a pattern.

use registry_auth::roles::Role;
use registry_auth::{AccountError, Grantee, Member, Pattern};
use registry_core::store::collection::{Match, Query, Row};

use crate::api::State;
use crate::call::Call;
use crate::model;
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply};

pub(crate) async fn list(state: &State, call: &Call<'_>) -> Answer {
    let (project, paging) = (call.project().id, call.paging()?);
    let projects = &state.parts.tenants.projects;
    let Some(name) = call.query.get("entityname") else {
        let found = projects.members(project, paging.of(Query::all())).await?;
        let mut members = Vec::new();
        for row in &found.rows {
            members.push(shown(state, row).await?);
        }
        return Ok(call.listed(paging, found.total, &members));
    };
    // The names are those of users and groups, and not of members.
    let mut members = Vec::new();
    for row in projects.members(project, Query::all()).await?.rows {
        let member = shown(state, &row).await?;
        let entity = member.entity_name.as_deref().unwrap_or_default();
        if entity.to_lowercase().contains(&name.to_lowercase()) {
            members.push(member);
        }
    }
    let total = members.len() as u64;
    Ok(call.listed(paging, total, &paging.cut(members)))
}

pub(crate) async fn create(state: &State, call: &Call<'_>) -> Answer {
    let new: model::MemberRequest = call.document()?;
    let role = grantable(state, call, new.role_id).await?;
    let pattern = match new.pattern.as_deref() {
        None | Some("") => None,
        Some(text) => Some(
            text.parse::<Pattern>()
                .map_err(|why| Refusal::invalid(format!("pattern: {why}")))?,
        ),
    };
    let who = grantee(state, &new).await?;
    let projects = &state.parts.tenants.projects;
    let made = projects.add_member(call.project().id, who, role, pattern).await;
    let made = made.map_err(|why| match why {
        AccountError::Conflict(_) => AccountError::Conflict(
            "the user or group has a role for these repositories already; change that one".to_owned(),
        ),
        other => other,
    })?;
    Ok(Reply::done().created(&format!("{}/{}", call.head.uri.path(), made.id)))
}

pub(crate) async fn get(state: &State, call: &Call<'_>) -> Answer {
    let member = state
        .parts
        .tenants
        .projects
        .member(call.project().id, call.id("mid")?)
        .await?;
    Ok(Reply::json(&shown(state, &member).await?))
}

pub(crate) async fn update(state: &State, call: &Call<'_>) -> Answer {
    let (project, id) = (call.project().id, call.id("mid")?);
    let new: model::RoleRequest = call.document()?;
    let projects = &state.parts.tenants.projects;
    let member = projects.member(project, id).await?;
    let role = grantable(state, call, new.role_id).await?;
    let pattern = member.value.pattern.as_ref().map(ToString::to_string);
    if new.pattern.is_some() && new.pattern != pattern {
        return Err(Refusal::invalid(
            "pattern: which repositories a role is for cannot be changed; add another member, and remove this one",
        ));
    }
    projects.set_role(project, id, role).await?;
    Ok(Reply::done())
}

pub(crate) async fn delete(state: &State, call: &Call<'_>) -> Answer {
    state
        .parts
        .tenants
        .projects
        .remove_member(call.project().id, call.id("mid")?)
        .await?;
    Ok(Reply::done())
}

/// The role of this number, if the caller holds all that it gives: a robot that may add members adds none that may more
/// than it.
async fn grantable(state: &State, call: &Call<'_>, role_id: u8) -> Result<Role, Refusal> {
    let role = Role::from_id(role_id).ok_or_else(|| {
        Refusal::invalid(format!(
            "role_id is 1 (project admin), 2 (developer), 3 (guest), 4 (maintainer) or 5 (limited guest), and not {role_id}"
        ))
    })?;
    for (resource, act) in role.rights().iter() {
        if !state
            .may(&call.asker, &call.project().value.name, resource, act)
            .await?
        {
            return Err(Refusal::forbidden(format!(
                "{} does not hold {}:{}, and so gives nobody the role {role}",
                call.asker,
                resource.as_str(),
                act.as_str()
            )));
        }
    }
    Ok(role)
}

async fn grantee(state: &State, new: &model::MemberRequest) -> Result<Grantee, Refusal> {
    let accounts = &state.parts.tenants.accounts;
    match (&new.member_user, &new.member_group) {
        (Some(user), None) if user.user_id != 0 => Ok(Grantee::User(accounts.user(user.user_id).await?.id)),
        (Some(user), None) if !user.username.is_empty() => {
            Ok(Grantee::User(accounts.user_named(&user.username).await?.id))
        }
        (None, Some(group)) if group.id != 0 => Ok(Grantee::Group(accounts.group(group.id).await?.id)),
        (None, Some(group)) if !group.group_name.is_empty() || !group.ldap_group_dn.is_empty() => {
            let (field, value) = match group.ldap_group_dn.is_empty() {
                true => ("group_name", &group.group_name),
                false => ("ldap_group_dn", &group.ldap_group_dn),
            };
            let found = accounts
                .groups(&Query::all().and(field, Match::Is(value.clone())))
                .await?;
            let found = found.rows.first().map(|group| Grantee::Group(group.id));
            found.ok_or_else(|| Refusal::missing(format!("there is no group whose {field} is {value:?}")))
        }
        _ => Err(Refusal::invalid(
            "say who: member_user with a user_id or a username, or member_group with an id or a group_name; one of both",
        )),
    }
}

async fn shown(state: &State, row: &Row<Member>) -> Result<model::ProjectMember, Refusal> {
    let member = &row.value;
    let accounts = &state.parts.tenants.accounts;
    let (kind, id, name) = match member.who {
        Grantee::User(id) => ("u", id, accounts.user(id).await.map(|user| user.value.username)),
        Grantee::Group(id) => ("g", id, accounts.group(id).await.map(|group| group.value.name)),
    };
    let entity_name = match name {
        Ok(name) => Some(name),
        Err(AccountError::Missing(_)) => None,
        Err(other) => return Err(other.into()),
    };
    Ok(model::ProjectMember {
        id: row.id,
        project_id: member.project,
        entity_name,
        role_name: member.role.name().to_owned(),
        role_id: member.role.id(),
        entity_id: id,
        entity_type: kind.to_owned(),
        pattern: member.pattern.as_ref().map(ToString::to_string),
    })
}
