//! Robots.

use std::sync::Arc;
use std::time::Duration;

use registry_core::Timestamp;
use registry_core::store::collection::Row;

use super::name::{self, Name};
use super::permission::{self, Kind, Limit, Permission};
use super::records::{Creator, Hash, Robot, RobotSecret};
use super::{Accounts, missing};
use crate::error::AccountError;
use crate::power::Account;
use crate::roles::{Act, Resource};
use crate::secret::{Secret, draw_number, fingerprint};

/// A robot that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRobot {
    /// Its name, without the prefix and the project.
    pub name: String,
    /// Whatever else is to be known; may be empty.
    pub description: String,
    /// The name of the project that it is of; none if it is of the whole registry.
    pub project: Option<String>,
    /// What it may at most.
    pub permissions: Vec<Permission>,
    /// For how many days; -1 for ever, 0 for as long as the operator says.
    pub duration: i64,
}

/// What may be changed of a robot. What is not said stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RobotChange {
    /// Whatever else is to be known.
    pub description: Option<String>,
    /// What it may at most.
    pub permissions: Option<Vec<Permission>>,
    /// For how many days from when it was made; -1 for ever, 0 for as long as the operator says.
    pub duration: Option<i64>,
    /// Whether it may do nothing.
    pub disabled: Option<bool>,
}

/// How many robots may make each other in a row.
const DEEPEST: u8 = 4;
/// Longest that a robot may be made for, in days, beside for ever.
const LONGEST: i64 = 36_500;
const DAY: Duration = Duration::from_secs(86_400);

impl Accounts {
    /// Makes a robot for the account `by`, and says its secret, which nobody is told again.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] names what `by` does not hold itself; [`AccountError::Invalid`];
    /// [`AccountError::Conflict`] if the name is taken; [`AccountError::Missing`] about a project.
    pub async fn create_robot(&self, by: &str, new: NewRobot) -> Result<(Row<Robot>, Secret), AccountError> {
        name::check_part(&new.name)?;
        check_description(&new.description)?;
        let (creator, depth) = self.creator(by).await?;
        let project = match &new.project {
            Some(name) => {
                let found = self.tables.projects.by("name", name).await?;
                Some(
                    found
                        .ok_or_else(|| AccountError::Missing(format!("project {name:?} does not exist")))?
                        .id,
                )
            }
            None => None,
        };
        let holder = self.holder(by, Act::Create, project).await?;
        let permissions = self.grantable(&holder, project, new.permissions).await?;
        let now = self.now();
        let secret = Secret::draw();
        let duration = self.duration(new.duration)?;
        let robot = Robot {
            name: new.name,
            description: new.description,
            project,
            creator,
            depth,
            permissions,
            secret: RobotSecret::Drawn(Hash::new(fingerprint(secret.reveal()))),
            duration,
            expires: expiry(now, duration),
            disabled: false,
            generation: draw_number(),
            created: now,
            updated: now,
        };
        Ok((self.tables.robots.insert(&robot).await?, secret))
    }

    /// The robot with this id.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn robot(&self, id: u64) -> Result<Row<Robot>, AccountError> {
        self.tables
            .robots
            .get(id)
            .await?
            .ok_or_else(|| missing::<Robot>(id))
    }

    /// The whole name of a robot, which it logs in with.
    ///
    /// # Errors
    /// [`AccountError::Missing`] if its project is gone.
    pub async fn robot_name(&self, robot: &Robot) -> Result<String, AccountError> {
        let project = match robot.project {
            Some(id) => Some(
                self.tables
                    .projects
                    .get(id)
                    .await?
                    .ok_or_else(|| missing::<crate::Project>(id))?,
            ),
            None => None,
        };
        let project = project.as_ref().map(|project| project.value.name.as_str());
        Ok(name::robot(self.settings(), project, &robot.name))
    }

    /// Changes a robot for the account `by`.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] names what `by` does not hold itself; [`AccountError::Invalid`];
    /// [`AccountError::Missing`].
    pub async fn change_robot(
        &self,
        by: &str,
        id: u64,
        change: RobotChange,
    ) -> Result<Row<Robot>, AccountError> {
        let robot = self.robot(id).await?;
        let holder = self.holder(by, Act::Update, robot.value.project).await?;
        let permissions = match change.permissions {
            Some(permissions) => Some(self.grantable(&holder, robot.value.project, permissions).await?),
            None => None,
        };
        change.description.as_deref().map_or(Ok(()), check_description)?;
        let duration = change.duration.map(|days| self.duration(days)).transpose()?;
        let now = self.now();
        let change = |robot: &mut Robot| {
            if let Some(description) = &change.description {
                robot.description.clone_from(description);
            }
            if let Some(permissions) = &permissions {
                robot.permissions.clone_from(permissions);
            }
            if let Some(duration) = duration {
                robot.duration = duration;
                robot.expires = expiry(robot.created, duration);
            }
            robot.disabled = change.disabled.unwrap_or(robot.disabled);
            robot.generation = draw_number();
            robot.updated = now;
            Ok::<_, AccountError>(())
        };
        self.tables.robots.update(id, change).await
    }

    /// Gives a robot another secret for the account `by`: the one that is `chosen`, or else a drawn one, which is returned and
    /// never told again. Whoever knows the secret may what the robot may; so `by` must hold all of that itself.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] names what `by` does not hold itself; [`AccountError::Invalid`] about the chosen one;
    /// [`AccountError::Missing`].
    pub async fn refresh_robot(
        &self,
        by: &str,
        id: u64,
        chosen: Option<&Secret>,
    ) -> Result<Option<Secret>, AccountError> {
        let robot = self.robot(id).await?.value;
        let holder = self.holder(by, Act::Update, robot.project).await?;
        self.check_holds(&holder, &robot.permissions)?;
        let (secret, drawn) = match chosen {
            Some(chosen) => (RobotSecret::Chosen(self.hash(chosen).await?), None),
            None => {
                let drawn = Secret::draw();
                (
                    RobotSecret::Drawn(Hash::new(fingerprint(drawn.reveal()))),
                    Some(drawn),
                )
            }
        };
        let now = self.now();
        let change = |robot: &mut Robot| {
            robot.secret.clone_from(&secret);
            robot.generation = draw_number();
            robot.updated = now;
            Ok::<_, AccountError>(())
        };
        self.tables.robots.update(id, change).await?;
        Ok(drawn)
    }

    /// Deletes a robot for the account `by`. Those that it made are worth nothing any more.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] if `by` may not; [`AccountError::Missing`].
    pub async fn delete_robot(&self, by: &str, id: u64) -> Result<(), AccountError> {
        let robot = self.robot(id).await?.value;
        self.holder(by, Act::Delete, robot.project).await?;
        let deleted = self.tables.robots.delete(id).await?;
        deleted.map(drop).ok_or_else(|| missing::<Robot>(id))
    }

    /// Who `by` is, and how deep a robot of theirs is.
    async fn creator(&self, by: &str) -> Result<(Creator, u8), AccountError> {
        let unknown = || AccountError::Forbidden(format!("{by} may make no robots"));
        match Name::parse(by, self.settings()) {
            Name::User(name) => {
                let user = self
                    .tables
                    .users
                    .by("username", name)
                    .await?
                    .ok_or_else(unknown)?;
                Ok((Creator::User(user.id), 0))
            }
            Name::Robot { project, name } => {
                let robot = self
                    .tables
                    .robot_named(project, name)
                    .await?
                    .ok_or_else(unknown)?;
                if robot.value.depth >= DEEPEST {
                    return Err(AccountError::Forbidden(format!(
                        "{by} was made by robots that robots made; let a user make the next"
                    )));
                }
                Ok((Creator::Robot(robot.id), robot.value.depth + 1))
            }
            // A robot would outlive the token's narrowness.
            Name::Token { .. } => Err(unknown()),
        }
    }

    /// The account `by`, if it may do this to robots of the project, or of the whole registry.
    async fn holder(&self, by: &str, act: Act, project: Option<u64>) -> Result<Arc<Account>, AccountError> {
        let now = self.now();
        let holder = self.snapshots.look_up(by).await?;
        let may = |holder: &Arc<Account>| match project {
            Some(project) => holder.holds(now, project, None, Resource::Robot, act),
            None => holder.holds_system(now, "robot", act),
        };
        holder.filter(may).ok_or_else(|| {
            let what = act.as_str();
            AccountError::Forbidden(format!("{by} may not {what} such a robot"))
        })
    }

    /// These permissions, if the account `by` holds all of them now, and they are about no other project than the robot's.
    async fn grantable(
        &self,
        by: &Account,
        project: Option<u64>,
        permissions: Vec<Permission>,
    ) -> Result<Vec<Permission>, AccountError> {
        if permissions.is_empty() {
            return Err(AccountError::Invalid(
                "a robot without permissions may do nothing".to_owned(),
            ));
        }
        let permissions = permission::resolve(permissions, &self.tables.projects).await?;
        let others = |it: &Permission| it.kind != Kind::Project || it.project != project;
        if project.is_some() && (permissions.len() > 1 || permissions.iter().any(others)) {
            return Err(AccountError::Invalid(
                "a robot of a project has one permission, in that project".to_owned(),
            ));
        }
        self.check_holds(by, &permissions)?;
        Ok(permissions)
    }

    /// Refuses permissions of which the account `by` does not hold all now.
    fn check_holds(&self, by: &Account, permissions: &[Permission]) -> Result<(), AccountError> {
        let now = self.now();
        let beyond = |what: String| {
            AccountError::Forbidden(format!("{} does not hold {what}, so no robot gets it", by.name))
        };
        let limit = Limit::of(permissions)?;
        for (resource, act) in &limit.system {
            if !by.holds_system(now, resource, *act) {
                return Err(beyond(format!(
                    "{resource}:{} on the whole registry",
                    act.as_str()
                )));
            }
        }
        let exceeds = |resource: Resource, act: Act, held: bool| (!held).then_some((resource, act));
        let everywhere = limit.everywhere.iter().flat_map(|rights| rights.iter());
        let too_much = everywhere
            .into_iter()
            .find_map(|(resource, act)| exceeds(resource, act, by.holds_everywhere(now, resource, act)));
        if let Some((resource, act)) = too_much {
            return Err(beyond(format!(
                "{}:{} in all projects",
                resource.as_str(),
                act.as_str()
            )));
        }
        for (project, rights) in &limit.projects {
            let too_much = rights.iter().find_map(|(resource, act)| {
                exceeds(resource, act, by.holds(now, *project, None, resource, act))
            });
            if let Some((resource, act)) = too_much {
                let named = permissions.iter().find(|it| it.project == Some(*project));
                let name = named.map_or("", |permission| permission.namespace.as_str());
                return Err(beyond(format!(
                    "{}:{} in project {name}",
                    resource.as_str(),
                    act.as_str()
                )));
            }
        }
        Ok(())
    }

    fn duration(&self, days: i64) -> Result<i64, AccountError> {
        match days {
            0 => Ok(self.settings().robot_duration),
            -1 | 1..=LONGEST => Ok(days),
            _ => Err(AccountError::Invalid(format!(
                "a robot is made for 1 to {LONGEST} days, or for ever with -1, and not for {days}"
            ))),
        }
    }
}

fn expiry(from: Timestamp, days: i64) -> Option<Timestamp> {
    let days = u32::try_from(days).ok()?;
    Some(from + DAY * days)
}

pub(super) fn check_description(description: &str) -> Result<(), AccountError> {
    match description.len() {
        ..=1024 => Ok(()),
        _ => Err(AccountError::Invalid(
            "a description has at most 1024 bytes".to_owned(),
        )),
    }
}
