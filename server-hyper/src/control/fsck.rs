//! `{"fsck":{…}}`: checks the records and the blobs, and repairs them.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use registry_storage::records::check::{Finding, Options, Report, Told, Usage};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

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

/// Checks, and says all that is found. The check stands still while the client does not take what was found.
pub(super) async fn fsck(request: Fsck, stores: &Stores, lines: &Lines) -> Result<Report, Failure> {
    let (sender, mut found) = mpsc::unbounded_channel();
    let mut tell = |told: Told<'_>| {
        let what = match told {
            Told::Progress(report) => return lines.progress(report),
            Told::Found(finding) => Found::Finding(finding.clone()),
            Told::Usage(usage) => Found::Usage(usage.clone()),
        };
        // The receiver lives as long as the check.
        let _gone = sender.send(what);
    };
    let report = {
        let mut check = pin!(stores.check(request.options(), &mut tell));
        loop {
            match select(pin!(found.recv()), check.as_mut()).await {
                Either::Left((Some(what), _)) => lines.found(what).await?,
                Either::Left((None, check)) => break check.await?,
                Either::Right((report, _)) => break report?,
            }
        }
    };
    found.close();
    while let Some(what) = found.recv().await {
        lines.found(what).await?;
    }
    Ok(report)
}
