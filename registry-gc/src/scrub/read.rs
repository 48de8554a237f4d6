//! Reading and hashing, a piece at a time, from the disk.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use futures_util::StreamExt;
use registry_core::runtime::blocking;
use registry_core::store::{BlobRecord, Damage, Location, StoreError, forget_cached};
use registry_core::{BlobRead, ByteStream, Digest, Hasher, OpenFile, Runtime};
use rustix::io::Errno;

use super::pass::{Pass, Stop};

/// What reading a blob showed.
pub(super) enum Verdict {
    Whole,
    /// Others keep its bytes, and this registry does not read them.
    Elsewhere,
    /// It is damaged, if a second look agrees.
    Bad(Damage),
    /// The system could not read it, for a reason that need not be the blob's: permissions, say, or too many open files.
    Failed(io::Error),
}

impl Verdict {
    pub(super) fn of(read: io::Result<Digest>, digest: &Digest) -> Verdict {
        match read {
            Ok(found) if found == *digest => Verdict::Whole,
            Ok(_) => Verdict::Bad(Damage::Wrong),
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => Verdict::Bad(Damage::Missing),
            Err(why) => Verdict::failed(why),
        }
    }

    fn failed(why: io::Error) -> Verdict {
        match is_of_the_medium(&why) {
            true => Verdict::Bad(Damage::Unreadable(why.to_string())),
            false => Verdict::Failed(why),
        }
    }
}

/// Whether an error says that these very bytes cannot be had from the disk, or that the file system's own records of them
/// are damaged.
fn is_of_the_medium(why: &io::Error) -> bool {
    let errno = Errno::from_io_error(why);
    let structure = matches!(errno, Some(Errno::BADMSG));
    #[cfg(target_os = "linux")]
    let structure = structure || errno == Some(Errno::UCLEAN);
    structure || errno == Some(Errno::IO)
}

/// Whether an error is about what this process, or the whole system, has run out of: it says nothing about what was to be
/// read.
pub(super) fn is_of_this_process(why: &io::Error) -> bool {
    let lacking = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::AGAIN,
        Errno::INTR,
    ];
    Errno::from_io_error(why).is_some_and(|errno| lacking.contains(&errno))
        || why.kind() == io::ErrorKind::OutOfMemory
}

impl Pass<'_> {
    /// Reads a blob at the pace, and hashes it.
    pub(super) async fn read(&mut self, record: &BlobRecord) -> Result<Verdict, Stop> {
        let (digest, size) = (record.info.digest, record.info.size);
        if record.location == Location::Inline {
            return self.read_inline(record).await;
        }
        match self.scrubber.blobs.size(&record.location).await {
            Ok(Some(length)) if length == size => {}
            Ok(Some(length)) if length > size => return Ok(Verdict::Bad(Damage::Wrong)),
            Ok(_) => return Ok(Verdict::Bad(Damage::Missing)),
            Err(why) => return Ok(why_not(why)),
        }
        let read = match self.scrubber.blobs.read(&record.location, 0..size).await {
            Ok(BlobRead::File(file, range)) => self.hash_file(digest, file, range).await?,
            Ok(BlobRead::Bytes(bytes)) => {
                self.charge(bytes.len() as u64).await?;
                let algorithm = digest.algorithm();
                Ok(blocking(self.runtime(), move || Digest::of(algorithm, &bytes)).await)
            }
            Ok(BlobRead::Stream(stream)) => self.hash_stream(digest, stream).await?,
            Ok(BlobRead::Redirect(_)) => return Ok(Verdict::Elsewhere),
            Err(why) => return Ok(why_not(why)),
        };
        Ok(Verdict::of(read, &digest))
    }

    async fn read_inline(&mut self, record: &BlobRecord) -> Result<Verdict, Stop> {
        let digest = record.info.digest;
        let Some(bytes) = self.scrubber.manifests.inline_bytes(&digest).await? else {
            return Ok(Verdict::Bad(Damage::Missing));
        };
        self.charge(bytes.len() as u64).await?;
        let (algorithm, size) = (digest.algorithm(), bytes.len() as u64);
        let found = blocking(self.runtime(), move || Digest::of(algorithm, &bytes)).await;
        Ok(match size < record.info.size {
            true => Verdict::Bad(Damage::Missing),
            false => Verdict::of(Ok(found), &digest),
        })
    }

    fn runtime(&self) -> &dyn Runtime {
        &*self.scrubber.runtime
    }

    async fn hash_file(
        &mut self,
        digest: Digest,
        file: Arc<OpenFile>,
        range: Range<u64>,
    ) -> Result<io::Result<Digest>, Stop> {
        let mut work = (Hasher::new(digest.algorithm()), vec![0; self.pace.piece()]);
        let mut at = range.start;
        forget_cached(&file);
        while at < range.end {
            let wanted = work
                .1
                .len()
                .min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
            let file = Arc::clone(&file);
            let (back, read) = blocking(self.runtime(), move || {
                let (mut hasher, mut piece) = work;
                let read = file.read_exact_at(&mut piece[..wanted], at);
                hasher.update(&piece[..wanted]);
                ((hasher, piece), read)
            })
            .await;
            work = back;
            if let Err(why) = read {
                return Ok(Err(why));
            }
            at += wanted as u64;
            self.charge(wanted as u64).await?;
        }
        forget_cached(&file);
        Ok(Ok(work.0.finish()))
    }

    async fn hash_stream(
        &mut self,
        digest: Digest,
        mut stream: ByteStream,
    ) -> Result<io::Result<Digest>, Stop> {
        let mut hasher = Hasher::new(digest.algorithm());
        while let Some(chunk) = stream.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(why) => return Ok(Err(why)),
            };
            let bytes = chunk.len() as u64;
            hasher = blocking(self.runtime(), move || {
                hasher.update(&chunk);
                hasher
            })
            .await;
            self.charge(bytes).await?;
        }
        Ok(Ok(hasher.finish()))
    }
}

fn why_not(why: StoreError) -> Verdict {
    match why {
        StoreError::Missing(_) => Verdict::Bad(Damage::Missing),
        StoreError::Failed(why) => Verdict::failed(why),
        other => Verdict::Failed(io::Error::other(other)),
    }
}
