//! What every command that measures berth is told.

use std::path::PathBuf;

/// Which berth is measured, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The program to measure; `cargo build --release -p server-hyper` makes it
    #[arg(long, default_value = "target/release/berth")]
    pub berth: PathBuf,
    /// Where stores are made, on a disk; a new directory below it is removed at the end
    #[arg(long, default_value = "target")]
    pub directory: PathBuf,
}
