//! The secret that opens `/control` on the admin listener.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;

/// The token's file in the data directory.
pub const TOKEN: &str = "control.token";
/// Where it is written before it has its name.
const MAKING: &str = "control.token.new";
/// Random bytes of a token that is made.
const RANDOM: usize = 32;
/// A token that is shorter is none: it could be guessed.
const LEAST: usize = 32;
/// Longest token file that is read.
const MOST: u64 = 4096;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or made.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read or replace what is in the file.
    #[error("{}: others than its owner may use it; it must have the mode 0600", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// What is there cannot be a token.
    #[error("a token has at least {LEAST} printable characters and no spaces, and this has not")]
    Malformed,
}

/// The secret that opens `/control`. Never printed, and compared in a time that tells nothing about it.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// A token that somebody wrote down; space around it does not count.
    ///
    /// # Errors
    /// [`TokenError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        match text.len() >= LEAST && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Token(text.to_owned())),
            false => Err(TokenError::Malformed),
        }
    }

    /// The token in a file.
    ///
    /// # Errors
    /// If the file cannot be read, or holds none.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::File {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() || metadata.len() > MOST {
            return Err(failed(io::Error::other("this is no file with a token")));
        }
        Token::parse(&fs::read_to_string(path).map_err(failed)?)
    }

    /// The token of a data directory; made if there is none. Whoever calls this has the directory's lock.
    ///
    /// # Errors
    /// [`TokenError`]; also if the file is there and others may use it.
    pub fn of(data: &Path) -> Result<Self, TokenError> {
        let path = data.join(TOKEN);
        let failed = |source| TokenError::File {
            path: path.clone(),
            source,
        };
        // Not through a link: the file is the directory's own.
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.mode() & 0o077 == 0 => Token::read(&path),
            Ok(_) => Err(TokenError::Open { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(data, &path).map_err(failed),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether this is it.
    pub fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }

    /// For the head of a request, and for nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Makes a token whose file has its mode from the first on, and is whole before it has its name.
fn make(data: &Path, path: &Path) -> io::Result<Token> {
    let making = data.join(MAKING);
    match fs::remove_file(&making) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut random = [0; RANDOM];
    getrandom::fill(&mut random).map_err(|why| io::Error::other(why.to_string()))?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&making)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&making, path)?;
    Ok(Token(token))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let data = tempfile::tempdir().unwrap();
        let made = Token::of(data.path()).unwrap();
        let path = data.path().join(TOKEN);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(Token::of(data.path()).unwrap().is(&made.0));
        assert!(!data.path().join(MAKING).exists());
        let other = tempfile::tempdir().unwrap();
        assert!(!Token::of(other.path()).unwrap().is(&made.0));
    }

    #[test]
    fn a_token_that_others_may_read_is_not_used() {
        let data = tempfile::tempdir().unwrap();
        Token::of(data.path()).unwrap();
        let path = data.path().join(TOKEN);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Token::of(data.path()), Err(TokenError::Open { .. })));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/nowhere", &path).unwrap();
        assert!(matches!(Token::of(data.path()), Err(TokenError::Open { .. })));
    }

    #[test]
    fn a_token_that_could_be_guessed_is_none_and_none_is_printed() {
        for text in ["", "short", &"with space ".repeat(8)] {
            assert!(Token::parse(text).is_err(), "{text:?}");
        }
        let token = Token::parse(&format!(" {}\n", "x".repeat(40))).unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert!(token.is(&"x".repeat(40)) && !token.is("x") && !token.is(""));
    }
}
