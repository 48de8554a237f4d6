//! crane and regctl, which are built from source and so run in the full set only.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Bench, Checks, skopeo};
use crate::command::{capture, limited, refused, stdout};
use crate::images::{ARTIFACT, MULTI};
use crate::layout::Layout;
use crate::tools;

/// crane: copies between repositories, lists, validates and deletes by tag.
pub(super) fn crane(bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
    const ONE: &str = "crane/one";
    const TWO: &str = "crane/two";
    let program = tools::go(
        "crane",
        "github.com/google/go-containerregistry/cmd/crane",
        "v0.20.6",
    )?;
    let crane = || {
        let mut command = limited(&program);
        command.arg("--insecure");
        command
    };
    let images = bench.images;
    let image = images.image;
    let wanted = images.layout.digest(image)?;

    checks.check("push", || {
        // crane pushes a layout as one, so the image gets a layout to itself.
        let single = bench.work.join("single");
        skopeo::copy(
            &["--preserve-digests"],
            &bench.source(image),
            &format!("oci:{}:{image}", single.display()),
        )?;
        capture(crane().arg("push").arg(&single).arg(bench.name(ONE, image)))?;
        bench.served_as(ONE, image, &wanted)
    });
    checks.check("pull", || {
        let pulled = bench.work.join("pulled");
        capture(
            crane()
                .args(["pull", "--format", "oci", &bench.name(ONE, image)])
                .arg(&pulled),
        )?;
        let index: Value = serde_json::from_slice(&std::fs::read(pulled.join("index.json"))?)?;
        ensure!(
            index["manifests"][0]["digest"] == wanted.as_str(),
            "pulled {index}, pushed {wanted}"
        );
        for digest in &images.layout.closure(image)?.blobs {
            Layout::at(&pulled).read(digest)?;
        }
        capture(crane().args(["validate", "--remote", &bench.name(ONE, image)])).map(drop)
    });
    checks.check("mount", || {
        let layers = images.layout.closure(image)?.layers;
        let (from, to) = (bench.name(ONE, image), bench.name(TWO, image));
        bench.mounts(&layers, || capture(crane().args(["copy", &from, &to])).map(drop))?;
        bench.served_as(TWO, image, &wanted)
    });
    checks.check("index", || {
        let single = bench.work.join("both");
        let to = format!("oci:{}:{MULTI}", single.display());
        skopeo::copy(&["--all", "--preserve-digests"], &bench.source(MULTI), &to)?;
        capture(
            crane()
                .args(["push", "--index"])
                .arg(&single)
                .arg(bench.name(ONE, "layout")),
        )?;
        let (digest, _) = bench.manifest(ONE, "layout")?;
        bench.served_as(ONE, "layout", &digest)
    });
    checks.check("list", || {
        bench.has_tags(ONE, &[image, "layout"])?;
        let listed = stdout(crane().args(["ls", &format!("{}/{ONE}", bench.registry)]))?;
        let mut wanted = [image, "layout"];
        wanted.sort_unstable();
        ensure!(listed.lines().eq(wanted), "crane lists {listed:?}");
        let catalog = stdout(crane().args(["catalog", &bench.registry]))?;
        ensure!(
            catalog.lines().any(|line| line == TWO),
            "the catalog lacks {TWO}: {catalog:?}"
        );
        Ok(())
    });
    checks.check("delete", || {
        let reference = format!("{}/{ONE}@{wanted}", bench.registry);
        capture(crane().args(["delete", &reference]))?;
        bench.gone(ONE, image, Some(&wanted))?;
        refused(crane().args(["manifest", &bench.name(ONE, image)]))?;
        bench.served_as(TWO, image, &wanted)
    });
    Ok(())
}

/// regctl: copies an image with its referrers, lists them, and deletes single tags.
pub(super) fn regctl(bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
    const ONE: &str = "regctl/one";
    const TWO: &str = "regctl/two";
    let program = tools::go("regctl", "github.com/regclient/regclient/cmd/regctl", "v0.11.7")?;
    let host = format!("reg={},tls=disabled", bench.registry);
    let regctl = || {
        let mut command = limited(&program);
        command.env("HOME", &bench.work).args(["--host", &host]);
        command
    };
    let images = bench.images;
    let (image, subject) = (images.image, images.layout.digest(images.image)?);
    let artifact = images.layout.digest(ARTIFACT)?;
    let origin = |tag: &str| format!("ocidir://{}:{tag}", images.layout.path.display());
    let copy = |from: &str, to: &str| capture(regctl().args(["image", "copy", from, to])).map(drop);

    checks.check("push", || {
        for tag in [image, ARTIFACT] {
            copy(&origin(tag), &bench.name(ONE, tag))?;
            bench.served_as(ONE, tag, &images.layout.digest(tag)?)?;
        }
        let listed = stdout(regctl().args([
            "artifact",
            "list",
            &bench.name(ONE, image),
            "--format",
            "{{json .}}",
        ]))?;
        ensure!(listed.contains(&artifact), "regctl lists the referrers {listed}");
        bench.has_referrer(ONE, &subject, &artifact)
    });
    checks.check("pull", || {
        let pulled = bench.work.join("pulled");
        let to = format!("ocidir://{}:{image}", pulled.display());
        capture(regctl().args(["image", "copy", "--referrers", &bench.name(ONE, image), &to]))?;
        let pulled = Layout::at(pulled);
        skopeo::same(&pulled, &images.layout, image)?;
        pulled
            .read(&artifact)
            .context("the referrer did not come along")
            .map(drop)
    });
    checks.check("mount", || {
        let layers = images.layout.closure(image)?.layers;
        bench.mounts(&layers, || copy(&bench.name(ONE, image), &bench.name(TWO, image)))?;
        bench.served_as(TWO, image, &subject)
    });
    checks.check("zstd", || {
        copy(&origin(images.zstd), &bench.name(ONE, images.zstd))?;
        bench.served_as(ONE, images.zstd, &images.layout.digest(images.zstd)?)
    });
    checks.check("index", || {
        copy(&origin(MULTI), &bench.name(ONE, MULTI))?;
        bench.served_as(ONE, MULTI, &images.layout.digest(MULTI)?)
    });
    checks.check("list", || {
        bench.has_tags(ONE, &[image, ARTIFACT, images.zstd, MULTI])?;
        let listed = stdout(regctl().args(["tag", "ls", &format!("{}/{ONE}", bench.registry)]))?;
        ensure!(listed.lines().count() == 4, "regctl lists {listed:?}");
        Ok(())
    });
    checks.check("delete", || {
        // A second tag of one manifest goes alone: the manifest and its first tag stay.
        copy(&bench.name(TWO, image), &bench.name(TWO, "second"))?;
        capture(regctl().args(["tag", "rm", &bench.name(TWO, "second")]))?;
        bench.gone(TWO, "second", None)?;
        bench.served_as(TWO, image, &subject)?;
        capture(regctl().args(["manifest", "rm", &format!("{}/{TWO}@{subject}", bench.registry)]))?;
        bench.gone(TWO, image, Some(&subject))?;
        bench.served_as(ONE, image, &subject)
    });
    Ok(())
}
