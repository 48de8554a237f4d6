//! Projects: the first component of a repository's name, and who may do what in it.

mod auto_create;
mod members;
mod records;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use registry_core::store::Txn;
use registry_core::store::collection::{self, Found, Match, Query, Row};
use registry_core::{RepositoryName, Runtime, Timestamp};

use crate::error::AccountError;
use crate::roles::Role;
use crate::snapshots::Snapshots;
use crate::tables::Tables;

pub use auto_create::{AutoCreate, CreatesProjects};
pub use records::{Grantee, Member, Project};

/// The projects of a registry.
#[derive(Clone)]
pub struct Projects {
    tables: Tables,
    snapshots: Arc<Snapshots>,
    runtime: Arc<dyn Runtime>,
}

impl fmt::Debug for Projects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Projects")
    }
}

/// The project of a repository: the first component of its name.
pub fn project_of(repository: &RepositoryName) -> &str {
    let name = repository.as_str();
    name.split_once('/').map_or(name, |(project, _)| project)
}

/// Most settings of a project, and most bytes of one.
const METADATA: (usize, usize) = (100, 4096);

impl Projects {
    pub(crate) fn new(tables: Tables, snapshots: Arc<Snapshots>, runtime: Arc<dyn Runtime>) -> Self {
        Projects {
            tables,
            snapshots,
            runtime,
        }
    }

    /// Makes a project, private unless it is said to be `public`. Its owner is its administrator from the first moment.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] about the name; [`AccountError::Conflict`] if it is taken; [`AccountError::Missing`] about
    /// the owner.
    pub async fn create(
        &self,
        name: &str,
        owner: u64,
        public: bool,
        metadata: BTreeMap<String, String>,
    ) -> Result<Row<Project>, AccountError> {
        check_name(name)?;
        check_metadata(&metadata)?;
        if self.tables.users.get(owner).await?.is_none() {
            return Err(AccountError::Missing(format!(
                "there is no user {owner} to own project {name:?}"
            )));
        }
        let now = self.now();
        let project = Project {
            name: name.to_owned(),
            public,
            owner,
            metadata,
            created: now,
            updated: now,
        };
        loop {
            let staged = self.tables.projects.stage_insert(Txn::new(), &project).await?;
            let id = staged.id;
            let admin = Member {
                project: id,
                who: Grantee::User(owner),
                role: Role::ProjectAdmin,
                pattern: None,
                created: now,
            };
            let txn = self.tables.members.stage_insert(staged.txn, &admin).await?.txn;
            match collection::commit(&*self.tables.kv, txn).await {
                Ok(Some(stamp)) => {
                    let value = project;
                    return Ok(Row { id, stamp, value });
                }
                Ok(None) => {}
                Err(collection::CollectionError::Taken { .. }) => {
                    return Err(AccountError::Conflict(format!(
                        "there is a project {name:?} already"
                    )));
                }
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// The project of this name.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn named(&self, name: &str) -> Result<Row<Project>, AccountError> {
        let found = self.tables.projects.by("name", name).await?;
        found.ok_or_else(|| AccountError::Missing(format!("project {name:?} does not exist")))
    }

    /// The project with this id.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn get(&self, id: u64) -> Result<Row<Project>, AccountError> {
        self.tables.projects.get(id).await?.ok_or_else(|| missing(id))
    }

    /// A page of the projects.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] about the query; [`AccountError::Records`].
    pub async fn list(&self, query: &Query) -> Result<Found<Project>, AccountError> {
        Ok(self.tables.projects.query(query).await?)
    }

    /// Says whether anybody may pull from a project.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn set_public(&self, id: u64, public: bool) -> Result<(), AccountError> {
        self.change(id, |project| project.public = public).await
    }

    /// Gives a project these settings and no others.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] if they are too many; [`AccountError::Missing`].
    pub async fn set_metadata(
        &self,
        id: u64,
        metadata: BTreeMap<String, String>,
    ) -> Result<(), AccountError> {
        check_metadata(&metadata)?;
        self.change(id, |project| project.metadata.clone_from(&metadata))
            .await
    }

    /// Deletes a project. Whoever makes one of the same name afterwards makes another: its members, its robots and the tokens
    /// for it are none of the new one's. What is in it is not looked at.
    ///
    /// # Errors
    /// [`AccountError::Missing`].
    pub async fn delete(&self, id: u64) -> Result<(), AccountError> {
        self.tables
            .projects
            .delete(id)
            .await?
            .ok_or_else(|| missing(id))?;
        // Its id means nothing any more; this only gives room back.
        for member in self.members_of(id).await?.rows {
            self.tables.members.delete(member.id).await?;
        }
        let robots = Query::all().and("project_id", Match::Is(id.to_string()));
        for robot in self.tables.robots.query(&robots).await?.rows {
            self.tables.robots.delete(robot.id).await?;
        }
        Ok(())
    }

    async fn change(&self, id: u64, mut change: impl FnMut(&mut Project) + Send) -> Result<(), AccountError> {
        let now = self.now();
        let change = |project: &mut Project| {
            change(project);
            project.updated = now;
            Ok::<_, AccountError>(())
        };
        self.tables.projects.update(id, change).await?;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.runtime.now()
    }
}

fn missing(id: u64) -> AccountError {
    AccountError::Missing(format!("there is no project {id}"))
}

fn check_name(name: &str) -> Result<(), AccountError> {
    match !name.contains('/') && name.parse::<RepositoryName>().is_ok() {
        true => Ok(()),
        false => Err(AccountError::Invalid(format!(
            "{name:?} is no name for a project: lower-case letters and digits, with one of . _ or dashes between"
        ))),
    }
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), AccountError> {
    let (most, longest) = METADATA;
    let is_long = |(key, value): (&String, &String)| key.len() + value.len() > longest;
    match metadata.len() > most || metadata.iter().any(is_long) {
        true => Err(AccountError::Invalid(format!(
            "a project has at most {most} settings of {longest} bytes each"
        ))),
        false => Ok(()),
    }
}
