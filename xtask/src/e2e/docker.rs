//! dockerd and the docker command line, with a daemon of our own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Bench, Checks, skopeo};
use crate::command::{capture, limited, refused, stdout};
use crate::images::MULTI;
use crate::{server, tools};

const ONE: &str = "docker/one";
const TWO: &str = "docker/two";
const LIST: &str = "docker/list";

pub(super) fn run(bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
    tools::debian(&["docker.io", "containerd", "runc", "skopeo"])?;
    let mut daemon = None;
    checks.check("start", || {
        daemon = Some(Daemon::start(&bench.work)?);
        Ok(())
    });
    let Some(daemon) = daemon else { return Ok(()) };
    let image = bench.images.image;
    let (one, two) = (bench.name(ONE, image), bench.name(TWO, image));
    let id = |name: &str| {
        stdout(
            daemon
                .docker()
                .args(["image", "inspect", "--format", "{{.Id}}", name]),
        )
    };
    let push = |name: &str| pushed_digest(&stdout(daemon.docker().args(["push", name]))?);
    let forget = || daemon.forget();
    let mut origin = String::new();

    checks.check("push", || {
        let archive = bench.work.join("image.tar");
        skopeo::copy(
            &[],
            &bench.source(image),
            &format!("docker-archive:{}:{one}", archive.display()),
        )?;
        capture(daemon.docker().args(["load", "--quiet", "--input"]).arg(&archive))?;
        origin = id(&one)?;
        let digest = push(&one)?;
        bench.served_as(ONE, image, &digest)
    });
    checks.check("mount", || {
        capture(daemon.docker().args(["tag", &one, &two]))?;
        let layers = bench.served(ONE, image)?.layers;
        bench.mounts(&layers, || push(&two).map(drop))?;
        let (digest, _) = bench.manifest(ONE, image)?;
        bench.served_as(TWO, image, &digest)
    });
    checks.check("pull", || {
        let (digest, _) = bench.manifest(ONE, image)?;
        for reference in [one.clone(), format!("{}/{ONE}@{digest}", bench.registry)] {
            forget()?;
            capture(daemon.docker().args(["pull", "--quiet", &reference]))?;
            let found = id(&reference)?;
            ensure!(found == origin, "{reference}: pulled {found}, pushed {origin}");
        }
        Ok(())
    });
    checks.check("schema2", || {
        forget()?;
        let source = format!("dir:{}", bench.images.schema2.display());
        skopeo::copy(
            &["--dest-tls-verify=false"],
            &source,
            &format!("docker://{}", bench.name(ONE, "schema2")),
        )?;
        capture(
            daemon
                .docker()
                .args(["pull", "--quiet", &bench.name(ONE, "schema2")]),
        )?;
        let (digest, _) = bench.manifest(ONE, "schema2")?;
        let digests = [
            "image",
            "inspect",
            "--format",
            "{{json .RepoDigests}}",
            &bench.name(ONE, "schema2"),
        ];
        let found = stdout(daemon.docker().args(digests))?;
        ensure!(found.contains(&digest), "{digest} was pulled as {found}");
        Ok(())
    });
    checks.check("index", || manifest_list(bench, &daemon));
    checks.check("list", || {
        bench.has_tags(ONE, &[image, "schema2"])?;
        bench.has_tags(TWO, &[image])
    });
    checks.check("delete", || {
        forget()?;
        let (digest, _) = bench.manifest(ONE, image)?;
        bench.delete(ONE, image)?;
        bench.gone(ONE, image, Some(&digest))?;
        let said = refused(daemon.docker().args(["pull", "--quiet", &one]))?;
        ensure!(
            said.contains("not found") || said.contains("manifest unknown"),
            "docker says: {said}"
        );
        capture(daemon.docker().args(["pull", "--quiet", &two]))?;
        Ok(())
    });
    Ok(())
}

/// Makes a manifest list from the two platforms' images with the command line, and pulls each platform by it.
fn manifest_list(bench: &Bench<'_>, daemon: &Daemon) -> Result<()> {
    let list = bench.name(LIST, "both");
    let source = bench.source(MULTI);
    skopeo::copy(
        &["--all", "--dest-tls-verify=false"],
        &source,
        &format!("docker://{}", bench.name(LIST, MULTI)),
    )?;
    let (_, index) = bench.manifest(LIST, MULTI)?;
    let index: Value = serde_json::from_slice(&index)?;
    let platforms = index["manifests"]
        .as_array()
        .context("an index lists manifests")?;
    let mut children = Vec::new();
    for platform in platforms {
        let digest = platform["digest"].as_str().context("a digest")?;
        children.push(format!("{}/{LIST}@{digest}", bench.registry));
    }
    capture(
        daemon
            .docker()
            .args(["manifest", "create", "--insecure", &list])
            .args(&children),
    )?;
    for (child, platform) in children.iter().zip(platforms) {
        let arch = platform["platform"]["architecture"]
            .as_str()
            .context("an architecture")?;
        capture(
            daemon
                .docker()
                .args(["manifest", "annotate", "--arch", arch, &list, child]),
        )?;
    }
    let digest = stdout(
        daemon
            .docker()
            .args(["manifest", "push", "--insecure", "--purge", &list]),
    )?;
    let digest = digest.lines().last().unwrap_or_default().trim().to_owned();
    bench.served_as(LIST, "both", &digest)?;
    for arch in ["amd64", "arm64"] {
        capture(
            daemon
                .docker()
                .args(["pull", "--quiet", "--platform", &format!("linux/{arch}"), &list]),
        )?;
        let found =
            stdout(
                daemon
                    .docker()
                    .args(["image", "inspect", "--format", "{{.Architecture}}", &list]),
            )?;
        ensure!(found == arch, "asked for {arch}, pulled {found}");
    }
    Ok(())
}

/// The digest in the last line that `docker push` prints.
fn pushed_digest(said: &str) -> Result<String> {
    let digest = said
        .lines()
        .rev()
        .find_map(|line| line.split_once("digest: ")?.1.split(' ').next());
    Ok(digest
        .with_context(|| format!("docker push told no digest: {said}"))?
        .to_owned())
}

/// A dockerd with its own data, sockets and configuration.
pub(super) struct Daemon {
    child: Child,
    work: PathBuf,
}

impl Daemon {
    pub(super) fn start(work: &Path) -> Result<Self> {
        let config = work.join("daemon.json");
        std::fs::write(&config, r#"{"insecure-registries":["127.0.0.0/8"]}"#)?;
        let mut command = Command::new("dockerd");
        command.args([
            "--iptables=false",
            "--ip6tables=false",
            "--ip-masq=false",
            "--bridge=none",
        ]);
        command
            .args(["--storage-driver=vfs", "--data-root"])
            .arg(work.join("data"));
        command
            .arg("--exec-root")
            .arg(work.join("exec"))
            .arg("--config-file")
            .arg(config);
        command
            .arg("--pidfile")
            .arg(work.join("pid"))
            .arg("--host")
            .arg(socket(work));
        let log = std::fs::File::create(work.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start dockerd")?;
        let mut daemon = Self {
            child,
            work: work.to_owned(),
        };
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            if capture(daemon.docker().arg("version")).is_ok() {
                return Ok(daemon);
            }
            if Instant::now() > patience || daemon.child.try_wait()?.is_some() {
                let log = std::fs::read_to_string(work.join("log"))?;
                bail!("dockerd is not ready: {}", log.lines().last().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn docker(&self) -> Command {
        let mut command = limited("docker");
        command
            .env("DOCKER_HOST", socket(&self.work))
            .env("DOCKER_CONFIG", self.work.join("config"));
        command
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_CONTENT_TRUST");
        command
    }

    /// Removes every image.
    pub(super) fn forget(&self) -> Result<()> {
        let all = stdout(
            self.docker()
                .args(["image", "ls", "--all", "--quiet", "--no-trunc"]),
        )?;
        let all: std::collections::BTreeSet<&str> = all.lines().collect();
        if all.is_empty() {
            return Ok(());
        }
        capture(self.docker().args(["rmi", "--force"]).args(all)).map(drop)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        server::terminate(&mut self.child);
    }
}

fn socket(work: &Path) -> String {
    format!("unix://{}", work.join("sock").display())
}

/// Unmounts what a daemon left mounted below `dir`, such as its network namespace: deepest first.
pub(super) fn unmount_leftovers(dir: &Path) -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut points: Vec<&str> = points.filter(|point| Path::new(point).starts_with(dir)).collect();
    points.sort_unstable_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        capture(limited("umount").arg(point))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_read_from_what_docker_push_prints() {
        let said = "The push refers to repository [127.0.0.1:5000/a]\n1: digest: sha256:ab size: 740";
        assert_eq!(pushed_digest(said).unwrap(), "sha256:ab");
        assert!(pushed_digest("denied").is_err());
    }
}
