//! Blobs: reading, belonging, mounting, deleting.

use bytes::Bytes;
use registry_core::auth::Visible;
use registry_core::{Algorithm, ByteRange, Digest, ErrorKind, MountFrom};

use super::super::{content, read_all};
use super::{F, User, assert_kind, assert_unknown, at_once, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! registry_blobs_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::registry::blobs,
            $name,
            $factory,
            [
                a_pushed_blob_is_read_back_whole,
                a_large_blob_is_read_back_whole,
                the_empty_blob_is_a_blob,
                a_blob_has_the_name_it_was_pushed_under,
                stat_tells_the_length,
                a_range_is_read_in_each_of_its_forms,
                a_range_that_the_blob_does_not_have_is_refused,
                what_was_never_pushed_is_unknown,
                knowing_a_digest_opens_nothing,
                the_same_blob_belongs_to_each_repository_it_was_pushed_to,
                of_64_pushes_of_one_blob_at_once_all_succeed,
                a_deleted_blob_is_unknown,
                deleting_a_blob_leaves_it_to_other_repositories,
                a_blob_that_a_manifest_needs_cannot_be_deleted,
                a_deleted_blob_can_be_pushed_again,
                a_blob_is_mounted_from_the_repository_that_is_named,
                a_blob_is_mounted_from_anywhere,
                anywhere_is_only_what_the_caller_may_see,
                what_is_not_to_be_had_is_not_mounted,
                a_mounted_blob_stays_when_its_source_goes,
                a_blob_is_mounted_where_it_is_already,
                a_mounted_blob_can_be_named_by_a_manifest,
                a_reader_gets_all_of_a_blob_that_is_deleted_meanwhile,
            ]
        );
    };
}

/// What was pushed is what is read, under its digest.
pub async fn a_pushed_blob_is_read_back_whole(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(1, 1_000);
    let digest = user.push(&a, &bytes).await;
    let blob = user
        .registry
        .read_blob(&user.ctx, &a, &digest, None)
        .await
        .expect("a blob");
    assert_eq!(
        (blob.info.digest, blob.info.size, blob.range),
        (digest, 1_000, 0..1_000)
    );
    assert_eq!(read_all(blob.read).await.expect("its bytes"), bytes);
}

/// Also what is larger than any buffer on its way.
pub async fn a_large_blob_is_read_back_whole(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(2, 3_000_001);
    let digest = user.push(&a, &bytes).await;
    assert!(
        user.read(&a, &digest).await.expect("a blob") == bytes,
        "other bytes were read"
    );
}

/// No bytes are content too.
pub async fn the_empty_blob_is_a_blob(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let digest = user.push(&a, &Bytes::new()).await;
    assert_eq!(user.stat(&a, &digest).await.expect("a blob").size, 0);
    assert_eq!(user.read(&a, &digest).await.expect("a blob"), Bytes::new());
    let range = Some(ByteRange::From(0, None));
    assert_kind(
        user.registry.read_blob(&user.ctx, &a, &digest, range).await,
        ErrorKind::RangeInvalid,
    );
}

/// A blob pushed under its SHA-512 digest is known by that.
pub async fn a_blob_has_the_name_it_was_pushed_under(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(3, 70_000);
    let digest = Digest::of(Algorithm::Sha512, &bytes);
    let info = user.push_as(&a, &bytes, &digest).await.expect("a push");
    assert_eq!((info.digest, info.size), (digest, 70_000));
    assert_eq!(user.read(&a, &digest).await.expect("a blob"), bytes);
    assert_unknown(user.stat(&a, &Digest::sha256(&bytes)).await);
}

/// Without reading it.
pub async fn stat_tells_the_length(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for length in [1, 4_095, 100_000] {
        let digest = user.push(&a, &content(4, length)).await;
        let info = user.stat(&a, &digest).await.expect("a blob");
        assert_eq!((info.digest, info.size), (digest, length as u64));
    }
}

/// RFC 9110 §14.1.2: first to last, to the end, the last so many; clipped to the blob.
pub async fn a_range_is_read_in_each_of_its_forms(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for length in [100_usize, 300_000] {
        let bytes = content(5, length);
        let digest = user.push(&a, &bytes).await;
        let end = length as u64;
        for (range, expected) in [
            (ByteRange::From(0, Some(0)), 0..1),
            (ByteRange::From(10, Some(19)), 10..20),
            (ByteRange::From(90, None), 90..end),
            (ByteRange::From(end - 1, Some(u64::MAX)), end - 1..end),
            (ByteRange::Suffix(7), end - 7..end),
            (ByteRange::Suffix(end + 1), 0..end),
        ] {
            let blob = user
                .registry
                .read_blob(&user.ctx, &a, &digest, Some(range))
                .await
                .expect("a part");
            assert_eq!(
                (blob.range.clone(), blob.info.size),
                (expected.clone(), end),
                "{range:?}"
            );
            let part = bytes.slice(expected.start as usize..expected.end as usize);
            assert!(
                read_all(blob.read).await.expect("its bytes") == part,
                "{range:?} of {length}"
            );
        }
    }
}

/// And nothing is read then.
pub async fn a_range_that_the_blob_does_not_have_is_refused(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let digest = user.push(&a, &content(6, 100)).await;
    for range in [
        ByteRange::From(100, None),
        ByteRange::From(1_000, Some(2_000)),
        ByteRange::Suffix(0),
    ] {
        let outcome = user.registry.read_blob(&user.ctx, &a, &digest, Some(range)).await;
        assert_kind(outcome, ErrorKind::RangeInvalid);
    }
}

/// In a repository that exists, and in one that does not.
pub async fn what_was_never_pushed_is_unknown(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    user.push(&a, &content(7, 10)).await;
    let digest = Digest::sha256(b"never");
    assert_unknown(user.stat(&a, &digest).await);
    assert_kind(user.read(&a, &digest).await, ErrorKind::BlobUnknown);
    assert_kind(
        user.registry.delete_blob(&user.ctx, &a, &digest).await,
        ErrorKind::BlobUnknown,
    );
    assert_unknown(user.stat(&b, &digest).await);
    assert_kind(user.read(&b, &digest).await, ErrorKind::NameUnknown);
    assert_kind(
        user.registry.delete_blob(&user.ctx, &b, &digest).await,
        ErrorKind::NameUnknown,
    );
}

/// A blob that belongs to another repository cannot be told of, read or deleted in this one.
pub async fn knowing_a_digest_opens_nothing(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let bytes = content(8, 1_000);
    let digest = user.push(&a, &bytes).await;
    user.push(&b, &content(9, 10)).await;
    assert_unknown(user.stat(&b, &digest).await);
    assert_kind(user.read(&b, &digest).await, ErrorKind::BlobUnknown);
    assert_kind(
        user.registry.delete_blob(&user.ctx, &b, &digest).await,
        ErrorKind::BlobUnknown,
    );
    assert_eq!(user.read(&a, &digest).await.expect("still there"), bytes);
}

/// However often its bytes are stored.
pub async fn the_same_blob_belongs_to_each_repository_it_was_pushed_to(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let bytes = content(10, 50_000);
    let digest = user.push(&a, &bytes).await;
    assert_eq!(user.push(&b, &bytes).await, digest);
    assert_eq!(user.push(&a, &bytes).await, digest);
    for repository in [&a, &b] {
        assert_eq!(user.read(repository, &digest).await.expect("a blob"), bytes);
    }
}

/// Nobody who pushes what another is pushing too is refused.
pub async fn of_64_pushes_of_one_blob_at_once_all_succeed(fixture: F) {
    let user = User::of(&fixture);
    let bytes = content(11, 40_000);
    let digest = Digest::sha256(&bytes);
    let pushes = (0..64).map(|n| {
        let (user, bytes, repository) = (user.clone(), bytes.clone(), repo(&format!("r{}", n % 4)));
        async move { user.push_as(&repository, &bytes, &digest).await }
    });
    for outcome in at_once(pushes).await {
        assert_eq!(outcome.expect("a push").digest, digest);
    }
    for n in 0..4 {
        assert_eq!(
            user.read(&repo(&format!("r{n}")), &digest).await.expect("a blob"),
            bytes
        );
    }
}

/// At once.
pub async fn a_deleted_blob_is_unknown(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let digest = user.push(&a, &content(12, 1_000)).await;
    user.registry
        .delete_blob(&user.ctx, &a, &digest)
        .await
        .expect("a delete");
    assert_unknown(user.stat(&a, &digest).await);
    assert_kind(user.read(&a, &digest).await, ErrorKind::BlobUnknown);
    assert_kind(
        user.registry.delete_blob(&user.ctx, &a, &digest).await,
        ErrorKind::BlobUnknown,
    );
}

/// It is taken from one repository, not from the world.
pub async fn deleting_a_blob_leaves_it_to_other_repositories(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let bytes = content(13, 1_000);
    let digest = user.push(&a, &bytes).await;
    user.push(&b, &bytes).await;
    user.registry
        .delete_blob(&user.ctx, &a, &digest)
        .await
        .expect("a delete");
    assert_eq!(user.read(&b, &digest).await.expect("a blob"), bytes);
}

/// `InUse`, until the manifest is gone.
pub async fn a_blob_that_a_manifest_needs_cannot_be_deleted(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let manifest = user.image(&a, "one", "latest").await;
    let layer = Digest::sha256(b"layer one");
    assert_kind(
        user.registry.delete_blob(&user.ctx, &a, &layer).await,
        ErrorKind::InUse,
    );
    assert_eq!(user.read(&a, &layer).await.expect("still there"), "layer one");
    user.delete(&a, &manifest).await.expect("a delete");
    user.registry
        .delete_blob(&user.ctx, &a, &layer)
        .await
        .expect("nothing needs it any more");
    assert_unknown(user.stat(&a, &layer).await);
}

/// As if it had never been.
pub async fn a_deleted_blob_can_be_pushed_again(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(14, 100_000);
    for _ in 0..3 {
        let digest = user.push(&a, &bytes).await;
        assert!(
            user.read(&a, &digest).await.expect("a blob") == bytes,
            "other bytes were read"
        );
        user.registry
            .delete_blob(&user.ctx, &a, &digest)
            .await
            .expect("a delete");
        assert_unknown(user.stat(&a, &digest).await);
    }
}

/// Without its bytes moving; also into a repository that is made by it.
pub async fn a_blob_is_mounted_from_the_repository_that_is_named(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let bytes = content(15, 20_000);
    let digest = user.push(&a, &bytes).await;
    let info = user
        .mount(&b, &digest, &a)
        .await
        .expect("an answer")
        .expect("a mount");
    assert_eq!((info.digest, info.size), (digest, 20_000));
    assert_eq!(user.read(&b, &digest).await.expect("a blob"), bytes);
}

/// The caller need not say where it is.
pub async fn a_blob_is_mounted_from_anywhere(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let bytes = content(16, 20_000);
    let digest = user.push(&a, &bytes).await;
    let mounted = user
        .registry
        .mount_blob(&user.ctx, &b, &digest, &MountFrom::Anywhere)
        .await;
    assert_eq!(mounted.expect("an answer").expect("a mount").size, 20_000);
    assert_eq!(user.read(&b, &digest).await.expect("a blob"), bytes);
}

/// A blob that is only where the caller may not look is not there (CVE-2024-39897).
pub async fn anywhere_is_only_what_the_caller_may_see(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let digest = user.push(&a, &content(17, 100)).await;
    let blind = user.seeing(Visible::Only {
        names: [b.clone()].into(),
        prefixes: [].into(),
    });
    let mounted = blind
        .registry
        .mount_blob(&blind.ctx, &b, &digest, &MountFrom::Anywhere)
        .await;
    assert_eq!(mounted.expect("an answer, not a refusal"), None);
    assert_unknown(user.stat(&b, &digest).await);
}

/// Whatever the reason, the answer is the same.
pub async fn what_is_not_to_be_had_is_not_mounted(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let (here, elsewhere) = (
        user.push(&a, &content(18, 100)).await,
        user.push(&b, &content(19, 100)).await,
    );
    let target = repo("target");
    assert_eq!(
        user.mount(&target, &Digest::sha256(b"never"), &a)
            .await
            .expect("an answer"),
        None
    );
    assert_eq!(
        user.mount(&target, &here, &repo("missing"))
            .await
            .expect("an answer"),
        None
    );
    assert_eq!(
        user.mount(&target, &elsewhere, &a).await.expect("an answer"),
        None
    );
    assert_unknown(user.stat(&target, &here).await);
    assert_unknown(user.stat(&target, &elsewhere).await);
}

/// It belongs to the repository that mounted it.
pub async fn a_mounted_blob_stays_when_its_source_goes(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let bytes = content(20, 1_000);
    let digest = user.push(&a, &bytes).await;
    user.mount(&b, &digest, &a)
        .await
        .expect("an answer")
        .expect("a mount");
    user.registry
        .delete_blob(&user.ctx, &a, &digest)
        .await
        .expect("a delete");
    assert_eq!(user.read(&b, &digest).await.expect("a blob"), bytes);
}

/// From itself, or again.
pub async fn a_blob_is_mounted_where_it_is_already(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let digest = user.push(&a, &content(21, 1_000)).await;
    for (target, source) in [(&a, &a), (&b, &a), (&b, &a), (&a, &b)] {
        assert!(
            user.mount(target, &digest, source)
                .await
                .expect("an answer")
                .is_some()
        );
    }
}

/// That is what it is mounted for.
pub async fn a_mounted_blob_can_be_named_by_a_manifest(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let manifest = user.prepared(&a, "one").await;
    for name in ["config one", "layer one"] {
        let digest = Digest::sha256(name.as_bytes());
        user.mount(&b, &digest, &a)
            .await
            .expect("an answer")
            .expect("a mount");
    }
    let put = registry_core::PutManifest::tagged(super::tag("latest"), super::OCI_MANIFEST, manifest);
    user.put(&b, put).await.expect("its children are here");
}

/// Whoever has begun to read gets the right bytes to the end.
pub async fn a_reader_gets_all_of_a_blob_that_is_deleted_meanwhile(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(22, 2_000_000);
    let digest = user.push(&a, &bytes).await;
    let blob = user
        .registry
        .read_blob(&user.ctx, &a, &digest, None)
        .await
        .expect("a blob");
    user.registry
        .delete_blob(&user.ctx, &a, &digest)
        .await
        .expect("a delete");
    assert!(
        read_all(blob.read).await.expect("its bytes") == bytes,
        "other bytes were read"
    );
}
