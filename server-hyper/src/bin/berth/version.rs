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
        #[allow(unused_mut, reason = "an ordinary build has nothing to add")]
        let mut version = serde_json::json!({
            "name": "berth",
            "version": version,
            "architecture": std::env::consts::ARCH,
            "os": std::env::consts::OS,
        });
        #[cfg(feature = "omit-sync")]
        {
            version["omit_sync"] = true.into();
        }
        println!("{version}");
    } else {
        println!("berth {version}");
        #[cfg(feature = "omit-sync")]
        println!("{}", server_hyper::omission::NOTICE);
    }
    ExitCode::SUCCESS
}
