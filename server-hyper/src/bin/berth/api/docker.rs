//! What `docker login` wrote down.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registry_auth::secret::Secret;
use serde_json::Value;

/// A name and a password for a registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) username: String,
    pub(super) password: Secret,
}

/// The file: in the directory that `DOCKER_CONFIG` names, else in the home directory.
pub(super) fn file() -> Option<PathBuf> {
    let directory = match std::env::var_os("DOCKER_CONFIG") {
        Some(directory) => PathBuf::from(directory),
        None => std::env::home_dir()?.join(".docker"),
    };
    Some(directory.join("config.json"))
}

/// The entry for a registry in the file, if there is one. Only plain entries count: no helper is asked.
pub(super) fn entry(file: &Path, registry: &str) -> Option<Entry> {
    read(&std::fs::read(file).ok()?, registry)
}

fn read(file: &[u8], registry: &str) -> Option<Entry> {
    let file: Value = serde_json::from_slice(file).ok()?;
    let entries = file.get("auths")?.as_object()?;
    let mut named = entries.iter().filter(|(key, _)| host(key) == registry);
    named.find_map(|(_, entry)| {
        let shown = STANDARD.decode(entry.get("auth")?.as_str()?).ok()?;
        let shown = String::from_utf8(shown).ok()?;
        let (username, password) = shown.split_once(':')?;
        (!username.is_empty() && !password.is_empty()).then(|| Entry {
            username: username.to_owned(),
            password: Secret::new(password),
        })
    })
}

/// The host of a key, which may be an address with a path.
fn host(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_entry_for_the_host_counts_and_no_other() {
        // alice:Secret1:2
        let file = br#"{"auths":{"other:5000":{"auth":"eDp5"},"https://registry.test:5000/v1/":{"auth":"YWxpY2U6U2VjcmV0MToy"},
            "helped.test":{},"broken.test":{"auth":"%%%"},"nobody.test":{"auth":"Og=="}},"credsStore":"desktop"}"#;
        let found = read(file, "registry.test:5000").unwrap();
        assert_eq!(
            (found.username.as_str(), found.password.reveal()),
            ("alice", "Secret1:2")
        );
        for none in [
            "registry.test",
            "helped.test",
            "broken.test",
            "nobody.test",
            "5000",
            "",
        ] {
            assert!(read(file, none).is_none(), "{none}");
        }
        assert!(read(b"not JSON", "other:5000").is_none());
    }
}
