//! Refusals, and what the registry tells of itself.

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
