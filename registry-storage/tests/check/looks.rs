//! How the check looks: twice before it condemns, never so long that nobody else runs, and with no conclusion from what
//! cannot be read.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use registry_core::BlobRead;
use registry_core::store::{BlobStore, Location, StoreError};
use registry_storage::fs::FsBytes;
use registry_storage::records::check::{Finding, FindingKind as Kind, Options, Repair, Report, Told};
use registry_storage::testkit::{block_on, read_all};

use super::house::{House, open};
use super::layer;

const REPAIRING: Options = Options {
    deep: true,
    repair: true,
    workers: 2,
    overdue: None,
};

/// Files that do not read as they are.
struct Failing {
    bytes: Arc<FsBytes>,
    how: How,
    looked: Mutex<BTreeSet<Location>>,
}

enum How {
    /// The first look at each shows a changed byte.
    WrongOnce,
    Never,
}

#[async_trait]
impl BlobStore for Failing {
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        let read = self.bytes.read(location, range).await?;
        match self.how {
            How::Never => Err(StoreError::Failed(io::Error::other("the disk is away"))),
            How::WrongOnce if self.looked.lock().unwrap().insert(location.clone()) => {
                let mut bytes = read_all(read).await.unwrap().to_vec();
                bytes[0] ^= 1;
                Ok(BlobRead::Bytes(bytes.into()))
            }
            How::WrongOnce => Ok(read),
        }
    }

    async fn size(&self, location: &Location) -> Result<Option<u64>, StoreError> {
        self.bytes.size(location).await
    }

    async fn unlink(&self, _: &Location) -> Result<(), StoreError> {
        unreachable!("a check unlinks nothing")
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        self.bytes.list(after, limit).await
    }
}

async fn check_on(house: &House, how: How) -> (Vec<Finding>, Report) {
    let blobs = Failing {
        bytes: house.bytes.clone(),
        how,
        looked: Mutex::default(),
    };
    let mut findings = Vec::new();
    let mut tell = |told: Told<'_>| {
        if let Told::Found(finding) = told {
            findings.push(finding.clone());
        }
    };
    let report = house.records.check(&blobs, REPAIRING, &mut tell).await.unwrap();
    (findings, report)
}

fn in_a_house(work: impl AsyncFnOnce(&House)) {
    let directory = tempfile::tempdir().unwrap();
    block_on(async {
        let house = open(directory.path());
        house.fill().await;
        work(&house).await;
    });
}

#[test]
fn bytes_that_are_right_at_a_second_look_are_not_condemned() {
    in_a_house(async |house| {
        let (findings, report) = check_on(house, How::WrongOnce).await;
        assert!(findings.is_empty() && report.is_well(), "{findings:#?}");
        assert_eq!(house.check(true).await.0, []);
    });
}

#[test]
fn that_bytes_cannot_be_read_condemns_none() {
    in_a_house(async |house| {
        // Its size is wrong too: only its bytes could say which of both is.
        house
            .replace(&format!("blob/{}", layer()), "40000", "39000")
            .await;
        let (findings, report) = check_on(house, How::Never).await;
        assert!(findings.len() >= 2, "{findings:#?}");
        assert!(
            findings.iter().all(|finding| finding.repair == Repair::No),
            "{findings:#?}"
        );
        assert_eq!((report.repaired, report.lost), (0, 0));
        let (findings, _) = house.check_as(REPAIRING).await;
        assert_eq!(
            (findings.len(), findings[0].kind),
            (1, Kind::BytesWrongSize),
            "{findings:#?}"
        );
        assert_eq!(house.check(true).await.0, []);
    });
}

#[test]
fn a_blob_that_is_only_marked_as_lost_is_not_well() {
    in_a_house(async |house| {
        std::fs::remove_file(house.file(&layer()).await).unwrap();
        let (findings, report) = house.check_as(REPAIRING).await;
        assert_eq!((findings.len() as u64, report.findings), (1, report.repaired));
        assert!(report.lost == 1 && !report.is_well(), "{report:?}");
        // Nor is it well the next time, until somebody pushes it.
        assert!(!house.check(true).await.1.is_well());
        house.push("a/app", super::house::LAYER).await;
        assert!(house.check(true).await.1.is_well());
    });
}

/// Polls a check until it has been told so many findings, or ends. How often others could run, and the most findings that
/// were told between two such times.
fn poll(house: &House, findings: usize) -> (usize, usize) {
    let (told, mut most, mut rests) = (Mutex::new(0), 0, 0);
    let mut tell = |what: Told<'_>| {
        if let Told::Found(_) = what {
            *told.lock().unwrap() += 1;
        }
    };
    let options = Options {
        repair: false,
        deep: false,
        ..REPAIRING
    };
    let mut check = pin!(house.records.check(&*house.bytes, options, &mut tell));
    let mut context = Context::from_waker(Waker::noop());
    let mut before = 0;
    loop {
        let ended = matches!(check.as_mut().poll(&mut context), Poll::Ready(Ok(_)));
        let now = *told.lock().unwrap();
        most = most.max(now - before);
        before = now;
        rests += 1;
        if ended || now >= findings {
            return (rests, most);
        }
        std::thread::yield_now();
    }
}

#[test]
fn others_run_between_any_two_findings_and_can_stop_the_check() {
    in_a_house(async |house| {
        for n in 0..20 {
            house.set(&format!("lease/none-{n:04}"), "{}").await;
        }
        let (rests, most) = poll(house, usize::MAX);
        assert!(rests > 20 && most == 1, "{rests}, {most}");
        // Dropped there, it has told no more.
        assert_eq!(poll(house, 3).1, 1);
    });
}
