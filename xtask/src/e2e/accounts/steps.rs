//! The steps that every client takes, whoever made it.

use std::process::Command;

use anyhow::{Result, ensure};

use super::clients::Client;
use super::login::Login;
use super::{Checks, Tenants};
use crate::command::{capture, refused};

/// Runs the checks of the client called `name`.
pub(super) fn run(name: &str, client: &mut dyn Client, tenants: &Tenants, checks: &mut Checks) {
    let mut steps = Steps {
        name,
        client,
        tenants,
    };
    checks.check("login", || steps.login());
    checks.check("push", || steps.push());
    checks.check("pull", || steps.pull());
    checks.check("guest", || steps.guest());
    checks.check("tenant", || steps.tenant());
    checks.check("missing", || steps.missing());
    checks.check("robot", || steps.robot());
    checks.check("logout", || steps.logout());
    checks.check("public", || steps.public());
}

struct Steps<'a> {
    name: &'a str,
    client: &'a mut dyn Client,
    tenants: &'a Tenants,
}

impl Steps<'_> {
    /// The client's own repository in a project.
    fn repository(&self, project: &str) -> String {
        format!("{project}/{}", self.name)
    }

    /// A repository's image as a client names it.
    fn image(&self, repository: &str) -> String {
        format!("{}/{repository}:1", self.tenants.registry)
    }

    fn log_in(&mut self, login: &Login) -> Result<()> {
        match self.client.login(&self.tenants.registry, login)? {
            Some(mut command) => capture(&mut command).map(drop),
            None => Ok(()),
        }
    }

    /// That a client says why it was refused; if it prints no more than the status, that.
    fn told(&self, mut command: Command, status: &str, why: &str) -> Result<()> {
        // skopeo quotes what it was told.
        let said = refused(&mut command)?.replace("\\\"", "\"");
        let expected = if self.client.tells_why() { why } else { status };
        ensure!(
            said.contains(expected),
            "it should say {expected:?}, and says: {said}"
        );
        Ok(())
    }

    /// Pulls what is in `repository`, and compares it with what is served.
    fn pulls(&mut self, repository: &str) -> Result<()> {
        let image = self.image(repository);
        capture(&mut self.client.pull(&image)?)?;
        let (found, wanted) = (
            self.client.digest(&image)?,
            self.tenants.api.digest(repository, "1")?,
        );
        ensure!(found == wanted, "pulled {found}, {wanted} is served");
        Ok(())
    }

    fn login(&mut self) -> Result<()> {
        let image = self.image(&self.repository("team"));
        let (dev, registry) = (&self.tenants.dev, &self.tenants.registry);
        for wrong in [Login::drawn(&dev.name)?, Login::drawn("nobody")?] {
            match self.client.login(registry, &wrong)? {
                Some(mut command) => {
                    let said = refused(&mut command)?;
                    ensure!(
                        said.contains("name or the password is wrong")
                            || said.contains("invalid username/password"),
                        "it says: {said}"
                    );
                }
                None => self.told(self.client.push(&image)?, "401 Unauthorized", "")?,
            }
        }
        self.log_in(dev)
    }

    fn push(&mut self) -> Result<()> {
        let repository = self.repository("team");
        capture(&mut self.client.push(&self.image(&repository))?)?;
        self.tenants.api.digest(&repository, "1").map(drop)
    }

    fn pull(&mut self) -> Result<()> {
        self.pulls(&self.repository("team"))
    }

    /// A guest pulls, and does not push.
    fn guest(&mut self) -> Result<()> {
        self.log_in(&self.tenants.guest)?;
        let repository = self.repository("team");
        self.pulls(&repository)?;
        let other = self.image(&format!("{repository}-guest"));
        self.told(
            self.client.push(&other)?,
            "403 Forbidden",
            &format!("guest may not have repository:{repository}-guest:push"),
        )
    }

    /// Nobody learns what others have.
    fn tenant(&mut self) -> Result<()> {
        self.log_in(&self.tenants.dev)?;
        let hidden =
            |repository: &str| format!("repository {repository} does not exist, or dev may not know of it");
        for repository in ["rival/app", "rival/other"] {
            let image = self.image(repository);
            let why = hidden(repository);
            self.told(self.client.pull(&image)?, "not found", &why)?;
            self.told(self.client.push(&image)?, "404 Not Found", &why)?;
        }
        Ok(())
    }

    fn missing(&mut self) -> Result<()> {
        let image = self.image(&self.repository("absent"));
        self.told(
            self.client.push(&image)?,
            "404 Not Found",
            "project \"absent\" does not exist; create it with: berth project create absent",
        )
    }

    /// A robot has its project, and that until it is disabled.
    fn robot(&mut self) -> Result<()> {
        let robot = self
            .tenants
            .api
            .create_robot("team", &format!("ci-{}", self.name))?;
        let name = &robot.login.name;
        ensure!(
            *name == format!("robot$team+ci-{}", self.name),
            "the robot is called {name}"
        );
        self.log_in(&robot.login)?;
        let repository = format!("{}-ci", self.repository("team"));
        capture(&mut self.client.push(&self.image(&repository))?)?;
        self.pulls(&repository)?;
        let other = self.repository("open");
        self.told(
            self.client.push(&self.image(&other))?,
            "403 Forbidden",
            &format!("{name} may not have repository:{other}:push"),
        )?;
        self.tenants.api.disable(&robot)?;
        refused(&mut self.client.pull(&self.image(&repository))?)?;
        if let Some(mut login) = self.client.login(&self.tenants.registry, &robot.login)? {
            refused(&mut login)?;
        }
        Ok(())
    }

    fn logout(&mut self) -> Result<()> {
        self.log_in(&self.tenants.dev)?;
        let repository = self.repository("team");
        self.pulls(&repository)?;
        self.client.logout(&self.tenants.registry)?;
        let said = refused(&mut self.client.pull(&self.image(&repository))?)?;
        ensure!(!said.is_empty(), "it says nothing");
        Ok(())
    }

    /// Without a login, what is public is pulled, and nothing is pushed.
    fn public(&mut self) -> Result<()> {
        self.pulls("open/app")?;
        let said = refused(&mut self.client.push(&self.image(&self.repository("open")))?)?;
        let expected = self.client.tells_to_log_in();
        ensure!(
            said.contains(expected),
            "it should say {expected:?}, and says: {said}"
        );
        Ok(())
    }
}
