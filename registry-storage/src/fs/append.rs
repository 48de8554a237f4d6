//! From a stream into a file, with bounded memory and with the sender held back when the disk is slower.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::StreamExt;
use registry_core::store::StoreError;
use registry_core::{ByteStream, Digest, Runtime};

use super::sessions::Writer;

/// Bytes that the buffers of all appends may take together, while there are not too many of them.
const BUFFERS: usize = 8 << 20;

/// Limits of one buffer. Larger ones gain nothing; much smaller ones cost more in handing over than in writing.
const BUFFER: std::ops::RangeInclusive<usize> = 64 << 10..=512 << 10;

/// Counts one append for as long as it goes on.
struct Appending<'a>(&'a AtomicUsize);

impl<'a> Appending<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Appending(count)
    }

    /// How large a buffer may be now: each append has two, one being filled and one being written.
    fn buffer(&self) -> usize {
        let share = BUFFERS / 2 / self.0.load(Ordering::Relaxed).max(1);
        share.clamp(*BUFFER.start(), *BUFFER.end())
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells the writer when the append is over, which may be because its caller dropped it.
struct Leaving(Arc<Writer>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A buffer on its way into the file; it comes back to be filled again.
type Writing = oneshot::Receiver<(Vec<u8>, Result<(), StoreError>)>;

/// Begins to hash and write a buffer, at once and off the polling threads.
fn start(runtime: &dyn Runtime, writer: &Arc<Writer>, buffer: Vec<u8>) -> Writing {
    let (send, receive) = oneshot::channel();
    let writer = writer.clone();
    runtime.spawn_blocking(Box::new(move || {
        let written = writer.write(&buffer);
        let _caller_gone = send.send((buffer, written));
    }));
    receive
}

fn lost(_: oneshot::Canceled) -> StoreError {
    StoreError::Failed(io::Error::other("the runtime dropped a write"))
}

/// The emptied buffer of a write that ended well.
async fn written(writing: Option<Writing>) -> Result<Vec<u8>, StoreError> {
    let Some(writing) = writing else {
        return Ok(Vec::new());
    };
    let (mut buffer, written) = writing.await.map_err(lost)?;
    written?;
    buffer.clear();
    Ok(buffer)
}

/// What follows the last byte.
pub(super) enum End {
    /// Nothing yet: it is made durable.
    Open,
    /// The content is whole, and has this digest.
    Sealed(Digest),
}

/// Appends what the stream gives, and makes it durable. Gives the new length.
pub(super) async fn append(
    runtime: &Arc<dyn Runtime>,
    appending: &AtomicUsize,
    writer: Writer,
    mut bytes: ByteStream,
    end: End,
) -> Result<u64, StoreError> {
    let appending = Appending::begin(appending);
    let writer = Arc::new(writer);
    let _leaving = Leaving(writer.clone());
    let mut filling: Vec<u8> = Vec::new();
    let mut writing: Option<Writing> = None;
    let mut broken = None;
    while let Some(chunk) = bytes.next().await {
        let mut chunk: Bytes = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                broken = Some(error);
                break;
            }
        };
        while !chunk.is_empty() {
            let room = appending.buffer().saturating_sub(filling.len());
            filling.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
            if filling.len() >= appending.buffer() {
                let mut empty = written(writing.take()).await?;
                if empty.capacity() > 2 * appending.buffer() {
                    empty = Vec::new();
                }
                writing = Some(start(&**runtime, &writer, std::mem::replace(&mut filling, empty)));
            }
        }
    }
    written(writing).await?;
    let (send, receive) = oneshot::channel();
    runtime.spawn_blocking(Box::new(move || {
        let ended = writer.write(&filling).and_then(|()| match (broken, end) {
            (Some(error), _) => {
                if let Err(error) = writer.keep() {
                    tracing::debug!(%error, "what was received would be sent again after a restart");
                }
                Err(StoreError::Sender(error))
            }
            (None, End::Open) => writer.finish(),
            (None, End::Sealed(digest)) => writer.seal(&digest),
        });
        let _caller_gone = send.send(ended);
    }));
    receive.await.map_err(lost)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffers_of_64_appends_stay_within_their_budget() {
        let count = AtomicUsize::new(0);
        let all: Vec<_> = (0..64).map(|_| Appending::begin(&count)).collect();
        assert!(all.iter().map(|one| 2 * one.buffer()).sum::<usize>() <= BUFFERS);
        drop(all);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        assert_eq!(Appending::begin(&count).buffer(), *BUFFER.end());
    }
}
