//! What `berth` is told: by flags, by `BERTH_…` variables, by a file, or else by default; in that order.
//!
//! [`Config::each`] is the one list of keys. The file's tables, the variables' names and the flags are all matched
//! against it, so that a key exists for all of them or for none.

mod auth;
mod choices;
mod contradictions;
mod explain;
mod node;
mod origin;
mod schema;
mod sources;
mod tls;
mod value;

pub use auth::{AuthConfig, SealingKeyError};
pub use choices::{AdminListen, Durability, Level, LogFormat};
pub use explain::{ConfigError, Problem, Source};
pub use node::Node;
pub use schema::{CollectorConfig, Config, LimitsConfig, LogConfig};
pub use sources::{CONTROL_TOKEN, Flag, Loaded, PASSWORD, SERVER, USERNAME, load};
pub use tls::{TlsConfig, certificates_in};
pub use value::{Kind, Value};
