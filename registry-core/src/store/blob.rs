//! Bytes at locations: finished ones, and those that are still arriving.

use std::io;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;

use crate::digest::{Algorithm, Digest};
use crate::registry::{BlobRead, ByteStream, UploadId};
use crate::store::Location;

/// Why bytes could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There are no bytes at this location, or fewer than its record says.
    #[error("no bytes at {0}")]
    Missing(Location),
    /// The bytes offered do not begin where the upload is.
    #[error("the upload is at {at}, not at the offset of these bytes")]
    OutOfOrder {
        /// Where the upload is.
        at: u64,
    },
    /// Another writer has taken the upload over, or it was sealed or discarded; nothing more was written.
    #[error("another writer has taken this upload over")]
    Superseded,
    /// The bytes are not those of this digest.
    #[error("the bytes have the digest {actual}")]
    DigestMismatch {
        /// Their digest under the algorithm asked for.
        actual: Digest,
    },
    /// Whoever sends the bytes stopped or failed. What came before is kept.
    #[error("the sender's stream broke off")]
    Sender(#[source] io::Error),
    /// There is no room. What came before is kept as far as it was acknowledged.
    #[error("the store has no room left")]
    Full(#[source] io::Error),
    /// A sync of these bytes failed, now or earlier: nobody knows what is on the disk, and the system says so only once,
    /// not to a later sync nor to another process. So this is final.
    #[error("what was received of this upload is lost")]
    Lost(#[source] io::Error),
    /// The store failed.
    #[error("the store failed")]
    Failed(#[source] io::Error),
}

/// Whether an error of the system means that there is no room, which whoever runs the registry can mend.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether that on which a store keeps its bytes is there.
#[derive(Debug)]
pub enum Volume {
    /// It is, and it is the right one: what is not on it is lost.
    There,
    /// It is not, or cannot be read: what is not found may be there when it is back.
    Gone(io::Error),
    /// Nothing tells.
    Unknown,
}

/// Finished bytes, by location.
///
/// Knows no digest and no repository: whether bytes may be read, and whether they are still wanted, is for the records.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Opens the bytes `range` of what lies at `location`. A reader that was given an open file or stream keeps
    /// getting the right bytes if the location is unlinked meanwhile, or an error, never others.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is nothing, or less than `range` asks for; [`StoreError::Failed`].
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError>;

    /// The length of what lies at `location`; `None` if there is nothing.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn size(&self, location: &Location) -> Result<Option<u64>, StoreError>;

    /// Removes what lies at `location`; nothing there is fine. Only for the collector, and only for a location that
    /// a doomed record names.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn unlink(&self, location: &Location) -> Result<(), StoreError>;

    /// Locations in order, from the first one after `after`, at most `limit`. For checking a whole store only;
    /// nothing that serves or collects lists.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError>;

    /// Whether the volume is there, asked of the volume and not of what the system remembers of it: for whoever found
    /// bytes missing, and must know whether all are.
    async fn volume(&self) -> Volume {
        Volume::Unknown
    }

    /// How long ago what lies at `location` was last written, by the clock of where it lies; `None` if there is nothing,
    /// or nobody knows. For checking a store only.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    async fn age(&self, _location: &Location) -> Result<Option<Duration>, StoreError> {
        Ok(None)
    }
}

/// Lets the system forget what it holds of a file in memory: before it is read, since the memory would tell nothing of the
/// disk; and afterwards, since what was read only to be looked at must not push out what is pulled. It is a request, and
/// no more; what is not written back yet stays.
pub fn forget_cached(file: &std::fs::File) {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    let _not_taken = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    let _ = file;
}

/// Bytes that are arriving.
///
/// An upload's bytes go to the location at which they will be read, so that publishing moves nothing. Whether an
/// upload exists is for the records (its claim); this trait creates bytes when the first are appended.
///
/// Appends are fenced: each begins an epoch, and a writer whose epoch is over writes nothing more, however late it
/// wakes.
#[async_trait]
pub trait UploadStore: Send + Sync + 'static {
    /// Where the bytes of the upload `id` will lie. Touches nothing.
    fn location(&self, id: &UploadId) -> Location;

    /// How many bytes of the upload have been received; they are durable when this answers. 0 if none ever were.
    ///
    /// # Errors
    /// [`StoreError::Lost`]; [`StoreError::Failed`].
    async fn received(&self, id: &UploadId) -> Result<u64, StoreError>;

    /// Takes the upload over from any other writer and appends `bytes`, hashing them with `algorithm` as they come
    /// (a hint that costs a second reading if the upload is then sealed under another). Bytes are durable when this
    /// answers. Gives the new length.
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`] before anything is written, if `at` is given and not the length;
    /// [`StoreError::Sender`], with what came before kept; [`StoreError::Superseded`]; [`StoreError::Full`];
    /// [`StoreError::Lost`]; [`StoreError::Failed`].
    async fn append(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<u64, StoreError>;

    /// Takes the upload over, checks that its bytes are those of `digest`, and makes them durable and complete at
    /// their [`location`](UploadStore::location). Gives their length. From then on nothing is appended, by nobody and
    /// not after a restart either; sealing can be repeated.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`]; [`StoreError::Superseded`]; [`StoreError::Full`]; [`StoreError::Lost`];
    /// [`StoreError::Failed`].
    async fn seal(&self, id: &UploadId, digest: &Digest) -> Result<u64, StoreError>;

    /// Appends the last bytes and seals, in one: nothing needs to be durable before this answers, so that a store can
    /// do with one sync what [`append`](UploadStore::append) and then [`seal`](UploadStore::seal) do with two. If it
    /// fails, the bytes that came are kept as an append keeps them, and [`received`](UploadStore::received) tells how
    /// many.
    ///
    /// # Errors
    /// Those of `append` and of `seal`.
    async fn finish(
        &self,
        id: &UploadId,
        algorithm: Algorithm,
        at: Option<u64>,
        bytes: ByteStream,
        digest: &Digest,
    ) -> Result<u64, StoreError> {
        self.append(id, algorithm, at, bytes).await?;
        self.seal(id, digest).await
    }

    /// Ends every writer of the upload and forgets what is held in memory for it. Called only once the location is
    /// doomed: the bytes may be given back at once; the location itself is for the collector to unlink, after the
    /// time that a late writer may still be at it.
    async fn discard(&self, id: &UploadId);
}
