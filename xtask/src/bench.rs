//! `cargo xtask bench`: builds berth and the load in release, installs the peers, and measures all of them in turn.

use std::process::Command;

use anyhow::Result;

use crate::command::watched;
use crate::{release, root, tools};

/// distribution's current generation, as a Go module.
const DISTRIBUTION_3: (&str, &str) = ("github.com/distribution/distribution/v3/cmd/registry", "v3.1.2");

/// zot, which some module proxies do not offer.
const ZOT: (&str, &str) = ("zotregistry.dev/zot/v2/cmd/zot", "v2.1.10");

/// Measures berth, alone or beside its peers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenarios, by name; all of them if none is named
    scenarios: Vec<String>,
    /// Beside distribution 2.8 and 3, nginx and the least that hyper can do
    #[arg(long)]
    peers: bool,
    /// Once and for a short time: to see that it works, and for nothing else
    #[arg(long)]
    quick: bool,
    /// How often each is measured [default: 3, or 1 with `--quick`]
    #[arg(long)]
    rounds: Option<usize>,
    /// Print a line of JSON for each scenario
    #[arg(long)]
    json: bool,
}

/// Whether all of it could be measured.
pub(crate) fn run(args: &Args) -> Result<bool> {
    release::build()?;
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    let mut bench = Command::new(release::program("bench"));
    bench
        .arg("--berth")
        .arg(release::program("berth"))
        .args(["--rounds", &rounds.to_string()])
        .args(["--share", if args.quick { "0.1" } else { "0.4" }])
        .args(&args.scenarios);
    if args.json {
        bench.arg("--json");
    }
    if args.peers {
        tools::debian(&["docker-registry", "nginx-light"])?;
        bench
            .args([
                "--distribution2",
                "/usr/bin/docker-registry",
                "--nginx",
                "/usr/sbin/nginx",
            ])
            .arg("--distribution3")
            .arg(tools::go("registry", DISTRIBUTION_3.0, DISTRIBUTION_3.1)?)
            .arg("--floor")
            .arg(release::program("load"))
            .args(["--gogc", "400"]);
        match tools::go("zot", ZOT.0, ZOT.1) {
            Ok(zot) => {
                bench.arg("--zot").arg(zot);
            }
            Err(why) => eprintln!("zot is NOT MEASURED, as it cannot be installed: {why:#}"),
        }
        // Only what is measured whole and properly is worth keeping.
        if !args.quick && args.scenarios.is_empty() {
            bench
                .arg("--document")
                .arg(root().join("docs"))
                .args(["--command", "cargo xtask bench --peers"]);
        }
    }
    watched(&mut bench, false)
}
