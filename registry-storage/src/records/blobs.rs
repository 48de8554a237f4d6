//! Blobs: who they belong to, leases, mounting, publishing.

use bytes::Bytes;
use registry_core::auth::Visible;
use registry_core::store::{BlobRecord, BlobState, Content, Entry, Location, Mark, Txn, UploadClaim};
use registry_core::weakening::{Weakening, keep, lack};
use registry_core::{BlobInfo, Context, Digest, Error, MountFrom, RepositoryName, Result, Timestamp, error};

use super::known::{self, Readable};
use super::values::{MARK, V1, decode, encode};
use super::{Attempt, Records, Repository, keys, values};

/// Most repositories looked at to find one from which a caller may mount without saying which.
const MOUNT_CANDIDATES: usize = 1000;

/// The same for a caller who does not see all of them. Each that finds none pays for so many, as the time would tell how many hold
/// the blob where the caller may not look.
const MOUNT_CANDIDATES_SOME_HIDDEN: usize = 16;

/// Why a blob belongs to a repository: the record that says so.
pub(super) struct Belonging {
    pub(super) key: String,
    pub(super) entry: Entry,
    /// When it stops saying so; edges have no end.
    until: Option<Timestamp>,
}

impl Belonging {
    /// Asserts that it still holds at commit.
    pub(super) fn assert(&self, txn: Txn) -> Txn {
        let txn = txn.at(&self.key, self.entry.stamp);
        match self.until {
            Some(until) => txn.before(until),
            None => txn,
        }
    }
}

impl Records {
    pub(super) async fn find_blob(&self, digest: &Digest) -> Result<Option<(values::Blob, Entry)>> {
        self.get(&keys::blob(digest)).await
    }

    /// A blob that belongs somewhere, by what `belonging` finds. It is looked for also if there is no such blob, and what the record says is
    /// read only if it was found: the time would tell whether there is one where the caller may not look (CVE-2024-39897).
    async fn find_belonging(
        &self,
        digest: &Digest,
        belonging: impl Future<Output = Result<Option<Belonging>>>,
    ) -> Result<Option<(values::Blob, Entry, Belonging)>> {
        let key = keys::blob(digest);
        let entry = self.entry(&key).await?;
        let belonging = belonging.await?;
        match (entry, belonging) {
            (Some(entry), Some(belonging)) => Ok(Some((decode(&key, &entry)?, entry, belonging))),
            _ => Ok(None),
        }
    }

    /// Why the blob belongs to the repository, if it does: an edge there, or an unexpired lease.
    pub(super) async fn belonging(
        &self,
        repository: &str,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<Belonging>> {
        if let Some((key, entry)) = self
            .scan(&keys::edges_of(digest, repository), None, 1)
            .await?
            .pop()
        {
            return Ok(Some(Belonging {
                key,
                entry,
                until: None,
            }));
        }
        if lack(Weakening::DeferredOpens) {
            let deferrals = keys::deferrals_of(digest, repository);
            if let Some((key, entry)) = self.scan(&deferrals, None, 1).await?.pop() {
                let until = None;
                return Ok(Some(Belonging { key, entry, until }));
            }
        }
        Ok(self.unexpired_leases(repository, digest, now).await?.pop())
    }

    /// The repository's unexpired leases on a blob. Looks once into each bucket, however many repositories share it.
    pub(super) async fn unexpired_leases(
        &self,
        repository: &str,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Vec<Belonging>> {
        let (table, mut after, mut found) =
            (keys::leases(digest), keys::leases_ending(digest, now), Vec::new());
        while let Some((key, _)) = self.scan(&table, Some(&after), 1).await?.pop() {
            let Some((end, _)) = keys::parse_lease(digest, &key) else {
                return Err(Error::internal(format!("record {key} is no lease")));
            };
            let key = keys::lease(digest, end, repository);
            if let Some(entry) = self.entry(&key).await? {
                found.push(Belonging {
                    key,
                    entry,
                    until: Some(end),
                });
            }
            after = keys::leases_ending(digest, end);
        }
        Ok(found)
    }

    /// When the current bucket ends, and when a lease taken in it does.
    pub(super) fn bucket(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let length = (self.lifetimes.bucket.as_millis() as u64).max(1);
        let end = Timestamp((now.0 / length + 1) * length);
        match keep(Weakening::LeaseEndsWithItsBucket) {
            true => (end, end + self.lifetimes.grace),
            false => (end, Timestamp(end.0 - length) + self.lifetimes.grace),
        }
    }

    /// Adds a lease in the current bucket, and its entry in the collector's queue, asserting at commit that the
    /// bucket is still the current one: so the lease lasts at least the grace from the moment it exists.
    pub(super) fn add_lease(&self, txn: Txn, repository: &str, digest: &Digest, now: Timestamp) -> Txn {
        self.put_lease(txn.before(self.bucket(now).0), repository, digest, now)
    }

    /// The same without asserting the time.
    fn put_lease(&self, txn: Txn, repository: &str, digest: &Digest, now: Timestamp) -> Txn {
        let (_, lease_end) = self.bucket(now);
        txn.put(keys::lease(digest, lease_end, repository), MARK)
            .put(keys::pending(lease_end, digest), MARK)
    }

    /// Adds an entry to the collector's queue that is due at once: since the beginning of the current bucket, so that all
    /// of one bucket are one.
    pub(super) fn add_pending(&self, txn: Txn, digest: &Digest, now: Timestamp) -> Txn {
        let (bucket_end, _) = self.bucket(now);
        txn.before(bucket_end)
            .put(keys::pending(bucket_end - self.lifetimes.bucket, digest), MARK)
    }

    /// Whether a pusher can be told without a write that the blob exists: it is live, and belongs to the repository by an
    /// edge, or by a lease that was taken in the current bucket.
    fn is_told(
        &self,
        repository: &str,
        digest: &Digest,
        blob: &values::Blob,
        belonging: Option<&Belonging>,
        now: Timestamp,
    ) -> bool {
        let holds = |belonging: &Belonging| {
            keys::is_edge(&belonging.key)
                || belonging.key == keys::lease(digest, self.bucket(now).1, repository)
        };
        blob.state == BlobState::Live && (belonging.is_some_and(holds) || lack(Weakening::OlderLeaseSuffices))
    }

    /// Asserts that the blob is as it was read, and live; a condemned one is revived by the same transaction.
    pub(super) fn assert_live(&self, txn: Txn, digest: &Digest, blob: &values::Blob, entry: &Entry) -> Txn {
        let key = keys::blob(digest);
        let txn = txn.at(&key, entry.stamp);
        match blob.state {
            BlobState::Live => txn,
            BlobState::Condemned { .. } => txn.put(
                key,
                encode(&values::Blob {
                    state: BlobState::Live,
                    ..blob.clone()
                }),
            ),
        }
    }

    /// `blob`.
    pub(super) async fn readable_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<BlobRecord> {
        if let Some(Readable { record, until }) = self.answers.blob(self.kv(), name, digest) {
            match until {
                None => return Ok(record),
                Some(until) if self.clock().await? < until => return Ok(record),
                Some(_) => {}
            }
        }
        let of_name = self.kv().mark(&keys::repository(name.as_str()));
        let repository = self.known(name).await?;
        let of_blob = self.kv().mark(&keys::blob(digest));
        let belonging = async {
            let now = self.clock().await?;
            self.belonging(&repository.id, digest, now).await
        };
        let found = self.find_belonging(digest, belonging).await?;
        // A condemned one belongs nowhere, even if a lease of its next life was found: its bytes may go any time.
        let Some((blob, entry, belonging)) = found.filter(|(blob, ..)| blob.state == BlobState::Live) else {
            return Err(error::blob_unknown(digest));
        };
        if blob.suspect {
            return Err(error::blob_lost(digest));
        }
        let record = blob.record(digest, &entry);
        self.keep_blob(name, [of_name, of_blob], &belonging, &record)
            .await?;
        Ok(record)
    }

    /// Keeps what a live blob was found to be, for as long as the record is there by which it belongs where it was asked for, and
    /// until that ends by itself.
    async fn keep_blob(
        &self,
        name: &RepositoryName,
        [of_name, of_blob]: [Option<Mark>; 2],
        belonging: &Belonging,
        found: &BlobRecord,
    ) -> Result<()> {
        if found.state == BlobState::Live
            && (belonging.until.is_some() || keys::is_edge(&belonging.key))
            && let Some(of_belonging) = self.kv().mark(&belonging.key)
            && self.entry(&belonging.key).await?.is_some()
        {
            let marks = known::all([of_name, of_blob, Some(of_belonging)]);
            let (record, until) = (found.clone(), belonging.until);
            self.answers.keep_blob(name, marks, &Readable { record, until });
        }
        Ok(())
    }

    /// `lease`: a pusher is told that the blob exists.
    pub(super) async fn try_lease(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Attempt<BlobRecord>> {
        // Live, and here by an edge: what a pusher can be told without a write. A lease is looked for each time: it may be given up
        // between a look at the marks and one at the clock.
        if let Some(Readable { record, until: None }) = self.answers.blob(self.kv(), name, digest) {
            return Ok(Attempt::Done(record));
        }
        let of_name = self.kv().mark(&keys::repository(name.as_str()));
        let repository = self.known(name).await?;
        let of_blob = self.kv().mark(&keys::blob(digest));
        let now = self.clock().await?;
        let belonging = self.belonging(&repository.id, digest, now);
        let found = self.find_belonging(digest, belonging).await?;
        let Some((blob, entry, belonging)) = found.filter(|(blob, ..)| !blob.suspect) else {
            return Err(error::blob_unknown(digest));
        };
        if self.is_told(&repository.id, digest, &blob, Some(&belonging), now) {
            let record = blob.record(digest, &entry);
            self.keep_blob(name, [of_name, of_blob], &belonging, &record)
                .await?;
            return Ok(Attempt::Done(record));
        }
        let mut txn = self.assert_name(Txn::new().named("lease"), name, &repository, now);
        if keep(Weakening::LeaseWithoutLive) {
            txn = belonging.assert(self.assert_live(txn, digest, &blob, &entry));
        }
        self.commit_lease(txn, &repository, digest, now, blob, &entry)
            .await
    }

    async fn commit_lease(
        &self,
        txn: Txn,
        repository: &Repository,
        digest: &Digest,
        now: Timestamp,
        blob: values::Blob,
        entry: &Entry,
    ) -> Result<Attempt<BlobRecord>> {
        let txn = match keep(Weakening::LeaseTimedByEarlierRead) {
            true => self.add_lease(txn, &repository.id, digest, now),
            false => self.put_lease(txn, &repository.id, digest, now),
        };
        Ok(match self.commit(txn).await? {
            Attempt::Again => Attempt::Again,
            Attempt::Done(stamp) => {
                let mut record = blob.record(digest, entry);
                if record.state != BlobState::Live {
                    (record.state, record.stamp) = (BlobState::Live, stamp);
                }
                Attempt::Done(record)
            }
        })
    }

    /// `lease`, by mounting.
    pub(super) async fn try_mount(
        &self,
        ctx: &Context,
        name: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Result<Attempt<Option<BlobRecord>>> {
        let now = self.clock().await?;
        let source = async {
            match from {
                MountFrom::Repository(source) => match self.lookup(source).await? {
                    Some(source) => self.belonging(&source.id, digest, now).await,
                    None => Ok(None),
                },
                MountFrom::Anywhere => self.visible_source(ctx, digest, now).await,
            }
        };
        let found = self.find_belonging(digest, source).await?;
        let Some((blob, entry, source)) = found.filter(|(blob, ..)| !blob.suspect) else {
            return Ok(Attempt::Done(None));
        };
        let repository = self.known_or_new(name).await?;
        let here = self.belonging(&repository.id, digest, now).await?;
        if self.is_told(&repository.id, digest, &blob, here.as_ref(), now) {
            return Ok(Attempt::Done(Some(blob.record(digest, &entry))));
        }
        let mut txn = self.assert_name(Txn::new().named("lease"), name, &repository, now);
        if keep(Weakening::LeaseWithoutLive) {
            txn = source.assert(self.assert_live(txn, digest, &blob, &entry));
        }
        Ok(
            match self
                .commit_lease(txn, &repository, digest, now, blob, &entry)
                .await?
            {
                Attempt::Again => Attempt::Again,
                Attempt::Done(record) => Attempt::Done(Some(record)),
            },
        )
    }

    /// A repository that the caller may see and to which the blob belongs: by an edge, else by a lease. To find none takes as
    /// long whoever else it belongs to.
    async fn visible_source(
        &self,
        ctx: &Context,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<Belonging>> {
        match &ctx.visible {
            Visible::All => self.source_among(MOUNT_CANDIDATES, ctx, digest, now).await,
            // What a token names.
            Visible::Only { names, prefixes } if prefixes.is_empty() => {
                for name in names.iter().take(MOUNT_CANDIDATES) {
                    if let Some(source) = self.lookup(name).await?
                        && let Some(belonging) = self.belonging(&source.id, digest, now).await?
                    {
                        return Ok(Some(belonging));
                    }
                }
                Ok(None)
            }
            Visible::Only { .. } => {
                self.source_among(MOUNT_CANDIDATES_SOME_HIDDEN, ctx, digest, now)
                    .await
            }
        }
    }

    /// The same, among the first so many repositories to which the blob belongs.
    async fn source_among(
        &self,
        mut candidates: usize,
        ctx: &Context,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<Belonging>> {
        for (table, mut after) in [
            (keys::edges(digest), None),
            (keys::leases(digest), Some(keys::leases_ending(digest, now))),
        ] {
            while let Some((key, entry)) = self.scan(&table, after.as_deref(), 1).await?.pop() {
                if candidates == 0 {
                    return Ok(None);
                }
                candidates -= 1;
                let lease = keys::parse_lease(digest, &key);
                let id = match lease {
                    Some((_, id)) => id,
                    None => key[table.len()..].split('/').next().unwrap_or_default(),
                };
                if self.is_visible(ctx, id).await? {
                    return Ok(Some(Belonging {
                        until: lease.map(|(end, _)| end),
                        key,
                        entry,
                    }));
                }
                // On to the next repository's edges, or to the next lease.
                after = Some(if lease.is_some() {
                    key.clone()
                } else {
                    format!("{table}{id}/~")
                });
            }
        }
        if ctx.visible != Visible::All {
            self.look_in_vain(candidates, ctx, digest).await?;
        }
        Ok(None)
    }

    /// What it takes to look at so many more repositories to which a blob belongs, done to whatever repository there is.
    async fn look_in_vain(&self, candidates: usize, ctx: &Context, digest: &Digest) -> Result<()> {
        let (all, mut after) = (keys::named(""), None::<String>);
        for _ in 0..candidates {
            let (key, _) = match self.scan(&all, after.as_deref(), 1).await?.pop() {
                Some(found) => found,
                None => match self.scan(&all, None, 1).await?.pop() {
                    Some(first) => first,
                    None => return Ok(()),
                },
            };
            let id = key[all.len()..].split('/').next().unwrap_or_default();
            let _lease = keys::parse_lease(digest, &key);
            let _seen = self.is_visible(ctx, id).await?;
            after = Some(format!("{all}{id}~"));
        }
        Ok(())
    }

    /// Whether the caller may see the repository that has this id; one that was deleted has no name to be seen by.
    async fn is_visible(&self, ctx: &Context, id: &str) -> Result<bool> {
        let named = self.get::<values::Named>(&keys::named(id)).await?;
        Ok(named.is_some_and(|(named, _)| ctx.visible.contains(&named.name)))
    }

    /// `mark_suspect`. If the record has changed meanwhile, what was found is not about it, and nothing is said.
    pub(super) async fn do_mark_suspect(&self, record: &BlobRecord) -> Result<()> {
        let key = keys::blob(&record.info.digest);
        let value = values::Blob {
            v: V1,
            size: record.info.size,
            location: record.location.clone(),
            state: record.state,
            suspect: true,
        };
        self.commit(
            Txn::new()
                .named("mark_suspect")
                .at(&key, record.stamp)
                .put(key, encode(&value)),
        )
        .await?;
        Ok(())
    }

    /// `publish`: consumes a claim and makes its bytes a blob of the claim's repository. Whichever location the
    /// record does not name afterwards is doomed: the claim's, or the one that the record named before.
    pub(super) async fn try_publish(
        &self,
        claim: &UploadClaim,
        info: &BlobInfo,
        content: &Content,
    ) -> Result<Attempt<BlobRecord>> {
        let digest = &info.digest;
        let (repository, upload) = self.claimed(claim).await?;
        let now = self.clock().await?;
        let key = keys::blob(digest);
        let found = self.find_blob(digest).await?;

        let mut txn = self.assert_name(Txn::new().named("publish"), &claim.repository, &repository, now);
        txn = match keep(Weakening::PublishWithoutClaim) {
            true => self.consume(txn, claim, &upload),
            false => txn
                .delete(keys::upload(&claim.id))
                .delete(keys::expiry(upload.0.expires, &claim.id)),
        };
        txn = txn.unchanged(&key, found.as_ref().map(|(_, entry)| entry));
        let blob = match &found {
            // Keep or revive: the bytes that are there win.
            Some((blob, _)) if !blob.suspect => values::Blob {
                state: BlobState::Live,
                ..blob.clone()
            },
            // Fresh, or swap: the new bytes win.
            _ => {
                if let Some((lost, _)) = &found {
                    let hold = match keep(Weakening::SwappedHeldTooShort) {
                        true => self.lifetimes.longest_read,
                        false => self.lifetimes.longest_write,
                    };
                    txn = self.doom(txn, &lost.location, now, hold);
                    txn = txn.delete(keys::inline(digest));
                }
                let location = match content {
                    Content::Uploaded => claim.location.clone(),
                    Content::Inline(bytes) => {
                        txn = txn.put(keys::inline(digest), bytes.clone());
                        Location::Inline
                    }
                };
                values::Blob {
                    v: V1,
                    size: info.size,
                    location,
                    state: BlobState::Live,
                    suspect: false,
                }
            }
        };
        let revives = found
            .as_ref()
            .is_some_and(|(before, _)| before.state != BlobState::Live);
        if blob.location != claim.location && (keep(Weakening::ReviveForgetsLoser) || !revives) {
            txn = self.doom(txn, &claim.location, now, self.hold_for_writers());
        }
        let kept = found.filter(|(before, _)| !before.suspect && before.state == BlobState::Live);
        if kept.is_none() {
            txn = txn.put(&key, encode(&blob));
        }
        let txn = match keep(Weakening::PublishTimedByEarlierRead) {
            true => self.add_lease(txn, &repository.id, digest, now),
            false => self.put_lease(txn, &repository.id, digest, now),
        };
        Ok(match self.commit(txn).await? {
            Attempt::Done(stamp) => {
                let entry = kept.map_or(
                    Entry {
                        value: Bytes::new(),
                        stamp,
                    },
                    |(_, entry)| entry,
                );
                Attempt::Done(blob.record(digest, &entry))
            }
            Attempt::Again => Attempt::Again,
        })
    }
}
