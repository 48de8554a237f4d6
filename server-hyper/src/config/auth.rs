//! The keys of `auth`.

use std::io;
use std::path::PathBuf;

use registry_auth::tokens::{KeyOptions, SealingKey};

/// How clients log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// File with the key that seals those that sign tokens.
    pub sealing_key: Option<PathBuf>,
}

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// The file cannot be read.
    #[error("{path:?}: cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path:?}: it is to hold 64 hexadecimal digits, as `openssl rand -hex 32` prints them")]
    Invalid {
        /// The file.
        path: PathBuf,
    },
}

impl AuthConfig {
    /// How the keys are kept that sign tokens.
    ///
    /// # Errors
    /// [`SealingKeyError`], about `auth.sealing_key`.
    pub fn keys(&self) -> Result<KeyOptions, SealingKeyError> {
        let Some(path) = self.sealing_key.clone() else {
            return Ok(KeyOptions::default());
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(SealingKeyError::Read { path, source }),
        };
        match SealingKey::from_hex(&text) {
            Ok(key) => Ok(KeyOptions {
                sealing: Some(key),
                ..KeyOptions::default()
            }),
            Err(_) => Err(SealingKeyError::Invalid { path }),
        }
    }
}
