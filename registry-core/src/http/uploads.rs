//! Uploads: end-4, end-5, end-6, end-11, end-13 and end-14.

use std::sync::Arc;

use http::StatusCode;
use http::header::{LOCATION, RANGE};

use super::blobs;
use super::content_range::Chunk;
use super::intake::{Failure, Intake};
use super::respond::{Answer, CONTENT_DIGEST, Refused, Reply, UPLOAD_UUID};
use super::service::Service;
use crate::context::Context;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind};
use crate::name::RepositoryName;
use crate::registry::{MountFrom, UploadId, UploadStatus};

fn location(repository: &RepositoryName, id: &UploadId) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

/// How far the upload is, as the protocol writes it: nothing received looks like one byte.
fn received(status: &UploadStatus) -> String {
    format!("0-{}", status.received.saturating_sub(1))
}

fn progress(code: StatusCode, repository: &RepositoryName, status: &UploadStatus) -> Reply {
    Reply::new(code)
        .location(location(repository, &status.id))
        .header(RANGE, received(status))
        .header(UPLOAD_UUID, status.id.as_str())
}

fn created(repository: &RepositoryName, digest: &Digest) -> Reply {
    Reply::new(StatusCode::CREATED)
        .location(blobs::location(repository, digest))
        .header(CONTENT_DIGEST, digest.to_string())
}

impl Service {
    pub(super) async fn begin_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        algorithm: Option<Algorithm>,
    ) -> Answer {
        let status = self.registry().begin_upload(ctx, repository, algorithm).await?;
        Ok(progress(StatusCode::ACCEPTED, repository, &status).done())
    }

    pub(super) async fn mount_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        from: &MountFrom,
    ) -> Answer {
        match self.registry().mount_blob(ctx, repository, digest, from).await? {
            Some(info) => Ok(created(repository, &info.digest).done()),
            None => self.begin_upload(ctx, repository, Some(digest.algorithm())).await,
        }
    }

    pub(super) async fn push_blob(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        digest: &Digest,
        chunk: Chunk,
        intake: Intake,
    ) -> Answer {
        let begun = self
            .registry()
            .begin_upload(ctx, repository, Some(digest.algorithm()))
            .await?;
        let unfinished = Unfinished::new(self, ctx, repository, begun.id.clone());
        let (bytes, failure) = intake.stream(chunk.length);
        let finished = self
            .registry()
            .finish_upload(ctx, repository, &begun.id, chunk.at, bytes, digest)
            .await;
        match finished {
            Ok(info) => {
                unfinished.disarm();
                Ok(created(repository, &info.digest).done())
            }
            Err(error) => {
                unfinished.cancel().await;
                Err(failure.or(error).into())
            }
        }
    }

    pub(super) async fn upload_status(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Answer {
        let status = self.registry().upload_status(ctx, repository, id).await?;
        Ok(progress(StatusCode::NO_CONTENT, repository, &status).done())
    }

    pub(super) async fn append_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        chunk: Chunk,
        intake: Intake,
    ) -> Answer {
        let (bytes, failure) = intake.stream(chunk.length);
        match self
            .registry()
            .append_upload(ctx, repository, id, chunk.at, bytes)
            .await
        {
            Ok(status) => Ok(progress(StatusCode::ACCEPTED, repository, &status).done()),
            Err(error) => self.not_added(ctx, repository, id, &failure, error).await,
        }
    }

    pub(super) async fn finish_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        chunk: Chunk,
        digest: &Digest,
        intake: Intake,
    ) -> Answer {
        let (bytes, failure) = intake.stream(chunk.length);
        match self
            .registry()
            .finish_upload(ctx, repository, id, chunk.at, bytes, digest)
            .await
        {
            Ok(info) => Ok(created(repository, &info.digest).done()),
            Err(error) => self.not_added(ctx, repository, id, &failure, error).await,
        }
    }

    /// A chunk that was out of order is refused with the place where the next one belongs.
    async fn not_added(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
        failure: &Failure,
        error: Error,
    ) -> Answer {
        let error = failure.or(error);
        if error.kind() != ErrorKind::RangeInvalid {
            return Err(error.into());
        }
        let refused = Refused::from(error);
        Err(match self.registry().upload_status(ctx, repository, id).await {
            Ok(status) => refused
                .header(LOCATION, location(repository, id))
                .header(RANGE, received(&status))
                .header(UPLOAD_UUID, id.as_str()),
            Err(_) => refused,
        })
    }

    pub(super) async fn cancel_upload(
        &self,
        ctx: &Context,
        repository: &RepositoryName,
        id: &UploadId,
    ) -> Answer {
        self.registry().cancel_upload(ctx, repository, id).await?;
        Ok(Reply::new(StatusCode::NO_CONTENT).done())
    }
}

/// An upload whose id no client knows: if it does not come to its end, it is given up, also when the request's future
/// is dropped because the connection broke.
struct Unfinished(Option<(Service, Context, RepositoryName, UploadId)>);

impl Unfinished {
    fn new(service: &Service, ctx: &Context, repository: &RepositoryName, id: UploadId) -> Self {
        Unfinished(Some((service.clone(), ctx.clone(), repository.clone(), id)))
    }

    fn disarm(mut self) {
        self.0 = None;
    }

    async fn cancel(mut self) {
        if let Some((service, ctx, repository, id)) = self.0.take() {
            give_up(&service, &ctx, &repository, &id).await;
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some((service, ctx, repository, id)) = self.0.take() {
            let runtime = Arc::clone(&service.runtime);
            runtime.spawn(Box::pin(async move {
                give_up(&service, &ctx, &repository, &id).await
            }));
        }
    }
}

async fn give_up(service: &Service, ctx: &Context, repository: &RepositoryName, id: &UploadId) {
    match service.registry.cancel_upload(ctx, repository, id).await {
        Ok(()) => {}
        // A wrong digest ends the upload by itself.
        Err(error) if error.kind() == ErrorKind::UploadUnknown => {}
        Err(error) => {
            tracing::warn!(request_id = %ctx.request_id, %repository, upload = %id, %error, "an unfinished upload stays until it expires");
        }
    }
}
