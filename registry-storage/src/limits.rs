//! What every implementation of `Kv` takes and refuses alike.

use registry_core::store::{KEY_MAX, KvError, Stamp, Txn, Write};

/// Largest value in bytes.
pub(crate) const VALUE_MAX: usize = 16 << 20;

/// The key of an appended value: in the order of commits, then of the writes within one.
pub(crate) fn append_key(prefix: &str, stamp: Stamp, index: usize) -> String {
    format!("{prefix}{:020}-{index:05}", stamp.0)
}

/// Length of what [`append_key`] puts behind a prefix.
const APPEND_SUFFIX: usize = 26;

/// Refuses a transaction that not every implementation could take, before anything is looked at.
pub(crate) fn check(txn: &Txn) -> Result<(), KvError> {
    for write in &txn.writes {
        let (key, length, value) = match write {
            Write::Put(key, value) => (key, key.len(), value.len()),
            Write::Delete(key) => (key, key.len(), 0),
            Write::Append(prefix, value) => (prefix, prefix.len() + APPEND_SUFFIX, value.len()),
        };
        if length == 0 {
            return Err(KvError::Failed("a key must not be empty".into()));
        }
        if length > KEY_MAX || value > VALUE_MAX {
            return Err(KvError::TooLarge(key.clone()));
        }
    }
    if txn.writes.len() > 99_999 {
        return Err(KvError::Failed(
            "a transaction takes at most 99,999 writes".into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appended_key_has_the_length_that_is_counted_for_it() {
        assert_eq!(append_key("", Stamp(u64::MAX), 99_999).len(), APPEND_SUFFIX);
        assert_eq!(append_key("", Stamp(0), 0).len(), APPEND_SUFFIX);
    }
}
