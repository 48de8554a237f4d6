//! skopeo: copies everything, byte for byte, and back.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Bench, Checks};
use crate::command::{capture, limited, refused, stdout};
use crate::images::{ARTIFACT, MULTI};
use crate::layout::{Layout, sha256};
use crate::tools;

const ONE: &str = "skopeo/one";
const TWO: &str = "skopeo/two";

pub(super) fn run(bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
    tools::debian(&["skopeo"])?;
    let images = bench.images;
    let remote = |repository: &str, tag: &str| format!("docker://{}", bench.name(repository, tag));
    let push = |from: &str, repository: &str, tag: &str| {
        copy(
            &["--all", "--preserve-digests", "--dest-tls-verify=false"],
            from,
            &remote(repository, tag),
        )
    };
    let pulled = Layout::at(bench.work.join("pulled"));
    let pull = |tag: &str| {
        let to = format!("oci:{}:{tag}", pulled.path.display());
        copy(
            &["--all", "--preserve-digests", "--src-tls-verify=false"],
            &remote(ONE, tag),
            &to,
        )
    };
    let round = |tag: &str| {
        push(&bench.source(tag), ONE, tag)?;
        bench.served_as(ONE, tag, &images.layout.digest(tag)?)?;
        pull(tag)?;
        same(&pulled, &images.layout, tag)
    };
    let plain: Vec<&str> = images
        .tags
        .iter()
        .copied()
        .filter(|tag| ![images.zstd, MULTI].contains(tag))
        .collect();

    checks.check("push", || {
        for tag in &plain {
            push(&bench.source(tag), ONE, tag)?;
            bench.served_as(ONE, tag, &images.layout.digest(tag)?)?;
        }
        refers(bench)
    });
    checks.check("pull", || {
        for tag in &plain {
            pull(tag)?;
            same(&pulled, &images.layout, tag)?;
        }
        Ok(())
    });
    checks.check("mount", || {
        let layers = images.layout.closure(images.image)?.layers;
        bench.mounts(&layers, || push(&bench.source(images.image), TWO, "1"))?;
        bench.served_as(TWO, "1", &images.layout.digest(images.image)?)
    });
    checks.check("zstd", || round(images.zstd));
    checks.check("index", || round(MULTI));
    checks.check("schema2", || {
        let wanted = std::fs::read(images.schema2.join("manifest.json"))?;
        push(&format!("dir:{}", images.schema2.display()), ONE, "schema2")?;
        bench.served_as(ONE, "schema2", &sha256(&wanted))?;
        let back = bench.work.join("schema2");
        let to = format!("dir:{}", back.display());
        copy(
            &["--preserve-digests", "--src-tls-verify=false"],
            &remote(ONE, "schema2"),
            &to,
        )?;
        ensure!(
            std::fs::read(back.join("manifest.json"))? == wanted,
            "the manifest came back changed"
        );
        Ok(())
    });
    let mut all: Vec<&str> = images.tags.to_vec();
    all.push("schema2");
    checks.check("list", || {
        bench.has_tags(ONE, &all)?;
        let listed = stdout(
            skopeo(&["list-tags", "--tls-verify=false"]).arg(format!("docker://{}/{ONE}", bench.registry)),
        )?;
        let listed: Value = serde_json::from_str(&listed)?;
        let count = listed["Tags"].as_array().map_or(0, Vec::len);
        ensure!(count == all.len(), "skopeo lists {count} tags of {}", all.len());
        Ok(())
    });
    checks.check("delete", || {
        // What nothing else needs: the schema2 image. Everything else must survive it.
        let (digest, _) = bench.manifest(ONE, "schema2")?;
        capture(skopeo(&["delete", "--tls-verify=false"]).arg(remote(ONE, "schema2")))?;
        bench.gone(ONE, "schema2", Some(&digest))?;
        refused(skopeo(&["inspect", "--raw", "--tls-verify=false"]).arg(remote(ONE, "schema2")))?;
        bench.has_tags(ONE, images.tags)?;
        bench.served_as(ONE, images.image, &images.layout.digest(images.image)?)?;
        bench.served_as(TWO, "1", &images.layout.digest(images.image)?)
    });
    Ok(())
}

fn skopeo(arguments: &[&str]) -> Command {
    let mut command = limited("skopeo");
    command.args(arguments);
    command
}

/// `skopeo copy` with nothing printed.
pub(super) fn copy(options: &[&str], from: &str, to: &str) -> Result<()> {
    capture(skopeo(&["copy", "--quiet"]).args(options).args([from, to])).map(drop)
}

/// That `tag` is the same in both layouts, every byte of it.
pub(super) fn same(pulled: &Layout, origin: &Layout, tag: &str) -> Result<()> {
    let (found, wanted) = (pulled.closure(tag)?, origin.closure(tag)?);
    ensure!(
        found.manifests == wanted.manifests,
        "{tag}: pulled {:?}, pushed {:?}",
        found.manifests,
        wanted.manifests
    );
    ensure!(
        found.blobs == wanted.blobs,
        "{tag}: pulled blobs {:?}, pushed {:?}",
        found.blobs,
        wanted.blobs
    );
    Ok(())
}

/// That the artifact, which names the image as its subject, is listed as the image's referrer.
fn refers(bench: &Bench<'_>) -> Result<()> {
    let subject = bench.images.layout.digest(bench.images.image)?;
    let artifact = bench.images.layout.digest(ARTIFACT)?;
    bench.has_referrer(ONE, &subject, &artifact)
}
