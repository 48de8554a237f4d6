//! Uploads: end-4, end-5, end-6, end-13, end-14.
//!
//! A stream has no length, and a chunk that names its place must name its end too. So bytes whose place is named are
//! sent in chunks of bounded size, each in its place, which the far end checks: nobody else's bytes come in between
//! unnoticed. Bytes that only go to the end are sent as they come.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, Method, Response};
use hyper::body::Incoming;
use registry_core::error::{name_unknown, upload_unknown};
use registry_core::{
    Algorithm, BlobInfo, ByteStream, Context, Digest, Error, ErrorKind, RepositoryName, Result, UploadId,
    UploadStatus,
};

use crate::body::Outgoing;
use crate::wire::{Wire, callers_stream_failed, misbehaved, text};
use crate::{blobs, session};

/// Longest chunk whose place is named, in bytes: it is held until its length is known.
const CHUNK_MAX: usize = 4 << 20;

/// How far an upload is, exactly; `Range` cannot tell none from one byte. The header is that of resumable uploads.
const UPLOAD_OFFSET: &str = "upload-offset";

/// The upload that an answer is about.
pub(crate) fn status_of(
    wire: &Wire,
    repository: &RepositoryName,
    headers: &HeaderMap,
) -> Result<UploadStatus> {
    let location = text(headers, LOCATION).ok_or_else(|| misbehaved("an upload has no Location"))?;
    let id = wire
        .origin
        .own_target(location)
        .and_then(|target| session::id(repository, &target))
        .ok_or_else(|| misbehaved("an upload's Location lies elsewhere, or is too long"))?;
    Ok(UploadStatus {
        id,
        received: received(headers)?,
    })
}

/// `Range: 0-9` is ten bytes. `0-0` is one, or, as the specification has it, none: taken for none.
fn received(headers: &HeaderMap) -> Result<u64> {
    if let Some(exact) = text(headers, UPLOAD_OFFSET).and_then(|value| value.parse().ok()) {
        return Ok(exact);
    }
    let Some(range) = text(headers, RANGE) else {
        return Ok(0);
    };
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    match range
        .split_once('-')
        .map(|(first, last)| (first.trim(), last.trim().parse::<u64>()))
    {
        Some(("0", Ok(0))) => Ok(0),
        Some(("0", Ok(last))) if last < u64::MAX => Ok(last + 1),
        _ => Err(misbehaved("an upload's Range cannot be read")),
    }
}

pub(crate) async fn begin(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    algorithm: Option<Algorithm>,
) -> Result<UploadStatus> {
    let mut target = format!("/v2/{repository}/blobs/uploads/");
    if let Some(algorithm) = algorithm {
        target += &format!("?digest-algorithm={algorithm}");
    }
    let answer = wire
        .send(ctx, Method::POST, &target, &[], Outgoing::bytes(""))
        .await?;
    let answer = wire.expect(answer, &[202], || name_unknown(repository)).await?;
    Ok(UploadStatus {
        received: 0,
        ..status_of(wire, repository, answer.headers())?
    })
}

pub(crate) async fn status(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    id: &UploadId,
) -> Result<UploadStatus> {
    let target = session::target(repository, id)?;
    let answer = wire.fetch(ctx, Method::GET, &target, &[]).await?;
    let answer = wire.expect(answer, &[204], || upload_unknown(id)).await?;
    // The Location may be left out here; then it is the one that was asked.
    match answer.headers().contains_key(LOCATION) {
        true => status_of(wire, repository, answer.headers()),
        false => Ok(UploadStatus {
            id: id.clone(),
            received: received(answer.headers())?,
        }),
    }
}

pub(crate) async fn cancel(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    id: &UploadId,
) -> Result<()> {
    let target = session::target(repository, id)?;
    let answer = wire
        .send(ctx, Method::DELETE, &target, &[], Outgoing::bytes(""))
        .await?;
    wire.expect(answer, &[204, 200, 202], || upload_unknown(id))
        .await?;
    Ok(())
}

pub(crate) async fn append(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    id: &UploadId,
    at: Option<u64>,
    bytes: ByteStream,
) -> Result<UploadStatus> {
    let upload = Upload {
        wire,
        ctx,
        repository,
    };
    let Some(at) = at else {
        return upload.patch(id, None, Outgoing::stream(bytes)).await;
    };
    let (id, end, last) = upload.patch_all_but_last(id, at, bytes).await?;
    match last.is_empty() {
        true => Ok(UploadStatus { id, received: end }),
        false => upload.patch_at(&id, end, last).await,
    }
}

pub(crate) async fn finish(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    id: &UploadId,
    at: Option<u64>,
    bytes: ByteStream,
    digest: &Digest,
) -> Result<BlobInfo> {
    let upload = Upload {
        wire,
        ctx,
        repository,
    };
    let (id, place, body) = match at {
        None => (id.clone(), None, Outgoing::stream(bytes)),
        Some(at) => {
            let (id, end, last) = upload.patch_all_but_last(id, at, bytes).await?;
            (id, place(end, &last), Outgoing::bytes(last))
        }
    };
    let mut target = session::target(repository, &id)?;
    target.push(if target.contains('?') { '&' } else { '?' });
    target += &format!("digest={digest}");
    let answer = upload.send(Method::PUT, &target, place.as_deref(), body).await?;
    wire.expect(answer, &[201], || upload_unknown(&id)).await?;
    blobs::stat(wire, ctx, repository, digest).await
}

/// `Content-Range` of a chunk that begins at `at`; of no bytes there is none.
fn place(at: u64, chunk: &Bytes) -> Option<String> {
    (!chunk.is_empty()).then(|| format!("{at}-{}", at + chunk.len() as u64 - 1))
}

/// Whose uploads, and where.
#[derive(Clone, Copy)]
struct Upload<'a> {
    wire: &'a Wire,
    ctx: &'a Context,
    repository: &'a RepositoryName,
}

impl Upload<'_> {
    /// Sends the chunks of a stream, each in its place, up to the last, which is left to the caller: with the
    /// upload's address by then, and where that chunk belongs.
    async fn patch_all_but_last(
        self,
        id: &UploadId,
        at: u64,
        mut bytes: ByteStream,
    ) -> Result<(UploadId, u64, Bytes)> {
        let (mut id, mut end) = (id.clone(), at);
        let mut rest = Bytes::new();
        loop {
            let chunk = fill(&mut rest, &mut bytes).await.map_err(callers_stream_failed)?;
            if chunk.len() < CHUNK_MAX {
                if end == at && chunk.is_empty() {
                    self.check_at(&id, at).await?;
                }
                return Ok((id, end, chunk));
            }
            let length = chunk.len() as u64;
            id = self
                .patch_at(&id, end, chunk)
                .await
                .map_err(|why| overtaken(why, end > at))?
                .id;
            end += length;
        }
    }

    /// Compares where an upload is with where no bytes at all are to be added.
    async fn check_at(self, id: &UploadId, at: u64) -> Result<()> {
        let now = status(self.wire, self.ctx, self.repository, id).await?.received;
        // One byte looks like none; see `received`.
        if now == at || (now == 0 && at == 1) {
            return Ok(());
        }
        let message = format!("upload {id} is at byte {now}; send what comes next");
        let detail = serde_json::json!({ "upload": id, "received": now });
        Err(Error::new(ErrorKind::RangeInvalid, message).with_detail(detail))
    }

    /// Sends a chunk to its place.
    async fn patch_at(self, id: &UploadId, at: u64, chunk: Bytes) -> Result<UploadStatus> {
        let (place, end) = (place(at, &chunk), at + chunk.len() as u64);
        let status = self.patch(id, place.as_deref(), Outgoing::bytes(chunk)).await?;
        // The far end has checked the place; of one byte it may say that it is none.
        Ok(UploadStatus {
            received: end,
            ..status
        })
    }

    async fn patch(self, id: &UploadId, place: Option<&str>, body: Outgoing) -> Result<UploadStatus> {
        let target = session::target(self.repository, id)?;
        let answer = self.send(Method::PATCH, &target, place, body).await?;
        let answer = self
            .wire
            .expect(answer, &[202, 201, 204], || upload_unknown(id))
            .await?;
        status_of(self.wire, self.repository, answer.headers())
    }

    async fn send(
        self,
        method: Method,
        target: &str,
        place: Option<&str>,
        body: Outgoing,
    ) -> Result<Response<Incoming>> {
        let mut headers = vec![(CONTENT_TYPE, "application/octet-stream")];
        headers.extend(place.map(|place| (CONTENT_RANGE, place)));
        self.wire.send(self.ctx, method, target, &headers, body).await
    }
}

/// That an upload is elsewhere is news only for its first chunk; later, another writer has come in between.
fn overtaken(why: Error, later: bool) -> Error {
    match why.kind() {
        ErrorKind::RangeInvalid if later => {
            let message = "another request adds to this upload; ask how far it is and resume it";
            Error::new(ErrorKind::UploadInvalid, message).with_source(why)
        }
        _ => why,
    }
}

/// The next chunk of a stream: as long as can be, and shorter only if it is the last. What is too much for it is kept
/// in `rest`.
async fn fill(rest: &mut Bytes, bytes: &mut ByteStream) -> std::io::Result<Bytes> {
    let mut chunk = BytesMut::new();
    loop {
        let taken = rest.split_to(rest.len().min(CHUNK_MAX - chunk.len()));
        chunk.extend_from_slice(&taken);
        if chunk.len() == CHUNK_MAX {
            return Ok(chunk.freeze());
        }
        match bytes.next().await.transpose()? {
            Some(piece) => *rest = piece,
            None => return Ok(chunk.freeze()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[tokio::test]
    async fn chunks_are_full_up_to_the_last_and_make_the_whole() {
        for length in [0, 1, CHUNK_MAX - 1, CHUNK_MAX, 2 * CHUNK_MAX + 3] {
            for piece in [CHUNK_MAX / 3 + 1, 5 * CHUNK_MAX] {
                let whole: Bytes = (0..length).map(|n| (n % 251) as u8).collect();
                let pieces: Vec<_> = whole
                    .chunks(piece)
                    .map(|piece| Ok(whole.slice_ref(piece)))
                    .collect();
                let (mut rest, mut bytes) = (Bytes::new(), Box::pin(stream::iter(pieces)) as ByteStream);
                let mut all = Vec::new();
                loop {
                    let chunk = fill(&mut rest, &mut bytes).await.unwrap();
                    all.extend_from_slice(&chunk);
                    if chunk.len() < CHUNK_MAX {
                        break;
                    }
                }
                assert!(all == whole, "{length} bytes in pieces of {piece}");
            }
        }
    }

    #[test]
    fn how_far_an_upload_is_counts_its_last_byte() {
        let of = |name: &'static str, value: &str| {
            received(&HeaderMap::from_iter([(
                name.parse().unwrap(),
                value.parse().unwrap(),
            )]))
        };
        assert_eq!(of("range", "0-9").unwrap(), 10);
        assert_eq!(of("range", "bytes=0-9").unwrap(), 10);
        assert_eq!(of("range", "0-0").unwrap(), 0);
        assert_eq!(of(UPLOAD_OFFSET, "1").unwrap(), 1);
        assert_eq!(received(&HeaderMap::new()).unwrap(), 0);
        for bad in ["1-9", "9", "0-", "0--1", "0-18446744073709551615"] {
            assert!(of("range", bad).is_err(), "{bad}");
        }
    }
}
