//! Scans that step over what is damaged, for whoever must not be stopped by it.

use registry_core::Result;
use registry_core::store::{Entry, KvError};

use super::{Records, failed};

/// What stands in an error's key for bytes that are no text. No record's key has it.
const UNKNOWN: char = char::REPLACEMENT_CHARACTER;

/// Whether this is a key as it stands in the engine, so that it can be read and written.
pub(super) fn is_whole(key: &str) -> bool {
    !key.contains(UNKNOWN)
}

/// What lies under a prefix.
pub(super) struct Past {
    /// What can be read, in order.
    pub(super) entries: Vec<(String, Entry)>,
    /// The keys on the way of what cannot.
    pub(super) damaged: Vec<String>,
}

impl Records {
    /// One page as of [`Kv::scan`](registry_core::store::Kv::scan), past what is damaged, of which nothing is mended.
    ///
    /// Where a key was changed, what lies there is out of order; so whoever goes on from the last key of a page may come
    /// to what was on it already. That is left out: pages go forward.
    pub(super) async fn look_past(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Past> {
        let (mut entries, damaged) = match self.kv.scan(prefix, after, limit).await {
            Ok(page) => (page, Vec::new()),
            Err(KvError::Damaged { key, more, page }) => (page, [key].into_iter().chain(more).collect()),
            Err(other) => return Err(failed(other)),
        };
        entries.retain(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        Ok(Past { entries, damaged })
    }

    /// As [`scan`](Records::scan), but what nothing mends is told and stepped over.
    pub(super) async fn scan_past(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>> {
        let mut past = self.look_past(prefix, after, limit).await?;
        if past.damaged.is_empty() {
            return Ok(past.entries);
        }
        for key in past.damaged {
            // Whether it could be is seen by looking again.
            let _mended = self.mend(&key).await;
        }
        // What cannot be read takes none of the room on the page.
        let mut more = limit;
        loop {
            past = self.look_past(prefix, after, more).await?;
            let seen = past.entries.len() + past.damaged.len();
            if past.entries.len() >= limit || seen < more {
                break;
            }
            more += past.damaged.len();
        }
        for key in past.damaged {
            tracing::error!(key, "a damaged record that nothing mends is stepped over");
        }
        past.entries.truncate(limit);
        Ok(past.entries)
    }
}
