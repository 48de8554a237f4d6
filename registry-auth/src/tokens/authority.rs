//! Tokens made and read.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;
use registry_core::auth::{Authenticated, Identity, Scope};
use registry_core::{ErrorKind, Result, Runtime, Timestamp};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::jwt::{self, Claims, Entry, LEEWAY_SECONDS, refused};
use super::keys::Keys;
use crate::directory::{Directory, Verified};
use crate::projects::project_of;

/// How long a token is taken without another look at its key, its account and its projects. A [`Directory`] that
/// remembers what it has read should not do so for longer than this either: together they bound how long a
/// token outlives what it stands on, which is to be a second.
pub const STATE_FRESH: Duration = Duration::from_millis(500);

/// Shortest life of a token: clients take no shorter one for what it says (distribution, token specification).
pub const LIFETIME_MIN: Duration = Duration::from_secs(60);

/// Longest life of a token.
pub const LIFETIME_MAX: Duration = Duration::from_secs(12 * 3600);

/// Tokens that are remembered as read and found good. One takes about a KiB.
const KNOWN_MAX: usize = 8192;

/// What tokens say, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    /// Who makes the tokens. The same on all nodes.
    pub issuer: String,
    /// The service that they are for, which clients are told in the challenge.
    pub service: String,
    /// How long a token lives; from [`LIFETIME_MIN`] to [`LIFETIME_MAX`].
    pub lifetime: Duration,
}

impl Default for TokenOptions {
    fn default() -> Self {
        TokenOptions {
            issuer: "berth".to_owned(),
            service: "berth".to_owned(),
            lifetime: Duration::from_secs(30 * 60),
        }
    }
}

/// A token that was made.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token itself.
    pub token: String,
    /// When it was made.
    pub at: Timestamp,
    /// Seconds that it lives.
    pub expires_in: u64,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({}, {} s)", self.at, self.expires_in)
    }
}

/// Makes tokens, and reads them.
///
/// A token is worth what its account may at the moment of each request, and of that only what it names. It ends with
/// its time, its key, any change of its account's stamp, and with any of its projects; at the latest
/// [`STATE_FRESH`] after the directory tells so.
pub struct TokenAuthority {
    keys: Arc<Keys>,
    directory: Arc<dyn Directory>,
    runtime: Arc<dyn Runtime>,
    options: TokenOptions,
    /// With its key, and nothing hashed yet.
    hasher: SipHasher13,
    known: Cache<Fingerprint, Arc<Known>, UnitWeighter, BuildHasherDefault<FirstBytes>>,
}

/// What a token is remembered under, so that the token itself is not: 128 bits of SipHash-1-3, keyed with what only this
/// process knows.
///
/// Nobody sees these values, so nobody can look for a token that has another's but by trying: one in 2^115 that are tried
/// has that of any that is remembered. It costs 1,200 instructions, where SHA-256 without those of the processor for it
/// costs 27,000.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint(u64, u64);

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Takes the eight bytes that it is given for the hash: those of a keyed hash are as good as any.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A token whose signature was found good.
struct Known {
    who: Authenticated,
    claims: Claims,
    key: String,
    /// When it ends, leeway included.
    ends: Timestamp,
    /// When its key, account and projects were last looked at.
    looked: AtomicU64,
}

impl Known {
    fn is_current(&self, now: Timestamp) -> bool {
        let looked = Timestamp(self.looked.load(Ordering::Relaxed));
        looked <= now && now < looked + STATE_FRESH && now < self.ends
    }
}

impl TokenAuthority {
    /// Makes tokens with `keys` for the accounts and projects of `directory`.
    pub fn new(
        keys: Arc<Keys>,
        directory: Arc<dyn Directory>,
        runtime: Arc<dyn Runtime>,
        options: TokenOptions,
    ) -> Self {
        let hasher = SipHasher13::new_with_keys(runtime.random() as u64, runtime.random() as u64);
        TokenAuthority {
            keys,
            directory,
            runtime,
            hasher,
            options: TokenOptions {
                lifetime: options.lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX),
                ..options
            },
            known: Cache::with(
                KNOWN_MAX,
                KNOWN_MAX as u64,
                UnitWeighter,
                BuildHasherDefault::default(),
                Default::default(),
            ),
        }
    }

    /// What its tokens say.
    pub fn options(&self) -> &TokenOptions {
        &self.options
    }

    /// The keys that sign them.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Makes a token that opens `scope` to `holder`, or to nobody in particular. What the holder may is for the caller
    /// to have found out.
    ///
    /// # Errors
    /// If keys or projects cannot be read.
    pub async fn issue(&self, holder: Option<&Verified>, scope: &Scope) -> Result<Issued> {
        let mut projects = BTreeMap::new();
        for (name, actions) in scope.repositories() {
            let project = project_of(name);
            // A project that is not there yet binds nothing: what its token opens is asked of the account each time.
            if !actions.is_empty()
                && !projects.contains_key(project)
                && let Some(id) = self.directory.project(project).await?
            {
                projects.insert(project.to_owned(), id);
            }
        }
        let key = self.keys.signer().await?;
        let (at, lifetime) = (self.runtime.now(), self.options.lifetime.as_secs());
        let seconds = at.0 / 1000;
        let claims = Claims {
            iss: self.options.issuer.clone(),
            sub: holder.map_or(String::new(), |holder| holder.subject.to_string()),
            aud: self.options.service.clone(),
            exp: seconds + lifetime,
            nbf: seconds,
            iat: seconds,
            jti: URL_SAFE_NO_PAD.encode(self.runtime.random().to_le_bytes()),
            access: Entry::list(scope),
            stamp: holder.map(|holder| holder.stamp),
            projects,
        };
        Ok(Issued {
            token: jwt::sign(&key, &claims)?,
            at,
            expires_in: lifetime,
        })
    }

    /// Who holds `token`, and what it opens.
    ///
    /// Of a token that was seen before, this is its hash, a look into a map and a comparison of times.
    ///
    /// # Errors
    /// [`Unauthorized`](ErrorKind::Unauthorized) if it is not valid, or no longer; others if that cannot be found out.
    pub async fn check(&self, token: &str) -> Result<Authenticated> {
        let fingerprint = self.fingerprint(token);
        let now = self.runtime.now();
        let known = match self.known.get(&fingerprint) {
            Some(known) if known.is_current(now) => return Ok(known.who.clone()),
            Some(known) => known,
            None => Arc::new(self.read(token, now).await?),
        };
        match self.look(&known, now).await {
            Ok(()) => {
                known.looked.store(now.0, Ordering::Relaxed);
                self.known.insert(fingerprint, Arc::clone(&known));
                Ok(known.who.clone())
            }
            Err(why) => {
                if why.kind() == ErrorKind::Unauthorized {
                    self.known.remove(&fingerprint);
                }
                Err(why)
            }
        }
    }

    fn fingerprint(&self, token: &str) -> Fingerprint {
        let mut hasher = self.hasher;
        hasher.write(token.as_bytes());
        let hash = hasher.finish128();
        Fingerprint(hash.h1, hash.h2)
    }

    /// What a token says that one of our keys has signed.
    async fn read(&self, token: &str, now: Timestamp) -> Result<Known> {
        let id = jwt::key_id(token)?;
        let Some(key) = self.keys.verifier(&id).await? else {
            return Err(refused(
                "the token is signed by a key that is not, or no longer, in use here",
            ));
        };
        let claims = jwt::verify(token, &key, &self.options.issuer, &self.options.service, now)?;
        let identity = match (claims.sub.as_str(), claims.stamp) {
            ("", None) => Identity::Anonymous,
            ("", Some(_)) | (_, None) => return Err(refused("the token's subject and stamp do not fit")),
            (subject, Some(_)) => Identity::Named(subject.into()),
        };
        Ok(Known {
            who: Authenticated {
                identity,
                scope: Some(Arc::new(claims.scope()?)),
            },
            key: id,
            ends: Timestamp(claims.exp.saturating_add(LEEWAY_SECONDS).saturating_mul(1000)),
            claims,
            looked: AtomicU64::new(0),
        })
    }

    /// Whether all that the token stands on still stands.
    async fn look(&self, known: &Known, now: Timestamp) -> Result<()> {
        let claims = &known.claims;
        jwt::check_times(claims, now)?;
        if self.keys.verifier(&known.key).await?.is_none() {
            return Err(refused("the token's key was withdrawn; get a new token"));
        }
        if let Some(stamp) = claims.stamp
            && self.directory.subject(&claims.sub).await? != Some(stamp)
        {
            return Err(refused("the token's account has changed since; log in again"));
        }
        for (project, id) in &claims.projects {
            if self.directory.project(project).await? != Some(*id) {
                return Err(refused(
                    "a project of the token is gone or was made anew; get a new token",
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TokenAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthority")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
