//! Logins that succeeded, remembered for a moment, so that a slow hash is not paid with each request.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use registry_core::{Result, Runtime, Timestamp};
use ring::hmac;
use ring::rand::SystemRandom;

use super::authorization::Credentials;
use crate::directory::{Directory, Verified};
use crate::limits::LoginLimits;

/// How long a login is remembered, if its account does not change before.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Logins that are remembered at once. One takes some 200 bytes.
const REMEMBERED_MAX: usize = 16_384;

/// Finds out whether a name and a secret are an account's.
///
/// A success is remembered under a hash of both, keyed with what only this process knows; a failure is not. A
/// remembered login ends as soon as the directory tells that the stamp of its account has changed: a token for what it proved then
/// would be worth nothing. What is not remembered counts against the [limits](LoginLimits); of several that ask the same at
/// once, one finds out for all.
pub struct Logins {
    directory: Arc<dyn Directory>,
    runtime: Arc<dyn Runtime>,
    limits: Arc<LoginLimits>,
    key: hmac::Key,
    remembered: Cache<[u8; 32], Arc<Remembered>>,
}

struct Remembered {
    verified: Verified,
    since: Timestamp,
}

impl Logins {
    /// Logins to the accounts of `directory`.
    pub fn new(directory: Arc<dyn Directory>, runtime: Arc<dyn Runtime>, limits: Arc<LoginLimits>) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Logins {
            directory,
            runtime,
            limits,
            key: key.expect("the operating system has randomness"),
            remembered: Cache::new(REMEMBERED_MAX),
        }
    }

    /// The account that `credentials` prove, if they prove any.
    ///
    /// # Errors
    /// [`TooManyRequests`](registry_core::ErrorKind::TooManyRequests) beyond the limits; others if it cannot be found out.
    pub async fn verify(&self, credentials: &Credentials, from: Option<IpAddr>) -> Result<Option<Verified>> {
        let key = self.fingerprint(credentials);
        loop {
            let guard = match self.remembered.get_value_or_guard_async(&key).await {
                Ok(known) => match self.still(&known).await? {
                    true => return Ok(Some(known.verified.clone())),
                    false => {
                        self.remembered.remove_if(&key, |now| Arc::ptr_eq(now, &known));
                        continue;
                    }
                },
                Err(guard) => guard,
            };
            self.limits.attempt(from, &credentials.name)?;
            let now = self.runtime.now();
            let verified = self
                .directory
                .verify(&credentials.name, &credentials.secret)
                .await?;
            if let Some(verified) = &verified {
                let _replaced_meanwhile = guard.insert(Arc::new(Remembered {
                    verified: verified.clone(),
                    since: now,
                }));
            }
            return Ok(verified);
        }
    }

    fn fingerprint(&self, credentials: &Credentials) -> [u8; 32] {
        let mut hash = hmac::Context::with_key(&self.key);
        hash.update(&(credentials.name.len() as u64).to_le_bytes());
        hash.update(credentials.name.as_bytes());
        hash.update(credentials.secret.as_bytes());
        hash.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }

    async fn still(&self, known: &Remembered) -> Result<bool> {
        let now = self.runtime.now();
        if now < known.since || known.since + REMEMBERED_FOR <= now {
            return Ok(false);
        }
        let stamp = self.directory.subject(&known.verified.subject).await?;
        Ok(stamp == Some(known.verified.stamp))
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logins({} remembered)", self.remembered.len())
    }
}
