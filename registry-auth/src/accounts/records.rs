//! What is kept of accounts.

use std::borrow::Cow;
use std::fmt;

use registry_core::Timestamp;
use registry_core::store::collection::{Field, Get, Record, Unique};
use serde::{Deserialize, Serialize};

use super::permission::Permission;
use crate::MARK;

/// Somebody, who logs in with a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name that they log in with.
    pub username: String,
    /// Where to write to; may be empty.
    pub email: String,
    /// What they are called; may be empty.
    pub realname: String,
    /// Whatever else is to be known; may be empty.
    pub comment: String,
    /// The hash of the password. Without one nobody logs in with a password.
    pub password: Option<Hash>,
    /// Whether they may do everything.
    pub admin: bool,
    /// Whether they may do anything.
    pub enabled: bool,
    /// The groups that they are in, by id.
    pub groups: Vec<i64>,
    /// Drawn anew whenever what they may, or how they prove who they are, changes.
    pub generation: u64,
    /// When the account was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
}

impl Record for User {
    const TABLE: &'static str = "user";
    const FIELDS: &'static [Field<Self>] = &[
        Field::new("username", Get::Text(|user: &Self| &user.username)).indexed(),
        Field::new("email", Get::Text(|user: &Self| &user.email)).indexed(),
        Field::new("realname", Get::Text(|user: &Self| &user.realname)),
        Field::new("sysadmin_flag", Get::Flag(|user: &Self| user.admin)).indexed(),
        Field::new(
            "group_id",
            Get::Numbers(|user: &Self| Cow::Borrowed(&user.groups)),
        )
        .indexed(),
        Field::new("creation_time", Get::Number(|user: &Self| user.created.0 as i64)),
        Field::new("update_time", Get::Number(|user: &Self| user.updated.0 as i64)),
    ];
    const UNIQUE: &'static [Unique<Self>] = &[
        Unique::new("username", |user| Some(user.username.as_str().into())),
        Unique::new("email", |user| {
            (!user.email.is_empty()).then(|| user.email.to_lowercase().into())
        }),
    ];
    const MARK: Option<&'static str> = Some(MARK);
}

/// Users who are given roles together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Where it comes from, by Harbor's numbers.
    pub kind: GroupKind,
    /// Its distinguished name in LDAP; empty for others.
    pub ldap_dn: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Where a group comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    /// A directory.
    Ldap,
    /// An authenticating proxy, or this registry itself.
    Http,
    /// An OpenID provider.
    Oidc,
}

impl GroupKind {
    /// Its number in Harbor's API.
    pub const fn id(self) -> u8 {
        match self {
            GroupKind::Ldap => 1,
            GroupKind::Http => 2,
            GroupKind::Oidc => 3,
        }
    }
}

impl Record for Group {
    const TABLE: &'static str = "group";
    const FIELDS: &'static [Field<Self>] = &[
        Field::new("group_name", Get::Text(|group: &Self| &group.name)).indexed(),
        Field::new(
            "group_type",
            Get::Number(|group: &Self| i64::from(group.kind.id())),
        ),
        Field::new("ldap_group_dn", Get::Text(|group: &Self| &group.ldap_dn)),
    ];
    const UNIQUE: &'static [Unique<Self>] = &[Unique::new("group_name", |group| {
        Some(group.name.as_str().into())
    })];
    const MARK: Option<&'static str> = Some(MARK);
}

/// An account for a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Robot {
    /// Its name, without the prefix and the project.
    pub name: String,
    /// Whatever else is to be known; may be empty.
    pub description: String,
    /// The project that it is of, which alone it may reach; none if it is of the whole registry.
    pub project: Option<u64>,
    /// Who made it, and what it may never exceed.
    pub creator: Creator,
    /// How many robots made each other up to this one.
    #[serde(default)]
    pub depth: u8,
    /// What it may at most.
    pub permissions: Vec<Permission>,
    /// Its secret's hash.
    pub secret: RobotSecret,
    /// For how many days it is made; -1 for ever.
    pub duration: i64,
    /// Until when it may do anything.
    pub expires: Option<Timestamp>,
    /// Whether it may do nothing.
    pub disabled: bool,
    /// Drawn anew whenever what it may, or how it proves what it is, changes.
    pub generation: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
}

/// Who made a robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Creator {
    /// The user with this id.
    User(u64),
    /// The robot with this id.
    Robot(u64),
}

/// How a robot proves what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RobotSecret {
    /// By a drawn secret, of which this is the SHA-256.
    Drawn(Hash),
    /// By one that somebody chose, hashed as a password.
    Chosen(Hash),
}

impl Record for Robot {
    const TABLE: &'static str = "robot";
    const FIELDS: &'static [Field<Self>] = &[
        Field::new("name", Get::Text(|robot: &Self| &robot.name)).indexed(),
        Field::new("description", Get::Text(|robot: &Self| &robot.description)),
        Field::new("level", Get::Text(|robot: &Self| robot.level())),
        Field::new(
            "project_id",
            Get::Number(|robot: &Self| robot.project.unwrap_or(0) as i64),
        )
        .indexed(),
        Field::new("disable", Get::Flag(|robot: &Self| robot.disabled)),
        Field::new(
            "creation_time",
            Get::Number(|robot: &Self| robot.created.0 as i64),
        ),
        Field::new("update_time", Get::Number(|robot: &Self| robot.updated.0 as i64)),
    ];
    const UNIQUE: &'static [Unique<Self>] = &[
        Unique::new("name", |robot| Some(robot_key(robot.project, &robot.name).into())),
        Unique::new("secret", |robot| match &robot.secret {
            RobotSecret::Drawn(hash) => Some(hash.as_str().into()),
            RobotSecret::Chosen(_) => None,
        }),
    ];
    const MARK: Option<&'static str> = Some(MARK);
}

impl Robot {
    /// `project` or `system`, as Harbor calls it.
    pub fn level(&self) -> &'static str {
        match self.project {
            Some(_) => "project",
            None => "system",
        }
    }
}

/// The unique key of a robot's name.
pub(crate) fn robot_key(project: Option<u64>, name: &str) -> String {
    format!("{}+{name}", project.unwrap_or(0))
}

/// A personal access token: a user, narrowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Whose it is.
    pub user: u64,
    /// Its name, of which the user has no other.
    pub name: String,
    /// Whatever else is to be known; may be empty.
    #[serde(default)]
    pub description: String,
    /// The SHA-256 of its secret.
    pub secret: Hash,
    /// What it may at most; without any, all that the user may.
    pub permissions: Option<Vec<Permission>>,
    /// Until when it is worth anything.
    pub expires: Option<Timestamp>,
    /// Told from those that had its name before.
    pub generation: u64,
    /// When it was made.
    pub created: Timestamp,
}

impl Record for Token {
    const TABLE: &'static str = "token";
    const FIELDS: &'static [Field<Self>] = &[
        Field::new("name", Get::Text(|token: &Self| &token.name)),
        Field::new("user_id", Get::Number(|token: &Self| token.user as i64)).indexed(),
        Field::new(
            "creation_time",
            Get::Number(|token: &Self| token.created.0 as i64),
        ),
    ];
    const UNIQUE: &'static [Unique<Self>] = &[
        Unique::new("name", |token| {
            Some(format!("{}/{}", token.user, token.name).into())
        }),
        Unique::new("secret", |token| Some(token.secret.as_str().into())),
    ];
    const MARK: Option<&'static str> = Some(MARK);
}

/// The hash of a secret. Not a secret itself, and yet nothing for a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(String);

impl Hash {
    pub(crate) fn new(text: String) -> Self {
        Hash(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}
