//! The core's needs, met by the tokio that actix runs on.

use std::time::Duration;

use futures_util::future::BoxFuture;
use registry_core::{Runtime, Timestamp};
use tokio::runtime::Handle;

/// The runtime in which it was made: its timer, its tasks, its threads for blocking work. Can be used from any thread.
#[derive(Clone, Debug)]
pub struct TokioRuntime(Handle);

impl TokioRuntime {
    /// The runtime that this is called in.
    ///
    /// # Panics
    /// Outside of one.
    pub fn current() -> Self {
        TokioRuntime(Handle::current())
    }
}

impl Runtime for TokioRuntime {
    fn now(&self) -> Timestamp {
        Timestamp::system()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let _inside = self.0.enter();
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }
}
