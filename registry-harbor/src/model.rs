//! What goes in and out, as JSON. Clients may use these types too; what holds a secret cannot be shown by `{:?}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// One or more reasons.
    pub errors: Vec<ErrorItem>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorItem {
    /// For programs: `NOT_FOUND` and the like.
    pub code: String,
    /// For people.
    pub message: String,
}

/// How the registry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverallHealth {
    /// `healthy` if every component is, else `unhealthy`.
    pub status: String,
    /// Each part.
    pub components: Vec<ComponentHealth>,
}

/// How a part of the registry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentHealth {
    /// What it is called.
    pub name: String,
    /// `healthy` or `unhealthy`.
    pub status: String,
}

/// What the registry is. Strangers are told the first few fields only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemInfo {
    /// Where accounts come from: `db_auth`, the registry's own records.
    pub auth_mode: String,
    /// Whether another kind of login comes first.
    pub primary_auth_mode: bool,
    /// Whether anybody may make an account for themselves.
    pub self_registration: bool,
    /// What is shown above every page; may be empty.
    pub banner_message: String,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harbor_version: Option<String>,
    /// The host that images are named by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_url: Option<String>,
    /// The address that people open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_url: Option<String>,
    /// Who makes projects: `everyone` or `adminonly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_creation_restriction: Option<String>,
    /// Whether pushes are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// The registry's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_time: Option<String>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The id.
    pub user_id: u64,
    /// The name to log in with.
    pub username: String,
    /// Where to write to; may be empty.
    pub email: String,
    /// What they are called; may be empty.
    pub realname: String,
    /// Whatever else is to be known; may be empty.
    pub comment: String,
    /// Whether they may do everything.
    pub sysadmin_flag: bool,
    /// Whether they may by what another source of accounts says; never here.
    pub admin_role_in_auth: bool,
    /// When the account was made.
    pub creation_time: String,
    /// When it was changed last.
    pub update_time: String,
}

/// A user as others see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFound {
    /// The id.
    pub user_id: u64,
    /// The name.
    pub username: String,
}

/// A user to be made.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRequest {
    /// The name to log in with.
    pub username: String,
    /// Where to write to; may be empty.
    pub email: String,
    /// What they are called; may be empty.
    pub realname: String,
    /// Whatever else is to be known; may be empty.
    pub comment: String,
    /// The password to log in with.
    pub password: String,
}

/// What is known of a user. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserProfile {
    /// Where to write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What they are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realname: Option<String>,
    /// Whatever else is to be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Whether a user may do everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSysAdmin {
    /// Whether they may.
    pub sysadmin_flag: bool,
}

/// Another password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswordRequest {
    /// The present one; administrators need it for themselves only.
    pub old_password: String,
    /// The next one.
    pub new_password: String,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserGroup {
    /// The id.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: u64,
    /// The name.
    pub group_name: String,
    /// Where it comes from: 1 LDAP, 2 a proxy or the registry itself, 3 OpenID.
    pub group_type: u8,
    /// The distinguished name in LDAP.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ldap_group_dn: String,
}

fn is_zero(id: &u64) -> bool {
    *id == 0
}

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
