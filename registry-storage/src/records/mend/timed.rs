//! What is ordered by a time: leases, the queues, and the doomed.
//!
//! The checksum covers the key, so that what is damaged may be the key, and what it says untrue. None of these is
//! written again as it stands.

use registry_core::store::{Entry, KvError, Location, Txn};
use registry_core::{Digest, Result, Tag, UploadId};

use super::super::values::{MARK, V1, decode, encode};
use super::super::{Records, failed, keys, values};

impl Records {
    /// A lease becomes one that is taken now: an end that was changed may have been sooner or later than the true one,
    /// and no true one is later than this. What it holds is live then, as with every lease. A repository that was
    /// changed is none: ids are random. Nor is there such a blob if the digest was.
    pub(super) async fn mended_lease(
        &self,
        key: &str,
        digest: &str,
        repository: &str,
    ) -> Result<Option<Txn>> {
        let gone = Txn::new().delete(key);
        let Ok(digest) = digest.parse::<Digest>() else {
            return Ok(Some(gone));
        };
        Ok(Some(match self.find_blob(&digest).await? {
            None => gone.absent(keys::blob(&digest)),
            Some((blob, entry)) => {
                let now = self.clock().await?;
                let live = self.assert_live(gone, &digest, &blob, &entry);
                self.add_lease(live, repository, &digest, now)
            }
        }))
    }

    /// An entry of the collector's queue becomes due now. Whatever it names is looked at, and stays if anything holds it.
    pub(super) async fn mended_pending(&self, key: &str, digest: &str) -> Result<Option<Txn>> {
        let txn = Txn::new().delete(key);
        let Ok(digest) = digest.parse::<Digest>() else {
            return Ok(Some(txn));
        };
        let now = self.clock().await?;
        Ok(Some(txn.put(keys::pending(now, &digest), MARK)))
    }

    /// When a claim expires is for the claim to say; there is nothing to expire without one.
    pub(super) async fn mended_expiry(&self, key: &str, id: &str) -> Result<Option<Txn>> {
        let txn = Txn::new().delete(key);
        let Ok(id) = id.parse::<UploadId>() else {
            return Ok(Some(txn));
        };
        let claim = keys::upload(&id);
        let found: Option<Entry> = match self.kv.get(&claim).await {
            Ok(found) => found,
            // Neither tells the other.
            Err(KvError::Damaged { .. }) => return Ok(None),
            Err(other) => return Err(failed(other)),
        };
        let txn = txn.unchanged(&claim, found.as_ref());
        Ok(Some(match &found {
            Some(entry) => {
                let upload: values::Upload = decode(&claim, entry)?;
                txn.put(keys::expiry(upload.expires, &id), MARK)
            }
            None => txn,
        }))
    }

    /// When something leaves the trash is for its record to say.
    pub(super) async fn mended_purge(&self, key: &str, repository: &str, what: &str) -> Result<Option<Txn>> {
        let gone = Txn::new().delete(key);
        let record = match (what.parse::<Digest>(), what.parse::<Tag>()) {
            (Ok(digest), _) => keys::trash(repository, &digest),
            (_, Ok(tag)) => keys::untagged(repository, &tag),
            _ => return Ok(Some(gone)),
        };
        let found = match self.kv.get(&record).await {
            Ok(found) => found,
            // Neither tells the other.
            Err(KvError::Damaged { .. }) => return Ok(None),
            Err(other) => return Err(failed(other)),
        };
        let txn = gone.unchanged(&record, found.as_ref());
        let until = match &found {
            None => return Ok(Some(txn)),
            Some(entry) if what.contains(':') => decode::<values::Trashed>(&record, entry)?.until,
            Some(entry) => decode::<values::Untagged>(&record, entry)?.until,
        };
        Ok(Some(txn.put(keys::purge(until, repository, what), MARK)))
    }

    /// Since when a manifest is loose is for its entry in the queue to say, the latest if there are several. Without any its
    /// time begins anew.
    pub(super) async fn mended_loose(
        &self,
        txn: Txn,
        key: &str,
        repository: &str,
        digest: &str,
    ) -> Result<Txn> {
        let mut txn = txn.delete(key);
        let Ok(of) = digest.parse::<Digest>() else {
            return Ok(txn);
        };
        let (mut since, mut after) = (None, None::<String>);
        loop {
            let page = self
                .look_past(keys::LOOSENED, after.as_deref(), 1000)
                .await?
                .entries;
            for (queued, entry) in &page {
                if let Some((at, rest)) = keys::parse_timed(keys::LOOSENED, queued)
                    && rest.split_once('/') == Some((repository, digest))
                {
                    txn = txn.at(queued, entry.stamp).delete(queued);
                    since = Some(at);
                }
            }
            match page.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => break,
            }
        }
        let since = match since {
            Some(since) => since,
            None => self.clock().await?,
        };
        Ok(txn
            .put(key, encode(&values::Loose { v: V1, since }))
            .put(keys::loosened(since, repository, &of), MARK))
    }

    /// When a manifest without a tag goes is for its note to say.
    pub(super) async fn mended_loosened(&self, key: &str, repository: &str, digest: &str) -> Result<Txn> {
        let gone = Txn::new().delete(key);
        let Ok(of) = digest.parse::<Digest>() else {
            return Ok(gone);
        };
        let note = keys::loose(repository, &of);
        let found = match self.kv.get(&note).await {
            Ok(found) => found,
            Err(KvError::Damaged { .. }) => {
                let gone = gone.damaged(&note);
                return self.mended_loose(gone, &note, repository, digest).await;
            }
            Err(other) => return Err(failed(other)),
        };
        let txn = gone.unchanged(&note, found.as_ref());
        Ok(match &found {
            Some(entry) => {
                let since = decode::<values::Loose>(&note, entry)?.since;
                txn.put(keys::loosened(since, repository, &of), MARK)
            }
            None => txn,
        })
    }

    /// A location is doomed for as long as any can be held. If its name is what was changed, it is nobody's: the names
    /// of locations are random, and none is one flipped bit from another.
    pub(in crate::records) async fn mended_doomed(&self, key: &str) -> Result<Option<Txn>> {
        let location = match key[keys::DOOMED.len()..].split_once(':') {
            Some(("file", name)) => Location::File(name.to_owned()),
            Some(("object", name)) => Location::Object(name.to_owned()),
            _ => return Ok(None),
        };
        let hold = self.lifetimes.longest_write.max(self.lifetimes.longest_read);
        let not_before = self.clock().await? + self.slack() + hold;
        let value = values::Doomed {
            v: V1,
            location,
            not_before,
        };
        let queued = keys::unlink(not_before, &value.location);
        Ok(Some(Txn::new().put(key, encode(&value)).put(queued, MARK)))
    }
}
