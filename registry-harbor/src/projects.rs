//! Projects.

use std::collections::{BTreeMap, HashSet};

use http::StatusCode;
use registry_auth::roles::{Act, Resource, Role};
use registry_auth::{AccountError, Grantee, Member, Project};
use registry_core::Context;
use registry_core::auth::{Authorizer, Visible};
use registry_core::store::collection::{Found, Match, Query, Row};

use crate::api::State;
use crate::asker::Asker;
use crate::call::Call;
use crate::gates;
use crate::list::{Alias, Paging};
use crate::model;
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply};

const ALIASES: &[Alias] = &[("project_id", "id")];
/// Says that the name of what is made is wanted in its address, and not its id.
const NAME_IN_LOCATION: &str = "x-resource-name-in-location";
/// The setting that says whether anybody may pull. It is kept apart from the others.
const PUBLIC: &str = "public";
/// Settings that would protect something, and that nothing here goes by.
const NOT_ENFORCED: &[&str] = &[
    "enable_content_trust",
    "enable_content_trust_cosign",
    "prevent_vul",
];

pub(crate) async fn list(state: &State, call: &Call<'_>) -> Answer {
    let paging = call.paging()?;
    let mut query = call.asked(ALIASES, ("name", false))?;
    if let Some(name) = call.query.get("name") {
        query = query.and("name", Match::Like(name.to_owned()));
    }
    if let Some(public) = call.query.parse::<bool>("public", "true or false")? {
        query = query.and("public", Match::Is(public.to_string()));
    }
    if let Some(owner) = call.query.get("owner") {
        let owner = match state.parts.tenants.accounts.user_named(owner).await {
            Ok(owner) => owner.id,
            // Nobody's.
            Err(AccountError::Missing(_)) => 0,
            Err(other) => return Err(other.into()),
        };
        query = query.and("owner_id", Match::Is(owner.to_string()));
    }
    let with_detail = call.query.parse("with_detail", "true or false")?.unwrap_or(true);
    let found = visible(state, &call.asker, query, paging).await?;
    let mut projects = Vec::new();
    let roles = roles(state, &call.asker, None).await?;
    for row in &found.rows {
        projects.push(shown(state, row, &roles, with_detail).await?);
    }
    Ok(call.listed(paging, found.total, &projects))
}

/// A page of those that the caller may know of.
async fn visible(
    state: &State,
    asker: &Asker,
    query: Query,
    paging: Paging,
) -> Result<Found<Project>, Refusal> {
    let projects = &state.parts.tenants.projects;
    if asker.admin {
        return Ok(projects.list(&paging.of(query)).await?);
    }
    if asker.standing.is_none() {
        let public = query.and("public", Match::Is("true".to_owned()));
        return Ok(projects.list(&paging.of(public)).await?);
    }
    let visible = state.parts.tenants.authorizer.visible(&asker.identity).await?;
    let names: Option<HashSet<&str>> = gates::shown(&visible).map(Iterator::collect);
    let mut rows = Vec::new();
    for row in projects.list(&query).await?.rows {
        let name = row.value.name.as_str();
        let is_shown = names.as_ref().is_none_or(|names| names.contains(name));
        // What users see, they may pull from. A robot may look at a project and pull nothing.
        if is_shown || !asker.is_whole() && state.may(asker, name, Resource::Project, Act::Read).await? {
            rows.push(row);
        }
    }
    let total = rows.len() as u64;
    Ok(Found {
        rows: paging.cut(rows),
        total,
    })
}

/// Whether there is a project is known to whoever may know of it, and to whoever could find out by making one.
pub(crate) async fn head(state: &State, call: &Call<'_>) -> Answer {
    let name = call.query.get("project_name");
    let name = name.ok_or_else(|| Refusal::invalid("say which project: ?project_name=…"))?;
    let knows =
        state.may_system(&call.asker, "project", Act::Create).await? || state.sees(&call.asker, name).await?;
    let missing = || Refusal::missing(format!("project {name:?} does not exist"));
    if !knows {
        return Err(missing());
    }
    state.parts.tenants.projects.named(name).await?;
    Ok(Reply::done())
}

pub(crate) async fn create(state: &State, call: &Call<'_>) -> Answer {
    let new: model::ProjectRequest = call.document()?;
    check_offered(&new)?;
    let name = new.project_name.as_deref().unwrap_or_default();
    let mut settings = BTreeMap::new();
    let public = merge(&mut settings, new.metadata)?
        .or(new.public)
        .unwrap_or(false);
    let owner = call.asker.standing.map_or(0, |standing| standing.user());
    let made = state
        .parts
        .tenants
        .projects
        .create(name, owner, public, settings)
        .await?;
    let location = match call.flag(NAME_IN_LOCATION) {
        true => State::location(format_args!("/projects/{name}")),
        false => State::location(format_args!("/projects/{}", made.id)),
    };
    Ok(Reply::done().created(&location))
}

pub(crate) async fn get(state: &State, call: &Call<'_>) -> Answer {
    let project = call.project();
    let roles = roles(state, &call.asker, Some(project.id)).await?;
    Ok(Reply::json(&shown(state, project, &roles, true).await?))
}

/// Settings that are not named stay.
pub(crate) async fn update(state: &State, call: &Call<'_>) -> Answer {
    let new: model::ProjectRequest = call.document()?;
    check_offered(&new)?;
    let project = call.project();
    let mut settings = project.value.metadata.clone();
    let public = merge(&mut settings, new.metadata)?.or(new.public);
    let projects = &state.parts.tenants.projects;
    if settings != project.value.metadata {
        projects.set_metadata(project.id, settings).await?;
    }
    if let Some(public) = public {
        projects.set_public(project.id, public).await?;
    }
    Ok(Reply::done())
}

pub(crate) async fn delete(state: &State, call: &Call<'_>) -> Answer {
    let project = call.project();
    if let Some(why) = holds_it(state, &project.value.name).await? {
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, why));
    }
    state.parts.tenants.projects.delete(project.id).await?;
    Ok(Reply::done())
}

pub(crate) async fn deletable(state: &State, call: &Call<'_>) -> Answer {
    let message = holds_it(state, &call.project().value.name).await?;
    Ok(Reply::json(&model::ProjectDeletable {
        deletable: message.is_none(),
        message,
    }))
}

/// Why a project cannot be deleted, if that is so.
async fn holds_it(state: &State, project: &str) -> Result<Option<String>, Refusal> {
    let inside = inside(project)?;
    let page = state.parts.registry.list_repositories(&inside, None, 1).await?;
    Ok(page
        .items
        .first()
        .map(|name| format!("project {project} has repositories, {name} among them; delete these first")))
}

pub(crate) async fn summary(state: &State, call: &Call<'_>) -> Answer {
    let project = call.project();
    let mut summary = model::ProjectSummary {
        repo_count: repositories(state, &project.value.name).await?,
        ..model::ProjectSummary::default()
    };
    if state
        .may(&call.asker, &project.value.name, Resource::Member, Act::List)
        .await?
    {
        let members = state
            .parts
            .tenants
            .projects
            .members(project.id, Query::all())
            .await?;
        let count = |role: Role| {
            let theirs = members.rows.iter().filter(|member| member.value.role == role);
            Some(
                theirs
                    .map(|member| member.value.who)
                    .collect::<HashSet<Grantee>>()
                    .len() as u64,
            )
        };
        summary.project_admin_count = count(Role::ProjectAdmin);
        summary.maintainer_count = count(Role::Maintainer);
        summary.developer_count = count(Role::Developer);
        summary.guest_count = count(Role::Guest);
        summary.limited_guest_count = count(Role::LimitedGuest);
    }
    Ok(Reply::json(&summary))
}

/// A context that sees one project and no other.
fn inside(project: &str) -> Result<Context, Refusal> {
    let name = project
        .parse()
        .map_err(|_| Refusal::invalid(format!("{project:?} is no name for a project")))?;
    Ok(Context {
        visible: Visible::Only {
            names: [name].into(),
            prefixes: [format!("{project}/")].into(),
        },
        ..Context::system()
    })
}

/// How many repositories are in a project.
async fn repositories(state: &State, project: &str) -> Result<u64, Refusal> {
    const AT_ONCE: usize = 1000;
    let inside = inside(project)?;
    let (mut count, mut after) = (0, None);
    loop {
        let page = state
            .parts
            .registry
            .list_repositories(&inside, after.as_deref(), AT_ONCE)
            .await?;
        count += page.items.len() as u64;
        match page.items.last().filter(|_| page.more) {
            Some(last) => after = Some(last.as_str().to_owned()),
            None => return Ok(count),
        }
    }
}

/// The roles of who asks, in all projects or in one.
async fn roles(state: &State, asker: &Asker, project: Option<u64>) -> Result<Vec<Row<Member>>, Refusal> {
    match asker.standing.filter(|_| asker.is_whole()) {
        Some(standing) => Ok(state
            .parts
            .tenants
            .projects
            .roles_of(standing.user(), project)
            .await?),
        None => Ok(Vec::new()),
    }
}

async fn shown(
    state: &State,
    row: &Row<Project>,
    roles: &[Row<Member>],
    with_detail: bool,
) -> Result<model::Project, Refusal> {
    let project = &row.value;
    let owner_name = match state.parts.tenants.accounts.user(project.owner).await {
        Ok(owner) => Some(owner.value.username),
        Err(AccountError::Missing(_)) => None,
        Err(other) => return Err(other.into()),
    };
    let whole = |role: &&Row<Member>| role.value.project == row.id && role.value.pattern.is_none();
    let mut roles: Vec<Role> = roles.iter().filter(whole).map(|role| role.value.role).collect();
    roles.sort();
    roles.dedup();
    let mut metadata = project.metadata.clone();
    metadata.insert(PUBLIC.to_owned(), project.public.to_string());
    Ok(model::Project {
        project_id: row.id,
        name: project.name.clone(),
        owner_id: project.owner,
        owner_name,
        creation_time: project.created.to_string(),
        update_time: project.updated.to_string(),
        current_user_role_id: roles.last().map(|role| role.id()),
        current_user_role_ids: roles.iter().rev().map(|role| role.id()).collect(),
        repo_count: match with_detail {
            true => Some(repositories(state, &project.name).await?),
            false => None,
        },
        metadata,
    })
}

/// Puts settings among those that there are, and says whether the project is to be public, if they do.
fn merge(
    settings: &mut BTreeMap<String, String>,
    new: Option<BTreeMap<String, Option<String>>>,
) -> Result<Option<bool>, Refusal> {
    let mut public = None;
    for (key, value) in new.unwrap_or_default() {
        let Some(value) = value else { continue };
        if key == PUBLIC {
            let not_a_flag = |_| {
                Refusal::invalid(format!(
                    "metadata.public is \"true\" or \"false\", and not {value:?}"
                ))
            };
            public = Some(value.parse().map_err(not_a_flag)?);
            continue;
        }
        if NOT_ENFORCED.contains(&key.as_str()) && value == "true" {
            return Err(Refusal::invalid(format!(
                "metadata.{key} would protect nothing, as this registry does not go by it; leave it out"
            )));
        }
        settings.insert(key, value);
    }
    Ok(public)
}

/// Refuses what would be believed to be in force and is not offered.
fn check_offered(new: &model::ProjectRequest) -> Result<(), Refusal> {
    if new.storage_limit.is_some_and(|limit| limit > 0) {
        return Err(Refusal::invalid(
            "storage_limit: projects have no quota here; leave it out, or write -1",
        ));
    }
    if new.registry_id.is_some_and(|id| id != 0) {
        return Err(Refusal::invalid(
            "registry_id: projects are no caches of other registries here; leave it out",
        ));
    }
    Ok(())
}
