//! Blobs: end-2, end-10, end-11.

use http::header::{ACCEPT_ENCODING, RANGE};
use http::{Method, StatusCode};
use registry_core::auth::Visible;
use registry_core::error::blob_unknown;
use registry_core::{
    Blob, BlobInfo, BlobRead, ByteRange, Context, Digest, Error, ErrorKind, MountFrom, RepositoryName, Result,
};

use crate::answer::{content_digest, content_length, content_range, is};
use crate::body::{Outgoing, Wanted, verified};
use crate::uploads;
use crate::wire::{Wire, misbehaved};

fn target(repository: &RepositoryName, digest: &Digest) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

fn check_digest(headers: &http::HeaderMap, digest: &Digest) -> Result<()> {
    match content_digest(headers)? {
        Some(other) if other.algorithm() == digest.algorithm() && other != *digest => {
            Err(misbehaved(format_args!("it has {other} for {digest}")))
        }
        _ => Ok(()),
    }
}

pub(crate) async fn stat(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<BlobInfo> {
    let answer = wire
        .fetch(ctx, Method::HEAD, &target(repository, digest), &[])
        .await?;
    let answer = wire.expect(answer, &[200], || blob_unknown(digest)).await?;
    check_digest(answer.headers(), digest)?;
    let size =
        content_length(answer.headers()).ok_or_else(|| misbehaved("it does not tell a blob's length"))?;
    Ok(BlobInfo {
        digest: *digest,
        size,
    })
}

pub(crate) async fn read(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    digest: &Digest,
    range: Option<ByteRange>,
) -> Result<Blob> {
    let wanted = range.map(|range| match range {
        ByteRange::From(first, Some(last)) => format!("bytes={first}-{last}"),
        ByteRange::From(first, None) => format!("bytes={first}-"),
        ByteRange::Suffix(length) => format!("bytes=-{length}"),
    });
    let mut headers = vec![(ACCEPT_ENCODING, "identity")];
    headers.extend(wanted.as_deref().map(|wanted| (RANGE, wanted)));
    let answer = wire
        .fetch(ctx, Method::GET, &target(repository, digest), &headers)
        .await?;
    let answer = wire.expect(answer, &[200, 206], || blob_unknown(digest)).await?;
    check_digest(answer.headers(), digest)?;

    let (size, part, wanted) = match is(&answer, StatusCode::PARTIAL_CONTENT) {
        true => {
            let (part, size) = content_range(answer.headers())
                .ok_or_else(|| misbehaved("a part says not which one it is"))?;
            if range.and_then(|range| range.resolve(size)).as_ref() != Some(&part) {
                return Err(misbehaved("it sent another part than was asked for"));
            }
            let length = part.end - part.start;
            let digest = Some(*digest).filter(|_| length == size);
            (
                size,
                part,
                Wanted {
                    length,
                    part: 0..length,
                    digest,
                },
            )
        }
        // Also from a registry that does not know of ranges.
        false => {
            let size = content_length(answer.headers())
                .ok_or_else(|| misbehaved("it does not tell a blob's length"))?;
            let part = match range {
                None => 0..size,
                Some(range) => range.resolve(size).ok_or_else(|| {
                    Error::new(ErrorKind::RangeInvalid, format!("blob {digest} has {size} bytes"))
                })?,
            };
            (
                size,
                part.clone(),
                Wanted {
                    length: size,
                    part,
                    digest: Some(*digest),
                },
            )
        }
    };
    let read = BlobRead::Stream(verified(answer.into_body(), wanted, wire.idle));
    Ok(Blob {
        info: BlobInfo {
            digest: *digest,
            size,
        },
        range: part,
        read,
    })
}

pub(crate) async fn delete(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    digest: &Digest,
) -> Result<()> {
    let target = target(repository, digest);
    let answer = wire
        .send(ctx, Method::DELETE, &target, &[], Outgoing::bytes(""))
        .await?;
    wire.expect(answer, &[202, 200, 204], || blob_unknown(digest))
        .await?;
    Ok(())
}

pub(crate) async fn mount(
    wire: &Wire,
    ctx: &Context,
    repository: &RepositoryName,
    digest: &Digest,
    from: &MountFrom,
) -> Result<Option<BlobInfo>> {
    let mut target = format!("/v2/{repository}/blobs/uploads/?mount={digest}");
    match from {
        MountFrom::Repository(source) => target += &format!("&from={source}"),
        // The far end would look wherever these credentials may, which is not what the caller may see.
        MountFrom::Anywhere if ctx.visible != Visible::All => return Ok(None),
        MountFrom::Anywhere => {}
    }
    let answer = wire
        .send(ctx, Method::POST, &target, &[], Outgoing::bytes(""))
        .await?;
    let answer = wire
        .expect(answer, &[201, 202], || {
            registry_core::error::name_unknown(repository)
        })
        .await?;
    if is(&answer, StatusCode::CREATED) {
        return stat(wire, ctx, repository, digest).await.map(Some);
    }
    // It began an upload instead, which nobody will go on with.
    let begun = uploads::status_of(wire, repository, answer.headers())?;
    uploads::cancel(wire, ctx, repository, &begun.id).await?;
    Ok(None)
}
