//! Robots, access tokens, and what these are given.

use serde::{Deserialize, Serialize};

/// What is given in a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// `project` or `system`.
    pub kind: String,
    /// A project's name, `*` for all of them, `/` for the registry as a whole.
    pub namespace: String,
    /// What is given there.
    pub access: Vec<Access>,
}

/// One operation on one kind of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The kind of thing.
    pub resource: String,
    /// What is done to it.
    pub action: String,
    /// `allow`; nothing else is understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// What robots can be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// On the registry as a whole; for administrators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Vec<Access>>,
    /// In a project.
    pub project: Vec<Access>,
}

/// A robot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Robot {
    /// The id.
    pub id: u64,
    /// The whole name, which it logs in with.
    pub name: String,
    /// Whatever else is to be known; may be empty.
    pub description: String,
    /// `project` or `system`.
    pub level: String,
    /// For how many days it is made; -1 for ever.
    pub duration: i64,
    /// Whether it can be changed.
    pub editable: bool,
    /// Whether it may do nothing.
    pub disable: bool,
    /// Until when it may do anything, in seconds since 1970; -1 for ever.
    pub expires_at: i64,
    /// What it may.
    pub permissions: Vec<Permission>,
    /// `local` for a user, `robot` for a robot.
    pub creator_type: String,
    /// The id of the user or robot who made it.
    pub creator_ref: u64,
    /// When it was made.
    pub creation_time: String,
    /// When it was changed last.
    pub update_time: String,
}

/// A robot to be made.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RobotRequest {
    /// The name, without the prefix and the project.
    pub name: String,
    /// Whatever else is to be known; may be empty.
    pub description: String,
    /// The secret, if it is not to be drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// `project` or `system`.
    pub level: String,
    /// Whether it may do nothing.
    pub disable: bool,
    /// For how many days; -1 for ever, 0 for as long as the operator says.
    pub duration: i64,
    /// What it may: of a project, one, there.
    pub permissions: Vec<Permission>,
}

/// What may be changed of a robot. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RobotUpdate {
    /// The name, which cannot be changed.
    pub name: Option<String>,
    /// Whatever else is to be known.
    pub description: Option<String>,
    /// The level, which cannot be changed.
    pub level: Option<String>,
    /// Whether it may do nothing.
    pub disable: Option<bool>,
    /// For how many days from when it was made; -1 for ever.
    pub duration: Option<i64>,
    /// What it may.
    pub permissions: Option<Vec<Permission>>,
}

/// A robot or access token that was made, with its secret, which nobody is told again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The id.
    pub id: u64,
    /// The whole name, which it logs in with.
    pub name: String,
    /// The secret.
    pub secret: String,
    /// When it was made.
    pub creation_time: String,
    /// Until when it may do anything, in seconds since 1970; -1 for ever.
    pub expires_at: i64,
}

/// A secret; empty in an answer to whoever chose it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RobotSecret {
    /// The secret.
    pub secret: String,
}

/// A personal access token. Not in Harbor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The id.
    pub id: u64,
    /// The whole name: `alice#laptop`.
    pub name: String,
    /// Whatever else is to be known; may be empty.
    pub description: String,
    /// What it may at most; without, all that its user may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
    /// Until when it is worth anything, in seconds since 1970; -1 for ever.
    pub expires_at: i64,
    /// When it was made.
    pub creation_time: String,
}

/// A personal access token to be made. Not in Harbor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenRequest {
    /// The name, of which the user has no other.
    pub name: String,
    /// Whatever else is to be known; may be empty.
    pub description: String,
    /// For how many days; -1 for ever, 0 for as long as the operator says of robots.
    pub duration: i64,
    /// What it may at most; without, all that its user may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
}
