//! Users and groups.

use serde::{Deserialize, Serialize};

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

pub(super) fn is_zero(id: &u64) -> bool {
    *id == 0
}
