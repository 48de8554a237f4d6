//! Users in a file, as Apache's `htpasswd -B` writes it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use registry_core::{Result, Runtime, Timestamp, runtime};
use sha2::{Digest, Sha256};

use crate::credentials::{PasswordHashing, nobodys_bcrypt};
use crate::directory::{Directory, Verified};
use crate::error::AccountError;
use crate::snapshots::STALE_AFTER;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// The users of an htpasswd file with bcrypt hashes: the least that a registry can have of accounts.
///
/// The file is read again when it has changed, which is looked at at most once a second. If what is there then cannot be
/// understood, what was there before goes on counting, and the log says so.
#[derive(Clone)]
pub struct Htpasswd {
    path: Arc<Path>,
    runtime: Arc<dyn Runtime>,
    hashing: Arc<dyn PasswordHashing>,
    read: Arc<Mutex<ReadFile>>,
}

/// Hashes by the names of their users.
struct Users {
    hashes: HashMap<Box<str>, Arc<str>>,
    /// For who is not there: as much work as the hash that is the most.
    nobodys: String,
}

impl Users {
    fn hash(&self, name: &str) -> Option<&str> {
        self.hashes.get(name).map(|hash| &**hash)
    }
}

struct ReadFile {
    users: Arc<Users>,
    seen: Seen,
    looked: Timestamp,
}

/// What a file looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    length: u64,
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Htpasswd({})", self.path.display())
    }
}

impl Htpasswd {
    /// The users of this file. `hashing` verifies its hashes.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] if the file cannot be read, or names the line that is none, or whose hash is not bcrypt.
    pub async fn open(
        path: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
        hashing: Arc<dyn PasswordHashing>,
    ) -> Result<Self, AccountError> {
        let path: Arc<Path> = path.into().into();
        let (file, now) = (Arc::clone(&path), runtime.now());
        let (users, seen) = runtime::blocking(&*runtime, move || load(&file)).await?;
        Ok(Htpasswd {
            path,
            runtime,
            hashing,
            read: Arc::new(Mutex::new(ReadFile {
                users: Arc::new(users),
                seen,
                looked: now,
            })),
        })
    }

    /// The users as the file has them.
    async fn users(&self) -> Arc<Users> {
        let now = self.runtime.now();
        let (users, seen) = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            let is_fresh = read.looked <= now && now.since(read.looked) < STALE_AFTER;
            if is_fresh {
                return Arc::clone(&read.users);
            }
            read.looked = now;
            (Arc::clone(&read.users), read.seen)
        };
        let path = Arc::clone(&self.path);
        let loaded = runtime::blocking(&*self.runtime, move || match look(&path) {
            Ok(now) if now == seen => None,
            _ => Some(load(&path)),
        });
        match loaded.await {
            None => users,
            Some(Ok((users, seen))) => {
                let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
                (read.users, read.seen) = (Arc::new(users), seen);
                Arc::clone(&read.users)
            }
            Some(Err(why)) => {
                tracing::warn!(%why, "the users of before go on counting");
                users
            }
        }
    }
}

#[async_trait]
impl Directory for Htpasswd {
    async fn verify(&self, name: &str, secret: &str) -> Result<Option<Verified>> {
        let users = self.users().await;
        let hash = users.hash(name);
        let is_right = self
            .hashing
            .verify(secret, hash.unwrap_or(&users.nobodys))
            .await?;
        Ok(hash.filter(|_| is_right).map(|hash| Verified {
            subject: name.into(),
            stamp: stamp(hash),
            limit: None,
        }))
    }

    async fn subject(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.users().await.hash(name).map(stamp))
    }

    /// Beside such a file there are no projects that could be deleted: each is the same as long as there is the registry.
    async fn project(&self, _name: &str) -> Result<Option<u64>> {
        Ok(Some(0))
    }
}

/// Changes with the hash.
fn stamp(hash: &str) -> u64 {
    let digest = Sha256::digest(hash.as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |stamp, byte| stamp << 8 | u64::from(*byte))
}

fn unreadable(path: &Path, why: &std::io::Error) -> AccountError {
    AccountError::Invalid(format!(
        "the htpasswd file {} cannot be read: {why}",
        path.display()
    ))
}

fn look(path: &Path) -> Result<Seen, AccountError> {
    let metadata = std::fs::metadata(path).map_err(|why| unreadable(path, &why))?;
    Ok(Seen {
        modified: metadata.modified().ok(),
        length: metadata.len(),
    })
}

fn load(path: &Path) -> Result<(Users, Seen), AccountError> {
    // Looked at first: what is written meanwhile looks different the next time.
    let seen = look(path)?;
    if seen.length > LARGEST {
        return Err(AccountError::Invalid(format!(
            "the htpasswd file {} has more than {LARGEST} bytes",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|why| unreadable(path, &why))?;
    let users = parse(&text).map_err(|why| AccountError::Invalid(format!("{}: {why}", path.display())))?;
    Ok((users, seen))
}

/// The users of an htpasswd file: lines of a name, a colon and a bcrypt hash; empty ones and those that begin with `#` say
/// nothing. Never tells a hash.
fn parse(text: &str) -> Result<Users, String> {
    let (mut hashes, mut most) = (HashMap::new(), None);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let number = number + 1;
        let Some((name, hash)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return Err(format!("line {number} is not a name, a colon and a hash"));
        };
        let Some(cost) = cost(hash) else {
            return Err(format!(
                "line {number}, user {name:?}: the hash is not bcrypt; write it with `htpasswd -B`"
            ));
        };
        most = most.max(Some(cost));
        if hashes.insert(name.into(), hash.into()).is_some() {
            return Err(format!("line {number}: user {name:?} was there before"));
        }
    }
    Ok(Users {
        hashes,
        nobodys: nobodys_bcrypt(most.unwrap_or(bcrypt::DEFAULT_COST)),
    })
}

/// The cost of a bcrypt hash; nothing if it is none, or not one to be verified in a reasonable time.
fn cost(hash: &str) -> Option<u32> {
    let parts: bcrypt::HashParts = hash.parse().ok()?;
    Some(parts.get_cost()).filter(|cost| (4..=16).contains(cost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Argon2id;
    use futures_executor::block_on;
    use proptest::prelude::*;
    use registry_core::runtime::Threads;

    /// Of `Harbor12345`, at the least cost.
    fn line(name: &str, password: &str) -> String {
        format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
    }

    fn open(path: &Path) -> Result<Htpasswd, AccountError> {
        block_on(Htpasswd::open(
            path,
            Threads::shared(),
            Arc::new(Argon2id::cheap()),
        ))
    }

    #[test]
    fn users_of_the_file_log_in_and_others_do_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            format!("# people\n\n{}", line("alice", "Harbor12345")),
        )
        .unwrap();
        let users = open(file.path()).unwrap();
        let verified = block_on(users.verify("alice", "Harbor12345")).unwrap().unwrap();
        assert_eq!(&*verified.subject, "alice");
        assert_eq!(block_on(users.subject("alice")).unwrap(), Some(verified.stamp));
        for (name, secret) in [
            ("alice", "Harbor12346"),
            ("bob", "Harbor12345"),
            ("", ""),
            ("# people", ""),
        ] {
            assert!(block_on(users.verify(name, secret)).unwrap().is_none(), "{name}");
        }
        assert!(!format!("{users:?}").contains("$2"));
    }

    #[test]
    fn other_hashes_and_lines_that_are_none_are_refused_by_number_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let good = line("alice", "x");
        for (bad, told) in [
            ("bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "line 2"),
            ("bob:$apr1$salt$hash", "line 2"),
            ("bob", "line 2"),
            (":x", "line 2"),
            (
                "bob:$2y$31$0123456789012345678901uJcTz7pnT3a8MNvC0W2NHqBMwcVoeZm",
                "line 2",
            ),
            (good.as_str(), "was there before"),
        ] {
            std::fs::write(file.path(), format!("{good}{bad}\n")).unwrap();
            let told_of = open(file.path()).unwrap_err().to_string();
            assert!(told_of.contains(told), "{told_of}");
            assert!(!told_of.contains("$") && !told_of.contains("W6ph"), "{told_of}");
        }
    }

    #[test]
    fn who_is_not_there_costs_as_much_as_the_dearest_who_is() {
        let text = format!(
            "{}{}",
            line("alice", "x"),
            line("bob", "x").replace("$04$", "$06$")
        );
        assert!(parse(&text).unwrap().nobodys.starts_with("$2b$06$"));
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_one_that_breaks_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), line("alice", "Harbor12345")).unwrap();
        let users = open(file.path()).unwrap();
        let age = || users.read.lock().unwrap().looked = Timestamp(0);
        let before = block_on(users.subject("alice")).unwrap();
        std::fs::write(
            file.path(),
            line("alice", "Other12345") + &line("bob", "Harbor12345"),
        )
        .unwrap();
        age();
        assert_ne!(block_on(users.subject("alice")).unwrap(), before);
        assert!(block_on(users.verify("bob", "Harbor12345")).unwrap().is_some());
        assert!(block_on(users.verify("alice", "Harbor12345")).unwrap().is_none());
        std::fs::write(file.path(), "nonsense").unwrap();
        age();
        assert!(block_on(users.verify("bob", "Harbor12345")).unwrap().is_some());
        std::fs::write(file.path(), "").unwrap();
        age();
        assert!(block_on(users.subject("bob")).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_fail(text in "([a#:$2yb]{0,12}\n?){0,4}") {
            let _read = parse(&text);
        }
    }
}
