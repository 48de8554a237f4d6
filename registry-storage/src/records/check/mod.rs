//! Whether the records agree with each other and with the bytes: what `fsck` is for a file system.
//!
//! The check reads every record page by page and looks up what each must agree with, so it takes little memory however
//! much there is: beside a page, a fingerprint for each of at most a million locations at a time. It changes nothing.
//! It is meant for a store that nobody writes to: it does not look at one moment, so what is written meanwhile may
//! look wrong.
//!
//! Two things are not checked. Counters can only be read, since nothing says yet what they must add up to. And tables
//! that this version does not know are only read through, for records that are damaged.

mod blobs;
mod finding;
mod locations;
mod manifests;
mod queue;
mod repositories;
mod tags;
mod walk;

use registry_core::store::BlobStore;
use registry_core::{Digest, Result};

pub use finding::{Finding, FindingKind, Options, Report, Told};

use super::{Records, keys};
use walk::Status;

/// Who is told of findings and progress.
pub type Tell<'a> = &'a mut (dyn FnMut(Told<'_>) + Send);

impl Records {
    /// Checks all records, and that the bytes of every blob are there in `blobs`. Each finding is told at once, so
    /// that none is held in memory; the report counts them.
    ///
    /// # Errors
    /// If the records or the blobs cannot be read at all. A damaged record is a finding.
    pub async fn check(&self, blobs: &dyn BlobStore, options: Options, tell: Tell<'_>) -> Result<Report> {
        let mut checker = Checker {
            records: self,
            blobs,
            deep: options.deep,
            tell,
            report: Report::default(),
            status: None,
        };
        checker.repositories().await?;
        checker.manifests().await?;
        checker.tags().await?;
        checker.blobs().await?;
        checker.holders().await?;
        checker.queue().await?;
        checker.uploads().await?;
        checker.locations().await?;
        checker.the_rest().await?;
        Ok(checker.report)
    }
}

/// A check under way.
struct Checker<'a> {
    records: &'a Records,
    blobs: &'a dyn BlobStore,
    deep: bool,
    tell: Tell<'a>,
    report: Report,
    /// What was found last about a repository's id, since records come sorted by it.
    status: Option<(String, Status)>,
}

impl Checker<'_> {
    fn found(&mut self, kind: FindingKind, key: &str, message: String) {
        self.report.findings += 1;
        (self.tell)(Told::Found(&Finding {
            kind,
            key: key.to_owned(),
            message,
        }));
    }

    /// One more record was looked at.
    fn seen(&mut self) {
        self.report.records += 1;
        if self.report.records.is_multiple_of(1000) {
            self.progress();
        }
    }

    fn progress(&mut self) {
        (self.tell)(Told::Progress(&self.report));
    }

    /// What is told of a key that is not of its table's form.
    fn not_a_key(&mut self, key: &str) {
        let message = format!("record {key} has a key that none of its table can have");
        self.found(FindingKind::DamagedRecord, key, message);
    }
}

/// The parts of a key behind its table.
fn parts<const N: usize>(key: &str) -> Option<[&str; N]> {
    let (_, rest) = key.split_once('/')?;
    let mut parts = rest.splitn(N, '/');
    let mut found = [""; N];
    for part in &mut found {
        *part = parts.next()?;
    }
    Some(found)
}

fn digest(text: &str) -> Option<Digest> {
    text.parse().ok()
}
