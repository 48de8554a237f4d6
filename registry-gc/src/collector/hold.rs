//! Holds: whoever copies what the records name keeps it from being unlinked meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many holds there are.
#[derive(Default)]
pub(super) struct Holds(Arc<AtomicUsize>);

/// Keeps a collector and its clones from unlinking, until it is dropped.
#[must_use = "it holds only while it lives"]
#[derive(Debug)]
pub struct Hold(Arc<AtomicUsize>);

impl Holds {
    pub(super) fn hold(&self) -> Hold {
        self.0.fetch_add(1, Ordering::SeqCst);
        Hold(Arc::clone(&self.0))
    }

    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
