//! Gives back what was doomed: the last step of a location's life.
//!
//! Nothing here decides that bytes are unwanted. That was decided by the transaction that wrote the doomed record;
//! this unlinks the location once nobody can be at it any more, and then clears the record, so that a crash between
//! the two only means that the location is unlinked again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use registry_core::Result;
use registry_core::store::{BlobStore, Reclaim};

/// How much is taken up at once: bounds the memory of a run, not what it gets done.
const BATCH: usize = 1000;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that had made no progress for too long, and were ended.
    pub abandoned: u64,
    /// Locations whose bytes were given back.
    pub unlinked: u64,
    /// Locations that could not be unlinked, uploads that could not be ended, and repositories that could not be cleaned
    /// up; they are tried again.
    pub failed: u64,
}

/// Ends abandoned uploads, cleans up deleted repositories and unlinks doomed locations. Any number may run at once,
/// on any number of nodes; each step asserts what it read.
#[derive(Clone)]
pub struct Janitor {
    records: Arc<dyn Reclaim>,
    blobs: Arc<dyn BlobStore>,
    /// How many holds there are.
    holds: Arc<AtomicUsize>,
}

/// Keeps a janitor and its clones from unlinking, until it is dropped.
#[must_use = "it holds only while it lives"]
#[derive(Debug)]
pub struct Hold(Arc<AtomicUsize>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Janitor {
    /// A janitor for a registry on these stores.
    pub fn new(records: Arc<dyn Reclaim>, blobs: Arc<dyn BlobStore>) -> Self {
        Janitor {
            records,
            blobs,
            holds: Arc::default(),
        }
    }

    /// From now on unlinks nothing that is doomed later than this, until the hold is dropped. So what the records name
    /// at any moment while it lives stays readable. What is doomed meanwhile waits in the records.
    pub fn hold(&self) -> Hold {
        self.holds.fetch_add(1, Ordering::SeqCst);
        Hold(Arc::clone(&self.holds))
    }

    fn is_held(&self) -> bool {
        self.holds.load(Ordering::SeqCst) > 0
    }

    /// Does what is due now. May be dropped at any point and run again.
    ///
    /// # Errors
    /// If the records cannot be listed. What one record is in the way of is counted and left as it is: an upload whose
    /// claim is damaged stays, since nothing else says where its bytes are, and is for the check of the store to tell.
    pub async fn run_once(&self) -> Result<Swept> {
        let mut swept = Swept::default();
        self.abandon(&mut swept).await?;
        // What cannot be swept must not keep what is doomed from being given back.
        if let Err(error) = self.sweep().await {
            tracing::error!(%error, "a deleted repository cannot be cleaned up");
            swept.failed += 1;
        }
        self.unlink(&mut swept).await?;
        Ok(swept)
    }

    async fn sweep(&self) -> Result<()> {
        while self.records.sweep_repositories(BATCH).await? {}
        Ok(())
    }

    async fn abandon(&self, swept: &mut Swept) -> Result<()> {
        let mut failed = HashSet::new();
        loop {
            let expired = self.records.expired_uploads(BATCH).await?;
            let mut progress = 0;
            for id in &expired {
                if failed.contains(id) {
                    continue;
                }
                match self.records.abandon(id).await {
                    Ok(done) => progress += u64::from(done),
                    Err(why) => {
                        tracing::error!(
                            upload = id.as_str(),
                            error = &why as &dyn std::error::Error,
                            "cannot end an upload"
                        );
                        swept.failed += 1;
                        failed.insert(id.clone());
                    }
                }
            }
            swept.abandoned += progress;
            // Without progress, what is left was renewed meanwhile, is being ended by another, or cannot be.
            if progress == 0 || expired.len() < BATCH {
                return Ok(());
            }
        }
    }

    async fn unlink(&self, swept: &mut Swept) -> Result<()> {
        let mut after = None;
        loop {
            let doomed = self.records.doomed(after.as_ref(), BATCH).await?;
            for entry in &doomed {
                // Asked after the doomed were read: if nobody held then, all of these were doomed before any hold.
                if self.is_held() {
                    tracing::info!("a backup is being made; what is doomed is unlinked when it has ended");
                    return Ok(());
                }
                match self.blobs.unlink(&entry.location).await {
                    Ok(()) => match self.records.clear_doomed(entry).await {
                        Ok(()) => swept.unlinked += 1,
                        Err(why) => {
                            tracing::error!(location = %entry.location, error = &why as &dyn std::error::Error, "cannot clear");
                            swept.failed += 1;
                        }
                    },
                    Err(why) => {
                        tracing::warn!(location = %entry.location, error = &why as &dyn std::error::Error, "cannot unlink");
                        swept.failed += 1;
                    }
                }
            }
            match doomed.last() {
                Some(last) if doomed.len() == BATCH => after = Some(last.location.clone()),
                _ => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
