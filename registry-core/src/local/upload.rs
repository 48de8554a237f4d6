//! Uploads: a claim first, then bytes, then a blob.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::{LocalRegistry, digest_mismatch, store_failed};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::name::RepositoryName;
use crate::registry::{BlobInfo, ByteStream, UploadId, UploadStatus, once};
use crate::store::{Content, StoreError, UploadClaim};
use crate::time::Timestamp;
use crate::weakening::{Weakening, keep, lack};

/// How often publishing reads its claim again when a writer that is being fenced off renewed it meanwhile.
const CLAIM_READS: usize = 8;

impl LocalRegistry {
    pub(super) async fn append(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<UploadStatus> {
        let asked = self.runtime.now();
        let claim = self.claim(repository, id).await?;
        let before = self.received(&claim).await?;
        let bytes = self.guarded(claim.clone(), asked, bytes);
        let received = match self.uploads.append(id, claim.algorithm, at, bytes).await {
            Ok(received) => received,
            Err(why) => return Err(self.not_taken(&claim, before, why).await),
        };
        // Acknowledged only if the claim still names these bytes: one that was ended meanwhile has doomed them.
        self.manifests.upload(repository, id).await?;
        Ok(UploadStatus {
            id: id.clone(),
            received,
        })
    }

    /// How long a writer goes on without renewing its claim.
    fn renew_after(&self) -> Duration {
        let lifetimes = self.manifests.lifetimes();
        (lifetimes.longest_write / 4)
            .min(lifetimes.upload_idle / 4)
            .max(Duration::from_millis(1))
    }

    /// The claim of an upload that is about to make progress: renewed, if the last time was a while ago.
    async fn claim(&self, repository: &RepositoryName, id: &UploadId) -> Result<UploadClaim> {
        let claim = self.manifests.upload(repository, id).await?;
        let left = claim.expires.since(self.manifests.now().await?);
        if left + self.renew_after() < self.manifests.lifetimes().upload_idle {
            return self.manifests.touch(&claim).await;
        }
        Ok(claim)
    }

    /// The stream, as long as its upload is claimed. The claim is renewed as bytes keep coming, and a writer that
    /// slept too long finds out that it is gone before it writes. `asked` is a time before the claim was read: a writer
    /// that sleeps right after it read the claim has slept too.
    fn guarded(&self, claim: UploadClaim, asked: Timestamp, bytes: ByteStream) -> ByteStream {
        if lack(Weakening::LateWriter) {
            return bytes;
        }
        let renew_after = self.renew_after();
        let (manifests, runtime) = (self.manifests.clone(), self.runtime.clone());
        Box::pin(stream::try_unfold(
            (bytes, claim, asked),
            move |(mut bytes, mut claim, mut renewed)| {
                let (manifests, runtime) = (manifests.clone(), runtime.clone());
                async move {
                    let Some(chunk) = bytes.next().await else {
                        return Ok(None);
                    };
                    let chunk = chunk?;
                    let now = runtime.now();
                    if now.since(renewed) >= renew_after {
                        claim = manifests.touch(&claim).await.map_err(io::Error::other)?;
                        renewed = now;
                    }
                    Ok(Some((chunk, (bytes, claim, renewed))))
                }
            },
        ))
    }

    pub(super) async fn finish(
        &self,
        repository: &RepositoryName,
        id: &UploadId,
        at: Option<u64>,
        bytes: ByteStream,
        digest: &Digest,
    ) -> Result<BlobInfo> {
        let asked = self.runtime.now();
        let claim = self.claim(repository, id).await?;
        let received = self.received(&claim).await?;
        if at.is_some_and(|at| at != received) {
            return Err(refused(id, StoreError::OutOfOrder { at: received }));
        }
        let (head, rest) = self
            .head(bytes)
            .await
            .map_err(|why| refused(id, StoreError::Sender(why)))?;
        // Guarded from the first byte, which the store may take up long after it came.
        let guarded = |bytes| Some(self.guarded(claim.clone(), asked, bytes));
        let bytes = match rest {
            None if received == 0 => return self.publish_inline(&claim, head, digest).await,
            None if head.is_empty() => None,
            None => guarded(once(head)),
            Some(rest) => guarded(Box::pin(once(head).chain(rest))),
        };
        if lack(Weakening::PublishBeforeDurable) {
            let (digest, size) = (*digest, received);
            self.publish(&claim, &BlobInfo { digest, size }, Content::Uploaded)
                .await?;
        }
        let sealed = match bytes {
            None => self.uploads.seal(id, digest).await,
            Some(bytes) => {
                let algorithm = if received == 0 {
                    digest.algorithm()
                } else {
                    claim.algorithm
                };
                self.uploads
                    .finish(id, algorithm, Some(received), bytes, digest)
                    .await
            }
        };
        match sealed {
            Ok(size) => {
                self.publish(
                    &claim,
                    &BlobInfo {
                        digest: *digest,
                        size,
                    },
                    Content::Uploaded,
                )
                .await
            }
            Err(StoreError::DigestMismatch { actual }) => {
                self.give_up(&claim).await?;
                Err(digest_mismatch(digest, &actual))
            }
            Err(why) => Err(self.not_taken(&claim, received, why).await),
        }
    }

    /// How much of an upload was received. If that is lost, the upload is over.
    pub(super) async fn received(&self, claim: &UploadClaim) -> Result<u64> {
        match self.uploads.received(&claim.id).await {
            Ok(received) => Ok(received),
            Err(why) => Err(self.not_taken(claim, u64::MAX, why).await),
        }
    }

    /// Why bytes were not taken, with `before` of the upload received earlier. What is lost ends the upload, and so does a
    /// store that failed or is full if there is nothing yet that was acknowledged: what found no room must not go on
    /// taking room. The next try begins a new upload.
    async fn not_taken(&self, claim: &UploadClaim, before: u64, why: StoreError) -> Error {
        let over = match why {
            StoreError::Lost(_) => true,
            StoreError::Full(_) | StoreError::Failed(_) => before == 0,
            _ => false,
        };
        if over && let Err(error) = self.give_up(claim).await {
            tracing::warn!(upload = %claim.id, %error, "a failed upload stays until it expires");
        }
        refused(&claim.id, why)
    }

    /// The first bytes of a stream, up to what is kept inline, and the rest if there is more.
    async fn head(&self, mut bytes: ByteStream) -> io::Result<(Bytes, Option<ByteStream>)> {
        let mut head = BytesMut::new();
        while let Some(chunk) = bytes.next().await.transpose()? {
            if head.len() + chunk.len() > self.options.inline_max {
                let rest = once(chunk).chain(bytes);
                return Ok((head.freeze(), Some(Box::pin(rest))));
            }
            head.extend_from_slice(&chunk);
        }
        Ok((head.freeze(), None))
    }

    async fn publish_inline(&self, claim: &UploadClaim, bytes: Bytes, digest: &Digest) -> Result<BlobInfo> {
        let actual = Digest::of(digest.algorithm(), &bytes);
        if actual != *digest {
            self.give_up(claim).await?;
            return Err(digest_mismatch(digest, &actual));
        }
        let info = BlobInfo {
            digest: *digest,
            size: bytes.len() as u64,
        };
        self.publish(claim, &info, Content::Inline(bytes)).await
    }

    /// A record that is there wins over new bytes only if its own are there too. One that was written between being read
    /// and being marked as suspect, condemned perhaps, is not marked; so it is looked at again.
    async fn look_for_bytes(&self, digest: &Digest) -> Result<()> {
        while let Some(record) = self.manifests.blob_record(digest).await?
            && !record.suspect
            && !self.has_bytes(&record).await?
        {}
        Ok(())
    }

    async fn publish(&self, claim: &UploadClaim, info: &BlobInfo, content: Content) -> Result<BlobInfo> {
        if keep(Weakening::KeepWithoutLooking) {
            self.look_for_bytes(&info.digest).await?;
        }
        let mut reads = 0;
        loop {
            let current = self.manifests.upload(&claim.repository, &claim.id).await?;
            match self.manifests.publish(&current, info, content.clone()).await {
                Err(why) if why.kind() == ErrorKind::UploadUnknown && reads < CLAIM_READS => reads += 1,
                Err(why) => {
                    if lack(Weakening::UnknownOutcomeUnlinks) && why.kind() == ErrorKind::Unavailable {
                        self.uploads.discard(&current.id).await;
                    }
                    return Err(why);
                }
                Ok(record) => {
                    if record.location != current.location {
                        self.uploads.discard(&current.id).await;
                    }
                    return Ok(record.info);
                }
            }
        }
    }

    /// Ends an upload: first its location is doomed, then its bytes are given back.
    pub(super) async fn give_up(&self, claim: &UploadClaim) -> Result<()> {
        self.manifests.cancel(claim).await?;
        self.uploads.discard(&claim.id).await;
        Ok(())
    }
}

/// Why the upload store did not take bytes, as the sender of the bytes sees it.
fn refused(id: &UploadId, why: StoreError) -> Error {
    match why {
        StoreError::OutOfOrder { at } => Error::new(
            ErrorKind::RangeInvalid,
            format!("upload {id} is at byte {at}; send what comes next"),
        )
        .with_detail(serde_json::json!({ "upload": id, "received": at })),
        StoreError::Superseded => Error::new(
            ErrorKind::UploadInvalid,
            format!("another request has taken upload {id} over"),
        ),
        StoreError::Sender(source) => broken_off(id, source),
        other => store_failed(other),
    }
}

/// What ended a stream of bytes: the caller's own error if the stream carried one, else the connection.
fn broken_off(id: &UploadId, source: io::Error) -> Error {
    match source.downcast::<Error>() {
        Ok(ours) => ours,
        Err(source) if source.kind() == io::ErrorKind::TimedOut => Error::new(
            ErrorKind::Timeout,
            format!("no bytes came for upload {id} for too long; resume it"),
        )
        .with_source(source),
        Err(source) => {
            let message = format!("the bytes for upload {id} broke off; ask how far it is and resume it");
            Error::new(ErrorKind::UploadInvalid, message).with_source(source)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_carried_by_the_stream_reaches_the_sender_as_it_was() {
        let id = UploadId::new(1);
        let ours = crate::error::upload_unknown(&id);
        let error = refused(&id, StoreError::Sender(io::Error::other(ours)));
        assert_eq!(error.kind(), ErrorKind::UploadUnknown);
        let cut = refused(&id, StoreError::Sender(io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(cut.kind(), ErrorKind::UploadInvalid);
    }
}
