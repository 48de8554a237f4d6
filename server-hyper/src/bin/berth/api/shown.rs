//! What the API says of things, for people.

use registry_harbor::model::{Project, ProjectMember, Robot, Token, User};

use super::permissions::{told, until};
use super::show::{Shown, seconds};

fn yes(is: bool) -> String {
    match is {
        true => "yes".to_owned(),
        false => "no".to_owned(),
    }
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
            ("created", seconds(&self.creation_time)),
        ]
    }

    fn rest(&self) -> Vec<(&'static str, String)> {
        vec![("comment", self.comment.clone())]
    }
}

impl Shown for Project {
    const MANY: &'static str = "projects";

    fn name(&self) -> &str {
        &self.name
    }

    fn row(&self) -> Vec<(&'static str, String)> {
        let access = match self.metadata.get("public").map(String::as_str) {
            Some("true") => "public",
            _ => "private",
        };
        vec![
            ("name", self.name.clone()),
            ("access", access.to_owned()),
            ("owner", self.owner_name.clone().unwrap_or_default()),
            ("repositories", self.repo_count.unwrap_or_default().to_string()),
            ("created", seconds(&self.creation_time)),
        ]
    }
}

impl Shown for ProjectMember {
    const MANY: &'static str = "members";

    fn name(&self) -> &str {
        self.entity_name.as_deref().unwrap_or_default()
    }

    fn row(&self) -> Vec<(&'static str, String)> {
        let kind = match self.entity_type.as_str() {
            "g" => "group",
            _ => "user",
        };
        let pattern = self.pattern.clone();
        vec![
            ("name", self.name().to_owned()),
            ("kind", kind.to_owned()),
            ("role", self.role_name.clone()),
            ("repositories", pattern.unwrap_or_else(|| "all".to_owned())),
        ]
    }
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
            ("created", seconds(&self.creation_time)),
            ("description", self.description.clone()),
        ]
    }
}

impl Shown for Token {
    const MANY: &'static str = "access tokens";

    fn name(&self) -> &str {
        &self.name
    }

    fn row(&self) -> Vec<(&'static str, String)> {
        let permissions = self.permissions.as_deref();
        vec![
            ("name", self.name.clone()),
            ("expires", until(self.expires_at)),
            (
                "allowed",
                permissions.map_or_else(|| "all that you may".to_owned(), told),
            ),
            ("created", seconds(&self.creation_time)),
            ("description", self.description.clone()),
        ]
    }
}
