//! Claims: which uploads there are, where their bytes go, and until when they may be written.

use registry_core::store::{Entry, Location, Txn, UploadClaim};
use registry_core::weakening::{Weakening, keep};
use registry_core::{Algorithm, RepositoryName, Result, UploadId, error};

use super::values::{MARK, V1, encode};
use super::{Attempt, Records, Repository, keys, values};

impl Records {
    /// `claim`: names an upload's location before its first byte is written.
    pub(super) async fn try_claim(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        location: &Location,
        algorithm: Algorithm,
    ) -> Result<Attempt<UploadClaim>> {
        let repository = self.lookup(name).await?;
        let now = self.clock().await?;
        let upload = values::Upload {
            v: V1,
            repository: name.clone(),
            repository_id: repository.map(|repository| repository.id),
            location: location.clone(),
            algorithm: algorithm.to_string(),
            expires: now + self.lifetimes.upload_idle,
        };
        let key = keys::upload(id);
        let txn = Txn::new()
            .named("claim")
            .absent(&key)
            .before(self.bucket(now).0)
            .put(key, encode(&upload))
            .put(keys::expiry(upload.expires, id), MARK);
        Ok(match self.commit(txn).await? {
            Attempt::Done(stamp) => Attempt::Done(UploadClaim {
                id: id.clone(),
                repository: name.clone(),
                location: location.clone(),
                algorithm,
                expires: upload.expires,
                stamp,
            }),
            Attempt::Again => Attempt::Again,
        })
    }

    pub(super) async fn find_upload(&self, name: &RepositoryName, id: &UploadId) -> Result<UploadClaim> {
        let found = self.get::<values::Upload>(&keys::upload(id)).await?;
        let Some((upload, entry)) = found.filter(|(upload, _)| upload.repository == *name) else {
            return Err(error::upload_unknown(id));
        };
        if self.clock().await? >= upload.expires || !self.is_still(name, &upload).await? {
            return Err(error::upload_unknown(id));
        }
        Ok(UploadClaim {
            id: id.clone(),
            repository: upload.repository.clone(),
            location: upload.location.clone(),
            algorithm: upload.algorithm()?,
            expires: upload.expires,
            stamp: entry.stamp,
        })
    }

    /// Whether the name still means the repository in which the upload was begun. One that was begun before there
    /// was a repository may end in whatever has come to be under the name since.
    async fn is_still(&self, name: &RepositoryName, upload: &values::Upload) -> Result<bool> {
        Ok(match &upload.repository_id {
            None => true,
            Some(id) => self
                .lookup(name)
                .await?
                .is_some_and(|repository| repository.id == *id),
        })
    }

    /// The claim's record, and the repository that it is for: the one in which the upload was begun, or, if there was
    /// none under the name then, whatever is now or is to be.
    async fn claim_of(&self, claim: &UploadClaim) -> Result<(Repository, (values::Upload, Entry))> {
        let unknown = || error::upload_unknown(&claim.id);
        let found = self.get::<values::Upload>(&keys::upload(&claim.id)).await?;
        let (upload, entry) = found.ok_or_else(unknown)?;
        let repository = self.known_or_new(&claim.repository).await?;
        match &upload.repository_id {
            Some(id) if !repository.exists() || repository.id != *id => Err(unknown()),
            _ => Ok((repository, (upload, entry))),
        }
    }

    /// The same, if the record is still the one that was read.
    pub(super) async fn claimed(&self, claim: &UploadClaim) -> Result<(Repository, (values::Upload, Entry))> {
        let (repository, (upload, entry)) = self.claim_of(claim).await?;
        if entry.stamp != claim.stamp {
            return Err(error::upload_unknown(&claim.id));
        }
        Ok((repository, (upload, entry)))
    }

    /// Removes a claim, asserting that it is as it was read.
    pub(super) fn consume(
        &self,
        txn: Txn,
        claim: &UploadClaim,
        (upload, entry): &(values::Upload, Entry),
    ) -> Txn {
        let key = keys::upload(&claim.id);
        txn.at(&key, entry.stamp)
            .delete(key)
            .delete(keys::expiry(upload.expires, &claim.id))
    }

    /// `touch`: renews a claim, whoever renewed it last. One that has expired cannot be renewed, as its location may
    /// be doomed already.
    pub(super) async fn try_touch(&self, claim: &UploadClaim) -> Result<Attempt<UploadClaim>> {
        let (_, (upload, entry)) = self.claim_of(claim).await?;
        let now = self.clock().await?;
        if now >= upload.expires {
            return Err(error::upload_unknown(&claim.id));
        }
        let expires = now + self.lifetimes.upload_idle;
        let key = keys::upload(&claim.id);
        let txn = Txn::new()
            .named("touch")
            .at(&key, entry.stamp)
            .before(upload.expires.min(self.bucket(now).0))
            .delete(keys::expiry(upload.expires, &claim.id))
            .put(key, encode(&values::Upload { expires, ..upload }))
            .put(keys::expiry(expires, &claim.id), MARK);
        Ok(match self.commit(txn).await? {
            Attempt::Done(stamp) => Attempt::Done(UploadClaim {
                expires,
                stamp,
                ..claim.clone()
            }),
            Attempt::Again => Attempt::Again,
        })
    }

    /// `cancel`: ends an upload and dooms its location.
    pub(super) async fn try_cancel(&self, claim: &UploadClaim) -> Result<Attempt<()>> {
        let found = self.get::<values::Upload>(&keys::upload(&claim.id)).await?;
        // A claim that was touched since it was read is still the same upload: giving it up is still meant.
        let Some(read) = found else {
            return Err(error::upload_unknown(&claim.id));
        };
        // Whoever writes for it goes on believing in the claim until that expires, and may begin a write until then.
        let now = self.clock().await?;
        let believed = match keep(Weakening::DoomedHeldFromCommit) {
            true => now.max(read.0.expires),
            false => now,
        };
        let txn = self.consume(Txn::new().named("cancel"), claim, &read);
        let txn = self.doom(txn, &read.0.location, believed, self.hold_for_writers());
        Ok(self.commit(txn).await?.map(|_| ()))
    }
}
