//! `berth version`.

use std::process::ExitCode;

use clap::Args;

#[derive(Args)]
#[command(after_help = "Examples:
  berth version
  berth version --json")]
pub(crate) struct Version {
    /// As JSON: name, version, architecture and operating system.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Version) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        let version = serde_json::json!({
            "name": "berth",
            "version": version,
            "architecture": std::env::consts::ARCH,
            "os": std::env::consts::OS,
        });
        println!("{version}");
    } else {
        println!("berth {version}");
    }
    ExitCode::SUCCESS
}
