//! What is kept of projects.

use std::collections::BTreeMap;

use registry_core::Timestamp;
use registry_core::store::collection::{Field, Get, Record, Unique};
use serde::{Deserialize, Serialize};

use crate::MARK;
use crate::pattern::Pattern;
use crate::roles::Role;

/// A project. Its id never comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The first component of its repositories' names.
    pub name: String,
    /// Whether anybody may pull.
    pub public: bool,
    /// The user who made it.
    pub owner: u64,
    /// Settings, as Harbor names them.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
}

impl Record for Project {
    const TABLE: &'static str = "project";
    const FIELDS: &'static [Field<Self>] = &[
        Field::new("name", Get::Text(|project: &Self| &project.name)).indexed(),
        Field::new("public", Get::Flag(|project: &Self| project.public)).indexed(),
        Field::new("owner_id", Get::Number(|project: &Self| project.owner as i64)).indexed(),
        Field::new(
            "creation_time",
            Get::Number(|project: &Self| project.created.0 as i64),
        ),
        Field::new(
            "update_time",
            Get::Number(|project: &Self| project.updated.0 as i64),
        ),
    ];
    const UNIQUE: &'static [Unique<Self>] =
        &[Unique::new("name", |project| Some(project.name.as_str().into()))];
    const MARK: Option<&'static str> = Some(MARK);
}

/// A role that a user or group has in a project, or on some of its repositories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The project.
    pub project: u64,
    /// Who has it.
    pub who: Grantee,
    /// The role.
    pub role: Role,
    /// The repositories that it is for; without, it is for the whole project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// When it was given.
    pub created: Timestamp,
}

/// Who has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    /// The user with this id.
    User(u64),
    /// The group with this id.
    Group(u64),
}

impl Grantee {
    pub(crate) fn key(&self) -> String {
        match self {
            Grantee::User(id) => format!("u{id}"),
            Grantee::Group(id) => format!("g{id}"),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Grantee::User(_) => "u",
            Grantee::Group(_) => "g",
        }
    }

    fn id(&self) -> u64 {
        match self {
            Grantee::User(id) | Grantee::Group(id) => *id,
        }
    }
}

impl Record for Member {
    const TABLE: &'static str = "member";
    const FIELDS: &'static [Field<Self>] = &[
        Field::new("project_id", Get::Number(|member: &Self| member.project as i64)).indexed(),
        Field::new("who", Get::Made(|member: &Self| member.who.key())).indexed(),
        Field::new("entity_type", Get::Text(|member: &Self| member.who.kind())),
        Field::new("entity_id", Get::Number(|member: &Self| member.who.id() as i64)),
        Field::new(
            "role_id",
            Get::Number(|member: &Self| i64::from(member.role.id())),
        ),
    ];
    const UNIQUE: &'static [Unique<Self>] = &[Unique::new("entity", |member| {
        let pattern = member
            .pattern
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        Some(format!("{}/{}/{pattern}", member.project, member.who.key()).into())
    })];
    const MARK: Option<&'static str> = Some(MARK);
}
