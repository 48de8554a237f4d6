//! oras-py: artifacts, referrers and chunked uploads.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Bench, Checks};
use crate::command::{limited, refused, stdout};
use crate::layout::sha256;
use crate::{root, tools};

const ONE: &str = "oras/one";

/// Bytes of a chunk, and more than two of them in all, so that an upload is opened, continued and closed.
const CHUNK: usize = 64 << 10;
const LENGTH: usize = 2 * CHUNK + 1234;

pub(super) fn run(bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
    let python = tools::python()?;
    let script = root().join("xtask/e2e/oras_client.py");
    let command = |operation: &str, target: &str, options: &[&str]| {
        let mut command = limited(&python);
        command.arg(&script).args([operation, target]).args(options);
        command
    };
    let call = |operation: &str, target: &str, options: &[&str]| -> Result<Value> {
        let said = stdout(&mut command(operation, target, options))?;
        let line = said.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("{operation} {target} said: {said}"))
    };
    let files = [("document", "whole"), ("trail", "chunked"), ("note", "referrer")];
    for (number, (name, _)) in files.iter().enumerate() {
        // Bytes that differ from each other and do not repeat within a chunk.
        let bytes: Vec<u8> = (0..LENGTH)
            .map(|place| (place / 251 + place * 7 + number * 13) as u8)
            .collect();
        std::fs::write(bench.work.join(name), bytes)?;
    }
    let path = |name: &str| bench.work.join(name);
    let push = |name: &str, tag: &str, options: &[&str]| {
        let file = path(name);
        let file = file.to_str().context("a path of the project is text")?;
        let said = call(
            "push",
            &bench.name(ONE, tag),
            &[&["--file", file], options].concat(),
        )?;
        ensure!(said["status"] == 201, "the manifest's answer was {said}");
        bench
            .served(ONE, tag)
            .map(|closure| (closure.manifests[0].clone(), said))
    };
    let chunk = CHUNK.to_string();

    checks.check("push", || {
        push("document", "whole", &[])?;
        let log = bench.watch(|| push("trail", "chunked", &["--chunk", &chunk]).map(drop))?;
        let chunks = log
            .iter()
            .filter(|exchange| exchange.method == "PATCH" && exchange.sent() > 0)
            .count();
        ensure!(
            chunks >= 2,
            "{LENGTH} bytes in chunks of {CHUNK} came in {chunks} PATCH requests"
        );
        let (subject, manifest) = bench.manifest(ONE, "whole")?;
        let media_type: Value = serde_json::from_slice(&manifest)?;
        let media_type = media_type["mediaType"].as_str().context("a media type")?;
        let named = format!("{media_type},{subject},{}", manifest.len());
        let (referrer, said) = push("note", "referrer", &["--subject", &named])?;
        ensure!(
            said["subject"] == subject.as_str(),
            "OCI-Subject is {}, should be {subject}",
            said["subject"]
        );
        bench.has_referrer(ONE, &subject, &referrer)
    });
    checks.check("pull", || {
        for (name, tag) in files {
            let out = path("out").join(tag);
            std::fs::create_dir_all(&out)?;
            let said = call("pull", &bench.name(ONE, tag), &["--file", text(&out)?])?;
            let wanted = sha256(&std::fs::read(path(name))?);
            let found = said["files"][name].as_str().unwrap_or_default();
            ensure!(
                wanted.ends_with(found) && !found.is_empty(),
                "{name} came back as {said}"
            );
        }
        Ok(())
    });
    checks.check("mount", || {
        // This client never mounts; it asks first, so a second push sends nothing again.
        let layers = bench.served(ONE, "whole")?.layers;
        bench.reuses(&layers, || push("document", "again", &[]).map(drop))
    });
    checks.check("list", || {
        bench.has_tags(ONE, &["again", "chunked", "referrer", "whole"])?;
        let said = call("tags", &format!("{}/{ONE}", bench.registry), &[])?;
        ensure!(
            said["tags"].as_array().is_some_and(|tags| tags.len() == 4),
            "the client lists {said}"
        );
        Ok(())
    });
    checks.check("delete", || {
        let (digest, _) = bench.manifest(ONE, "chunked")?;
        call("delete", &bench.name(ONE, "chunked"), &[])?;
        bench.gone(ONE, "chunked", Some(&digest))?;
        refused(&mut command(
            "pull",
            &bench.name(ONE, "chunked"),
            &["--file", text(&path("out"))?],
        ))?;
        bench.has_tags(ONE, &["again", "referrer", "whole"])?;
        bench.served(ONE, "referrer").map(drop)
    });
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of the project is text")
}
