//! A berth that loses data, so that trials can show that they would notice.

use registry_storage::{Durability, Omission};

use crate::StoreOptions;

/// Names the kind of sync that is left out: `file`, `directory`, `records` or `upload-state`.
pub const VARIABLE: &str = "BERTH_OMIT_SYNC";

/// What a build with this feature says of itself.
pub const NOTICE: &str =
    "built with omit-sync: it loses data when BERTH_OMIT_SYNC is set, and is for trials only";

/// The options, with the syncs left out that the variable names. Says so.
///
/// # Errors
/// If the variable names no kind of sync.
pub fn left_out(options: StoreOptions) -> Result<StoreOptions, String> {
    eprintln!("berth: {NOTICE}");
    let Some(named) = std::env::var_os(VARIABLE) else {
        return Ok(options);
    };
    let named = named.to_string_lossy();
    let omission: Omission = named.parse().map_err(|why| format!("{VARIABLE}: {why}"))?;
    tracing::error!(
        omission = omission.name(),
        "THIS BERTH LOSES DATA: one kind of sync is left out"
    );
    eprintln!(
        "berth: THIS BERTH LOSES DATA: syncs of kind {:?} are left out",
        omission.name()
    );
    Ok(StoreOptions {
        durability: Durability::Without(omission),
        ..options
    })
}
