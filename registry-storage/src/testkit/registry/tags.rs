//! Tags: moving, expecting, deleting.

use registry_core::manifest::OCI_MANIFEST;
use registry_core::{Digest, ErrorKind, Expect, PutManifest, Tag, WriteOptions};

use super::{F, User, assert_kind, repo, tag};

#[doc(hidden)]
#[macro_export]
macro_rules! registry_tags_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::registry::tags,
            $name,
            $factory,
            [
                a_tag_moves_and_what_it_pointed_at_stays,
                one_put_sets_several_tags,
                expect_absent_refuses_a_tag_that_is_there,
                expect_at_moves_a_tag_only_from_there,
                of_several_tags_none_moves_if_one_is_not_as_expected,
                a_deleted_tag_leaves_its_manifest_and_the_other_tags,
                a_tag_that_is_not_there_cannot_be_deleted,
                a_deleted_tag_is_absent_again,
            ]
        );
    };
}

impl User {
    async fn put_expecting(
        &self,
        seed: &str,
        names: &[&str],
        expect: Expect,
    ) -> registry_core::Result<Digest> {
        let a = repo("a");
        let manifest = self.prepared(&a, seed).await;
        let put = PutManifest {
            tags: names.iter().map(|name| tag(name)).collect(),
            options: WriteOptions {
                expect,
                ..WriteOptions::default()
            },
            ..PutManifest::untagged(OCI_MANIFEST, manifest)
        };
        self.put(&a, put).await.map(|outcome| outcome.digest)
    }
}

/// Known by its digest.
pub async fn a_tag_moves_and_what_it_pointed_at_stays(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let one = user.image(&a, "one", "latest").await;
    let two = user.image(&a, "two", "latest").await;
    assert_ne!(one, two);
    assert_eq!(user.at(&a, "latest").await, Some(two));
    assert_eq!(user.get(&a, one).await.expect("a manifest").info.digest, one);
    // The tag is not one of the old manifest's any more.
    user.delete(&a, &one).await.expect("a delete");
    assert_eq!(user.at(&a, "latest").await, Some(two));
}

/// distribution-spec end-7b, with a digest.
pub async fn one_put_sets_several_tags(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let names: Vec<Tag> = (0..12).map(|n| tag(&format!("v{n:02}"))).collect();
    let manifest = user.prepared(&a, "one").await;
    let put = PutManifest {
        tags: names.clone(),
        ..PutManifest::untagged(OCI_MANIFEST, manifest)
    };
    let outcome = user.put(&a, put).await.expect("a put");
    assert_eq!(outcome.tags, names);
    for name in &names {
        assert_eq!(user.at(&a, name.as_str()).await, Some(outcome.digest));
    }
}

/// Even one that points at the same manifest.
pub async fn expect_absent_refuses_a_tag_that_is_there(fixture: F) {
    let user = User::of(&fixture);
    let one = user
        .put_expecting("one", &["latest"], Expect::Absent)
        .await
        .expect("it is absent");
    for seed in ["one", "two"] {
        let refused = user.put_expecting(seed, &["latest"], Expect::Absent).await;
        assert_kind(refused, ErrorKind::PreconditionFailed);
        assert_eq!(user.at(&repo("a"), "latest").await, Some(one));
    }
    user.put_expecting("two", &["other"], Expect::Absent)
        .await
        .expect("another tag is absent");
}

/// Neither from elsewhere nor from nothing.
pub async fn expect_at_moves_a_tag_only_from_there(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let one = user
        .put_expecting("one", &["latest"], Expect::Any)
        .await
        .expect("a put");
    let two = user
        .put_expecting("two", &["latest"], Expect::At(one))
        .await
        .expect("it is there");
    assert_eq!(user.at(&a, "latest").await, Some(two));
    let stale = user.put_expecting("three", &["latest"], Expect::At(one)).await;
    assert_kind(stale, ErrorKind::PreconditionFailed);
    assert_eq!(user.at(&a, "latest").await, Some(two));
    let missing = user.put_expecting("three", &["missing"], Expect::At(one)).await;
    assert_kind(missing, ErrorKind::PreconditionFailed);
    assert_eq!(user.at(&a, "missing").await, None);
}

/// One step, or none.
pub async fn of_several_tags_none_moves_if_one_is_not_as_expected(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let one = user
        .put_expecting("one", &["taken"], Expect::Any)
        .await
        .expect("a put");
    let refused = user
        .put_expecting("two", &["free", "taken"], Expect::Absent)
        .await;
    assert_kind(refused, ErrorKind::PreconditionFailed);
    assert_eq!(
        (user.at(&a, "free").await, user.at(&a, "taken").await),
        (None, Some(one))
    );
}

/// Only the name goes.
pub async fn a_deleted_tag_leaves_its_manifest_and_the_other_tags(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    let one = user.image(&a, "one", "first").await;
    user.image(&a, "one", "second").await;
    user.registry
        .delete_tag(&user.ctx, &a, &tag("first"))
        .await
        .expect("a delete");
    assert_kind(user.get(&a, tag("first")).await, ErrorKind::ManifestUnknown);
    assert_eq!(user.at(&a, "second").await, Some(one));
    user.registry
        .delete_tag(&user.ctx, &a, &tag("second"))
        .await
        .expect("a delete");
    assert_eq!(
        user.get(&a, one)
            .await
            .expect("a manifest without tags")
            .info
            .digest,
        one
    );
}

/// Also not twice.
pub async fn a_tag_that_is_not_there_cannot_be_deleted(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    user.image(&a, "one", "latest").await;
    let delete = async |name| user.registry.delete_tag(&user.ctx, &a, &tag(name)).await;
    assert_kind(delete("never").await, ErrorKind::ManifestUnknown);
    delete("latest").await.expect("a delete");
    assert_kind(delete("latest").await, ErrorKind::ManifestUnknown);
    let elsewhere = user
        .registry
        .delete_tag(&user.ctx, &repo("missing"), &tag("latest"))
        .await;
    assert_kind(elsewhere, ErrorKind::NameUnknown);
}

/// And can be written by who expects that.
pub async fn a_deleted_tag_is_absent_again(fixture: F) {
    let (user, a) = (User::of(&fixture), repo("a"));
    for seed in ["one", "two", "one"] {
        let digest = user
            .put_expecting(seed, &["latest"], Expect::Absent)
            .await
            .expect("it is absent");
        assert_eq!(user.at(&a, "latest").await, Some(digest));
        user.registry
            .delete_tag(&user.ctx, &a, &tag("latest"))
            .await
            .expect("a delete");
    }
}
