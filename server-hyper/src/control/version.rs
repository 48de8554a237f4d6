//! `{"version":{}}`: which berth answers.

use serde::{Deserialize, Serialize};

/// Which berth answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Always `berth`.
    pub name: String,
    /// Its version, as `berth version` prints it.
    pub version: String,
}

pub(super) fn version() -> Version {
    Version {
        name: "berth".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
