//! The management API as its users see it: what is needed of it to make tenants.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::login::Login;
use crate::http1::{Response, send};

/// Requests of an administrator.
pub(super) struct Api {
    authority: String,
    authorization: String,
}

/// What a member of a project may, by the number that the API has for it.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Developer = 2,
    Guest = 3,
}

/// A robot of a project.
pub(super) struct Robot {
    id: u64,
    pub(super) login: Login,
}

impl Api {
    pub(super) fn new(authority: String, admin: &Login) -> Self {
        let authorization = format!("Basic {}", admin.basic());
        Self {
            authority,
            authorization,
        }
    }

    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Response> {
        let headers = [
            ("authorization", self.authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let body = body.map(Value::to_string).unwrap_or_default();
        send(&self.authority, method, target, &headers, body.as_bytes())
    }

    fn change(&self, method: &str, path: &str, status: u16, body: &Value) -> Result<Response> {
        let target = format!("/api/v2.0{path}");
        let answer = self.ask(method, &target, Some(body))?;
        ensure!(
            answer.head.status() == status,
            "{method} {target}: {}: {}",
            answer.head.start,
            String::from_utf8_lossy(&answer.body)
        );
        Ok(answer)
    }

    pub(super) fn create_user(&self, login: &Login) -> Result<()> {
        let user = json!({
            "username": login.name, "password": login.password, "realname": login.name,
            "email": format!("{}@example.com", login.name),
        });
        self.change("POST", "/users", 201, &user).map(drop)
    }

    pub(super) fn create_project(&self, name: &str, public: bool) -> Result<()> {
        let project = json!({ "project_name": name, "metadata": { "public": public.to_string() } });
        self.change("POST", "/projects", 201, &project).map(drop)
    }

    pub(super) fn add_member(&self, project: &str, login: &Login, role: Role) -> Result<()> {
        let member = json!({ "role_id": role as u8, "member_user": { "username": login.name } });
        self.change("POST", &format!("/projects/{project}/members"), 201, &member)
            .map(drop)
    }

    /// A robot that may pull and push in a project, with the name and the secret that the registry gives it.
    pub(super) fn create_robot(&self, project: &str, name: &str) -> Result<Robot> {
        let access = ["pull", "push"].map(|action| json!({ "resource": "repository", "action": action }));
        let robot = json!({
            "name": name, "level": "project", "duration": 1,
            "permissions": [{ "kind": "project", "namespace": project, "access": access }],
        });
        let made = self.change("POST", "/robots", 201, &robot)?;
        let made: Value = serde_json::from_slice(&made.body)?;
        let text = |key: &str| {
            let text = made[key]
                .as_str()
                .with_context(|| format!("a new robot has a {key}"))?;
            Ok::<_, anyhow::Error>(text.to_owned())
        };
        Ok(Robot {
            id: made["id"].as_u64().context("a new robot has an id")?,
            login: Login {
                name: text("name")?,
                password: text("secret")?,
            },
        })
    }

    pub(super) fn disable(&self, robot: &Robot) -> Result<()> {
        let path = format!("/robots/{}", robot.id);
        let body = self.ask("GET", &format!("/api/v2.0{path}"), None)?.body;
        let mut changed: Value = serde_json::from_slice(&body)?;
        changed["disable"] = Value::Bool(true);
        self.change("PUT", &path, 200, &changed).map(drop)
    }

    /// The digest of the manifest that a tag is served as.
    pub(super) fn digest(&self, repository: &str, tag: &str) -> Result<String> {
        let target = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.ask("HEAD", &target, None)?;
        ensure!(
            answer.head.status() == 200,
            "HEAD {target}: {}",
            answer.head.start
        );
        let digest = answer.head.header("docker-content-digest");
        Ok(digest
            .with_context(|| format!("{target} has no digest"))?
            .to_owned())
    }

    /// The credentials are taken for `/v2/` itself, which takes no token first.
    pub(super) fn logs_in(&self) -> Result<()> {
        let answer = self.ask("GET", "/v2/", None)?;
        ensure!(answer.head.status() == 200, "GET /v2/: {}", answer.head.start);
        Ok(())
    }
}
