//! Projects and their members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::accounts::{UserGroup, is_zero};

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The id.
    pub project_id: u64,
    /// The name.
    pub name: String,
    /// Who made it.
    pub owner_id: u64,
    /// Their name; left out if they are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_name: Option<String>,
    /// When it was made.
    pub creation_time: String,
    /// When it was changed last.
    pub update_time: String,
    /// The greatest role of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_user_role_id: Option<u8>,
    /// Every role of the caller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub current_user_role_ids: Vec<u8>,
    /// How many repositories are in it; left out if details are not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_count: Option<u64>,
    /// Settings, all of them texts: `public` is `"true"` or `"false"`.
    pub metadata: BTreeMap<String, String>,
}

/// A project to be made, or what is to be changed of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRequest {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_name: Option<String>,
    /// Whether anybody may pull; `metadata` says so too, and goes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Settings, all of them texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Option<String>>>,
    /// The most bytes that it may hold; only -1, for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_limit: Option<i64>,
    /// The registry that it is a cache of; none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_id: Option<i64>,
}

/// Whether a project can be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDeletable {
    /// Whether it can.
    pub deletable: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What is in a project. Members are counted for those who may list them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectSummary {
    /// Repositories.
    pub repo_count: u64,
    /// Members who are project admins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_admin_count: Option<u64>,
    /// Members who are maintainers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintainer_count: Option<u64>,
    /// Members who are developers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub developer_count: Option<u64>,
    /// Members who are guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_count: Option<u64>,
    /// Members who are limited guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_guest_count: Option<u64>,
}

/// A member of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectMember {
    /// The id.
    pub id: u64,
    /// The project.
    pub project_id: u64,
    /// The user's or group's name; left out if they are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_name: Option<String>,
    /// The role's name.
    pub role_name: String,
    /// The role.
    pub role_id: u8,
    /// The user's or group's id.
    pub entity_id: u64,
    /// `u` for a user, `g` for a group.
    pub entity_type: String,
    /// The repositories that the role is for; without, it is for the whole project. Not in Harbor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// A member to be added: a user or a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRequest {
    /// The role.
    pub role_id: u8,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_user: Option<MemberUser>,
    /// The group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_group: Option<UserGroup>,
    /// The repositories that the role is for: `team/app-*`. Not in Harbor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// A user, by id or by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberUser {
    /// The id.
    #[serde(skip_serializing_if = "is_zero")]
    pub user_id: u64,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
}

/// Another role for a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRequest {
    /// The role.
    pub role_id: u8,
    /// The repositories that the member's role is for, if anything is said of them: they cannot be changed. Not in Harbor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}
