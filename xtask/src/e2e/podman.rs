//! podman, with a container store of our own.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Bench, Checks, skopeo};
use crate::command::{capture, limited, refused, stdout};
use crate::images::MULTI;
use crate::tools;

const ONE: &str = "podman/one";
const TWO: &str = "podman/two";

pub(super) fn run(bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
    tools::debian(&["podman", "crun", "skopeo"])?;
    let podman = || podman(bench);
    let image = bench.images.image;
    let push = |id: &str, repository: &str, tag: &str| {
        let file = bench.work.join("digest");
        let mut command = podman();
        command
            .args(["push", "--quiet", "--tls-verify=false", "--digestfile"])
            .arg(&file);
        capture(command.args([id, &format!("docker://{}", bench.name(repository, tag))]))?;
        Ok::<_, anyhow::Error>(std::fs::read_to_string(file)?.trim().to_owned())
    };
    let pull = |name: &str| {
        stdout(podman().args(["pull", "--quiet", "--tls-verify=false"]).arg(name))
            .map(|said| said.lines().last().unwrap_or_default().trim().to_owned())
    };
    let forget = || capture(podman().args(["rmi", "--all", "--force"])).map(drop);
    let mut id = String::new();

    checks.check("push", || {
        id = pull(&bench.source(image))?;
        let digest = push(&id, ONE, image)?;
        bench.served_as(ONE, image, &digest)
    });
    checks.check("mount", || {
        let layers = bench.served(ONE, image)?.layers;
        let mut digest = String::new();
        bench.mounts(&layers, || {
            digest = push(&id, TWO, image)?;
            Ok(())
        })?;
        bench.served_as(TWO, image, &digest)
    });
    checks.check("pull", || {
        forget()?;
        let found = pull(&bench.name(ONE, image))?;
        ensure!(found == id, "pulled {found}, pushed {id}");
        let (digest, _) = bench.manifest(ONE, image)?;
        let known = stdout(podman().args(["image", "inspect", "--format", "{{.Digest}}", &found]))?;
        ensure!(
            known == digest,
            "podman knows it as {known}, the registry as {digest}"
        );
        Ok(())
    });
    checks.check("zstd", || {
        let remote = format!("docker://{}", bench.name(ONE, bench.images.zstd));
        skopeo::copy(
            &["--dest-tls-verify=false"],
            &bench.source(bench.images.zstd),
            &remote,
        )?;
        forget()?;
        let found = pull(&bench.name(ONE, bench.images.zstd))?;
        // The configuration names uncompressed layers, so both compressions are one image.
        ensure!(found == id, "pulled {found}, it is {id} with other compression");
        Ok(())
    });
    checks.check("index", || {
        forget()?;
        capture(podman().args(["manifest", "create", "both"]))?;
        capture(podman().args(["manifest", "add", "--all", "both", &bench.source(MULTI)]))?;
        let remote = format!("docker://{}", bench.name(ONE, MULTI));
        capture(podman().args([
            "manifest",
            "push",
            "--all",
            "--quiet",
            "--tls-verify=false",
            "both",
            &remote,
        ]))?;
        let served = bench.served(ONE, MULTI)?;
        ensure!(
            served.manifests.len() == 3,
            "an index of two platforms has {} manifests",
            served.manifests.len()
        );
        capture(podman().args(["manifest", "rm", "both"]))?;
        for arch in ["amd64", "arm64"] {
            forget()?;
            let pull = ["pull", "--quiet", "--tls-verify=false", "--arch", arch];
            let pulled = stdout(podman().args(pull).arg(bench.name(ONE, MULTI)))?;
            let pulled = pulled.lines().last().context("an image id")?;
            let found = stdout(podman().args(["image", "inspect", "--format", "{{.Architecture}}", pulled]))?;
            ensure!(found == arch, "asked for {arch}, pulled {found}");
        }
        Ok(())
    });
    checks.check("list", || {
        bench.has_tags(ONE, &[image, bench.images.zstd, MULTI])?;
        let search = ["search", "--list-tags", "--tls-verify=false"];
        let listed = stdout(podman().args(search).arg(format!("{}/{ONE}", bench.registry)))?;
        // A heading, then a repository and a tag in each line.
        let mut tags: Vec<&str> = listed
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        tags.sort_unstable();
        let mut wanted = [image, bench.images.zstd, MULTI];
        wanted.sort_unstable();
        ensure!(tags == wanted, "podman lists {listed:?}");
        Ok(())
    });
    checks.check("delete", || {
        forget()?;
        let (digest, _) = bench.manifest(ONE, image)?;
        bench.delete(ONE, image)?;
        bench.gone(ONE, image, Some(&digest))?;
        let mut pulled = podman();
        let said = refused(pulled.args(["pull", "--quiet", "--tls-verify=false", &bench.name(ONE, image)]))?;
        ensure!(said.contains("manifest unknown"), "podman says: {said}");
        let found = pull(&bench.name(TWO, image))?;
        ensure!(
            found == id,
            "the other repository gives {found}, should give {id}"
        );
        Ok(())
    });
    capture(podman().args(["rmi", "--all", "--force"]))?;
    Ok(())
}

fn podman(bench: &Bench<'_>) -> Command {
    let mut command = limited("podman");
    command
        .arg("--root")
        .arg(bench.work.join("store"))
        .arg("--runroot")
        .arg(bench.work.join("run"));
    command.args([
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "file",
    ]);
    command
}
