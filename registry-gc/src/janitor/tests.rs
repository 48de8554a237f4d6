//! What fails for one entry is counted, and the rest is done.

use std::collections::BTreeSet;
use std::ops::Range;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use registry_core::store::{Collected, Doomed, Location, Pending, Stamp, StoreError};
use registry_core::{BlobRead, Error, Timestamp, UploadId};

use super::*;

/// Uploads that have expired and locations that are doomed; those that are bad cannot be dealt with.
struct Waiting {
    uploads: Mutex<BTreeSet<u128>>,
    doomed: Mutex<BTreeSet<u64>>,
    bad: u128,
}

impl Waiting {
    fn new(uploads: u128, doomed: u64, bad: u128) -> Arc<Waiting> {
        Arc::new(Waiting {
            uploads: Mutex::new((0..uploads).collect()),
            doomed: Mutex::new((0..doomed).collect()),
            bad,
        })
    }
}

fn damaged() -> Error {
    Error::internal("a record is damaged")
}

fn location(number: u64) -> Location {
    Location::File(format!("{number:08}"))
}

#[async_trait]
impl Reclaim for Waiting {
    async fn due(&self, _limit: usize) -> Result<Vec<Pending>> {
        Ok(Vec::new())
    }

    async fn collect(&self, _entry: &Pending) -> Result<Collected> {
        Ok(Collected::Dropped)
    }

    async fn doomed(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Doomed>> {
        let all = self.doomed.lock().unwrap();
        let waiting = all.iter().map(|number| Doomed {
            location: location(*number),
            not_before: Timestamp(0),
            stamp: Stamp(*number),
        });
        let next = waiting.filter(|doomed| after.is_none_or(|after| doomed.location > *after));
        Ok(next.take(limit).collect())
    }

    async fn clear_doomed(&self, doomed: &Doomed) -> Result<()> {
        if u128::from(doomed.stamp.0) < self.bad {
            return Err(damaged());
        }
        self.doomed.lock().unwrap().remove(&doomed.stamp.0);
        Ok(())
    }

    async fn expired_uploads(&self, limit: usize) -> Result<Vec<UploadId>> {
        let expired = self.uploads.lock().unwrap();
        Ok(expired.iter().take(limit).map(|id| UploadId::new(*id)).collect())
    }

    async fn abandon(&self, id: &UploadId) -> Result<bool> {
        let id = u128::from_str_radix(id.as_str(), 16).unwrap();
        if id < self.bad {
            return Err(damaged());
        }
        Ok(self.uploads.lock().unwrap().remove(&id))
    }

    async fn sweep_repositories(&self, _limit: usize) -> Result<bool> {
        match self.bad {
            0 => Ok(false),
            _ => Err(damaged()),
        }
    }

    async fn sweep_manifests(&self, _limit: usize) -> Result<bool> {
        Ok(false)
    }

    async fn purge_trash(&self, _limit: usize) -> Result<bool> {
        Ok(false)
    }
}

struct Nothing;

#[async_trait]
impl BlobStore for Nothing {
    async fn read(&self, location: &Location, _range: Range<u64>) -> Result<BlobRead, StoreError> {
        Err(StoreError::Missing(location.clone()))
    }

    async fn size(&self, _location: &Location) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    async fn unlink(&self, _location: &Location) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, _after: Option<&Location>, _limit: usize) -> Result<Vec<Location>, StoreError> {
        Ok(Vec::new())
    }
}

/// None of these stores waits for anything.
fn run(records: &Arc<Waiting>) -> Swept {
    let janitor = Janitor::new(Arc::clone(records) as _, Arc::new(Nothing));
    let mut run = pin!(janitor.run_once());
    match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(swept) => swept.unwrap(),
        Poll::Pending => panic!("a store that is ready waits"),
    }
}

#[test]
fn what_is_damaged_keeps_nothing_else_from_being_given_back() {
    // More than one batch of each.
    let (uploads, doomed, bad) = (2 * BATCH as u64 + 5, 2 * BATCH as u64 + 7, 3);
    let records = Waiting::new(uploads.into(), doomed, bad);
    let swept = run(&records);
    let expected = Swept {
        abandoned: uploads - 3,
        unlinked: doomed - 3,
        failed: 3 + 3 + 1,
    };
    assert_eq!(swept, expected);
    assert_eq!(records.uploads.lock().unwrap().len(), 3);
    // They are counted again by the next run, and nothing else is there.
    assert_eq!(
        run(&records),
        Swept {
            abandoned: 0,
            unlinked: 0,
            failed: 7
        }
    );
}

#[test]
fn all_that_is_due_is_given_back_in_one_run() {
    let records = Waiting::new(2 * BATCH as u128, 2 * BATCH as u64, 0);
    let expected = Swept {
        abandoned: 2 * BATCH as u64,
        unlinked: 2 * BATCH as u64,
        failed: 0,
    };
    assert_eq!(run(&records), expected);
    assert_eq!(run(&records), Swept::default());
}
