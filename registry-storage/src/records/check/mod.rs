//! Whether the records agree with each other and with the bytes: what `fsck` is for a file system.
//!
//! The check reads every record page by page and looks up what each must agree with: it recomputes from the bytes of each
//! manifest what must be kept for it, and from the records which locations may be in use. It takes little memory however
//! much there is: beside a page, a fingerprint for each of a bounded number of locations at a time.
//!
//! It may run while others write: what it suspects is asserted by one transaction before it is told, and the repair is
//! that transaction with writes ([`suspicion`]). Repairs follow the tables in an order in which none makes work for an
//! earlier one, so that a second check finds nothing to repair.
//!
//! What is wrong may also hide what is not: a key that was changed lies where nobody looks for it, or in the way of what
//! lies behind. So the check first goes through everything in its order, and remembers of which tables it may not have
//! seen every record ([`walk`]). What would follow from what is not in them is told and never done.
//!
//! It lets others run after every page and every finding: whoever drops it there stops it, and whoever waits before polling
//! it again has it wait.
//!
//! What counters must add up to is for those who charge them to say: here they are only looked at for what no charge can
//! make. What a repository holds is added up from the records ([`Usage`]). Tables that this version does not know are
//! only read through, for records that are damaged.

mod blobs;
mod collections;
mod counters;
mod deep;
mod finding;
mod holders;
mod locations;
mod look;
mod manifests;
mod notes;
mod orphans;
mod queue;
mod repositories;
mod suspicion;
mod table;
mod tags;
mod trash;
mod uploads;
mod usage;
mod walk;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use registry_core::store::{BlobStore, Entry};
use registry_core::{Digest, Result};

pub use finding::{Finding, FindingKind, Options, Repair, Report, Told, Usage};

use super::{Records, keys};
use suspicion::Suspicion;
use table::{Status, Table};
use usage::Held;
use walk::{Gaps, Walk};
use wanted::Wanted;

/// Who is told of findings and progress.
pub type Tell<'a> = &'a mut (dyn FnMut(Told<'_>) + Send);

impl Records {
    /// Checks all records, and that the bytes of every blob are there in `blobs`. Each finding is told at once, so
    /// that none is held in memory; the report counts them. Between any two findings it lets others run. Ends when it is
    /// dropped, which takes effect within a page of records.
    ///
    /// # Errors
    /// If the records or the blobs cannot be read at all. A damaged record is a finding.
    pub async fn check(&self, blobs: &dyn BlobStore, options: Options, tell: Tell<'_>) -> Result<Report> {
        let mut checker = Checker {
            records: self,
            blobs,
            options,
            tell: Mutex::new(tell),
            report: Report::default(),
            status: None,
            usage: BTreeMap::new(),
            counted: None,
            sized: None,
            wanted: Wanted::default(),
            unread: BTreeSet::new(),
            gaps: Gaps::default(),
            marked: BTreeSet::new(),
        };
        checker.all().await?;
        Ok(checker.reported())
    }
}

/// A check under way.
struct Checker<'a> {
    records: &'a Records,
    blobs: &'a dyn BlobStore,
    options: Options,
    /// Never locked: only what makes this shareable between threads.
    tell: Mutex<Tell<'a>>,
    report: Report,
    /// What was found last about a repository's id, since records come sorted by it.
    status: Option<(String, Status)>,
    /// What repositories hold, by their ids.
    usage: BTreeMap<String, Held>,
    /// The blob and the repository of the edge that was counted last, since edges come sorted by them.
    counted: Option<(Digest, String)>,
    /// The blob whose record was looked at last, and its size.
    sized: Option<(Digest, u64)>,
    /// Blobs whose bytes are nowhere that is known.
    wanted: Wanted,
    /// Blobs of whose bytes something was told already; a bounded number.
    unread: BTreeSet<Digest>,
    /// Of which tables not every record may have been seen.
    gaps: Gaps,
    /// Blobs that this check marked as lost; a bounded number.
    marked: BTreeSet<Digest>,
}

/// How many digests are remembered of what should not be at all.
const REMEMBERED: usize = 100_000;
/// Records of any table held at once, of which some have megabytes.
const SURVEYED: usize = 16;

impl Checker<'_> {
    /// In this order, what one repair makes is looked at by those behind it.
    async fn all(&mut self) -> Result<()> {
        use Table as T;
        self.survey().await?;
        for table in [T::Repositories, T::Names, T::Dropped] {
            self.table(table).await?;
        }
        // Bytes bring back the records of manifests, these what they name, and that the rest.
        for table in [
            T::Contents,
            T::Trash,
            T::Manifests,
            T::Children,
            T::Parents,
            T::Referrers,
        ] {
            self.table(table).await?;
        }
        for table in [
            T::Tags,
            T::Mirrors,
            T::Untagged,
            T::Purges,
            T::Pieces,
            T::History,
            T::Trims,
        ] {
            self.table(table).await?;
        }
        // A record that gave up a location that is another's must not be mended there.
        self.shared_locations().await?;
        for table in [T::Inline, T::Blobs] {
            self.table(table).await?;
        }
        if self.options.deep {
            self.hash_all().await?;
        }
        for table in [T::Edges, T::Deferred, T::Trashed, T::Leases, T::Queue] {
            self.table(table).await?;
        }
        self.unqueued().await?;
        for table in [T::Uploads, T::Expiries, T::Doomed] {
            self.table(table).await?;
        }
        self.counters().await?;
        self.table(T::Events).await?;
        // Records first: what they lack is made, and then what they do not have is taken away.
        for table in [T::Rows, T::Uniques, T::Indexes, T::Marks] {
            self.table(table).await?;
        }
        self.sequences().await?;
        self.unknown_tables().await?;
        if self.options.repair && !self.gaps.is_empty() {
            // What was mended is in nobody's way any more.
            self.survey().await?;
        }
        self.orphans().await?;
        self.tell_gaps().await;
        self.tell_usage().await
    }

    /// Goes through everything that there is, in its order, for what is in the way.
    async fn survey(&mut self) -> Result<()> {
        self.gaps.forget_walks();
        let mut walk = Walk::again("", SURVEYED);
        while self.next(&mut walk).await?.is_some() {}
        Ok(())
    }

    /// What may be wrong about a record, and what it must agree with.
    async fn examine(&mut self, table: Table, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        match table {
            Table::Repositories => self.repository(key, entry).await,
            Table::Names => self.name(key, entry).await,
            Table::Dropped => self.dropped(key, entry).await,
            Table::Contents => self.content(key, entry).await,
            Table::Manifests => self.manifest(key, entry).await,
            Table::Children => self.children(key, entry).await,
            Table::Parents => self.parent(key, entry).await,
            Table::Referrers => self.referrer(key, entry).await,
            Table::Tags => self.tag(key, entry).await,
            Table::Mirrors => self.mirror(key, entry).await,
            Table::Blobs => self.blob(key, entry).await,
            Table::Inline => self.inline(key, entry).await,
            Table::Edges | Table::Deferred | Table::Trashed => self.edge(table, key, entry).await,
            Table::Leases => self.lease(key, entry).await,
            Table::Queue => Ok(queue::entry(key, entry)),
            Table::Uploads => self.upload(key, entry).await,
            Table::Expiries => self.expiry(key, entry).await,
            Table::Doomed => self.doomed(key, entry).await,
            Table::Events => Ok(repositories::event(key, entry)),
            Table::Trash => self.trash(key, entry).await,
            Table::Untagged => self.untagged(key, entry).await,
            Table::Purges => Ok(trash::purge(key, entry)),
            Table::Pieces => self.piece(key, entry).await,
            Table::History | Table::Trims => self.history(table, key, entry).await,
            Table::Rows => self.row(key, entry).await,
            Table::Uniques => self.unique(key, entry).await,
            Table::Indexes => self.index(key, entry).await,
            // They hold nothing.
            Table::Marks => Ok(Vec::new()),
        }
    }

    /// One more record was looked at.
    fn seen(&mut self) {
        self.report.records += 1;
        if self.report.records.is_multiple_of(1000) {
            self.progress();
        }
    }

    fn progress(&mut self) {
        let report = self.reported();
        self.say(Told::Progress(&report));
    }

    /// The report as it is so far.
    fn reported(&self) -> Report {
        Report {
            forgotten: self.wanted.forgotten(),
            incomplete: self.gaps.all(),
            ..self.report.clone()
        }
    }

    fn say(&mut self, told: Told<'_>) {
        (self.tell.get_mut().unwrap_or_else(PoisonError::into_inner))(told);
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
