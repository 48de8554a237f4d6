//! Writers at once, and writers who leave: whoever loses has changed nothing.

use std::sync::Arc;

use bytes::Bytes;
use futures_channel::{mpsc, oneshot};
use futures_util::{StreamExt, stream};
use registry_core::manifest::OCI_MANIFEST;
use registry_core::{ByteStream, Digest, ErrorKind, Expect, PutManifest, WriteOptions, empty, once};

use super::super::content;
use super::{F, User, assert_unknown, at_once, polled, repo, tag};

#[doc(hidden)]
#[macro_export]
macro_rules! registry_writers_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::registry::writers,
            $name,
            $factory,
            [
                of_64_concurrent_absent_writers_of_one_tag_exactly_one_wins,
                of_64_concurrent_writers_who_expect_the_same_manifest_exactly_one_wins,
                of_two_finishes_of_one_upload_exactly_one_makes_the_blob,
                a_second_writer_supersedes_one_that_stalls,
                a_finish_whose_caller_left_has_happened_whole_or_not_at_all,
                a_put_whose_caller_left_has_happened_whole_or_not_at_all,
                a_tag_that_moves_always_resolves,
                a_push_races_the_delete_of_what_it_needs_and_never_leaves_a_hole,
            ]
        );
    };
}

/// 64 manifests of the same children; each writes the tag `latest` under a condition.
async fn race(user: &User, repository: &registry_core::RepositoryName, expect: Expect) -> Vec<Digest> {
    user.prepared(repository, "race").await;
    let base = super::image(&"config race".into(), &["layer race".into()], None);
    let puts = (0..64).map(|n| {
        let mut bytes = base.to_vec();
        bytes.resize(bytes.len() + n + 1, b'\n');
        let put = PutManifest {
            options: WriteOptions {
                expect,
                ..WriteOptions::default()
            },
            ..PutManifest::tagged(tag("latest"), OCI_MANIFEST, bytes)
        };
        let (user, repository) = (user.clone(), repository.clone());
        async move { user.put(&repository, put).await }
    });
    let mut winners = Vec::new();
    for outcome in at_once(puts).await {
        match outcome {
            Ok(won) => winners.push(won.digest),
            Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error:?}"),
        }
    }
    winners
}

/// The promise that immutable tags stand on.
pub async fn of_64_concurrent_absent_writers_of_one_tag_exactly_one_wins(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let winners = race(&user, &a, Expect::Absent).await;
    assert_eq!(winners.len(), 1, "{winners:?} all won");
    assert_eq!(user.at(&a, "latest").await, Some(winners[0]));
}

/// Compare and set.
pub async fn of_64_concurrent_writers_who_expect_the_same_manifest_exactly_one_wins(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let before = user.image(&a, "before", "latest").await;
    let winners = race(&user, &a, Expect::At(before)).await;
    assert_eq!(winners.len(), 1, "{winners:?} all won");
    assert_eq!(user.at(&a, "latest").await, Some(winners[0]));
}

/// The other is told that there is no such upload any more, or that it was taken over.
pub async fn of_two_finishes_of_one_upload_exactly_one_makes_the_blob(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for round in 0..8 {
        let bytes = content(60 + round, 100_000);
        let digest = Digest::sha256(&bytes);
        let upload = user.begin(&a).await;
        let (registry, ctx) = (&user.registry, &user.ctx);
        let upload = registry
            .append_upload(ctx, &a, &upload.id, None, once(bytes.clone()))
            .await
            .expect("bytes");
        let finishes = (0..2).map(|_| {
            let (user, a, id) = (user.clone(), a.clone(), upload.id.clone());
            async move {
                user.registry
                    .finish_upload(&user.ctx, &a, &id, None, empty(), &digest)
                    .await
            }
        });
        let outcomes = at_once(finishes).await;
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
            1,
            "{outcomes:?}"
        );
        for error in outcomes.into_iter().filter_map(Result::err) {
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::UploadUnknown | ErrorKind::UploadInvalid),
                "{error:?}"
            );
        }
        assert!(
            user.read(&a, &digest).await.expect("a blob") == bytes,
            "other bytes were read"
        );
    }
}

/// And what the first sends when it wakes changes nothing.
pub async fn a_second_writer_supersedes_one_that_stalls(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let bytes = content(70, 300_000);
    let digest = Digest::sha256(&bytes);
    let upload = user.begin(&a).await;

    let (wake, woken) = mpsc::unbounded::<std::io::Result<Bytes>>();
    let (stalls, stalled) = oneshot::channel();
    let pause = stream::once(async move {
        let _somebody_waits = stalls.send(());
        Ok(Bytes::new())
    });
    let first: ByteStream = Box::pin(once(bytes.slice(..100_000)).chain(pause).chain(woken));
    let stalling = {
        let (user, a, id) = (user.clone(), a.clone(), upload.id.clone());
        tokio::spawn(async move {
            user.registry
                .append_upload(&user.ctx, &a, &id, Some(0), first)
                .await
        })
    };
    stalled.await.expect("the first writer takes its first bytes");

    let (registry, ctx) = (&user.registry, &user.ctx);
    let mut finished = false;
    for _ in 0..1_000 {
        let received = registry
            .upload_status(ctx, &a, &upload.id)
            .await
            .expect("an upload")
            .received;
        let rest = once(bytes.slice(received as usize..));
        match registry
            .finish_upload(ctx, &a, &upload.id, Some(received), rest, &digest)
            .await
        {
            Ok(_) => {
                finished = true;
                break;
            }
            // What the first had under way still arrived, or took the upload over in its turn.
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::RangeInvalid | ErrorKind::UploadInvalid | ErrorKind::Unavailable
                ),
                "{error:?}"
            ),
        }
    }
    assert!(finished, "the second writer never got to the end");
    let _unwanted = wake.unbounded_send(Ok(Bytes::from(vec![b'!'; 100_000])));
    drop(wake);
    let outcome = stalling.await.expect("a task that does not panic");
    assert!(
        outcome.is_err(),
        "the first writer was told that its bytes count: {outcome:?}"
    );
    assert!(
        user.read(&a, &digest).await.expect("a blob") == bytes,
        "other bytes were read"
    );
}

/// A future that is dropped has made the blob, or the upload can be finished, or it is over; never half a blob.
pub async fn a_finish_whose_caller_left_has_happened_whole_or_not_at_all(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for times in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
        let bytes = content(80 + times as u64, 100_000);
        let digest = Digest::sha256(&bytes);
        let upload = user.begin(&a).await;
        let sent = once(bytes.clone());
        let finish = user
            .registry
            .finish_upload(&user.ctx, &a, &upload.id, Some(0), sent, &digest);
        if polled(finish, times).await {
            user.stat(&a, &digest).await.expect("an acknowledged push");
        }
        match user.read(&a, &digest).await {
            Ok(read) => assert!(read == bytes, "half a blob was read"),
            Err(error) => assert_eq!(error.kind().status(), 404, "{error:?}"),
        }
        user.push(&a, &bytes).await;
        assert!(
            user.read(&a, &digest).await.expect("a blob") == bytes,
            "other bytes were read"
        );
    }
}

/// The tag is there with its manifest, or neither is.
pub async fn a_put_whose_caller_left_has_happened_whole_or_not_at_all(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for times in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
        let manifest = user.prepared(&a, &format!("n{times}")).await;
        let put = PutManifest::tagged(tag(&format!("t{times}")), OCI_MANIFEST, manifest.clone());
        let done = polled(user.put(&a, put.clone()), times).await;
        match user.at(&a, &format!("t{times}")).await {
            Some(digest) => {
                assert_eq!(
                    user.get(&a, digest).await.expect("a tag resolves").bytes,
                    manifest
                );
            }
            None => assert!(!done, "an acknowledged put is gone"),
        }
        user.put(&a, put).await.expect("it can be put again");
        assert_eq!(
            user.get(&a, tag(&format!("t{times}")))
                .await
                .expect("a manifest")
                .bytes,
            manifest
        );
    }
}

/// At each moment to one of the manifests that it was put at.
pub async fn a_tag_that_moves_always_resolves(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let mut manifests = Vec::new();
    for seed in ["one", "two"] {
        let manifest = user.prepared(&a, seed).await;
        let put = PutManifest::tagged(tag("latest"), OCI_MANIFEST, manifest);
        user.put(&a, put.clone()).await.expect("a put");
        manifests.push(put);
    }
    let manifests = Arc::new(manifests);
    let writer = {
        let (user, a, manifests) = (user.clone(), a.clone(), Arc::clone(&manifests));
        tokio::spawn(async move {
            for put in manifests.iter().cycle().take(40) {
                user.put(&a, put.clone()).await.expect("a put");
            }
        })
    };
    while !writer.is_finished() {
        let manifest = user.get(&a, tag("latest")).await.expect("a tag that is there");
        assert_eq!(manifest.info.digest, Digest::sha256(&manifest.bytes));
        assert!(
            manifests.iter().any(|put| put.bytes == manifest.bytes),
            "a manifest that nobody put"
        );
    }
    writer.await.expect("a task that does not panic");
}

/// Either the manifest is refused, or its blob stays: I1.
pub async fn a_push_races_the_delete_of_what_it_needs_and_never_leaves_a_hole(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for round in 0..16 {
        let seed = format!("round {round}");
        let manifest = user.prepared(&a, &seed).await;
        let layer = Digest::sha256(format!("layer {seed}").as_bytes());
        let put = PutManifest::tagged(tag("latest"), OCI_MANIFEST, manifest);
        let (putting, deleting) = (user.clone(), user.clone());
        let (into, from) = (a.clone(), a.clone());
        let put = tokio::spawn(async move { putting.put(&into, put).await });
        let delete =
            tokio::spawn(async move { deleting.registry.delete_blob(&deleting.ctx, &from, &layer).await });
        let put = put.await.expect("a task that does not panic");
        let deleted = delete.await.expect("a task that does not panic");
        match (put, deleted) {
            (Ok(_), Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::InUse, "{error:?}");
                user.read(&a, &layer).await.expect("a manifest's blob is there");
            }
            (Err(error), Ok(())) => {
                assert_eq!(error.kind(), ErrorKind::ManifestBlobUnknown, "{error:?}");
                assert_unknown(user.stat(&a, &layer).await);
            }
            both => panic!("a manifest and the delete of its blob: {both:?}"),
        }
    }
}
