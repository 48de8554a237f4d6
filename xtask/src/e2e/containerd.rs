//! containerd and its `ctr`, with a daemon of our own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Bench, Checks, skopeo};
use crate::command::{capture, limited, refused, stdout};
use crate::images::MULTI;
use crate::{server, tools};

const ONE: &str = "containerd/one";
const TWO: &str = "containerd/two";

pub(super) fn run(bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
    tools::debian(&["containerd", "skopeo"])?;
    let mut daemon = None;
    checks.check("start", || {
        daemon = Some(Daemon::start(&bench.work)?);
        Ok(())
    });
    let Some(daemon) = daemon else { return Ok(()) };
    let images = bench.images;
    let name = |tag: &str| bench.name(ONE, tag);
    let push = |name: &str| capture(daemon.images().args(["push", "--plain-http", name])).map(drop);
    let forget = |name: &str| daemon.forget(name);
    let pull = |name: &str| {
        capture(
            daemon
                .images()
                .args(["pull", "--plain-http", "--all-platforms", name]),
        )
        .map(drop)
    };
    // Imports from an archive, so that what is pushed never came from a registry and must be sent.
    let import = |tag: &str| {
        let archive = bench.work.join(format!("{tag}.tar"));
        skopeo::copy(
            &["--all"],
            &bench.source(tag),
            &format!("oci-archive:{}:{tag}", archive.display()),
        )?;
        let base = format!("{}/{ONE}", bench.registry);
        capture(
            daemon
                .images()
                .args(["import", "--all-platforms", "--base-name", &base])
                .arg(archive),
        )
        .map(drop)
    };
    let round = |tag: &str| {
        let wanted = images.layout.digest(tag)?;
        import(tag)?;
        push(&name(tag))?;
        bench.served_as(ONE, tag, &wanted)?;
        forget(&name(tag))?;
        pull(&name(tag))?;
        let found = daemon.digest(&name(tag))?;
        ensure!(found == wanted, "{tag}: pulled {found}, pushed {wanted}");
        Ok(())
    };
    let image = images.image;

    checks.check("push", || {
        import(image)?;
        push(&name(image))?;
        bench.served_as(ONE, image, &images.layout.digest(image)?)
    });
    checks.check("pull", || {
        forget(&name(image))?;
        pull(&name(image))?;
        let (found, wanted) = (daemon.digest(&name(image))?, images.layout.digest(image)?);
        ensure!(found == wanted, "pulled {found}, pushed {wanted}");
        Ok(())
    });
    checks.check("mount", || {
        let other = bench.name(TWO, image);
        capture(daemon.images().args(["tag", &name(image), &other]))?;
        bench.mounts(&images.layout.closure(image)?.layers, || push(&other))?;
        bench.served_as(TWO, image, &images.layout.digest(image)?)
    });
    checks.check("zstd", || round(images.zstd));
    checks.check("index", || round(MULTI));
    checks.check("list", || bench.has_tags(ONE, &[image, images.zstd, MULTI]));
    checks.check("delete", || {
        let (digest, _) = bench.manifest(ONE, image)?;
        bench.delete(ONE, image)?;
        bench.gone(ONE, image, Some(&digest))?;
        forget(&name(image))?;
        let said = refused(daemon.images().args(["pull", "--plain-http", &name(image)]))?;
        ensure!(said.contains("not found"), "ctr says: {said}");
        bench.has_tags(ONE, &[images.zstd, MULTI])?;
        bench.served_as(TWO, image, &digest)
    });
    Ok(())
}

/// A containerd with its own data and socket.
pub(super) struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    pub(super) fn start(work: &Path) -> Result<Self> {
        let config = work.join("config.toml");
        // Nothing but storing and moving images is needed of it.
        std::fs::write(
            &config,
            "version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n",
        )?;
        let socket = work.join("sock");
        let mut command = Command::new("containerd");
        command.arg("--config").arg(config).arg("--address").arg(&socket);
        command
            .arg("--root")
            .arg(work.join("root"))
            .arg("--state")
            .arg(work.join("state"));
        let log = std::fs::File::create(work.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start containerd")?;
        let mut daemon = Self { child, socket };
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            if capture(daemon.ctr().arg("version")).is_ok() {
                return Ok(daemon);
            }
            if Instant::now() > patience || daemon.child.try_wait()?.is_some() {
                let log = std::fs::read_to_string(work.join("log"))?;
                bail!(
                    "containerd is not ready: {}",
                    log.lines().last().unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn ctr(&self) -> Command {
        let mut command = limited("ctr");
        command.arg("--address").arg(&self.socket);
        command
    }

    pub(super) fn images(&self) -> Command {
        let mut command = self.ctr();
        command.arg("images");
        command
    }

    /// Removes an image and what nothing else needs of it.
    pub(super) fn forget(&self, name: &str) -> Result<()> {
        capture(self.images().args(["rm", "--sync", name])).map(drop)
    }

    /// The digest under which an image is known.
    pub(super) fn digest(&self, name: &str) -> Result<String> {
        let list = stdout(self.images().args(["ls", &format!("name=={name}")]))?;
        let line = list
            .lines()
            .find(|line| line.starts_with(name))
            .with_context(|| format!("no {name} in: {list}"))?;
        Ok(line
            .split_whitespace()
            .nth(2)
            .context("a digest column")?
            .to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        server::terminate(&mut self.child);
    }
}
