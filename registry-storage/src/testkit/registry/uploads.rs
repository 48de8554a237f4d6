//! Uploads: the forms of a push, and what is left of one that fails.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use registry_core::{
    Algorithm, ByteStream, Digest, ErrorKind, RepositoryName, Result, UploadId, UploadStatus, empty, once,
};

use super::super::{chunked, content};
use super::{F, User, assert_kind, assert_unknown, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! registry_uploads_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::registry::uploads,
            $name,
            $factory,
            [
                an_upload_begins_with_nothing_received,
                a_blob_is_pushed_in_one_piece,
                a_blob_is_pushed_in_one_chunk_and_finished_without_bytes,
                a_blob_is_pushed_in_chunks_the_last_of_which_finishes_it,
                a_blob_is_streamed_without_saying_where,
                status_tells_how_far_an_upload_is,
                a_chunk_out_of_order_is_refused_and_changes_nothing,
                a_last_chunk_out_of_order_is_refused_and_the_upload_goes_on,
                a_wrong_digest_ends_the_upload_and_leaves_nothing,
                another_algorithm_than_hinted_can_be_asked_for_at_the_end,
                a_push_resumes_where_its_stream_broke,
                a_last_chunk_that_broke_can_be_sent_again,
                a_finished_upload_is_unknown,
                a_cancelled_upload_is_unknown,
                an_upload_that_never_began_is_unknown,
                an_upload_is_unknown_in_other_repositories,
                uploads_of_one_repository_do_not_disturb_each_other,
            ]
        );
    };
}

/// What can be done to an upload by its id, each in turn.
async fn everything(user: &User, repository: &RepositoryName, id: &UploadId) -> Vec<Result<()>> {
    let (registry, ctx) = (&user.registry, &user.ctx);
    let digest = Digest::sha256(b"more");
    vec![
        registry.upload_status(ctx, repository, id).await.map(drop),
        registry
            .append_upload(ctx, repository, id, None, once("more"))
            .await
            .map(drop),
        registry
            .finish_upload(ctx, repository, id, None, once("more"), &digest)
            .await
            .map(drop),
        registry.cancel_upload(ctx, repository, id).await,
    ]
}

async fn assert_over(user: &User, repository: &RepositoryName, id: &UploadId) {
    for outcome in everything(user, repository, id).await {
        assert_kind(outcome, ErrorKind::UploadUnknown);
    }
    assert_unknown(user.stat(repository, &Digest::sha256(b"more")).await);
}

impl User {
    async fn append(
        &self,
        repository: &RepositoryName,
        upload: &UploadStatus,
        at: Option<u64>,
        bytes: ByteStream,
    ) -> Result<UploadStatus> {
        self.registry
            .append_upload(&self.ctx, repository, &upload.id, at, bytes)
            .await
    }

    async fn status(&self, repository: &RepositoryName, upload: &UploadStatus) -> u64 {
        let status = self
            .registry
            .upload_status(&self.ctx, repository, &upload.id)
            .await;
        status.expect("an upload").received
    }
}

/// `bytes`, and then the connection breaks.
fn broken(bytes: &Bytes) -> ByteStream {
    let cut = stream::iter([Err(io::Error::from(io::ErrorKind::UnexpectedEof))]);
    Box::pin(chunked(bytes, 50_000).chain(cut))
}

/// And each has an id of its own.
pub async fn an_upload_begins_with_nothing_received(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let (first, second) = (user.begin(&a).await, user.begin(&a).await);
    assert_eq!((first.received, second.received), (0, 0));
    assert_ne!(first.id, second.id);
    assert_eq!(user.status(&a, &first).await, 0);
}

/// All bytes come with the end.
pub async fn a_blob_is_pushed_in_one_piece(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for length in [1, 16_384, 16_385, 65_536, 65_537, 1_000_000] {
        let bytes = content(30, length);
        let digest = Digest::sha256(&bytes);
        let upload = user.begin(&a).await;
        let pieces = chunked(&bytes, 30_000);
        let info = user
            .registry
            .finish_upload(&user.ctx, &a, &upload.id, None, pieces, &digest)
            .await;
        assert_eq!(info.expect("a push").size, length as u64);
        assert!(
            user.read(&a, &digest).await.expect("a blob") == bytes,
            "other bytes of {length}"
        );
    }
}

/// All bytes come before the end.
pub async fn a_blob_is_pushed_in_one_chunk_and_finished_without_bytes(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(31, 200_000);
    let digest = Digest::sha256(&bytes);
    let upload = user.begin(&a).await;
    let upload = user
        .append(&a, &upload, Some(0), chunked(&bytes, 30_000))
        .await
        .expect("a chunk");
    assert_eq!(upload.received, 200_000);
    let finished = user
        .registry
        .finish_upload(&user.ctx, &a, &upload.id, None, empty(), &digest)
        .await;
    assert_eq!(finished.expect("a push").size, 200_000);
    assert!(
        user.read(&a, &digest).await.expect("a blob") == bytes,
        "other bytes were read"
    );
}

/// Chunks say where they belong; the end brings the last.
pub async fn a_blob_is_pushed_in_chunks_the_last_of_which_finishes_it(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(32, 250_000);
    let digest = Digest::sha256(&bytes);
    let mut upload = user.begin(&a).await;
    for (start, end) in [(0, 10), (10, 100_000), (100_000, 230_000)] {
        let chunk = once(bytes.slice(start..end));
        upload = user
            .append(&a, &upload, Some(start as u64), chunk)
            .await
            .expect("a chunk");
        assert_eq!(upload.received, end as u64);
    }
    let last = once(bytes.slice(230_000..));
    let finished = user
        .registry
        .finish_upload(&user.ctx, &a, &upload.id, Some(230_000), last, &digest)
        .await;
    assert_eq!(finished.expect("a push").size, 250_000);
    assert!(
        user.read(&a, &digest).await.expect("a blob") == bytes,
        "other bytes were read"
    );
}

/// They go to the end of what is there.
pub async fn a_blob_is_streamed_without_saying_where(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(33, 300_000);
    let digest = Digest::sha256(&bytes);
    let mut upload = user.begin(&a).await;
    for part in bytes.chunks(100_000) {
        upload = user
            .append(&a, &upload, None, chunked(&bytes.slice_ref(part), 9_999))
            .await
            .expect("bytes");
    }
    assert_eq!(upload.received, 300_000);
    let finished = user
        .registry
        .finish_upload(&user.ctx, &a, &upload.id, None, empty(), &digest)
        .await;
    assert_eq!(finished.expect("a push").size, 300_000);
    assert!(
        user.read(&a, &digest).await.expect("a blob") == bytes,
        "other bytes were read"
    );
}

/// What is acknowledged is there.
pub async fn status_tells_how_far_an_upload_is(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let mut upload = user.begin(&a).await;
    for (length, received) in [(2, 2), (70_000, 70_002), (100, 70_102)] {
        upload = user
            .append(&a, &upload, None, once(content(34, length)))
            .await
            .expect("bytes");
        assert_eq!(
            (upload.received, user.status(&a, &upload).await),
            (received, received)
        );
    }
}

/// `RangeInvalid` for what lies beyond the end, and for what is there already.
pub async fn a_chunk_out_of_order_is_refused_and_changes_nothing(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(35, 200_000);
    let upload = user.begin(&a).await;
    let upload = user
        .append(&a, &upload, Some(0), once(bytes.slice(..1_000)))
        .await
        .expect("a chunk");
    for (at, length) in [(0, 10), (999, 10), (1_001, 10), (0, 100_000), (5_000, 100_000)] {
        let chunk = once(bytes.slice(..length));
        assert_kind(
            user.append(&a, &upload, Some(at), chunk).await,
            ErrorKind::RangeInvalid,
        );
    }
    assert_eq!(user.status(&a, &upload).await, 1_000);
    let rest = once(bytes.slice(1_000..));
    let upload = user
        .append(&a, &upload, Some(1_000), rest)
        .await
        .expect("the right chunk");
    let digest = Digest::sha256(&bytes);
    let finished = user
        .registry
        .finish_upload(&user.ctx, &a, &upload.id, None, empty(), &digest)
        .await;
    assert_eq!(finished.expect("a push").size, 200_000);
}

/// It is no end.
pub async fn a_last_chunk_out_of_order_is_refused_and_the_upload_goes_on(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(36, 3_000);
    let digest = Digest::sha256(&bytes);
    let upload = user.begin(&a).await;
    let upload = user
        .append(&a, &upload, Some(0), once(bytes.slice(..1_000)))
        .await
        .expect("a chunk");
    let (registry, ctx) = (&user.registry, &user.ctx);
    for at in [0, 1_001] {
        let last = once(bytes.slice(1_000..));
        let early = registry
            .finish_upload(ctx, &a, &upload.id, Some(at), last, &digest)
            .await;
        assert_kind(early, ErrorKind::RangeInvalid);
    }
    let last = once(bytes.slice(1_000..));
    registry
        .finish_upload(ctx, &a, &upload.id, Some(1_000), last, &digest)
        .await
        .expect("the right chunk");
    assert_eq!(user.read(&a, &digest).await.expect("a blob"), bytes);
}

/// Neither under the digest that was asked for nor under that of the bytes.
pub async fn a_wrong_digest_ends_the_upload_and_leaves_nothing(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    user.push(&a, &content(37, 1)).await;
    for length in [1_000, 100_000] {
        let bytes = content(38, length);
        for wrong in [Digest::sha256(b"other"), Digest::of(Algorithm::Sha512, b"other")] {
            let upload = user.begin(&a).await;
            let upload = user
                .append(&a, &upload, Some(0), once(bytes.slice(..500)))
                .await
                .expect("a chunk");
            let rest = once(bytes.slice(500..));
            let refused = user
                .registry
                .finish_upload(&user.ctx, &a, &upload.id, None, rest, &wrong)
                .await;
            assert_kind(refused, ErrorKind::DigestInvalid);
            assert_over(&user, &a, &upload.id).await;
            assert_kind(user.push_as(&a, &bytes, &wrong).await, ErrorKind::DigestInvalid);
            assert_unknown(user.stat(&a, &wrong).await);
            assert_unknown(user.stat(&a, &Digest::of(wrong.algorithm(), &bytes)).await);
        }
    }
}

/// The algorithm that an upload began with is a hint.
pub async fn another_algorithm_than_hinted_can_be_asked_for_at_the_end(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(39, 150_000);
    for (hint, algorithm) in [
        (None, Algorithm::Sha512),
        (Some(Algorithm::Sha512), Algorithm::Sha256),
        (Some(Algorithm::Sha256), Algorithm::Sha512),
    ] {
        let digest = Digest::of(algorithm, &bytes);
        let upload = user
            .registry
            .begin_upload(&user.ctx, &a, hint)
            .await
            .expect("an upload");
        let upload = user
            .append(&a, &upload, Some(0), once(bytes.slice(..90_000)))
            .await
            .expect("a chunk");
        let rest = once(bytes.slice(90_000..));
        let finished = user
            .registry
            .finish_upload(&user.ctx, &a, &upload.id, None, rest, &digest)
            .await;
        assert_eq!(finished.expect("a push").digest, digest, "{hint:?}");
        assert!(
            user.read(&a, &digest).await.expect("a blob") == bytes,
            "other bytes were read"
        );
    }
}

/// Asks how far the upload is and goes on from there, as clients do, until nothing is in the way: what was on its way
/// when a connection broke may still be arriving.
async fn resume(
    user: &User,
    repository: &RepositoryName,
    upload: &UploadStatus,
    bytes: &Bytes,
) -> UploadStatus {
    for _ in 0..1_000 {
        let received = user.status(repository, upload).await;
        assert!(received <= bytes.len() as u64, "more was received than was sent");
        let rest = chunked(&bytes.slice(received as usize..), 50_000);
        match user.append(repository, upload, Some(received), rest).await {
            Ok(status) => return status,
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::RangeInvalid | ErrorKind::UploadInvalid),
                "{error:?}"
            ),
        }
        tokio::task::yield_now().await;
    }
    panic!("the upload could not be resumed");
}

/// Nothing that was sent before has to be sent again than what is not acknowledged.
pub async fn a_push_resumes_where_its_stream_broke(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(40, 400_000);
    let digest = Digest::sha256(&bytes);
    let upload = user.begin(&a).await;
    let upload = user
        .append(&a, &upload, Some(0), once(bytes.slice(..10_000)))
        .await
        .expect("a chunk");
    let cut = user
        .append(&a, &upload, Some(10_000), broken(&bytes.slice(10_000..310_000)))
        .await;
    assert_kind(cut, ErrorKind::UploadInvalid);
    assert!(
        user.status(&a, &upload).await >= 10_000,
        "what was acknowledged is gone"
    );
    let upload = resume(&user, &a, &upload, &bytes).await;
    assert_eq!(upload.received, 400_000);
    let finished = user
        .registry
        .finish_upload(&user.ctx, &a, &upload.id, None, empty(), &digest)
        .await;
    assert_eq!(finished.expect("a push").size, 400_000);
    assert!(
        user.read(&a, &digest).await.expect("a blob") == bytes,
        "other bytes were read"
    );
}

/// A stream that breaks makes no blob, and does not end the upload.
pub async fn a_last_chunk_that_broke_can_be_sent_again(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for length in [1_000, 300_000] {
        let bytes = content(41, length);
        let digest = Digest::sha256(&bytes);
        let upload = user.begin(&a).await;
        let cut = broken(&bytes);
        let refused = user
            .registry
            .finish_upload(&user.ctx, &a, &upload.id, None, cut, &digest)
            .await;
        assert_kind(refused, ErrorKind::UploadInvalid);
        let upload = resume(&user, &a, &upload, &bytes).await;
        let finished = user
            .registry
            .finish_upload(&user.ctx, &a, &upload.id, None, empty(), &digest)
            .await;
        assert_eq!(finished.expect("a push").size, length as u64);
        assert!(
            user.read(&a, &digest).await.expect("a blob") == bytes,
            "other bytes were read"
        );
    }
}

/// It has become a blob.
pub async fn a_finished_upload_is_unknown(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for length in [100, 100_000] {
        let bytes = content(42, length);
        let upload = user.begin(&a).await;
        let digest = Digest::sha256(&bytes);
        let bytes = once(bytes);
        user.registry
            .finish_upload(&user.ctx, &a, &upload.id, None, bytes, &digest)
            .await
            .expect("a push");
        assert_over(&user, &a, &upload.id).await;
        user.stat(&a, &digest)
            .await
            .expect("the blob is not touched by that");
    }
}

/// It is given up.
pub async fn a_cancelled_upload_is_unknown(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for length in [0, 100, 100_000] {
        let upload = user.begin(&a).await;
        let upload = user
            .append(&a, &upload, None, once(content(43, length)))
            .await
            .expect("bytes");
        user.registry
            .cancel_upload(&user.ctx, &a, &upload.id)
            .await
            .expect("it can be cancelled");
        assert_over(&user, &a, &upload.id).await;
    }
}

/// Also one whose id has no form that this registry gives.
pub async fn an_upload_that_never_began_is_unknown(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    user.push(&a, &content(44, 10)).await;
    assert_over(&user, &a, &UploadId::new(7)).await;
    assert_over(&user, &a, &"x".parse().expect("an id")).await;
    assert_over(&user, &a, &"=Li4vLi4vLi4".parse().expect("an id")).await;
    assert_over(&user, &repo("missing"), &UploadId::new(7)).await;
}

/// Whoever knows an upload's id gets nowhere with it elsewhere (CVE-2026-32589).
pub async fn an_upload_is_unknown_in_other_repositories(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    user.push(&b, &content(45, 10)).await;
    let bytes = content(46, 1_000);
    let upload = user.begin(&a).await;
    let upload = user
        .append(&a, &upload, None, once(bytes.slice(..400)))
        .await
        .expect("bytes");
    assert_over(&user, &b, &upload.id).await;
    assert_over(&user, &repo("missing"), &upload.id).await;
    assert_eq!(user.status(&a, &upload).await, 400);
    let digest = Digest::sha256(&bytes);
    let rest = once(bytes.slice(400..));
    let finished = user
        .registry
        .finish_upload(&user.ctx, &a, &upload.id, Some(400), rest, &digest)
        .await;
    assert_eq!(finished.expect("it goes on").size, 1_000);
}

/// Each has its own bytes.
pub async fn uploads_of_one_repository_do_not_disturb_each_other(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let mut uploads = Vec::new();
    for seed in 50..54 {
        uploads.push((user.begin(&a).await, content(seed, 90_000)));
    }
    for start in (0..90_000).step_by(30_000) {
        for (upload, bytes) in &mut uploads {
            let chunk = once(bytes.slice(start..start + 30_000));
            *upload = user
                .append(&a, upload, Some(start as u64), chunk)
                .await
                .expect("a chunk");
        }
    }
    for (upload, bytes) in &uploads {
        let digest = Digest::sha256(bytes);
        let finished = user
            .registry
            .finish_upload(&user.ctx, &a, &upload.id, None, empty(), &digest)
            .await;
        assert_eq!(finished.expect("a push").size, 90_000);
        assert!(
            user.read(&a, &digest).await.expect("a blob") == *bytes,
            "other bytes were read"
        );
    }
}
