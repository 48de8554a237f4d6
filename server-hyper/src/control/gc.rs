//! `{"gc":…}`, `{"gc_plan":…}`, `{"gc_explain":…}` and `{"gc_runs":…}`: what is forgotten, what would be, and why.

use std::time::Duration;

use registry_core::Digest;
use registry_core::store::Terms;
use registry_gc::{RunOptions, Stop};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

use super::Failure;
use super::line::{Lines, result};
use crate::stores::Stores;

/// A run of the collector, or the plan of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// How many milliseconds a lease counts from the start of its bucket, if that is less than what the registry is
    /// configured for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// Of a plan: tell every single thing that would be done or left, as found, and not only the sums.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub each: bool,
}

impl Collect {
    fn options(&self, stores: &Stores) -> RunOptions {
        RunOptions {
            terms: Terms {
                grace: self.grace_ms.map(Duration::from_millis),
                // Not for a client to say: only who opened the stores knows.
                alone: stores.is_alone(),
            },
        }
    }
}

/// Stops a run when its client has left.
struct Leaving(Stop);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs the collector; the result is a [`Summary`](registry_gc::Summary). The run has a task of its own, so that one whose
/// client leaves ends in order at its next step, and is recorded as stopped.
pub(super) async fn run(asked: Collect, stores: &Stores, lines: &Lines) -> Result<Value, Failure> {
    let (stop, options) = (Stop::new(), asked.options(stores));
    let _leaving = Leaving(stop.clone());
    let (collector, lines) = (stores.collector.clone(), lines.clone());
    let run = tokio::spawn(async move {
        collector
            .run(&options, &stop, &mut |progress| lines.progress(progress))
            .await
    });
    result(run.await??)
}

/// Tells what a run would do; the result is a [`Plan`](registry_gc::Plan). It has a thread of its own, where it can wait
/// for a client that takes its lines slowly.
pub(super) async fn plan(asked: Collect, stores: &Stores, lines: &Lines) -> Result<Value, Failure> {
    let (stop, options) = (Stop::new(), asked.options(stores));
    let _leaving = Leaving(stop.clone());
    let (collector, lines) = (stores.collector.clone(), lines.clone());
    let inside = Handle::current();
    let planned = tokio::task::spawn_blocking(move || {
        let mut each = |planned| {
            if asked.each {
                lines.found_blocking(planned);
            }
        };
        inside.block_on(collector.plan(&options, &stop, &mut each))
    });
    result(planned.await??)
}

/// All that is known of a blob: an [`Explanation`](registry_core::store::Explanation).
pub(super) async fn explain(digest: Digest, stores: &Stores) -> Result<Value, Failure> {
    result(stores.collector.explain(&digest).await?)
}

/// The latest runs: a list of [`Run`](registry_core::store::Run)s, the last first.
pub(super) async fn runs(limit: u32, stores: &Stores) -> Result<Value, Failure> {
    result(stores.collector.runs(limit as usize).await?)
}
