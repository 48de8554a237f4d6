//! Who belongs to a project.

use registry_core::store::collection::{Found, Match, Query, Row};

use super::records::{Grantee, Member};
use super::{Projects, missing};
use crate::error::AccountError;
use crate::pattern::Pattern;
use crate::roles::Role;

impl Projects {
    /// Gives a user or group a role in a project; with a pattern, on the repositories there that match. Who has several has
    /// what any of them gives.
    ///
    /// # Errors
    /// [`AccountError::Missing`] about the project or who; [`AccountError::Conflict`] if they have one for the same
    /// repositories; [`AccountError::Invalid`] if the pattern is about other projects.
    pub async fn add_member(
        &self,
        project: u64,
        who: Grantee,
        role: Role,
        pattern: Option<Pattern>,
    ) -> Result<Row<Member>, AccountError> {
        let name = self.get(project).await?.value.name;
        if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.is_within(&name)) {
            return Err(AccountError::Invalid(format!(
                "{pattern} is about more than project {name}: begin it with {name}/"
            )));
        }
        let is_there = match who {
            Grantee::User(id) => self.tables.users.get(id).await?.is_some(),
            Grantee::Group(id) => self.tables.groups.get(id).await?.is_some(),
        };
        if !is_there {
            return Err(AccountError::Missing(match who {
                Grantee::User(id) => format!("there is no user {id}"),
                Grantee::Group(id) => format!("there is no group {id}"),
            }));
        }
        let member = Member {
            project,
            who,
            role,
            pattern,
            created: self.now(),
        };
        Ok(self.tables.members.insert(&member).await?)
    }

    /// A page of the members of a project; all of them without a query.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] about the query; [`AccountError::Records`].
    pub async fn members(&self, project: u64, query: Query) -> Result<Found<Member>, AccountError> {
        let query = query.and("project_id", Match::Is(project.to_string()));
        Ok(self.tables.members.query(&query).await?)
    }

    pub(super) async fn members_of(&self, project: u64) -> Result<Found<Member>, AccountError> {
        self.members(project, Query::all()).await
    }

    /// The roles that a user has, by themselves and through their groups; in one project, if one is named.
    ///
    /// # Errors
    /// [`AccountError::Missing`] about the user; [`AccountError::Records`].
    pub async fn roles_of(&self, user: u64, project: Option<u64>) -> Result<Vec<Row<Member>>, AccountError> {
        let found = self.tables.users.get(user).await?;
        let found = found.ok_or_else(|| AccountError::Missing(format!("there is no user {user}")))?;
        let mut roles = self.tables.members_who(&Grantee::User(user)).await?.rows;
        for group in found.value.groups {
            let group = group as u64;
            // One that was deleted gives nothing, whatever it was given.
            if self.tables.groups.get(group).await?.is_some() {
                roles.extend(self.tables.members_who(&Grantee::Group(group)).await?.rows);
            }
        }
        roles.retain(|role| project.is_none_or(|project| role.value.project == project));
        Ok(roles)
    }

    /// A member of a project.
    ///
    /// # Errors
    /// [`AccountError::Missing`] also if it is another project's.
    pub async fn member(&self, project: u64, id: u64) -> Result<Row<Member>, AccountError> {
        let found = self.tables.members.get(id).await?;
        let found = found.filter(|member| member.value.project == project);
        found.ok_or_else(|| no_member(id))
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// [`AccountError::Missing`] also if it is another project's.
    pub async fn set_role(&self, project: u64, id: u64, role: Role) -> Result<Row<Member>, AccountError> {
        let change = |member: &mut Member| match member.project == project {
            true => {
                member.role = role;
                Ok(())
            }
            false => Err(no_member(id)),
        };
        self.tables.members.update(id, change).await
    }

    /// Takes a role away.
    ///
    /// # Errors
    /// [`AccountError::Missing`] also if it is another project's.
    pub async fn remove_member(&self, project: u64, id: u64) -> Result<(), AccountError> {
        let is_theirs = |member: &Member| match member.project == project {
            true => Ok(()),
            false => Err(no_member(id)),
        };
        let removed = self.tables.members.delete_if(id, is_theirs).await?;
        removed.map(drop).ok_or_else(|| no_member(id))
    }

    /// Gives a project another owner, who becomes its administrator.
    ///
    /// # Errors
    /// [`AccountError::Missing`] about the project or the user.
    pub async fn set_owner(&self, project: u64, owner: u64) -> Result<(), AccountError> {
        match self
            .add_member(project, Grantee::User(owner), Role::ProjectAdmin, None)
            .await
        {
            Ok(_) => {}
            Err(AccountError::Conflict(_)) => {
                let theirs = self.members(
                    project,
                    Query::all().and("who", Match::Is(Grantee::User(owner).key())),
                );
                for member in theirs
                    .await?
                    .rows
                    .iter()
                    .filter(|member| member.value.pattern.is_none())
                {
                    self.set_role(project, member.id, Role::ProjectAdmin).await?;
                }
            }
            Err(other) => return Err(other),
        }
        match self.change(project, |project| project.owner = owner).await {
            Err(AccountError::Missing(_)) => Err(missing(project)),
            other => other,
        }
    }
}

fn no_member(id: u64) -> AccountError {
    AccountError::Missing(format!("the project has no member {id}"))
}
