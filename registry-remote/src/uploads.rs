//! Uploads: end-4, end-5, end-6, end-13, end-14.
//!
//! A stream has no length, and a chunk that names its place must name its end too. So bytes that fit a small buffer
//! are sent as a chunk in its place, which the far end checks. More than that are sent as they come: where they
//! belong is compared with where the upload is beforehand, and how far it is with what was sent afterwards, so that
//! another writer in between is noticed; and whatever happens, the digest decides in the end.

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, Method, Response};
use hyper::body::Incoming;
use registry_core::error::{name_unknown, upload_unknown};
use registry_core::{
    Algorithm, BlobInfo, ByteStream, Context, Digest, Error, ErrorKind, RepositoryName, Result, UploadId,
    UploadStatus, once,
};

use crate::body::Outgoing;
use crate::wire::{Wire, callers_stream_failed, misbehaved, text};
use crate::{blobs, session};

/// How many bytes are looked at before it is decided how to send them.
const HEAD_MAX: usize = 64 << 10;

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
    let answer = wire
        .send(ctx, Method::GET, &target, &[], Outgoing::bytes(""))
        .await?;
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
    let sent = send(wire, ctx, repository, id, at, bytes, Method::PATCH, "").await?;
    let answer = wire
        .expect(sent.answer, &[202, 201, 204], || upload_unknown(id))
        .await?;
    let mut status = status_of(wire, repository, answer.headers())?;
    if let Some(at) = at {
        let end = at + sent.bytes;
        if status.received != end && !(status.received == 0 && end == 1) {
            let message = format!(
                "upload {id} is at byte {} after bytes up to {end} were sent: another request adds to it",
                status.received
            );
            return Err(Error::new(ErrorKind::UploadInvalid, message));
        }
        status.received = end;
    }
    Ok(status)
}

#[allow(
    clippy::too_many_arguments,
    reason = "they are those of the trait's operation, and the way to the far end"
)]
pub(crate) async fn finish(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    id: &UploadId,
    at: Option<u64>,
    bytes: ByteStream,
    digest: &Digest,
) -> Result<BlobInfo> {
    let parameter = format!("digest={digest}");
    let sent = send(wire, ctx, repository, id, at, bytes, Method::PUT, &parameter).await?;
    wire.expect(sent.answer, &[201], || upload_unknown(id)).await?;
    blobs::stat(wire, ctx, repository, digest).await
}

struct Sent {
    answer: Response<Incoming>,
    bytes: u64,
}

/// Sends bytes to an upload, to the place where they belong if `at` names it.
#[allow(clippy::too_many_arguments, reason = "as above")]
async fn send(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    id: &UploadId,
    at: Option<u64>,
    bytes: ByteStream,
    method: Method,
    parameter: &str,
) -> Result<Sent> {
    let mut target = session::target(repository, id)?;
    if !parameter.is_empty() {
        target.push(if target.contains('?') { '&' } else { '?' });
        target += parameter;
    }
    let (head, rest) = head(bytes).await.map_err(callers_stream_failed)?;
    let mut place = None;
    match at {
        Some(at) if rest.is_none() && !head.is_empty() => {
            place = Some(format!("{at}-{}", at + head.len() as u64 - 1));
        }
        Some(at) => {
            let now = status(wire, ctx, repository, id).await?.received;
            // One byte looks like none; see `received`.
            if now != at && !(now == 0 && at == 1) {
                let message = format!("upload {id} is at byte {now}; send what comes next");
                let detail = serde_json::json!({ "upload": id, "received": now });
                return Err(Error::new(ErrorKind::RangeInvalid, message).with_detail(detail));
            }
        }
        None => {}
    }
    let mut headers = vec![(CONTENT_TYPE, "application/octet-stream")];
    headers.extend(place.as_deref().map(|place| (CONTENT_RANGE, place)));
    let body = match rest {
        None => Outgoing::bytes(head),
        Some(rest) => Outgoing::stream(Box::pin(once(head).chain(rest))),
    };
    let progress = body.progress();
    let answer = wire.send(ctx, method, &target, &headers, body).await?;
    Ok(Sent {
        answer,
        bytes: progress.sent(),
    })
}

/// The first bytes of a stream, and what comes after them unless that was all.
async fn head(mut bytes: ByteStream) -> std::io::Result<(Bytes, Option<ByteStream>)> {
    let mut head = BytesMut::new();
    while let Some(chunk) = bytes.next().await {
        // What came before is sent, and kept by the far end, as it would be in a long stream.
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) if head.is_empty() => return Err(error),
            Err(error) => return Ok((head.freeze(), Some(Box::pin(stream::once(async { Err(error) }))))),
        };
        if head.len() + chunk.len() > HEAD_MAX {
            let rest = once(chunk).chain(bytes);
            return Ok((head.freeze(), Some(Box::pin(rest))));
        }
        head.extend_from_slice(&chunk);
    }
    Ok((head.freeze(), None))
}

#[cfg(test)]
mod tests {
    use super::*;

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
