//! `{"fsck":{…}}`: checks the records and the blobs, and repairs them.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use registry_storage::records::check::{Finding, Options, Report, Told, Usage};
use serde::{Deserialize, Serialize};

use super::{Failure, Lines};
use crate::stores::Stores;

/// What is to be checked, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fsck {
    /// Read and hash every blob.
    pub deep: bool,
    /// Repair what can be repaired without guessing.
    pub repair: bool,
    /// No server runs on these stores: all processors may hash, and nothing is overdue since nothing collects.
    pub stopped: bool,
}

/// What a check finds. As JSON an object with one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Something is not as it must be.
    Finding(Finding),
    /// What a repository holds.
    Usage(Usage),
}

/// Past this, what a collector has not done is told: it does what is due within minutes.
const OVERDUE: Duration = Duration::from_secs(24 * 3600);

impl Fsck {
    fn options(self) -> Options {
        let stopped = self.stopped;
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Options {
            deep: self.deep,
            repair: self.repair,
            // One processor for the check leaves the others to those who push and pull.
            workers: if stopped { workers } else { 1 },
            overdue: (!stopped).then_some(OVERDUE),
        }
    }
}

/// Checks, and says all that is found. The check lets others run after each finding, and stands still while the client
/// does not take it: so no more than one waits here.
pub(super) async fn fsck(request: Fsck, stores: &Stores, lines: &Lines) -> Result<Report, Failure> {
    let told = Mutex::new(Vec::new());
    let waiting = || told.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tell = |what: Told<'_>| match what {
        Told::Progress(report) => lines.progress(report),
        Told::Found(finding) => waiting().push(Found::Finding(finding.clone())),
        Told::Usage(usage) => waiting().push(Found::Usage(usage.clone())),
    };
    let mut check = pin!(stores.check(request.options(), &mut tell));
    loop {
        let ended = poll_fn(|context| match check.as_mut().poll(context) {
            Poll::Ready(report) => Poll::Ready(Some(report)),
            Poll::Pending if waiting().is_empty() => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        let found = std::mem::take(&mut *waiting());
        for what in found {
            lines.found(what).await?;
        }
        if let Some(report) = ended {
            return Ok(report?);
        }
    }
}
