//! What can be asked only of a registry at hand: the protocol has no words for it.

use registry_core::manifest::{OCI_INDEX, OCI_MANIFEST};
use registry_core::{Charge, Children, Digest, ErrorKind, PutManifest, WriteOptions, once};

use super::{F, User, assert_kind, assert_unknown, at_once, image, index, repo, tag};

#[doc(hidden)]
#[macro_export]
macro_rules! registry_local_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::registry::local,
            $name,
            $factory,
            [
                a_deleted_repository_is_gone_at_once,
                a_repository_made_again_has_nothing_of_the_old,
                an_upload_begun_before_its_repository_was_deleted_is_unknown,
                what_was_read_before_is_forgotten_with_whatever_it_stood_on,
                a_deleted_repository_leaves_what_others_share,
                a_repository_that_does_not_exist_cannot_be_deleted,
                deferred_children_may_come_later,
                a_deferred_child_opens_nothing,
                a_charge_beyond_its_limit_refuses_the_write,
                of_64_concurrent_charges_as_many_win_as_the_limit_allows,
            ]
        );
    };
}

/// With its blobs, manifests, tags and referrers.
pub async fn a_deleted_repository_is_gone_at_once(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let digest = user.image(&a, "one", "latest").await;
    user.registry
        .delete_repository(&user.ctx, &a)
        .await
        .expect("a delete");
    assert_kind(user.get(&a, digest).await, ErrorKind::NameUnknown);
    assert_kind(
        user.stat(&a, &Digest::sha256(b"layer one")).await,
        ErrorKind::NameUnknown,
    );
    assert_kind(
        user.registry.list_tags(&user.ctx, &a, None, 9).await,
        ErrorKind::NameUnknown,
    );
    let catalog = user
        .registry
        .list_repositories(&user.ctx, None, 9)
        .await
        .expect("a list");
    assert_eq!(catalog.items, []);
}

/// However often it was read: what a tag pointed at, what a manifest was, and that a blob was here.
pub async fn what_was_read_before_is_forgotten_with_whatever_it_stood_on(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let layer = Digest::sha256(b"layer one");
    let read = async || {
        for _ in 0..3 {
            let by_tag = user.get(&a, tag("latest")).await.expect("a manifest");
            let by_digest = user.get(&a, by_tag.info.digest).await.expect("the same");
            assert_eq!(by_tag, by_digest);
            user.stat(&a, &layer).await.expect("its layer");
        }
    };
    let one = user.image(&a, "one", "latest").await;
    read().await;

    let other = user.image(&a, "other", "latest").await;
    let moved = user.get(&a, tag("latest")).await.expect("the other");
    assert_eq!(moved.info.digest, other);

    user.image(&a, "one", "latest").await;
    read().await;
    let delete = user.registry.delete_tag(&user.ctx, &a, &tag("latest")).await;
    delete.expect("a delete");
    assert_kind(user.get(&a, tag("latest")).await, ErrorKind::ManifestUnknown);
    user.get(&a, one).await.expect("it is there still");

    user.image(&a, "one", "latest").await;
    read().await;
    let delete = user.registry.delete_manifest(&user.ctx, &a, &one);
    delete.await.expect("a delete");
    assert_kind(user.get(&a, one).await, ErrorKind::ManifestUnknown);
    assert_kind(user.get(&a, tag("latest")).await, ErrorKind::ManifestUnknown);

    user.image(&a, "one", "latest").await;
    user.image(&b, "one", "latest").await;
    read().await;
    let delete = user.registry.delete_repository(&user.ctx, &a);
    delete.await.expect("a delete");
    assert_kind(user.get(&a, one).await, ErrorKind::NameUnknown);
    assert_kind(user.stat(&a, &layer).await, ErrorKind::NameUnknown);
    user.stat(&b, &layer).await.expect("it is there still");

    user.image(&a, "other", "latest").await;
    assert_kind(user.get(&a, one).await, ErrorKind::ManifestUnknown);
    assert_kind(user.stat(&a, &layer).await, ErrorKind::BlobUnknown);
}

/// Nothing under the name lives on.
pub async fn a_repository_made_again_has_nothing_of_the_old(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let subject = user.image(&a, "one", "latest").await;
    let referrer = image(&"config one".into(), &["layer one".into()], Some(&subject));
    user.put(&a, PutManifest::untagged(OCI_MANIFEST, referrer))
        .await
        .expect("a referrer");
    user.registry
        .delete_repository(&user.ctx, &a)
        .await
        .expect("a delete");

    user.image(&a, "two", "other").await;
    assert_eq!(user.tags(&a).await, ["other"]);
    assert_kind(user.get(&a, subject).await, ErrorKind::ManifestUnknown);
    assert_kind(
        user.stat(&a, &Digest::sha256(b"layer one")).await,
        ErrorKind::BlobUnknown,
    );
    let referrers = user
        .registry
        .list_referrers(&user.ctx, &a, &subject, None, None, 9)
        .await;
    assert_eq!(referrers.expect("a list").items, []);
    assert_eq!(user.image(&a, "one", "latest").await, subject);
    assert_eq!(user.tags(&a).await, ["latest", "other"]);
}

/// It was an upload to another repository, whatever its name.
pub async fn an_upload_begun_before_its_repository_was_deleted_is_unknown(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    user.image(&a, "one", "latest").await;
    let upload = user.begin(&a).await;
    let (registry, ctx) = (&user.registry, &user.ctx);
    registry
        .append_upload(ctx, &a, &upload.id, None, once("some"))
        .await
        .expect("bytes");
    registry.delete_repository(ctx, &a).await.expect("a delete");
    assert_kind(
        registry.upload_status(ctx, &a, &upload.id).await,
        ErrorKind::UploadUnknown,
    );
    user.image(&a, "two", "latest").await;
    let digest = Digest::sha256(b"something");
    let late = registry
        .finish_upload(ctx, &a, &upload.id, None, once("thing"), &digest)
        .await;
    assert_kind(late, ErrorKind::UploadUnknown);
    assert_kind(user.stat(&a, &digest).await, ErrorKind::BlobUnknown);
}

/// Their blobs are theirs.
pub async fn a_deleted_repository_leaves_what_others_share(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let digest = user.image(&a, "one", "latest").await;
    user.image(&b, "one", "latest").await;
    user.registry
        .delete_repository(&user.ctx, &a)
        .await
        .expect("a delete");
    assert_eq!(user.at(&b, "latest").await, Some(digest));
    assert_eq!(
        user.read(&b, &Digest::sha256(b"layer one"))
            .await
            .expect("a blob"),
        "layer one"
    );
}

/// Also not twice.
pub async fn a_repository_that_does_not_exist_cannot_be_deleted(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    assert_kind(
        user.registry.delete_repository(&user.ctx, &a).await,
        ErrorKind::NameUnknown,
    );
    user.image(&a, "one", "latest").await;
    user.registry
        .delete_repository(&user.ctx, &a)
        .await
        .expect("a delete");
    assert_kind(
        user.registry.delete_repository(&user.ctx, &a).await,
        ErrorKind::NameUnknown,
    );
}

fn deferred(put: PutManifest) -> PutManifest {
    let options = WriteOptions {
        children: Children::Deferred,
        ..put.options
    };
    PutManifest { options, ..put }
}

/// A proxy may hold an index before it holds what the index names.
pub async fn deferred_children_may_come_later(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let child = user.prepared(&b, "one").await;
    let index = index(&[(Digest::sha256(&child), child.len())]);
    let put = PutManifest::tagged(tag("index"), OCI_INDEX, index);
    assert_kind(user.put(&a, put.clone()).await, ErrorKind::ManifestBlobUnknown);
    user.put(&a, deferred(put))
        .await
        .expect("an index before its children");
    let put = deferred(PutManifest::untagged(OCI_MANIFEST, child.clone()));
    user.put(&a, put).await.expect("a manifest before its blobs");
    user.prepared(&a, "one").await;
    assert_eq!(
        user.get(&a, Digest::sha256(&child))
            .await
            .expect("a manifest")
            .bytes,
        child
    );
    assert_eq!(
        user.read(&a, &Digest::sha256(b"layer one"))
            .await
            .expect("a blob"),
        "layer one"
    );
}

/// To be named is not to be brought.
pub async fn a_deferred_child_opens_nothing(fixture: F) {
    let (user, a, b) = (User::of(&fixture), repo("a"), repo("b"));
    let manifest = user.prepared(&b, "one").await;
    let put = deferred(PutManifest::tagged(tag("latest"), OCI_MANIFEST, manifest.clone()));
    user.put(&a, put).await.expect("a manifest before its blobs");
    let layer = Digest::sha256(b"layer one");
    assert_kind(user.stat(&a, &layer).await, ErrorKind::BlobUnknown);
    assert_kind(user.read(&a, &layer).await, ErrorKind::BlobUnknown);
    assert_eq!(user.mount(&repo("c"), &layer, &a).await.expect("an answer"), None);
    assert_unknown(user.stat(&repo("c"), &layer).await);
    let put = PutManifest::tagged(tag("required"), OCI_MANIFEST, manifest);
    assert_kind(user.put(&a, put).await, ErrorKind::ManifestBlobUnknown);
    assert_eq!(
        user.read(&b, &layer).await.expect("where it belongs"),
        "layer one"
    );
}

fn charged(put: PutManifest, amount: i64, limit: Option<u64>) -> PutManifest {
    let charge = vec![Charge {
        counter: "team".to_owned(),
        amount,
        limit,
    }];
    let options = WriteOptions {
        charge,
        ..put.options
    };
    PutManifest { options, ..put }
}

/// Nothing is written then, and what is given back can be used again.
pub async fn a_charge_beyond_its_limit_refuses_the_write(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let manifest = user.prepared(&a, "one").await;
    let put = |name: &str, amount| {
        let put = PutManifest::tagged(tag(name), OCI_MANIFEST, manifest.clone());
        user.put(&a, charged(put, amount, Some(10)))
    };
    put("first", 7).await.expect("within the limit");
    assert_kind(put("second", 4).await, ErrorKind::QuotaExceeded);
    assert_eq!(user.at(&a, "second").await, None);
    put("third", 3).await.expect("up to the limit");
    assert_kind(put("fourth", 1).await, ErrorKind::QuotaExceeded);
    put("fifth", -5).await.expect("giving back is never refused");
    put("sixth", 5).await.expect("what was given back");
    assert_eq!(user.tags(&a).await, ["fifth", "first", "sixth", "third"]);
}

/// Not one more.
pub async fn of_64_concurrent_charges_as_many_win_as_the_limit_allows(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let manifest = user.prepared(&a, "one").await;
    let puts = (0..64).map(|n| {
        // Each a manifest of its own, so that it is the counter alone that they meet at.
        let mut bytes = manifest.to_vec();
        bytes.resize(bytes.len() + n, b'\n');
        let put = PutManifest::tagged(tag(&format!("t{n}")), OCI_MANIFEST, bytes);
        let (user, a) = (user.clone(), a.clone());
        async move { user.put(&a, charged(put, 1, Some(10))).await }
    });
    let outcomes = at_once(puts).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
    for error in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error:?}");
    }
    assert_eq!(user.tags(&a).await.len(), 10);
}
