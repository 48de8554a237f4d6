//! The Helm SDK: charts.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Bench, Checks};
use crate::command::{limited, refused, stdout};
use crate::layout::sha256;
use crate::{root, tools};

/// Helm adds the chart's name to the path that it is given, and its version is the tag.
const ONE: &str = "helm/charts/trial";
const VERSION: &str = "0.1.0";

pub(super) fn run(bench: &Bench<'_>, checks: &mut Checks) -> Result<()> {
    let python = tools::python()?;
    let script = root().join("xtask/e2e/helm_client.py");
    let command = |operation: &str, options: &[&str]| {
        let mut command = limited(&python);
        // Its settings and caches are kept out of the home folder.
        command
            .env("HOME", &bench.work)
            .env("HELM_CONFIG_HOME", bench.work.join("config"));
        command.arg(&script).arg(operation).args(options);
        command
    };
    let call = |operation: &str, options: &[&str]| -> Result<Value> {
        let said = stdout(&mut command(operation, options))?;
        let line = said.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("{operation} said: {said}"))
    };
    let folder = |name: &str| bench.work.join(name).to_string_lossy().into_owned();
    let made = call("make", &["--folder", &folder("chart")])?;
    let archive = made["archive"]
        .as_str()
        .context("the chart's archive")?
        .to_owned();
    let chart = format!("oci://{}/{ONE}", bench.registry);
    let push = |parent: &str| {
        let remote = format!("oci://{}/{parent}", bench.registry);
        call("push", &["--target", &archive, "--remote", &remote]).map(drop)
    };
    let wanted = sha256(&std::fs::read(&archive)?);

    checks.check("push", || {
        push("helm/charts")?;
        let layers = bench.served(ONE, VERSION)?.layers;
        ensure!(
            layers.contains(&wanted),
            "the chart {wanted} is not among the layers {layers:?}"
        );
        Ok(())
    });
    checks.check("pull", || {
        let said = call(
            "pull",
            &[
                "--remote",
                &chart,
                "--version",
                VERSION,
                "--folder",
                &folder("pulled"),
            ],
        )?;
        let found = said["sha256"].as_str().unwrap_or_default();
        ensure!(
            wanted == format!("sha256:{found}"),
            "pulled {said}, pushed {wanted}"
        );
        let (digest, _) = bench.manifest(ONE, VERSION)?;
        let resolved = call("resolve", &["--remote", &chart, "--version", VERSION])?;
        ensure!(
            resolved["digest"] == digest.as_str(),
            "Helm resolves {resolved}, the registry has {digest}"
        );
        Ok(())
    });
    checks.check("mount", || {
        // Helm never mounts; it asks first, so a second push sends nothing again.
        let layers = bench.served(ONE, VERSION)?.layers;
        bench.reuses(&layers, || push("helm/charts"))
    });
    checks.check("list", || {
        bench.has_tags(ONE, &[VERSION])?;
        let said = call("tags", &["--remote", &chart])?;
        ensure!(said["tags"] == serde_json::json!([VERSION]), "Helm lists {said}");
        Ok(())
    });
    checks.check("delete", || {
        push("helm/kept")?;
        let (digest, _) = bench.manifest(ONE, VERSION)?;
        bench.delete(ONE, VERSION)?;
        bench.gone(ONE, VERSION, Some(&digest))?;
        let options = [
            "--remote",
            &chart,
            "--version",
            VERSION,
            "--folder",
            &folder("gone"),
        ];
        refused(&mut command("pull", &options))?;
        bench.served("helm/kept/trial", VERSION).map(drop)
    });
    Ok(())
}
