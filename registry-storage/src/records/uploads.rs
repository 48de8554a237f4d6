//! Claims: which uploads there are, where their bytes go, and until when they may be written.

use registry_core::store::{Entry, Location, Txn, UploadClaim};
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
        let upload = values::Upload {
            v: V1,
            repository: name.clone(),
            repository_id: repository.map(|repository| repository.id),
            location: location.clone(),
            algorithm: algorithm.to_string(),
            expires: self.clock().await? + self.lifetimes.upload_idle,
        };
        let key = keys::upload(id);
        let txn = Txn::new()
            .absent(&key)
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

    /// The claim's record, if it is still the one that was read, and the repository that it is for.
    pub(super) async fn claimed(&self, claim: &UploadClaim) -> Result<(Repository, (values::Upload, Entry))> {
        let found = self.get::<values::Upload>(&keys::upload(&claim.id)).await?;
        let Some((upload, entry)) = found.filter(|(_, entry)| entry.stamp == claim.stamp) else {
            return Err(error::upload_unknown(&claim.id));
        };
        if !self.is_still(&claim.repository, &upload).await? {
            return Err(error::upload_unknown(&claim.id));
        }
        Ok((self.known_or_new(&claim.repository).await?, (upload, entry)))
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

    /// `touch`: renews a claim. A claim that has expired cannot be renewed, as its location may be doomed already.
    pub(super) async fn do_touch(&self, claim: &UploadClaim) -> Result<UploadClaim> {
        let (_, (upload, entry)) = self.claimed(claim).await?;
        let expires = self.clock().await? + self.lifetimes.upload_idle;
        let key = keys::upload(&claim.id);
        let txn = Txn::new()
            .at(&key, entry.stamp)
            .before(upload.expires)
            .delete(keys::expiry(upload.expires, &claim.id))
            .put(key, encode(&values::Upload { expires, ..upload }))
            .put(keys::expiry(expires, &claim.id), MARK);
        match self.commit(txn).await? {
            Attempt::Done(stamp) => Ok(UploadClaim {
                expires,
                stamp,
                ..claim.clone()
            }),
            Attempt::Again => Err(error::upload_unknown(&claim.id)),
        }
    }

    /// `cancel`: ends an upload and dooms its location.
    pub(super) async fn try_cancel(&self, claim: &UploadClaim) -> Result<Attempt<()>> {
        let found = self.get::<values::Upload>(&keys::upload(&claim.id)).await?;
        // A claim that was touched since it was read is still the same upload: giving it up is still meant.
        let Some(read) = found else {
            return Err(error::upload_unknown(&claim.id));
        };
        let now = self.clock().await?;
        let txn = self.consume(Txn::new(), claim, &read);
        let txn = self.doom(txn, &read.0.location, now, self.lifetimes.longest_write);
        Ok(match self.commit(txn).await? {
            Attempt::Done(_) => Attempt::Done(()),
            Attempt::Again => Attempt::Again,
        })
    }
}
