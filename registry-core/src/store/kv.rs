//! The narrow waist for records: an ordered map with conditional transactions and one clock.

use async_trait::async_trait;
use bytes::Bytes;

use super::marks::Mark;
use crate::time::Timestamp;

/// Names one write of one key. A key's stamp changes with every write and never takes an earlier value, so that "still
/// at this stamp" means "nobody has written it since I read it". Later commits have greater stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(pub u64);

/// A value and the write that put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Which write put it there.
    pub stamp: Stamp,
}

/// What must hold at the moment of commit for a transaction to happen. Decided in commit order, seeing every earlier
/// transaction, those of the same commit group included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key was last written by this write.
    At(String, Stamp),
    /// The key does not exist.
    Absent(String),
    /// Something is under the key that cannot be read: a [`get`](Kv::get) of it answers [`KvError::Damaged`].
    Damaged(String),
    /// No key begins with this text.
    Empty(String),
    /// The clock has not reached this time.
    Before(Timestamp),
    /// The clock has reached this time.
    NotBefore(Timestamp),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Puts a value under a key.
    Put(String, Bytes),
    /// Removes a key, if it is there.
    Delete(String),
    /// Puts a value under a key made of this prefix and the position of the transaction in commit order, in 20
    /// digits and an index: a log that lists in the order in which things happened.
    Append(String, Bytes),
}

/// A transaction: all of its writes if all of its preconditions hold, else nothing.
///
/// ```
/// use registry_core::store::Txn;
/// let txn = Txn::new().absent("tag/7/latest").put("tag/7/latest", &b"{}"[..]);
/// assert_eq!(txn.writes.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What the model of the blob's life calls this transition, for traces and logs; empty if it is none of those.
    pub name: &'static str,
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// What then happens, in this order.
    pub writes: Vec<Write>,
}

impl Write {
    /// The key that it writes; nothing for one that nobody can have read before.
    pub fn key(&self) -> Option<&str> {
        match self {
            Write::Put(key, _) | Write::Delete(key) => Some(key),
            Write::Append(..) => None,
        }
    }
}

impl Txn {
    /// A transaction that does nothing.
    pub fn new() -> Self {
        Txn::default()
    }

    /// Says which transition this is.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// Asserts that `key` is as it was read.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>, stamp: Stamp) -> Self {
        self.preconditions.push(Precondition::At(key.into(), stamp));
        self
    }

    /// Asserts that `key` does not exist.
    #[must_use]
    pub fn absent(mut self, key: impl Into<String>) -> Self {
        self.preconditions.push(Precondition::Absent(key.into()));
        self
    }

    /// Asserts that what is under `key` cannot be read.
    #[must_use]
    pub fn damaged(mut self, key: impl Into<String>) -> Self {
        self.preconditions.push(Precondition::Damaged(key.into()));
        self
    }

    /// Asserts what was read under `key`: this entry, or nothing.
    #[must_use]
    pub fn unchanged(self, key: impl Into<String>, read: Option<&Entry>) -> Self {
        match read {
            Some(entry) => self.at(key, entry.stamp),
            None => self.absent(key),
        }
    }

    /// Asserts that no key begins with `prefix`.
    #[must_use]
    pub fn nothing_under(mut self, prefix: impl Into<String>) -> Self {
        self.preconditions.push(Precondition::Empty(prefix.into()));
        self
    }

    /// Asserts that the clock is still before `time` at commit.
    #[must_use]
    pub fn before(mut self, time: Timestamp) -> Self {
        self.preconditions.push(Precondition::Before(time));
        self
    }

    /// Asserts that the clock has reached `time` at commit.
    #[must_use]
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.preconditions.push(Precondition::NotBefore(time));
        self
    }

    /// Puts `value` under `key`.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put(key.into(), value.into()));
        self
    }

    /// Removes `key`.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete(key.into()));
        self
    }

    /// Adds `value` to the log that begins with `prefix`.
    #[must_use]
    pub fn append(mut self, prefix: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Append(prefix.into(), value.into()));
        self
    }
}

/// Why records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// A precondition did not hold; nothing was written. Read again and decide again.
    #[error("precondition {0:?} did not hold")]
    Conflict(Precondition),
    /// A key is longer than 500 bytes or a value than 16 MiB; nothing was written.
    #[error("key or value of {0:?} is too large")]
    TooLarge(String),
    /// There is no room; nothing was written.
    #[error("the records have no room left")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is under this key is not what was written there; nothing was written. Only that key is lost: it can be
    /// put again, and everything else be read.
    #[error("the record {key:?} is damaged")]
    Damaged {
        /// The key. If it is no text any more, what is not stands as U+FFFD, which is in no record's key: then nothing
        /// can be read or written under it.
        key: String,
        /// Of a scan: the keys of what else cannot be read.
        more: Vec<String>,
        /// Of a scan: what can be read, in the order in which it lies. A key that was changed lies where the true one did,
        /// so a scan from behind it would not go on there.
        page: Vec<(String, Entry)>,
    },
    /// Nothing was written, or nothing could be read.
    #[error("the records could not be reached")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It may have been written or not. Whoever gets this must act as if both were true.
    #[error("the outcome of a commit is unknown")]
    OutcomeUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Longest key in bytes that every implementation takes.
pub const KEY_MAX: usize = 500;

/// An ordered map from texts to bytes.
///
/// Keys are readable and built of segments joined by `/`; the first segment names the table. They are ordered by
/// their bytes and at most 500 bytes long.
///
/// What a read sees is already durable: a crash or power cut right after cannot take it back.
#[async_trait]
pub trait Kv: Send + Sync + 'static {
    /// The entry under `key`.
    ///
    /// # Errors
    /// [`KvError::Damaged`] about this key; [`KvError::Failed`].
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError>;

    /// Entries whose keys begin with `prefix`, in order, from the first key greater than `after`, at most `limit`.
    /// `after` is a whole key and need not exist.
    ///
    /// # Errors
    /// [`KvError::Damaged`] names the first entry in the way that cannot be read; [`KvError::Failed`].
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError>;

    /// The clock that leases use. Never goes back, not across restarts either, as far as commits have seen it.
    ///
    /// # Errors
    /// [`KvError::Failed`].
    async fn now(&self) -> Result<Timestamp, KvError>;

    /// Makes `txn` happen, durably, or says why not. All its writes get the same stamp, which is returned.
    ///
    /// # Errors
    /// [`KvError::Conflict`] names the first precondition that did not hold; [`KvError::Damaged`] a key whose stamp
    /// was asserted and cannot be told; the others as they say.
    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError>;

    /// The mark of a record, to be asked for *before* the record is read: what is read then is what a read would find for as
    /// long as the mark [is current](Kv::is_current). Nothing while it is being written; and always nothing, as by default, from
    /// records to which others write unseen: those are read each time.
    fn mark(&self, _key: &str) -> Option<Mark> {
        None
    }

    /// Whether what was read after a [mark](Kv::mark) is what a read would find now. Costs next to nothing.
    fn is_current(&self, _mark: Mark) -> bool {
        false
    }
}

#[async_trait]
impl<K: Kv + ?Sized> Kv for std::sync::Arc<K> {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        (**self).get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        (**self).scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        (**self).now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        (**self).commit(txn).await
    }

    fn mark(&self, key: &str) -> Option<Mark> {
        (**self).mark(key)
    }

    fn is_current(&self, mark: Mark) -> bool {
        (**self).is_current(mark)
    }
}
