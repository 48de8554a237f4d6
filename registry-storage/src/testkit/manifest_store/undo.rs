//! The trash: what comes back, what it holds meanwhile, and how it goes.

use registry_core::store::{Collected, EventKind, Trashed, Undeleted};
use registry_core::{Children, Digest, ErrorKind, MountFrom, Reference, RepositoryName, Result, Tag};

use super::{Fixture, SLACK, assert_kind, caller, digest, image, index, repo, write};
use registry_core::manifest::OCI_MANIFEST;

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_undo_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::undo,
            $name,
            $factory,
            [
                a_deleted_manifest_comes_back_with_its_tags,
                only_the_tags_that_are_asked_for_come_back,
                what_is_in_the_trash_is_not_collected_and_opens_nothing,
                a_tag_set_since_is_not_overwritten_by_undelete,
                a_blob_only_the_trash_holds_goes_when_the_window_ends,
                what_was_deleted_has_its_grace_though_it_is_purged_at_once,
                what_came_back_and_is_deleted_again_has_a_window_of_its_own,
                an_index_comes_back_only_after_what_it_lists,
                a_referrer_comes_back_to_the_list_of_its_subject,
                what_is_put_while_it_is_in_the_trash_leaves_it,
                what_a_deferred_put_only_held_opens_nothing_when_it_comes_back,
                a_manifest_with_a_suspect_blob_stays_in_the_trash,
                a_blob_may_be_given_up_while_the_trash_holds_it,
                a_blob_may_be_given_up_while_what_only_held_it_is_in_the_trash,
                the_trash_is_listed_in_pages,
                emptying_the_trash_takes_small_pieces_and_comes_to_an_end,
                a_deleted_repository_takes_its_trash_along,
                each_undo_is_in_the_feed,
            ]
        );
    };
}

pub(super) fn tag(name: &str) -> Tag {
    name.parse().expect("a tag")
}

pub(super) async fn undelete(fixture: &Fixture, name: &RepositoryName, digest: &Digest) -> Result<Undeleted> {
    fixture.store.undelete(&caller(), name, digest, None).await
}

pub(super) async fn trash(fixture: &Fixture, name: &RepositoryName) -> Vec<Trashed> {
    let page = fixture.store.list_trash(name, None, 1000).await;
    page.expect("a list").items
}

pub(super) async fn at(fixture: &Fixture, name: &RepositoryName, tag_name: &str) -> Option<Digest> {
    match fixture.store.manifest(name, &Reference::Tag(tag(tag_name))).await {
        Ok(found) => Some(found.info.digest),
        Err(error) if error.kind() == ErrorKind::ManifestUnknown => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// To a time at which nothing that is in the trash now need be there any more.
pub(super) fn outlive_the_trash(fixture: &Fixture) {
    fixture.clock.advance(fixture.store.lifetimes().undo + SLACK);
}

pub(super) async fn purge(fixture: &Fixture) {
    while fixture.store.purge_trash(10).await.expect("a purge") {}
}

/// With its bytes, and everything that it names; meanwhile it is not there at all.
pub async fn a_deleted_manifest_comes_back_with_its_tags(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    let put = image(&["x"], &["v1", "latest"]);
    let manifest = fixture.put(&a, put.clone()).await.expect("an image").digest;
    let deleted = fixture.now();
    fixture.delete(&a, &manifest).await.expect("a delete");
    let by_digest = Reference::Digest(manifest);
    assert_kind(
        fixture.store.manifest_bytes(&a, &by_digest).await,
        ErrorKind::ManifestUnknown,
    );
    assert_eq!(
        (at(&fixture, &a, "v1").await, at(&fixture, &a, "latest").await),
        (None, None)
    );
    assert_eq!(
        fixture.store.list_tags(&a, None, 9).await.expect("a list").items,
        []
    );
    let listed = trash(&fixture, &a).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].digest, listed[0].size),
        (manifest, put.bytes.len() as u64)
    );
    assert_eq!((listed[0].by.as_str(), listed[0].at), ("tester", deleted));
    assert!(listed[0].until >= deleted + fixture.store.lifetimes().undo);
    assert_eq!(listed[0].tags, [tag("latest"), tag("v1")]);

    let back = undelete(&fixture, &a, &manifest).await.expect("it is back");
    assert_eq!(back.tags, [tag("latest"), tag("v1")]);
    assert_eq!(back.kept, []);
    let found = fixture
        .store
        .manifest_bytes(&a, &by_digest)
        .await
        .expect("a manifest");
    assert_eq!(found.bytes, put.bytes);
    assert_eq!(
        (at(&fixture, &a, "v1").await, at(&fixture, &a, "latest").await),
        (Some(manifest), Some(manifest))
    );
    assert_eq!(trash(&fixture, &a).await, []);
    assert_kind(
        undelete(&fixture, &a, &manifest).await,
        ErrorKind::ManifestUnknown,
    );
    outlive_the_trash(&fixture);
    fixture.collect_all().await;
    assert!(fixture.belongs(&a, "x").await);
}

/// Of those that went with it.
pub async fn only_the_tags_that_are_asked_for_come_back(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    let put = fixture.put(&a, image(&["x"], &["v1", "v2"])).await;
    let manifest = put.expect("an image").digest;
    fixture.delete(&a, &manifest).await.expect("a delete");
    let wanted = [tag("v2"), tag("never")];
    let back = fixture
        .store
        .undelete(&caller(), &a, &manifest, Some(&wanted))
        .await
        .expect("it is back");
    assert_eq!(back.tags, [tag("v2")]);
    assert_eq!(
        (at(&fixture, &a, "v1").await, at(&fixture, &a, "never").await),
        (None, None)
    );
}

/// Longer than any lease: neither for reading, nor for a manifest, nor for mounting.
pub async fn what_is_in_the_trash_is_not_collected_and_opens_nothing(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.image(&a, "other", "stays").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture.outlive_leases();
    for entry in fixture.due().await {
        let done = fixture.store.collect(&entry).await.expect("a step");
        assert_eq!(done, Collected::Dropped);
    }
    fixture.outlive_leases();
    assert_eq!(fixture.due().await, []);
    assert!(fixture.record("x").await.is_some());
    assert!(!fixture.belongs(&a, "x").await);
    assert_kind(
        fixture.store.lease(&a, &digest("x")).await,
        ErrorKind::BlobUnknown,
    );
    assert_kind(
        fixture.put(&a, image(&["x", "other"], &["w"])).await,
        ErrorKind::ManifestBlobUnknown,
    );
    for from in [MountFrom::Repository(a.clone()), MountFrom::Anywhere] {
        let mounted = fixture.store.mount(&caller(), &b, &digest("x"), &from).await;
        assert_eq!(mounted.expect("an answer"), None, "{from:?}");
    }
    undelete(&fixture, &a, &manifest).await.expect("it is back");
    assert!(fixture.belongs(&a, "x").await);
}

/// And the answer says so.
pub async fn a_tag_set_since_is_not_overwritten_by_undelete(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    let put = fixture.put(&a, image(&["x"], &["v", "w"])).await;
    let old = put.expect("an image").digest;
    fixture.delete(&a, &old).await.expect("a delete");
    let new = fixture.image(&a, "y", "v").await;
    let back = undelete(&fixture, &a, &old).await.expect("it is back");
    assert_eq!(back.tags, [tag("w")]);
    assert_eq!(back.kept.len(), 1);
    assert_eq!((&back.kept[0].tag, back.kept[0].digest), (&tag("v"), new));
    assert_eq!(at(&fixture, &a, "v").await, Some(new));
    assert_eq!(at(&fixture, &a, "w").await, Some(old));
}

/// Without any grace: that began with the delete.
pub async fn a_blob_only_the_trash_holds_goes_when_the_window_ends(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.image(&repo("b"), "y", "v").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture.clock.advance(fixture.store.lifetimes().undo);
    purge(&fixture).await;
    assert_eq!(trash(&fixture, &a).await.len(), 1, "its window is not over");
    outlive_the_trash(&fixture);
    fixture.outlive_leases();
    for entry in fixture.due().await {
        fixture.store.collect(&entry).await.expect("a step");
    }
    purge(&fixture).await;
    assert_eq!(trash(&fixture, &a).await, []);
    assert_kind(
        undelete(&fixture, &a, &manifest).await,
        ErrorKind::ManifestUnknown,
    );
    let due = fixture.due().await;
    assert_eq!(due.len(), 1, "queued at once");
    let done = fixture.store.collect(&due[0]).await.expect("a step");
    assert_eq!(done, Collected::Condemned);
    fixture.collect_all().await;
    assert_eq!(fixture.record("x").await, None);
    assert!(fixture.belongs(&repo("b"), "y").await);
}

/// The lease that the delete left is not cut short.
pub async fn what_was_deleted_has_its_grace_though_it_is_purged_at_once(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.outlive_leases();
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture
        .store
        .purge(&caller(), &a, &manifest)
        .await
        .expect("it was in the trash");
    assert_kind(
        fixture.store.purge(&caller(), &a, &manifest).await,
        ErrorKind::ManifestUnknown,
    );
    fixture.clock.advance(fixture.store.lifetimes().grace);
    for entry in fixture.due().await {
        fixture.store.collect(&entry).await.expect("a step");
    }
    assert!(fixture.belongs(&a, "x").await);
    fixture.put(&a, image(&["x"], &["v"])).await.expect("a put");
}

/// The first one's end does not purge it.
pub async fn what_came_back_and_is_deleted_again_has_a_window_of_its_own(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    undelete(&fixture, &a, &manifest).await.expect("it is back");
    fixture.clock.advance(fixture.store.lifetimes().undo);
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture.clock.advance(SLACK);
    purge(&fixture).await;
    undelete(&fixture, &a, &manifest).await.expect("it is back");
    assert_eq!(at(&fixture, &a, "v").await, Some(manifest));
}

/// What it lists can be deleted while it is in the trash; the refusal says what is missing, and what of that is there.
pub async fn an_index_comes_back_only_after_what_it_lists(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    let child = image(&["x"], &["child"]);
    fixture.put(&a, child.clone()).await.expect("an image");
    let index = fixture.put(&a, index(&child)).await.expect("an index").digest;
    assert_kind(fixture.delete(&a, &child.digest).await, ErrorKind::InUse);
    fixture.delete(&a, &index).await.expect("a delete");
    fixture.delete(&a, &child.digest).await.expect("a delete");
    let refused = assert_kind(
        undelete(&fixture, &a, &index).await,
        ErrorKind::ManifestBlobUnknown,
    );
    assert!(refused.message().contains(&child.digest.to_string()), "{refused}");
    let named = serde_json::json!({ "missing": [child.digest], "trash": [child.digest] });
    assert_eq!(refused.detail(), Some(&named));
    undelete(&fixture, &a, &child.digest).await.expect("it is back");
    undelete(&fixture, &a, &index).await.expect("it is back");
    assert_eq!(at(&fixture, &a, "index").await, Some(index));
    assert_kind(fixture.delete(&a, &child.digest).await, ErrorKind::InUse);
}

/// From which it is gone meanwhile.
pub async fn a_referrer_comes_back_to_the_list_of_its_subject(fixture: Fixture) {
    let a = repo("a");
    let subject = fixture.image(&a, "x", "v").await;
    fixture.publish(&a, "s").await;
    let config = serde_json::json!({ "mediaType": "x/sig", "digest": digest("s"), "size": 1 });
    let referrer = write(
        OCI_MANIFEST,
        &serde_json::json!({
            "schemaVersion": 2, "artifactType": "x/sig", "config": config, "layers": [],
            "subject": { "mediaType": OCI_MANIFEST, "digest": subject, "size": 1 },
            "annotations": { "by": "them" },
        }),
        &[],
    );
    fixture.put(&a, referrer.clone()).await.expect("a referrer");
    let listed = async || {
        let page = fixture.store.list_referrers(&a, &subject, None, None, 9).await;
        page.expect("a list").items
    };
    let before = listed().await;
    assert_eq!(before.len(), 1);
    fixture.delete(&a, &referrer.digest).await.expect("a delete");
    assert_eq!(listed().await, []);
    undelete(&fixture, &a, &referrer.digest)
        .await
        .expect("it is back");
    assert_eq!(listed().await, before);
}

/// At once, if what it names is pushed again; and nothing that was in the trash is left behind.
pub async fn what_is_put_while_it_is_in_the_trash_leaves_it(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture.outlive_leases();
    fixture.collect_due().await;
    assert_kind(
        fixture.put(&a, image(&["x"], &["w"])).await,
        ErrorKind::ManifestBlobUnknown,
    );
    assert_eq!(fixture.image(&a, "x", "w").await, manifest);
    assert_eq!(trash(&fixture, &a).await, []);
    assert_kind(
        undelete(&fixture, &a, &manifest).await,
        ErrorKind::ManifestUnknown,
    );
    assert_eq!(
        (at(&fixture, &a, "w").await, at(&fixture, &a, "v").await),
        (Some(manifest), None)
    );
    outlive_the_trash(&fixture);
    fixture.collect_all().await;
    assert!(
        fixture.belongs(&a, "x").await,
        "the end of the window is none of its own"
    );
    fixture.delete(&a, &manifest).await.expect("a delete");
    outlive_the_trash(&fixture);
    fixture.collect_all().await;
    assert_eq!(fixture.record("x").await, None);
}

/// As before.
pub async fn what_a_deferred_put_only_held_opens_nothing_when_it_comes_back(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    fixture.image(&b, "x", "v").await;
    let mut put = image(&["x"], &["v"]);
    put.options.children = Children::Deferred;
    let manifest = fixture.put(&a, put).await.expect("a deferred put").digest;
    fixture.delete(&a, &manifest).await.expect("a delete");
    assert!(!fixture.belongs(&a, "x").await);
    undelete(&fixture, &a, &manifest).await.expect("it is back");
    assert!(!fixture.belongs(&a, "x").await);
    assert_eq!(at(&fixture, &a, "v").await, Some(manifest));
}

/// Until its bytes were pushed again.
pub async fn a_manifest_with_a_suspect_blob_stays_in_the_trash(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    let record = fixture.record("x").await.expect("a record");
    fixture.store.mark_suspect(&record).await.expect("a mark");
    let refused = assert_kind(
        undelete(&fixture, &a, &manifest).await,
        ErrorKind::ManifestBlobUnknown,
    );
    assert!(refused.message().contains(&digest("x").to_string()), "{refused}");
    assert_eq!(trash(&fixture, &a).await.len(), 1);
    fixture.publish(&a, "x").await;
    undelete(&fixture, &a, &manifest).await.expect("it is back");
}

/// Then it does not belong any more; the trash holds it still.
pub async fn a_blob_may_be_given_up_while_the_trash_holds_it(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture
        .store
        .delete_blob(&a, &digest("x"))
        .await
        .expect("nothing that is there needs it");
    assert!(!fixture.belongs(&a, "x").await);
    fixture.outlive_leases();
    fixture.collect_due().await;
    undelete(&fixture, &a, &manifest).await.expect("it is back");
    assert!(fixture.belongs(&a, "x").await);
    assert_kind(
        fixture.store.delete_blob(&a, &digest("x")).await,
        ErrorKind::InUse,
    );
}

/// A deferred edge opens nothing, in the trash or not; it is needed while its manifest is there.
pub async fn a_blob_may_be_given_up_while_what_only_held_it_is_in_the_trash(fixture: Fixture) {
    let a = repo("a");
    let mut put = image(&["x"], &["v"]);
    put.options.children = Children::Deferred;
    let manifest = fixture
        .put(&a, put)
        .await
        .expect("an image before its blob")
        .digest;
    fixture.publish(&a, "x").await;
    let needed = fixture.store.delete_blob(&a, &digest("x")).await;
    assert_kind(needed, ErrorKind::InUse);
    fixture.delete(&a, &manifest).await.expect("a delete");
    let given_up = fixture.store.delete_blob(&a, &digest("x")).await;
    given_up.expect("nothing that is there needs it");
    assert!(!fixture.belongs(&a, "x").await);
    fixture.outlive_leases();
    fixture.collect_due().await;
    undelete(&fixture, &a, &manifest).await.expect("it is back");
    assert!(fixture.record("x").await.is_some() && !fixture.belongs(&a, "x").await);
}

/// By digest.
pub async fn the_trash_is_listed_in_pages(fixture: Fixture) {
    let a = repo("a");
    let mut deleted = Vec::new();
    for n in 0..5 {
        let manifest = fixture.image(&a, &format!("x{n}"), &format!("v{n}")).await;
        fixture.delete(&a, &manifest).await.expect("a delete");
        deleted.push(manifest);
    }
    deleted.sort_by_key(ToString::to_string);
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = fixture
            .store
            .list_trash(&a, after.as_ref(), 2)
            .await
            .expect("a list");
        listed.extend(page.items.iter().map(|trashed| trashed.digest));
        after = listed.last().copied();
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, deleted);
    assert_kind(
        fixture.store.list_trash(&repo("b"), None, 2).await,
        ErrorKind::NameUnknown,
    );
}

/// Manifests and tags, of this repository alone.
pub async fn emptying_the_trash_takes_small_pieces_and_comes_to_an_end(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    for n in 0..5 {
        let manifest = fixture.image(&a, &format!("x{n}"), &format!("v{n}")).await;
        fixture.delete(&a, &manifest).await.expect("a delete");
    }
    fixture.image(&a, "y", "t").await;
    fixture
        .store
        .delete_tag(&caller(), &a, &tag("t"))
        .await
        .expect("a delete");
    let kept = fixture.image(&b, "x0", "v").await;
    fixture.delete(&b, &kept).await.expect("a delete");
    let mut pieces = 1;
    while fixture
        .store
        .empty_trash(&caller(), &a, 2)
        .await
        .expect("a piece")
    {
        pieces += 1;
        assert!(pieces < 10, "it never comes to an end");
    }
    assert_eq!(pieces, 3);
    assert_eq!(trash(&fixture, &a).await, []);
    let tags = fixture.store.list_deleted_tags(&a, None, 9).await;
    assert_eq!(tags.expect("a list").items, []);
    undelete(&fixture, &b, &kept).await.expect("it is back");
    fixture.collect_all().await;
    assert!(fixture.belongs(&b, "x0").await && fixture.belongs(&a, "y").await);
    assert_eq!(fixture.record("x1").await, None);
}

/// And nothing comes back into one of its name.
pub async fn a_deleted_repository_takes_its_trash_along(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture.delete(&a, &manifest).await.expect("a delete");
    fixture.image(&a, "y", "t").await;
    fixture
        .store
        .delete_tag(&caller(), &a, &tag("t"))
        .await
        .expect("a delete");
    fixture
        .store
        .delete_repository(&caller(), &a)
        .await
        .expect("a delete");
    assert_kind(undelete(&fixture, &a, &manifest).await, ErrorKind::NameUnknown);
    fixture.image(&a, "z", "v").await;
    assert_kind(
        undelete(&fixture, &a, &manifest).await,
        ErrorKind::ManifestUnknown,
    );
    while fixture.store.sweep_repositories(1).await.expect("a sweep") {}
    assert_kind(
        fixture.store.undelete_tag(&caller(), &a, &tag("t")).await,
        ErrorKind::ManifestUnknown,
    );
    fixture.collect_all().await;
    assert_eq!(
        (fixture.record("x").await, fixture.record("y").await),
        (None, None)
    );
    assert!(fixture.belongs(&a, "z").await);
}

/// With who did it.
pub async fn each_undo_is_in_the_feed(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture
        .store
        .delete_tag(&caller(), &a, &tag("v"))
        .await
        .expect("a delete");
    fixture
        .store
        .undelete_tag(&caller(), &a, &tag("v"))
        .await
        .expect("it is back");
    fixture.delete(&a, &manifest).await.expect("a delete");
    undelete(&fixture, &a, &manifest).await.expect("it is back");
    fixture.delete(&a, &manifest).await.expect("a delete");
    outlive_the_trash(&fixture);
    purge(&fixture).await;
    let told = fixture.store.events(None, 100).await.expect("the feed");
    let kinds: Vec<&EventKind> = told.iter().map(|event| &event.kind).collect();
    let [
        EventKind::ManifestPut { .. },
        EventKind::TagDeleted { .. },
        EventKind::TagUndeleted { tag: back },
        EventKind::ManifestDeleted { .. },
        EventKind::ManifestUndeleted { digest, tags, .. },
        EventKind::ManifestDeleted { .. },
        EventKind::ManifestPurged { digest: purged },
    ] = kinds[..]
    else {
        panic!("{kinds:?}");
    };
    assert_eq!((digest, purged), (&manifest, &manifest));
    assert_eq!((&back.tag, back.from, back.to), (&tag("v"), None, Some(manifest)));
    assert_eq!((tags.len(), tags.first()), (1, Some(back)));
    assert_eq!(told[4].actor, "tester");
    assert_eq!(told[6].actor, "system");
}
