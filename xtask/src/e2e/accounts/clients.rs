//! The clients that log in, each with a home of its own, behind what they have in common.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::login::Login;
use crate::command::{capture, limited, stdout};
use crate::e2e::{containerd, docker, skopeo};
use crate::layout::{remove, sha256};
use crate::tools;

/// A client and whoever is logged in with it. What may be refused is returned as a command, ready to be run.
pub(super) trait Client {
    /// The command that logs in; none if the client sends credentials along and has no such command.
    fn login(&mut self, registry: &str, login: &Login) -> Result<Option<Command>>;

    /// Forgets who is logged in.
    fn logout(&mut self, registry: &str) -> Result<()>;

    /// Pushes the image.
    fn push(&self, name: &str) -> Result<Command>;

    /// Pulls an image that nothing is left of locally.
    fn pull(&self, name: &str) -> Result<Command>;

    /// The digest of the manifest under which a pulled image is known.
    fn digest(&self, name: &str) -> Result<String>;

    /// Whether the client tells people what the registry answers, or its status alone.
    fn tells_why(&self) -> bool {
        true
    }

    /// What the client says when it is not logged in and may not push: what the registry answers, or words of its own.
    fn tells_to_log_in(&self) -> &'static str {
        "takes an account; log in"
    }

    /// Whether the client looks at when its token ends and gets another in time, or waits to be refused.
    fn minds_expiry(&self) -> bool {
        true
    }
}

/// What each client is made with.
pub(super) struct Home {
    /// A folder of its own.
    pub(super) work: PathBuf,
    /// The image, as skopeo writes it.
    pub(super) image: String,
}

impl Home {
    /// The image as an archive of this kind, under the name that it is pushed by.
    fn archive(&self, kind: &str, name: &str) -> Result<PathBuf> {
        let dir = self.work.join("archive");
        // skopeo does not add to one that is there.
        remove(&dir)?;
        std::fs::create_dir_all(&dir)?;
        let archive = dir.join("image.tar");
        skopeo::copy(&[], &self.image, &format!("{kind}:{}:{name}", archive.display()))?;
        Ok(archive)
    }

    fn auth_file(&self) -> PathBuf {
        self.work.join("logins.json")
    }

    /// `login` of podman, buildah and skopeo.
    fn log_in(&self, mut command: Command, registry: &str, login: &Login) -> Result<Command> {
        command
            .args([
                "login",
                "--tls-verify=false",
                "--username",
                &login.name,
                "--password-stdin",
            ])
            .arg(registry)
            .stdin(login.on_stdin(&self.work)?);
        Ok(command)
    }
}

pub(super) struct Skopeo(pub(super) Home);

impl Skopeo {
    pub(super) fn new(home: Home) -> Result<Self> {
        tools::debian(&["skopeo"])?;
        Ok(Self(home))
    }

    fn skopeo(&self) -> Command {
        let mut command = limited("skopeo");
        command.env("REGISTRY_AUTH_FILE", self.0.auth_file());
        command
    }

    fn pulled(&self) -> PathBuf {
        self.0.work.join("pulled")
    }
}

impl Client for Skopeo {
    fn login(&mut self, registry: &str, login: &Login) -> Result<Option<Command>> {
        self.0.log_in(self.skopeo(), registry, login).map(Some)
    }

    fn logout(&mut self, registry: &str) -> Result<()> {
        capture(self.skopeo().args(["logout", registry])).map(drop)
    }

    fn push(&self, name: &str) -> Result<Command> {
        let mut command = self.skopeo();
        command
            .args(["copy", "--quiet", "--dest-tls-verify=false", &self.0.image])
            .arg(format!("docker://{name}"));
        Ok(command)
    }

    fn pull(&self, name: &str) -> Result<Command> {
        remove(&self.pulled())?;
        let mut command = self.skopeo();
        command
            .args(["copy", "--quiet", "--src-tls-verify=false"])
            .arg(format!("docker://{name}"))
            .arg(format!("dir:{}", self.pulled().display()));
        Ok(command)
    }

    fn digest(&self, _: &str) -> Result<String> {
        Ok(sha256(&std::fs::read(self.pulled().join("manifest.json"))?))
    }
}

/// podman and buildah, which have one kind of store and nearly the same commands.
pub(super) struct Containers {
    home: Home,
    program: &'static str,
}

impl Containers {
    pub(super) fn podman(home: Home) -> Result<Self> {
        tools::debian(&["podman", "crun"])?;
        let program = "podman";
        Ok(Self { home, program })
    }

    pub(super) fn buildah(home: Home) -> Result<Self> {
        tools::debian(&["buildah", "crun"])?;
        let program = "buildah";
        Ok(Self { home, program })
    }

    fn command(&self) -> Command {
        let mut command = limited(self.program);
        command
            .env("REGISTRY_AUTH_FILE", self.home.auth_file())
            .arg("--root")
            .arg(self.home.work.join("store"))
            .arg("--runroot")
            .arg(self.home.work.join("run"))
            .args(["--storage-driver", "vfs"]);
        if self.program == "podman" {
            command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        }
        command
    }

    fn forget(&self) -> Result<()> {
        capture(self.command().args(["rmi", "--all", "--force"])).map(drop)
    }
}

impl Client for Containers {
    fn login(&mut self, registry: &str, login: &Login) -> Result<Option<Command>> {
        self.home.log_in(self.command(), registry, login).map(Some)
    }

    fn logout(&mut self, registry: &str) -> Result<()> {
        capture(self.command().args(["logout", registry])).map(drop)
    }

    fn push(&self, name: &str) -> Result<Command> {
        let id = stdout(self.command().args(["pull", "--quiet", &self.home.image]))?;
        let id = id.lines().last().context("an image id")?;
        let mut command = self.command();
        command.args(["push", "--quiet", "--tls-verify=false", id]);
        command.arg(format!("docker://{name}"));
        Ok(command)
    }

    fn pull(&self, name: &str) -> Result<Command> {
        self.forget()?;
        let mut command = self.command();
        command.args(["pull", "--quiet", "--tls-verify=false", name]);
        Ok(command)
    }

    fn digest(&self, name: &str) -> Result<String> {
        stdout(self.command().args(["images", "--format", "{{.Digest}}", name]))
    }
}

pub(super) struct Docker {
    home: Home,
    daemon: docker::Daemon,
}

impl Docker {
    pub(super) fn new(home: Home) -> Result<Self> {
        tools::debian(&["docker.io", "containerd", "runc", "skopeo"])?;
        let daemon = docker::Daemon::start(&home.work)?;
        Ok(Self { home, daemon })
    }
}

impl Client for Docker {
    fn login(&mut self, registry: &str, login: &Login) -> Result<Option<Command>> {
        let mut command = self.daemon.docker();
        command
            .args(["login", "--username", &login.name, "--password-stdin"])
            .arg(registry)
            .stdin(login.on_stdin(&self.home.work)?);
        Ok(Some(command))
    }

    fn logout(&mut self, registry: &str) -> Result<()> {
        capture(self.daemon.docker().args(["logout", registry])).map(drop)
    }

    fn push(&self, name: &str) -> Result<Command> {
        let archive = self.home.archive("docker-archive", name)?;
        capture(
            self.daemon
                .docker()
                .args(["load", "--quiet", "--input"])
                .arg(archive),
        )?;
        let mut command = self.daemon.docker();
        command.args(["push", name]);
        Ok(command)
    }

    fn pull(&self, name: &str) -> Result<Command> {
        self.daemon.forget()?;
        let mut command = self.daemon.docker();
        command.args(["pull", "--quiet", name]);
        Ok(command)
    }

    fn digest(&self, name: &str) -> Result<String> {
        let inspect = ["image", "inspect", "--format", "{{json .RepoDigests}}", name];
        let known: Value = serde_json::from_str(&stdout(self.daemon.docker().args(inspect))?)?;
        let known = known[0].as_str().and_then(|known| known.split_once('@'));
        Ok(known.context("docker knows no digest of it")?.1.to_owned())
    }
    fn tells_to_log_in(&self) -> &'static str {
        "requested access to the resource is denied"
    }
}

/// `ctr`, which is told who to be with each command and prints no more than the status of what was refused.
pub(super) struct Ctr {
    home: Home,
    daemon: containerd::Daemon,
    user: Option<String>,
}

impl Ctr {
    pub(super) fn new(home: Home) -> Result<Self> {
        tools::debian(&["containerd", "skopeo"])?;
        let daemon = containerd::Daemon::start(&home.work)?;
        Ok(Self {
            home,
            daemon,
            user: None,
        })
    }

    fn image(&self, verb: &[&str], name: &str) -> Command {
        let mut command = self.daemon.images();
        command.args(verb).arg("--plain-http");
        if let Some(user) = &self.user {
            // It has no other way to log in; the password is one of this run's.
            command.args(["--user", user]);
        }
        command.arg(name);
        command
    }
}

impl Client for Ctr {
    fn login(&mut self, _: &str, login: &Login) -> Result<Option<Command>> {
        self.user = Some(format!("{}:{}", login.name, login.password));
        Ok(None)
    }

    fn logout(&mut self, _: &str) -> Result<()> {
        self.user = None;
        Ok(())
    }

    fn push(&self, name: &str) -> Result<Command> {
        // From an archive, so that what is pushed never came from a registry and must be sent.
        self.daemon.forget(name)?;
        let (base, tag) = name.rsplit_once(':').context("a name with a tag")?;
        let archive = self.home.archive("oci-archive", tag)?;
        let import = ["import", "--all-platforms", "--base-name", base];
        capture(self.daemon.images().args(import).arg(archive))?;
        Ok(self.image(&["push"], name))
    }

    fn pull(&self, name: &str) -> Result<Command> {
        self.daemon.forget(name)?;
        Ok(self.image(&["pull", "--all-platforms"], name))
    }

    fn digest(&self, name: &str) -> Result<String> {
        self.daemon.digest(name)
    }

    fn tells_why(&self) -> bool {
        false
    }

    fn tells_to_log_in(&self) -> &'static str {
        "insufficient_scope"
    }

    fn minds_expiry(&self) -> bool {
        false
    }
}
