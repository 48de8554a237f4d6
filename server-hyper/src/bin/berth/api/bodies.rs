//! The bodies of the API that its commands read, as Harbor 2.16 describes them in `api/v2.0/swagger.yaml`.

use registry_auth::Permission;
use serde::Deserialize;

use super::permissions::{told, until};
use super::show::{Shown, day};

fn yes(is: bool) -> String {
    match is {
        true => "yes".to_owned(),
        false => "no".to_owned(),
    }
}

/// `UserResp`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct User {
    pub(crate) user_id: u64,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) realname: String,
    pub(crate) comment: String,
    sysadmin_flag: bool,
    creation_time: String,
}

impl Shown for User {
    const MANY: &'static str = "users";

    fn name(&self) -> &str {
        &self.username
    }

    fn row(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.username.clone()),
            ("admin", yes(self.sysadmin_flag)),
            ("e-mail", self.email.clone()),
            ("called", self.realname.clone()),
            ("created", day(&self.creation_time)),
        ]
    }

    fn rest(&self) -> Vec<(&'static str, String)> {
        vec![("comment", self.comment.clone())]
    }
}

/// `Project`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Project {
    pub(crate) project_id: u64,
    name: String,
    owner_name: String,
    repo_count: u64,
    creation_time: String,
    metadata: Metadata,
}

/// `ProjectMetadata`, whose values are texts.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    public: String,
}

impl Shown for Project {
    const MANY: &'static str = "projects";

    fn name(&self) -> &str {
        &self.name
    }

    fn row(&self) -> Vec<(&'static str, String)> {
        let access = match self.metadata.public.as_str() {
            "true" => "public",
            _ => "private",
        };
        vec![
            ("name", self.name.clone()),
            ("access", access.to_owned()),
            ("owner", self.owner_name.clone()),
            ("repositories", self.repo_count.to_string()),
            ("created", day(&self.creation_time)),
        ]
    }
}

/// `ProjectMemberEntity`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) entity_name: String,
    /// `u` for a user, `g` for a group.
    pub(crate) entity_type: String,
    role_name: String,
    /// The repositories that the role is about, if not all of the project's.
    pub(crate) pattern: Option<String>,
}

impl Shown for Member {
    const MANY: &'static str = "members";

    fn name(&self) -> &str {
        &self.entity_name
    }

    fn row(&self) -> Vec<(&'static str, String)> {
        let kind = match self.entity_type.as_str() {
            "g" => "group",
            _ => "user",
        };
        let pattern = self.pattern.clone();
        vec![
            ("name", self.entity_name.clone()),
            ("kind", kind.to_owned()),
            ("role", self.role_name.clone()),
            ("repositories", pattern.unwrap_or_else(|| "all".to_owned())),
        ]
    }
}

/// `Robot`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Robot {
    pub(crate) id: u64,
    pub(crate) name: String,
    description: String,
    level: String,
    disable: bool,
    expires_at: i64,
    creation_time: String,
    permissions: Vec<Permission>,
}

impl Shown for Robot {
    const MANY: &'static str = "robots";

    fn name(&self) -> &str {
        &self.name
    }

    fn row(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("level", self.level.clone()),
            ("disabled", yes(self.disable)),
            ("expires", until(self.expires_at)),
            ("allowed", told(&self.permissions)),
        ]
    }

    fn rest(&self) -> Vec<(&'static str, String)> {
        vec![
            ("created", day(&self.creation_time)),
            ("description", self.description.clone()),
        ]
    }
}

/// An access token. Harbor has none.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Token {
    pub(crate) id: u64,
    pub(crate) name: String,
    expires_at: i64,
    creation_time: String,
    permissions: Option<Vec<Permission>>,
}

impl Shown for Token {
    const MANY: &'static str = "access tokens";

    fn name(&self) -> &str {
        &self.name
    }

    fn row(&self) -> Vec<(&'static str, String)> {
        let permissions = self.permissions.as_deref().filter(|some| !some.is_empty());
        vec![
            ("name", self.name.clone()),
            ("expires", until(self.expires_at)),
            (
                "allowed",
                permissions.map_or_else(|| "all that you may".to_owned(), told),
            ),
            ("created", day(&self.creation_time)),
        ]
    }
}

/// `RobotCreated`, and what an access token is answered with when it is made.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Created {
    pub(crate) name: String,
    pub(crate) secret: String,
    pub(crate) expires_at: i64,
}
