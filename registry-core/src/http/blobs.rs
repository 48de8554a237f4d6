//! Blobs: end-2 and end-10.

use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE};
use serde_json::json;

use super::body::Body;
use super::condition::EntityTags;
use super::respond::{Answer, CONTENT_DIGEST, Refused, Reply};
use super::service::Service;
use crate::context::Context;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::name::RepositoryName;
use crate::registry::{BlobRead, ByteRange};

/// Blobs are bytes; what they are is said by the manifests that name them.
const OCTETS: &str = "application/octet-stream";

pub(super) fn location(repository: &RepositoryName, digest: &Digest) -> String {
    format!("/v2/{repository}/blobs/{digest}")
}

fn describe(status: StatusCode, digest: &Digest) -> Reply {
    Reply::new(status).named(digest).fixed(ACCEPT_RANGES, "bytes")
}

impl Service {
    pub(super) async fn stat_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        unless: Option<&EntityTags>,
    ) -> Answer {
        let info = self.registry().stat_blob(ctx, repository, digest).await?;
        if unless.is_some_and(|tags| tags.contain(digest)) {
            return Ok(describe(StatusCode::NOT_MODIFIED, digest).done());
        }
        Ok(describe(StatusCode::OK, digest)
            .fixed(CONTENT_TYPE, OCTETS)
            .length(info.size)
            .done())
    }

    pub(super) async fn read_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        range: Option<ByteRange>,
        unless: Option<&EntityTags>,
    ) -> Answer {
        if unless.is_some_and(|tags| tags.contain(digest)) {
            return self.stat_blob(ctx, repository, digest, unless).await;
        }
        let blob = match self.registry().read_blob(ctx, repository, digest, range).await {
            Err(error) if error.kind() == ErrorKind::RangeInvalid => {
                return self.unsatisfiable(ctx, repository, digest, error).await;
            }
            blob => blob?,
        };
        let (size, part) = (blob.info.size, blob.range);
        let length = part.end.saturating_sub(part.start);
        let body = match blob.read {
            BlobRead::Redirect(url) => {
                let reply = Reply::new(StatusCode::TEMPORARY_REDIRECT);
                return Ok(reply
                    .header(CONTENT_DIGEST, digest.to_string())
                    .location(url)
                    .done());
            }
            BlobRead::Bytes(bytes) if bytes.len() as u64 == length => Body::bytes(bytes),
            BlobRead::File(file, at) if at.end.saturating_sub(at.start) == length => {
                Body::file(file, at, self.runtime.clone())
            }
            BlobRead::Stream(stream) => Body::stream(stream, length),
            other => {
                let wrong = format!("blob {digest}: {other:?} was opened for the {length} bytes {part:?}");
                return Err(Error::internal(wrong).into());
            }
        };
        let reply = if range.is_some() {
            let last = part.end.saturating_sub(1);
            describe(StatusCode::PARTIAL_CONTENT, digest)
                .header(CONTENT_RANGE, format!("bytes {}-{last}/{size}", part.start))
        } else {
            describe(StatusCode::OK, digest)
        };
        Ok(reply.fixed(CONTENT_TYPE, OCTETS).body(body))
    }

    /// The refusal of a range tells the size, so that the client can ask again (RFC 9110 §15.5.17).
    async fn unsatisfiable(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        error: Error,
    ) -> Answer {
        let size = self.registry().stat_blob(ctx, repository, digest).await?.size;
        let refused = Refused::from(error.with_detail(json!({ "digest": digest, "size": size })));
        Err(refused.header(CONTENT_RANGE, format!("bytes */{size}")))
    }

    pub(super) async fn delete_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Answer {
        self.registry().delete_blob(ctx, repository, digest).await?;
        Ok(Reply::new(StatusCode::ACCEPTED).done())
    }
}
