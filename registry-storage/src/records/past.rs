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
#[derive(Default)]
pub(super) struct Past {
    /// What can be read, in order.
    pub(super) entries: Vec<(String, Entry)>,
    /// The keys on the way of what cannot.
    pub(super) damaged: Vec<String>,
}

impl Records {
    /// As [`Kv::scan`](registry_core::store::Kv::scan), past what is damaged, of which nothing is mended.
    pub(super) async fn look_past(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Past> {
        let (mut past, mut after) = (Past::default(), after.map(str::to_owned));
        // What is damaged is named, but what comes before it on its page is not given; so it is come up to one by one.
        let mut by_one = false;
        while past.entries.len() < limit {
            let wanted = if by_one { 1 } else { limit - past.entries.len() };
            match self.kv.scan(prefix, after.as_deref(), wanted).await {
                Ok(page) => {
                    let ended = page.len() < wanted;
                    after = page.last().map(|(key, _)| key.clone()).or(after);
                    past.entries.extend(page);
                    if ended {
                        break;
                    }
                }
                Err(KvError::Damaged { .. }) if wanted > 1 => by_one = true,
                Err(KvError::Damaged { key }) => {
                    let behind = behind(&key);
                    // Behind a byte that no text begins with there is no text to go on from.
                    if past.damaged.contains(&key) || after.as_ref().is_some_and(|after| *after >= behind) {
                        tracing::error!(key, "what lies behind a damaged record cannot be reached");
                        break;
                    }
                    past.damaged.push(key);
                    (after, by_one) = (Some(behind), false);
                }
                Err(other) => return Err(failed(other)),
            }
        }
        Ok(past)
    }

    /// As [`scan`](Records::scan), but what nothing mends is told and stepped over.
    pub(super) async fn scan_past(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>> {
        let past = self.look_past(prefix, after, limit).await?;
        if past.damaged.is_empty() {
            return Ok(past.entries);
        }
        for key in past.damaged {
            if let Err(error) = self.mend(&key).await {
                tracing::error!(key, %error, "a damaged record is stepped over");
            }
        }
        Ok(self.look_past(prefix, after, limit).await?.entries)
    }
}

/// A text that sorts behind a damaged key, and before every other that a record has.
fn behind(key: &str) -> String {
    match key.split_once(UNKNOWN) {
        // All keys are ASCII, so what begins like it goes before the byte that is no text.
        Some((whole, _)) => format!("{whole}{}", char::MAX),
        None => key.to_owned(),
    }
}
