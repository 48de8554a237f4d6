//! Refresh tokens: what `docker login` keeps instead of a password.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `token-refresh` | hash of the account's name, id | hash of the secret, account and stamp, until when |
//!
//! They are revoked by deleting their records, and end with any change of their account's stamp. A client that asks for
//! another one with one gets it, and the old one ends soon after. Most cannot keep another: for these the one that
//! they have lives on as long as it is used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use registry_core::store::{Kv, KvError, Txn};
use registry_core::{Result, Runtime, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::records_failed;
use crate::directory::{Directory, Verified};

const TABLE: &str = "token-refresh/";

/// Begins every refresh token, so that one that lies about is known for what it is.
const PREFIX: &str = "brt_";

/// Which account, which token of its, and its secret.
const BYTES: usize = 16 + 16 + 32;

const FORMAT: u32 = 1;

/// How long a token that was replaced is still taken: its successor may not have arrived.
const REPLACED_GRACE: Duration = Duration::from_secs(60);

/// Records that are looked at in one step of a sweep.
const PAGE: usize = 500;

/// How refresh tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshOptions {
    /// How long one lives that is not used.
    pub lifetime: Duration,
    /// How many an account may have; a new one takes the place of the oldest.
    pub per_account: usize,
}

impl Default for RefreshOptions {
    fn default() -> Self {
        RefreshOptions {
            lifetime: Duration::from_secs(90 * 24 * 3600),
            per_account: 50,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// Format of this record.
    v: u32,
    hash: String,
    subject: String,
    stamp: u64,
    created: Timestamp,
    expires: Timestamp,
}

impl Record {
    fn read(bytes: &[u8]) -> Option<Record> {
        let record: Record = serde_json::from_slice(bytes).ok()?;
        (record.v == FORMAT).then_some(record)
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }
}

/// Makes refresh tokens, takes and revokes them.
pub struct RefreshTokens {
    kv: Arc<dyn Kv>,
    directory: Arc<dyn Directory>,
    runtime: Arc<dyn Runtime>,
    options: RefreshOptions,
}

impl RefreshTokens {
    /// The refresh tokens in `kv`, of the accounts of `directory`.
    pub fn new(
        kv: Arc<dyn Kv>,
        directory: Arc<dyn Directory>,
        runtime: Arc<dyn Runtime>,
        options: RefreshOptions,
    ) -> Self {
        RefreshTokens {
            kv,
            directory,
            runtime,
            options,
        }
    }

    /// A new token of `holder`'s.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn issue(&self, holder: &Verified) -> Result<String> {
        let account = account_of(&holder.subject);
        let now = self.runtime.now();
        let (name, token, hash) = self.draw(&account);
        let record = Record {
            v: FORMAT,
            hash,
            subject: holder.subject.to_string(),
            stamp: holder.stamp,
            created: now,
            expires: now + self.options.lifetime,
        };
        let mut txn = Txn::new().absent(&name).put(name, record.bytes());
        for spent in self.spent(&account, holder.stamp, now).await? {
            txn = txn.delete(spent);
        }
        self.kv.commit(txn).await.map_err(records_failed)?;
        Ok(token)
    }

    /// Whose token this is, if it is one and its account has not changed since.
    ///
    /// # Errors
    /// If records or accounts cannot be read.
    pub async fn holder(&self, token: &str) -> Result<Option<Verified>> {
        let Some((name, secret)) = split(token) else {
            return Ok(None);
        };
        let Some(entry) = self.kv.get(&name).await.map_err(records_failed)? else {
            return Ok(None);
        };
        let now = self.runtime.now();
        let record = Record::read(&entry.value).filter(|record| {
            let right = record.hash.as_bytes().ct_eq(hash_of(&secret).as_bytes());
            bool::from(right) && now < record.expires
        });
        let Some(mut record) = record else {
            return Ok(None);
        };
        if self.directory.subject(&record.subject).await? != Some(record.stamp) {
            return Ok(None);
        }
        let verified = Verified {
            subject: record.subject.as_str().into(),
            stamp: record.stamp,
            limit: None,
        };
        // What was replaced ends when it was to; the rest lives on with its use.
        let left = record.expires.since(now);
        if left < self.options.lifetime / 2 && left > REPLACED_GRACE {
            record.expires = now + self.options.lifetime;
            let txn = Txn::new().at(&name, entry.stamp).put(name, record.bytes());
            match self.kv.commit(txn).await {
                Ok(_) | Err(KvError::Conflict(_)) => {}
                Err(why) => return Err(records_failed(why)),
            }
        }
        Ok(Some(verified))
    }

    /// Another token for the holder of this one, which ends soon. Nothing if it has ended already.
    ///
    /// # Errors
    /// If records or accounts cannot be read.
    pub async fn replace(&self, token: &str) -> Result<Option<String>> {
        let Some(holder) = self.holder(token).await? else {
            return Ok(None);
        };
        let next = self.issue(&holder).await?;
        let until = self.runtime.now() + REPLACED_GRACE;
        if let Some((name, _)) = split(token)
            && let Some(entry) = self.kv.get(&name).await.map_err(records_failed)?
            && let Some(mut record) = Record::read(&entry.value)
        {
            record.expires = record.expires.min(until);
            let txn = Txn::new().at(&name, entry.stamp).put(name, record.bytes());
            match self.kv.commit(txn).await {
                Ok(_) | Err(KvError::Conflict(_)) => {}
                Err(why) => return Err(records_failed(why)),
            }
        }
        Ok(Some(next))
    }

    /// Ends this token. Whoever has it may; what is none is ended already.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn revoke(&self, token: &str) -> Result<()> {
        if self.holder(token).await?.is_some()
            && let Some((name, _)) = split(token)
        {
            self.kv
                .commit(Txn::new().delete(name))
                .await
                .map_err(records_failed)?;
        }
        Ok(())
    }

    /// Ends all tokens of an account.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn revoke_all(&self, subject: &str) -> Result<()> {
        let prefix = format!("{TABLE}{}/", account_of(subject));
        loop {
            let page = self.kv.scan(&prefix, None, PAGE).await.map_err(records_failed)?;
            if page.is_empty() {
                return Ok(());
            }
            let txn = page
                .into_iter()
                .fold(Txn::new(), |txn, (name, _)| txn.delete(name));
            self.kv.commit(txn).await.map_err(records_failed)?;
        }
    }

    /// Clears away what has expired, of accounts that nobody logs in to any more too. Returns how many.
    ///
    /// # Errors
    /// If the records fail.
    pub async fn sweep(&self) -> Result<usize> {
        let (now, mut after, mut swept) = (self.runtime.now(), None, 0);
        loop {
            let page = self
                .kv
                .scan(TABLE, after.as_deref(), PAGE)
                .await
                .map_err(records_failed)?;
            let Some((last, _)) = page.last() else {
                return Ok(swept);
            };
            after = Some(last.clone());
            let mut txn = Txn::new();
            for (name, entry) in page {
                if Record::read(&entry.value).is_some_and(|record| record.expires <= now) {
                    txn = txn.at(&name, entry.stamp).delete(name);
                    swept += 1;
                }
            }
            match self.kv.commit(txn).await {
                // What was used in this moment is looked at another time.
                Ok(_) | Err(KvError::Conflict(_)) => {}
                Err(why) => return Err(records_failed(why)),
            }
        }
    }

    /// The records of an account that make room for another.
    async fn spent(&self, account: &str, stamp: u64, now: Timestamp) -> Result<Vec<String>> {
        let prefix = format!("{TABLE}{account}/");
        let entries = self.kv.scan(&prefix, None, PAGE).await.map_err(records_failed)?;
        let (mut live, mut spent) = (Vec::new(), Vec::new());
        for (name, entry) in entries {
            match Record::read(&entry.value) {
                Some(record) if now < record.expires && record.stamp == stamp => {
                    live.push((record.created, name))
                }
                _ => spent.push(name),
            }
        }
        live.sort();
        let over = (live.len() + 1).saturating_sub(self.options.per_account.max(1));
        spent.extend(live.into_iter().take(over).map(|(_, name)| name));
        Ok(spent)
    }

    /// A record's name, a token, and the hash of its secret.
    fn draw(&self, account: &str) -> (String, String, String) {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(&hashed(account));
        for chunk in bytes[16..].chunks_exact_mut(16) {
            chunk.copy_from_slice(&self.runtime.random().to_le_bytes());
        }
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        (name_of(&bytes), token, hash_of(&bytes[32..]))
    }
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshTokens")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An account's part of a key: names hold what keys may not.
fn account_of(subject: &str) -> String {
    hex(&Sha256::digest(subject.as_bytes())[..16])
}

/// The bytes that an account's part of a key stands for.
fn hashed(account: &str) -> [u8; 16] {
    u128::from_str_radix(account, 16)
        .expect("it was written as hexadecimal")
        .to_be_bytes()
}

fn name_of(bytes: &[u8]) -> String {
    format!("{TABLE}{}/{}", hex(&bytes[..16]), hex(&bytes[16..32]))
}

fn hash_of(secret: &[u8]) -> String {
    hex(&Sha256::digest(secret))
}

/// The name of a token's record, and its secret.
fn split(token: &str) -> Option<(String, Vec<u8>)> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    (bytes.len() == BYTES).then(|| (name_of(&bytes), bytes[32..].to_vec()))
}
