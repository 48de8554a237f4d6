//! Manifests: end-3, end-7 and end-9.

use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::body::Body;
use super::condition::EntityTags;
use super::intake::Intake;
use super::operation::Operation;
use super::respond::{Answer, CONTENT_DIGEST, OCI_SUBJECT, OCI_TAG, Reply};
use super::service::Service;
use crate::context::Context;
use crate::error::Error;
use crate::manifest;
use crate::name::{Reference, RepositoryName};
use crate::registry::{ManifestInfo, PutManifest, WriteOptions};

fn describe(status: StatusCode, info: &ManifestInfo) -> Reply {
    let reply = Reply::new(status).named(&info.digest);
    match status {
        StatusCode::NOT_MODIFIED => reply,
        _ => reply.header(CONTENT_TYPE, &info.media_type),
    }
}

impl Service {
    pub(super) async fn stat_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
        unless: Option<&EntityTags>,
    ) -> Answer {
        let info = self.registry().stat_manifest(ctx, repository, reference).await?;
        if unless.is_some_and(|tags| tags.contain(&info.digest)) {
            return Ok(describe(StatusCode::NOT_MODIFIED, &info).done());
        }
        Ok(describe(StatusCode::OK, &info).length(info.size).done())
    }

    pub(super) async fn get_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
        unless: Option<&EntityTags>,
    ) -> Answer {
        if let Some(tags) = unless {
            let info = self.registry().stat_manifest(ctx, repository, reference).await?;
            if tags.contain(&info.digest) {
                return Ok(describe(StatusCode::NOT_MODIFIED, &info).done());
            }
        }
        let manifest = self.registry().get_manifest(ctx, repository, reference).await?;
        Ok(describe(StatusCode::OK, &manifest.info).body(Body::bytes(manifest.bytes)))
    }

    pub(super) async fn put_manifest(&self, ctx: &Context, operation: &Operation, intake: Intake) -> Answer {
        let Operation::PutManifest {
            repository,
            reference,
            tags: parameters,
            media_type,
            length,
            expect,
        } = operation
        else {
            return Err(Error::internal("a manifest is put by no other operation").into());
        };
        let bytes = intake
            .read(*length, manifest::SIZE_MAX, manifest::too_large)
            .await?;
        let mut tags = parameters.clone();
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => {
                if !tags.contains(tag) {
                    tags.insert(0, tag.clone());
                }
                None
            }
        };
        let put = PutManifest {
            bytes,
            media_type: media_type.clone(),
            digest,
            tags,
            options: WriteOptions {
                expect: *expect,
                ..WriteOptions::default()
            },
        };
        let outcome = self.registry().put_manifest(ctx, repository, put).await?;
        let mut reply = Reply::new(StatusCode::CREATED)
            .location(format!("/v2/{repository}/manifests/{}", outcome.digest))
            .header(CONTENT_DIGEST, outcome.digest.to_string());
        if let Some(subject) = outcome.subject {
            reply = reply.header(OCI_SUBJECT, subject.to_string());
        }
        if !parameters.is_empty() {
            for tag in &outcome.tags {
                reply = reply.header(OCI_TAG, tag);
            }
        }
        Ok(reply.done())
    }

    pub(super) async fn delete_manifest(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Answer {
        match reference {
            Reference::Tag(tag) => self.registry().delete_tag(ctx, repository, tag).await?,
            Reference::Digest(digest) => self.registry().delete_manifest(ctx, repository, digest).await?,
        }
        Ok(Reply::new(StatusCode::ACCEPTED).done())
    }
}
