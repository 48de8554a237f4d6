//! The state while a group of transactions is being put together.

use std::borrow::Cow;
use std::ops::Bound;

use super::pieces::{self, Changes};
use super::{Fault, Group, Sled, guarded};

/// What a group of transactions wrote so far, in memory.
pub(super) struct SledGroup<'a> {
    pub(super) sled: &'a Sled,
    pub(super) changes: Changes,
}

impl Group for SledGroup<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Fault> {
        if let Some(change) = self.changes.get(key) {
            return Ok(change.as_deref().map(Cow::Borrowed));
        }
        let stored = guarded(|| pieces::get(self.sled.db(), key)).map_err(Fault::Failed)?;
        Ok(stored.map(Cow::Owned))
    }

    fn any(&self, prefix: &[u8]) -> Result<bool, Fault> {
        let changed = self
            .changes
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        if (changed.take_while(|(key, _)| key.starts_with(prefix))).any(|(_, change)| change.is_some()) {
            return Ok(true);
        }
        let mut keys = self.sled.db().range::<&[u8], _>(prefix..).keys();
        loop {
            match guarded(|| Ok(keys.next().transpose()?)).map_err(Fault::Failed)? {
                Some(key) if !key.starts_with(prefix) => return Ok(false),
                Some(key) if self.changes.contains_key(key.as_ref()) => {}
                found => return Ok(found.is_some()),
            }
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.changes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.changes.insert(key.to_vec(), None);
        Ok(())
    }
}
