//! Wakes whoever waits for a write that failed.
//!
//! sled's own threads write to the log. After a write that failed no other is tried, and all who wait for one are to
//! get its error. But if the write was of a message that somebody finished after its buffer was closed (the one that
//! begins a batch always is), they are not woken, and a commit, or a reader that syncs what it wrote, would wait for
//! ever. Every later call that finds the error wakes them. So a thread looks for it, and makes such a call: one that
//! does not wait itself, since the error is there before it begins.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sled::Db;

use super::guarded;

/// How often it looks: so long does a commit that failed wait at most.
const PERIOD: Duration = Duration::from_millis(200);

/// A thread that ends when this is dropped.
pub(super) struct Watch {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches a tree; `broken` becomes true when a write has failed.
    pub(super) fn start(db: Db, broken: Arc<AtomicBool>) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("sled-watch".into()).spawn(move || {
            // More than once: somebody may have begun to wait between two looks of sled at the error.
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                if has_failed(&db) {
                    broken.store(true, Ordering::SeqCst);
                    let _the_error_again = guarded(|| Ok(db.flush()?));
                }
            }
        })?;
        Ok(Watch {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Whether a write failed, after which sled writes nothing more.
pub(super) fn has_failed(db: &Db) -> bool {
    db.context.global_error().is_err()
}
