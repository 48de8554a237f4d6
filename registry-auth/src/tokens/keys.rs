//! The signing keys in the shared records.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `token-key` | key id | a key pair, from when on it signs, until when it verifies |
//!
//! No node has keys of its own. The first that needs one makes it; a transaction sees to it that there is one first. All
//! sign with the latest whose time has come, and take tokens of any that has not ended. A new key waits for
//! [`settle`](KeyOptions::settle) before it signs, several times as long as a node trusts what it has read; and
//! a key that a node has not heard of is looked for at once.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::lock::Mutex;
use quick_cache::sync::Cache;
use registry_core::store::{Kv, KvError, Stamp, Txn};
use registry_core::{Error, ErrorKind, Result, Runtime, Timestamp};
use serde::{Deserialize, Serialize};

use super::key::{self, Record, SealingKey, SigningKey};
use super::records_failed;

const TABLE: &str = "token-key/";

/// How long a node goes by what it has read. Bounds how long a key that was withdrawn is still taken.
const FRESH: Duration = Duration::from_secs(1);

/// Between two reads of the records because of ids that nobody knows: so a flood of them costs no more than these.
const PAUSE: Duration = Duration::from_millis(20);

/// Ids that no key has, remembered.
const UNKNOWN_MAX: usize = 4096;

/// How often a transaction is tried that others keep from happening.
const ATTEMPTS: usize = 16;

/// Keys at once, which is far more than rotations leave.
const KEYS_MAX: usize = 1000;

/// How keys are kept.
#[derive(Debug)]
pub struct KeyOptions {
    /// The longest that a token is valid, leeway included: a key verifies for so long after it has signed its last.
    pub longest_token: Duration,
    /// How long a new key waits before it signs, so that every node knows it by then.
    pub settle: Duration,
    /// Seals private keys in the records.
    pub sealing: Option<SealingKey>,
}

impl Default for KeyOptions {
    fn default() -> Self {
        KeyOptions {
            longest_token: Duration::from_secs(24 * 3600),
            settle: Duration::from_secs(5),
            sealing: None,
        }
    }
}

/// How a key is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// Old keys verify until the last token that they signed has expired: nobody notices.
    Overlapping,
    /// Old keys are gone, and so are all their tokens within a second: for keys that somebody else may know.
    Immediate,
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The new key.
    pub key: String,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// The keys before it, and until when each verifies; nothing if it is gone.
    pub before: Vec<(String, Option<Timestamp>)>,
}

/// What was read of the records.
struct Snapshot {
    keys: Vec<Arc<SigningKey>>,
    /// Calls that arrived before this number see what they must.
    covers: u64,
    read: Timestamp,
}

/// The keys, as one node sees them.
pub struct Keys {
    kv: Arc<dyn Kv>,
    runtime: Arc<dyn Runtime>,
    options: KeyOptions,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held by whoever reads the records; those who wait for it find that somebody has read for them.
    reading: Mutex<()>,
    arrivals: AtomicU64,
    unknown: Cache<String, ()>,
}

impl Keys {
    /// The keys in `kv`.
    pub fn new(kv: Arc<dyn Kv>, runtime: Arc<dyn Runtime>, options: KeyOptions) -> Self {
        super::provider::install();
        Keys {
            kv,
            runtime,
            options,
            snapshot: RwLock::new(Arc::new(Snapshot {
                keys: Vec::new(),
                covers: 0,
                read: Timestamp(0),
            })),
            reading: Mutex::new(()),
            arrivals: AtomicU64::new(1),
            unknown: Cache::new(UNKNOWN_MAX),
        }
    }

    /// The clock of the records, by which keys come and go.
    pub(super) async fn now(&self) -> Result<Timestamp> {
        self.kv.now().await.map_err(records_failed)
    }

    /// The key to sign with, made if there is none yet.
    ///
    /// # Errors
    /// If the records fail; if the key is sealed and this node cannot open it.
    pub async fn signer(&self) -> Result<Arc<SigningKey>> {
        for _ in 0..ATTEMPTS {
            let now = self.now().await?;
            let snapshot = self.fresh().await?;
            if let Some(key) = signer(&snapshot.keys, now) {
                return match key.encoding {
                    Some(_) => Ok(Arc::clone(key)),
                    None => Err(Error::internal(format!(
                        "signing key {} is sealed with another key than this node was given, or it was given none",
                        key.id
                    ))),
                };
            }
            let (id, record) = Record::generate(self.options.sealing.as_ref(), now, now)?;
            let txn = Txn::new()
                .nothing_under(TABLE)
                .put(format!("{TABLE}{id}"), record.bytes());
            match self.kv.commit(txn).await {
                Ok(_) => tracing::info!(key = id, "made the first key that signs tokens"),
                Err(KvError::Conflict(_)) => {}
                Err(why) => return Err(records_failed(why)),
            }
            self.read_after(self.arrive()).await?;
        }
        Err(busy())
    }

    /// The key with this id, if its tokens are taken.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn verifier(&self, id: &str) -> Result<Option<Arc<SigningKey>>> {
        if !key::is_id(id) {
            return Ok(None);
        }
        let arrived = self.arrive();
        let mut snapshot = self.fresh().await?;
        if find(&snapshot, id).is_none() {
            // An id that no key had will not become one: it is the hash of a key.
            if self.unknown.get(id).is_some() {
                return Ok(None);
            }
            snapshot = self.read_after(arrived).await?;
        }
        let Some(key) = find(&snapshot, id) else {
            self.unknown.insert(id.to_owned(), ());
            return Ok(None);
        };
        let verifies = key.verify_until.is_none() || key.verifies(self.now().await?);
        Ok(verifies.then(|| Arc::clone(key)))
    }

    /// The public halves of all keys, those that wait for their time included, as a JSON Web Key Set (RFC 7517,
    /// section 5).
    ///
    /// # Errors
    /// If the records fail.
    pub async fn jwks(&self) -> Result<serde_json::Value> {
        let (snapshot, now) = (self.fresh().await?, self.now().await?);
        let keys = snapshot.keys.iter().filter(|key| key.verifies(now));
        Ok(serde_json::json!({ "keys": keys.map(|key| key.jwk()).collect::<Vec<_>>() }))
    }

    /// Replaces the key that signs, and forgets those that have ended.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn rotate(&self, how: Rotation) -> Result<Rotated> {
        for _ in 0..ATTEMPTS {
            let now = self.now().await?;
            let records = self.records().await?;
            let signs_from = match how {
                Rotation::Overlapping if !records.is_empty() => now + self.options.settle,
                _ => now,
            };
            let (id, record) = Record::generate(self.options.sealing.as_ref(), now, signs_from)?;
            let mut txn = Txn::new().put(format!("{TABLE}{id}"), record.bytes());
            // An empty set must still be empty, and every key as it was read.
            if records.is_empty() {
                txn = txn.nothing_under(TABLE);
            }
            let mut before = Vec::new();
            for (old, stamp, mut record) in records {
                let name = format!("{TABLE}{old}");
                txn = txn.at(&name, stamp);
                let ended = record.verify_until.is_some_and(|until| until <= now);
                if ended || how == Rotation::Immediate {
                    txn = txn.delete(name);
                    before.push((old, None));
                    continue;
                }
                if record.verify_until.is_none() {
                    record.verify_until = Some(signs_from + self.options.settle + self.options.longest_token);
                    txn = txn.put(name, record.bytes());
                }
                before.push((old, record.verify_until));
            }
            match self.kv.commit(txn).await {
                Ok(_) => {
                    self.read_after(self.arrive()).await?;
                    tracing::info!(key = id, signs_from = %signs_from, "made a new key that signs tokens");
                    return Ok(Rotated {
                        key: id,
                        signs_from,
                        before,
                    });
                }
                Err(KvError::Conflict(_)) => {}
                Err(why) => return Err(records_failed(why)),
            }
        }
        Err(busy())
    }

    fn arrive(&self) -> u64 {
        self.arrivals.fetch_add(1, Ordering::Relaxed)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was read a moment ago at most.
    async fn fresh(&self) -> Result<Arc<Snapshot>> {
        let (snapshot, now) = (self.snapshot(), self.runtime.now());
        let fresh = snapshot.read <= now && now < snapshot.read + FRESH && snapshot.covers > 0;
        match fresh {
            true => Ok(snapshot),
            false => self.read_after(self.arrive()).await,
        }
    }

    /// What the records hold at a moment after `arrived`. Those who ask at once share one read.
    async fn read_after(&self, arrived: u64) -> Result<Arc<Snapshot>> {
        let _alone = self.reading.lock().await;
        let snapshot = self.snapshot();
        if arrived < snapshot.covers {
            return Ok(snapshot);
        }
        let (now, next) = (self.runtime.now(), snapshot.read + PAUSE);
        if snapshot.read <= now && now < next && snapshot.covers > 0 {
            self.runtime.sleep(next.since(now)).await;
        }
        let (covers, read) = (self.arrivals.load(Ordering::Relaxed), self.runtime.now());
        let mut keys = Vec::new();
        for (id, _, record) in self.records().await? {
            keys.push(Arc::new(SigningKey::open(
                &id,
                &record,
                self.options.sealing.as_ref(),
            )?));
        }
        let snapshot = Arc::new(Snapshot { keys, covers, read });
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        Ok(snapshot)
    }

    async fn records(&self) -> Result<Vec<(String, Stamp, Record)>> {
        let entries = self
            .kv
            .scan(TABLE, None, KEYS_MAX)
            .await
            .map_err(records_failed)?;
        let read = entries.into_iter().map(|(name, entry)| {
            let id = name.strip_prefix(TABLE).unwrap_or_default().to_owned();
            let record = Record::read(&id, &entry.value)?;
            Ok((id, entry.stamp, record))
        });
        read.collect()
    }
}

fn busy() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the signing keys are being replaced; try again",
    )
}

fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Option<&'a Arc<SigningKey>> {
    snapshot.keys.iter().find(|key| key.id == id)
}

/// The latest of those whose time has come.
fn signer(keys: &[Arc<SigningKey>], now: Timestamp) -> Option<&Arc<SigningKey>> {
    keys.iter()
        .filter(|key| key.signs_from <= now && key.verifies(now))
        .max_by_key(|key| (key.signs_from, &key.id))
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("keys", &self.snapshot().keys)
            .finish_non_exhaustive()
    }
}
