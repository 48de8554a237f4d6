//! What is asked of an engine: few enough things that another could take its place.

use std::borrow::Cow;
use std::ops::Bound;

use registry_core::store::{KvError, Stamp};

/// Why the engine did not do what it should.
#[derive(Debug)]
pub(super) enum Fault {
    /// No room; nothing was written.
    Full(Cause),
    /// Nothing was written, or nothing could be read.
    Failed(Cause),
    /// It may have been written or not, and what the engine holds in memory is no longer to be trusted for writing.
    Unknown(Cause),
}

/// What lies under a fault.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

impl From<Fault> for KvError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full(cause) => KvError::Full(cause),
            Fault::Failed(cause) => KvError::Failed(cause),
            Fault::Unknown(cause) => KvError::OutcomeUnknown(cause),
        }
    }
}

/// Gets one key and value of a scan, in order.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), KvError>;

/// An ordered map from bytes to bytes in which a reader sees only what is durable.
pub(super) trait Engine: Send + Sync + 'static {
    /// The value of a key, copied out.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// Shows `visit` the keys that begin with `prefix`, from `from`, at most `limit`, in one consistent state.
    fn scan(&self, from: Bound<&[u8]>, prefix: &[u8], limit: usize, visit: Visit<'_>) -> Result<(), KvError>;

    /// Shows `visit` every key that was [put](Group::put), in order, in one consistent state, in memory that does not
    /// grow with the number of keys, and without others waiting for `visit`. An engine that has keys of its own, or
    /// whose readers keep a commit waiting, has a way of its own.
    fn dump(&self, visit: Visit<'_>) -> Result<(), KvError> {
        self.scan(Bound::Unbounded, b"", usize::MAX, visit)
    }

    /// Lets `work` read and write, and makes all that it wrote durable in one step if it succeeds, else none of it.
    /// One at a time.
    fn write(&self, work: &mut dyn FnMut(&mut dyn Group) -> Result<(), Fault>) -> Result<(), Fault>;

    /// Opens the store again after a fault whose outcome is [unknown](Fault::Unknown), so that what is there is known,
    /// and durable. `_known` is the stamp of the last commit that is known to be. Gives the stamp of the last one there
    /// is.
    fn reopen(&self, _known: Stamp) -> Result<Stamp, Cause> {
        Err("this engine cannot be opened again while it is open".into())
    }
}

/// The state while a group of transactions is being put together: it has what the group wrote so far.
pub(super) trait Group {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Fault>;

    /// Whether any key begins with this.
    fn any(&self, prefix: &[u8]) -> Result<bool, Fault>;

    /// Puts a value.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault>;

    /// Removes a key, if it is there.
    fn delete(&mut self, key: &[u8]) -> Result<(), Fault>;
}
