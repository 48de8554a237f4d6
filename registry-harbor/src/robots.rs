//! Robots, of the registry as a whole and of projects.

use registry_auth::roles::{Act, Resource};
use registry_auth::secret::{Secret, check_password};
use registry_auth::{AccountError, Creator, Kind, NewRobot, Operation, Permission, Robot, RobotChange};
use registry_core::Timestamp;
use registry_core::store::collection::{Match, Query, Row};

use crate::api::State;
use crate::asker::Asker;
use crate::call::Call;
use crate::gates::{self, Named};
use crate::list::{Alias, is_same};
use crate::model;
use crate::refusal::Refusal;
use crate::reply::{Answer, Reply};

const ALIASES: &[Alias] = &[("robot_id", "id")];

/// Those of the registry, unless `q` says `Level=project,ProjectID=…`.
pub(crate) async fn list(state: &State, call: &Call<'_>) -> Answer {
    let paging = call.paging()?;
    let query = call.asked(ALIASES, ("name", false))?;
    let project = match said(&query, "level")? {
        None | Some("system") => {
            state.need_system(&call.asker, "robot", Act::List).await?;
            0
        }
        Some("project") => {
            let id = said(&query, "project_id")?.and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| {
                Refusal::invalid("q: say which project's robots: Level=project,ProjectID=… with its id")
            })?;
            state
                .need_project(&call.asker, Named::Id(id), Resource::Robot, Act::List)
                .await?
                .id
        }
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "q: Level is project or system, and not {other:?}"
            )));
        }
    };
    let query = query.and("project_id", Match::Is(project.to_string()));
    let found = state.parts.tenants.accounts.robots(&paging.of(query)).await?;
    let mut robots = Vec::new();
    for row in &found.rows {
        robots.push(shown(state, row).await?);
    }
    Ok(call.listed(paging, found.total, &robots))
}

/// What the filter says that a field is; it says so at most once.
fn said<'q>(query: &'q Query, field: &str) -> Result<Option<&'q str>, Refusal> {
    let mut about = query
        .filter
        .0
        .iter()
        .filter(|condition| is_same(&condition.field, field));
    match (about.next().map(|condition| &condition.test), about.next()) {
        (None, _) => Ok(None),
        (Some(Match::Is(value)), None) => Ok(Some(value)),
        _ => Err(Refusal::invalid(format!("q: {field} is one value, said once"))),
    }
}

pub(crate) async fn create(state: &State, call: &Call<'_>) -> Answer {
    let new: model::RobotRequest = call.document()?;
    let project = match new.level.as_str() {
        "system" => {
            state.need_system(&call.asker, "robot", Act::Create).await?;
            None
        }
        "project" => {
            let [permission] = &new.permissions[..] else {
                return Err(Refusal::invalid(
                    "permissions: a robot of a project has one, in that project",
                ));
            };
            let named = Named::Name(&permission.namespace);
            Some(
                state
                    .need_project(&call.asker, named, Resource::Robot, Act::Create)
                    .await?
                    .value
                    .name,
            )
        }
        other => {
            return Err(Refusal::invalid(format!(
                "level is project or system, and not {other:?}"
            )));
        }
    };
    let chosen = new.secret.filter(|secret| !secret.is_empty()).map(Secret::new);
    if let Some(chosen) = &chosen {
        check_password(chosen.reveal())?;
    }
    let permissions = read_permissions(state, &call.asker, new.permissions).await?;
    let robot = NewRobot {
        name: new.name,
        description: new.description,
        project,
        permissions,
        duration: new.duration,
    };
    let (accounts, by) = (&state.parts.tenants.accounts, call.asker.name());
    let (made, drawn) = accounts.create_robot(by, robot).await?;
    if new.disable {
        let disabled = RobotChange {
            disabled: Some(true),
            ..RobotChange::default()
        };
        accounts.change_robot(by, made.id, disabled).await?;
    }
    let secret = match chosen {
        Some(chosen) => {
            accounts.refresh_robot(by, made.id, Some(&chosen)).await?;
            chosen
        }
        None => drawn,
    };
    let created = model::Created {
        id: made.id,
        name: accounts.robot_name(&made.value).await?,
        secret: secret.reveal().to_owned(),
        creation_time: made.value.created.to_string(),
        expires_at: expires_at(made.value.expires),
    };
    Ok(Reply::json(&created).created(&State::location(format_args!("/robots/{}", made.id))))
}

pub(crate) async fn get(state: &State, call: &Call<'_>) -> Answer {
    let robot = need(state, call, Act::Read).await?;
    Ok(Reply::json(&shown(state, &robot).await?))
}

pub(crate) async fn update(state: &State, call: &Call<'_>) -> Answer {
    let robot = need(state, call, Act::Update).await?;
    let new: model::RobotUpdate = call.document()?;
    let accounts = &state.parts.tenants.accounts;
    let full = accounts.robot_name(&robot.value).await?;
    if new
        .name
        .is_some_and(|name| !name.is_empty() && name != full && name != robot.value.name)
    {
        return Err(Refusal::invalid(format!("name: a robot keeps its name, {full}")));
    }
    if new
        .level
        .is_some_and(|level| !level.is_empty() && level != robot.value.level())
    {
        return Err(Refusal::invalid(format!(
            "level: a robot keeps its level, {}",
            robot.value.level()
        )));
    }
    let permissions = match new.permissions {
        Some(permissions) => Some(read_permissions(state, &call.asker, permissions).await?),
        None => None,
    };
    let change = RobotChange {
        description: new.description,
        permissions,
        duration: new.duration,
        disabled: new.disable,
    };
    accounts.change_robot(call.asker.name(), robot.id, change).await?;
    Ok(Reply::done())
}

/// Gives another secret; one that was chosen is not repeated.
pub(crate) async fn refresh(state: &State, call: &Call<'_>) -> Answer {
    let robot = need(state, call, Act::Update).await?;
    let model::RobotSecret { secret } = call.document()?;
    let chosen = (!secret.is_empty()).then(|| Secret::new(secret));
    let accounts = &state.parts.tenants.accounts;
    let drawn = accounts
        .refresh_robot(call.asker.name(), robot.id, chosen.as_ref())
        .await?;
    let secret = drawn.map(|drawn| drawn.reveal().to_owned()).unwrap_or_default();
    Ok(Reply::json(&model::RobotSecret { secret }))
}

pub(crate) async fn delete(state: &State, call: &Call<'_>) -> Answer {
    let robot = need(state, call, Act::Delete).await?;
    state
        .parts
        .tenants
        .accounts
        .delete_robot(call.asker.name(), robot.id)
        .await?;
    Ok(Reply::done())
}

/// The robot that the path names, if the caller may do this to it. Who may not is told the same if there is none.
async fn need(state: &State, call: &Call<'_>, act: Act) -> Result<Row<Robot>, Refusal> {
    let (id, asker) = (call.id("robot_id")?, &call.asker);
    let tenants = &state.parts.tenants;
    let robot = match tenants.accounts.robot(id).await {
        Ok(robot) => Some(robot),
        Err(AccountError::Missing(_)) => None,
        Err(other) => return Err(other.into()),
    };
    let mut project = None;
    if let Some(of) = robot.as_ref().and_then(|robot| robot.value.project) {
        project = match tenants.projects.get(of).await {
            Ok(project) => Some(project.value.name),
            Err(AccountError::Missing(_)) => None,
            Err(other) => return Err(other.into()),
        };
    }
    let may = match (&robot, &project) {
        (Some(_), Some(project)) => state.may(asker, project, Resource::Robot, act).await?,
        (Some(robot), None) if robot.value.project.is_some() => asker.admin,
        _ => state.may_system(asker, "robot", act).await?,
    };
    match robot {
        Some(robot) if may => Ok(robot),
        None if may => Err(Refusal::missing(format!("there is no robot {id}"))),
        _ => Err(asker.refused(format!(
            "there is no robot {id}, or {asker} may not {} it",
            act.as_str()
        ))),
    }
}

/// Permissions as the accounts have them. What the caller may not know of is no place for any.
pub(crate) async fn read_permissions(
    state: &State,
    asker: &Asker,
    permissions: Vec<model::Permission>,
) -> Result<Vec<Permission>, Refusal> {
    let mut read = Vec::new();
    for permission in permissions {
        let kind = match permission.kind.as_str() {
            "project" => Kind::Project,
            "system" => Kind::System,
            other => {
                return Err(Refusal::invalid(format!(
                    "permissions: kind is project or system, and not {other:?}"
                )));
            }
        };
        let name = &permission.namespace;
        if kind == Kind::Project && name != "*" && !asker.admin && !state.sees(asker, name).await? {
            return Err(gates::unknown(asker, Named::Name(name)));
        }
        let mut access = Vec::new();
        for one in permission.access {
            // Without a word about it, `deny` would give what it is to take.
            if let Some(effect) = one
                .effect
                .filter(|effect| !effect.is_empty() && effect != "allow")
            {
                return Err(Refusal::invalid(format!(
                    "permissions: effect is allow, and not {effect:?}"
                )));
            }
            access.push(Operation {
                resource: one.resource,
                action: one.action,
            });
        }
        read.push(Permission {
            kind,
            namespace: permission.namespace,
            project: None,
            access,
        });
    }
    Ok(read)
}

pub(crate) fn shown_permission(permission: &Permission) -> model::Permission {
    let kind = match permission.kind {
        Kind::Project => "project",
        Kind::System => "system",
    };
    let access = permission.access.iter().map(|one| model::Access {
        resource: one.resource.clone(),
        action: one.action.clone(),
        effect: None,
    });
    model::Permission {
        kind: kind.to_owned(),
        namespace: permission.namespace.clone(),
        access: access.collect(),
    }
}

/// Seconds since the epoch; -1 for never.
pub(crate) fn expires_at(expires: Option<Timestamp>) -> i64 {
    expires.map_or(-1, |at| i64::try_from(at.0 / 1000).unwrap_or(i64::MAX))
}

async fn shown(state: &State, row: &Row<Robot>) -> Result<model::Robot, Refusal> {
    let robot = &row.value;
    let (creator_type, creator_ref) = match robot.creator {
        Creator::User(id) => ("local", id),
        Creator::Robot(id) => ("robot", id),
    };
    Ok(model::Robot {
        id: row.id,
        name: state.parts.tenants.accounts.robot_name(robot).await?,
        description: robot.description.clone(),
        level: robot.level().to_owned(),
        duration: robot.duration,
        editable: true,
        disable: robot.disabled,
        expires_at: expires_at(robot.expires),
        permissions: robot.permissions.iter().map(shown_permission).collect(),
        creator_type: creator_type.to_owned(),
        creator_ref,
        creation_time: robot.created.to_string(),
        update_time: robot.updated.to_string(),
    })
}
