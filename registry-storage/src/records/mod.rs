//! [`ManifestStore`] and [`Reclaim`](registry_core::store::Reclaim) on any [`Kv`]: the blob contract, transaction by transaction.
//!
//! Every method reads what it needs, builds one transaction that asserts all of it, and commits; if somebody was
//! faster it reads again. The transactions carry the names that they have in the model of the blob's life.

mod blobs;
mod charges;
pub mod check;
mod edges;
mod foresee;
mod giving_up;
mod history;
mod keys;
mod known;
mod lists;
mod loose;
mod manifests;
mod mend;
mod outlook;
mod past;
mod pieces;
mod queue;
mod reading;
mod reclaim;
mod runs;
mod scrub;
pub(crate) mod snapshot;
mod sweep;
mod trash;
mod undelete;
mod uploads;
mod values;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use registry_core::store::{
    BlobRecord, Content, Entry, Event, EventKind, Kv, KvError, Lifetimes, Location, ManifestRecord,
    ManifestStore, ManifestWrite, Stamp, Txn, UploadClaim,
};
use registry_core::weakening::{Weakening, keep};
use registry_core::{
    Algorithm, BlobInfo, Context, Descriptor, Digest, Error, ErrorKind, Manifest, MountFrom, Page,
    PutOutcome, Reference, RepositoryName, Result, Runtime, Tag, Timestamp, UploadId, error,
};
use serde::de::DeserializeOwned;

use known::Known;
use values::{MARK, V1, decode, encode};

/// How often a transaction is tried again when other writers are faster. Each loss means that another has won, so
/// this is reached only with more concurrent writers of one thing.
const ATTEMPTS: usize = 1000;

/// How often one damaged record is mended in a row. Others may be faster, or what tells it be damaged too.
const MENDS: usize = 10;

/// How long after a time was read a transaction that counts on it may commit, at most. Times are compared at commit;
/// this only bounds by how much a hold may be longer than asked for.
const SLACK: Duration = Duration::from_secs(60);

/// The least of it: without any, nothing that counts on a time could commit.
const LEAST_SLACK: Duration = Duration::from_millis(100);

/// Manifests, tags, edges, leases and claims, on a [`Kv`].
#[derive(Clone)]
pub struct Records {
    kv: Arc<dyn Kv>,
    runtime: Arc<dyn Runtime>,
    lifetimes: Lifetimes,
    /// More edges than these are taken in pieces.
    edges_at_once: usize,
    /// Whether all of the doomed are known to be in the order of their times.
    is_doomed_ordered: Arc<AtomicBool>,
    /// What was found before, as far as it is the same still.
    answers: Arc<Known>,
}

/// What a name means: the repository's id, and the record that says so, which every write asserts.
struct Repository {
    id: String,
    key: String,
    /// The record as read; none if this write is to make the repository.
    entry: Option<Entry>,
}

impl Repository {
    fn exists(&self) -> bool {
        self.entry.is_some()
    }
}

/// The outcome of one attempt at a transaction.
enum Attempt<T> {
    Done(T),
    /// Somebody was faster.
    Again,
}

impl<T> Attempt<T> {
    fn map<U>(self, done: impl FnOnce(T) -> U) -> Attempt<U> {
        match self {
            Attempt::Done(value) => Attempt::Done(done(value)),
            Attempt::Again => Attempt::Again,
        }
    }
}

/// The damaged record that was met last, and how often in a row. One that is damaged still after it was mended, time and
/// again, is an error, so that nobody mends it for ever.
#[derive(Default)]
struct Met {
    key: String,
    times: usize,
}

impl Met {
    /// Notes that it is met. Whether there is a point in mending it.
    fn again(&mut self, key: &str) -> bool {
        if self.key != key {
            *self = Met {
                key: key.to_owned(),
                times: 0,
            };
        }
        self.times += 1;
        self.times <= MENDS
    }
}

/// Runs a block that reads, decides and commits, until nobody was faster.
macro_rules! attempt {
    ($block:expr) => {{
        let mut tries = 0;
        loop {
            match $block.await? {
                crate::records::Attempt::Done(value) => break Ok(value),
                crate::records::Attempt::Again if tries < crate::records::ATTEMPTS => tries += 1,
                crate::records::Attempt::Again => break Err(crate::records::busy()),
            }
        }
    }};
}

use attempt;

fn busy() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "too many others write the same thing at once; try again",
    )
}

impl Records {
    /// Records on `kv`, which all of a registry's nodes share, with the same lifetimes.
    pub fn new(kv: Arc<dyn Kv>, runtime: Arc<dyn Runtime>, lifetimes: Lifetimes) -> Self {
        Records {
            kv,
            runtime,
            lifetimes,
            edges_at_once: pieces::EDGES_AT_ONCE,
            is_doomed_ordered: Arc::default(),
            answers: Arc::new(Known::new()),
        }
    }

    /// Takes more than so many edges of a deleted manifest in pieces, so that small worlds have pieces too.
    #[cfg(feature = "testkit")]
    #[must_use]
    pub fn in_pieces_of(self, edges: usize) -> Self {
        Records {
            edges_at_once: edges.max(1),
            ..self
        }
    }

    /// [`SLACK`], but no longer than the second delay, so that short lifetimes stay short; and long enough for a commit.
    fn slack(&self) -> Duration {
        SLACK.min(self.lifetimes.second_delay).max(LEAST_SLACK)
    }

    /// The records themselves: called by way of the `Arc`, which is a [`Kv`] too, each read would be a future more.
    fn kv(&self) -> &dyn Kv {
        &*self.kv
    }

    async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, Entry)>> {
        match self.entry(key).await? {
            Some(entry) => Ok(Some((decode(key, &entry)?, entry))),
            None => Ok(None),
        }
    }

    /// An entry; a damaged one is mended first, if others tell what it said.
    async fn entry(&self, key: &str) -> Result<Option<Entry>> {
        let mut met = Met::default();
        loop {
            match self.kv().get(key).await {
                Err(KvError::Damaged { key, .. }) if met.again(&key) => Box::pin(self.mend(&key)).await?,
                read => return read.map_err(failed),
            }
        }
    }

    async fn scan(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Entry)>> {
        let mut met = Met::default();
        loop {
            match self.kv().scan(prefix, after, limit).await {
                Err(KvError::Damaged { key, .. }) if met.again(&key) => Box::pin(self.mend(&key)).await?,
                read => return read.map_err(failed),
            }
        }
    }

    async fn any_under(&self, prefix: &str) -> Result<bool> {
        Ok(!self.scan(prefix, None, 1).await?.is_empty())
    }

    /// All entries under a prefix that is known to hold few, or as many as one manifest names.
    async fn all_under(&self, prefix: &str) -> Result<Vec<(String, Entry)>> {
        let mut all: Vec<(String, Entry)> = Vec::new();
        loop {
            let page = self
                .scan(prefix, all.last().map(|(key, _)| key.as_str()), 1000)
                .await?;
            let last = page.len() < 1000;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }

    async fn commit(&self, txn: Txn) -> Result<Attempt<Stamp>> {
        match self.kv().commit(txn).await {
            Ok(stamp) => Ok(Attempt::Done(stamp)),
            Err(KvError::Conflict(_)) => Ok(Attempt::Again),
            Err(KvError::Damaged { key, .. }) => {
                self.mend(&key).await?;
                Ok(Attempt::Again)
            }
            Err(other) => Err(failed(other)),
        }
    }

    async fn clock(&self) -> Result<Timestamp> {
        self.kv().now().await.map_err(failed)
    }

    /// What a name means; `NameUnknown` if nothing.
    async fn known(&self, name: &RepositoryName) -> Result<Repository> {
        match self.lookup(name).await? {
            Some(repository) => Ok(repository),
            None => Err(error::name_unknown(name)),
        }
    }

    async fn lookup(&self, name: &RepositoryName) -> Result<Option<Repository>> {
        let key = keys::repository(name.as_str());
        let found = self.get::<values::Repository>(&key).await?;
        Ok(found.map(|(record, entry)| Repository {
            id: record.id,
            key,
            entry: Some(entry),
        }))
    }

    /// What a name means, or an id for what it is about to mean.
    async fn known_or_new(&self, name: &RepositoryName) -> Result<Repository> {
        Ok(match self.lookup(name).await? {
            Some(repository) => repository,
            None => Repository {
                id: format!("{:032x}", self.runtime.random()),
                key: keys::repository(name.as_str()),
                entry: None,
            },
        })
    }

    /// Asserts what the name meant when it was read, or (`create_repository`) makes it mean what was prepared.
    fn assert_name(&self, txn: Txn, name: &RepositoryName, repository: &Repository, now: Timestamp) -> Txn {
        let txn = txn.unchanged(&repository.key, repository.entry.as_ref());
        if repository.exists() {
            return txn;
        }
        let record = values::Repository {
            v: V1,
            id: repository.id.clone(),
            created: now,
        };
        txn.put(&repository.key, encode(&record)).put(
            keys::named(&repository.id),
            encode(&values::Named {
                v: V1,
                name: name.clone(),
            }),
        )
    }

    /// Adds a location to the doomed, to be unlinked no sooner than `hold` after the commit.
    fn doom(&self, txn: Txn, location: &Location, now: Timestamp, hold: Duration) -> Txn {
        if *location == Location::Inline {
            return txn; // Inline bytes go in the very transaction that gives them up.
        }
        let base = now + self.slack();
        let record = values::Doomed {
            v: V1,
            location: location.clone(),
            not_before: base + hold,
        };
        txn.before(base)
            .put(keys::doomed(location), encode(&record))
            .put(keys::unlink(record.not_before, location), MARK)
    }

    /// How long a location is held for those who may still write to it.
    fn hold_for_writers(&self) -> Duration {
        match keep(Weakening::DoomedHeldTooShort) {
            true => self.lifetimes.longest_write,
            false => Duration::ZERO,
        }
    }

    /// Adds what happened to the feed, asserting that it happens about when it says: who counts from then adds the slack.
    fn tell(&self, txn: Txn, ctx: &Context, name: &RepositoryName, now: Timestamp, kind: EventKind) -> Txn {
        let event = Event {
            position: String::new(),
            at: now,
            actor: ctx.identity.to_string(),
            request_id: ctx.request_id.to_string(),
            repository: name.clone(),
            kind,
        };
        txn.before(now + self.slack()).append(keys::EVENT, encode(&event))
    }
}

/// Whether an error is of a record that cannot be read, rather than of all of them.
fn is_of_one_record(error: &Error) -> bool {
    let of_the_engine = error.source().and_then(|why| why.downcast_ref::<KvError>());
    matches!(of_the_engine, None | Some(KvError::Damaged { .. }))
}

/// An error of the records as the caller sees it.
fn failed(why: KvError) -> Error {
    match &why {
        KvError::Damaged { key, .. } => mend::lost(key),
        KvError::Full(_) => Error::new(
            ErrorKind::Unavailable,
            "the registry has no room left for records",
        )
        .with_source(why),
        KvError::OutcomeUnknown(_) => Error::new(
            ErrorKind::Unavailable,
            "whether this was written is not known; look, and try again",
        )
        .with_source(why),
        KvError::TooLarge(_) | KvError::Conflict(_) | KvError::Failed(_) => Error::internal(why),
    }
}

#[async_trait]
impl ManifestStore for Records {
    async fn now(&self) -> Result<Timestamp> {
        self.clock().await
    }

    fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    async fn blob_record(&self, digest: &Digest) -> Result<Option<BlobRecord>> {
        let found = self.get::<values::Blob>(&keys::blob(digest)).await?;
        Ok(found.map(|(blob, entry)| blob.record(digest, &entry)))
    }

    async fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<BlobRecord> {
        self.readable_blob(repository, digest).await
    }

    async fn inline_bytes(&self, digest: &Digest) -> Result<Option<Bytes>> {
        match self.kv.get(&keys::inline(digest)).await {
            Ok(entry) => Ok(entry.map(|entry| entry.value)),
            // Nothing else has them: as good as gone.
            Err(KvError::Damaged { .. }) => Ok(None),
            Err(other) => Err(failed(other)),
        }
    }

    async fn lease(&self, repository: &RepositoryName, digest: &Digest) -> Result<BlobRecord> {
        attempt!(self.try_lease(repository, digest))
    }

    async fn mount(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Option<BlobRecord>> {
        attempt!(self.try_mount(ctx, repository, digest, from))
    }

    async fn delete_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<()> {
        attempt!(self.try_delete_blob(repository, digest))
    }

    async fn mark_suspect(&self, record: &BlobRecord) -> Result<()> {
        self.do_mark_suspect(record).await
    }

    async fn claim(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        location: &Location,
        algorithm: Algorithm,
    ) -> Result<UploadClaim> {
        attempt!(self.try_claim(repository, id, location, algorithm))
    }

    async fn upload(&self, repository: &RepositoryName, id: &UploadId) -> Result<UploadClaim> {
        self.find_upload(repository, id).await
    }

    async fn touch(&self, claim: &UploadClaim) -> Result<UploadClaim> {
        attempt!(self.try_touch(claim))
    }

    async fn cancel(&self, claim: &UploadClaim) -> Result<()> {
        attempt!(self.try_cancel(claim))
    }

    async fn publish(&self, claim: &UploadClaim, blob: &BlobInfo, content: Content) -> Result<BlobRecord> {
        attempt!(self.try_publish(claim, blob, &content))
    }

    async fn put_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        write: ManifestWrite,
    ) -> Result<PutOutcome> {
        attempt!(self.try_put_manifest(ctx, repository, &write))
    }

    async fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Result<ManifestRecord> {
        self.manifest_record(repository, reference).await
    }

    async fn manifest_bytes(&self, repository: &RepositoryName, reference: &Reference) -> Result<Manifest> {
        self.read_manifest(repository, reference).await
    }

    async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        attempt!(self.try_delete_manifest_if(Txn::new(), ctx, repository, digest))
    }

    async fn delete_tag(&self, ctx: &Context, repository: &RepositoryName, tag: &Tag) -> Result<()> {
        attempt!(self.try_delete_tag(ctx, repository, tag))
    }

    async fn list_tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>> {
        self.page_of_tags(repository, after, limit).await
    }

    async fn list_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Descriptor>> {
        self.page_of_referrers(repository, subject, artifact_type, after, limit)
            .await
    }

    async fn list_repositories(
        &self,
        ctx: &Context,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RepositoryName>> {
        self.page_of_repositories(&ctx.visible, after, limit).await
    }

    async fn delete_repository(&self, ctx: &Context, repository: &RepositoryName) -> Result<()> {
        attempt!(self.try_delete_repository(ctx, repository))
    }

    async fn events(&self, after: Option<&str>, limit: usize) -> Result<Vec<Event>> {
        self.page_of_events(after, limit).await
    }
}
