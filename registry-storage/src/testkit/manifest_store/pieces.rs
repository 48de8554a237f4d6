//! Deleting a manifest that names more than is taken at once.

use registry_core::manifest::{OCI_INDEX, OCI_MANIFEST};
use registry_core::store::ManifestWrite;
use registry_core::{Children, ErrorKind, RepositoryName};

use super::undo::{at, undelete};
use super::{Fixture, assert_kind, caller, digest, image, repo, write};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_pieces_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::pieces,
            $name,
            $factory,
            [
                a_manifest_that_names_very_much_is_deleted_in_pieces,
                a_manifest_comes_back_between_any_two_pieces,
                what_is_put_between_two_pieces_keeps_its_edges,
                what_a_deleted_index_listed_can_be_deleted_before_its_pieces_are_taken,
                what_a_deleted_manifest_named_can_be_given_up_before_its_pieces_are_taken,
                what_is_purged_between_two_pieces_has_its_grace,
                a_deleted_repository_takes_its_pieces_along,
                what_was_put_again_between_two_pieces_can_be_deleted_again,
            ]
        );
    };
}

/// A manifest that names more than is taken at once, of which these few belong.
async fn put_large(fixture: &Fixture, name: &RepositoryName, few: &[&str]) -> ManifestWrite {
    for bytes in few {
        fixture.publish(name, bytes).await;
    }
    let others: Vec<String> = (0..620).map(|n| format!("never pushed {n}")).collect();
    let mut blobs: Vec<&str> = others.iter().map(String::as_str).collect();
    // The first and the last piece.
    blobs.insert(0, few[0]);
    blobs.extend(&few[1..]);
    let mut put = image(&blobs, &["large"]);
    put.options.children = Children::Deferred;
    fixture.put(name, put.clone()).await.expect("a large manifest");
    put
}

/// As [`Fixture::collect_all`], where very much is due at once.
async fn collect_by_the_page(fixture: &Fixture) {
    while fixture.until_due().await {
        for entry in fixture.due().await {
            fixture.store.collect(&entry).await.expect("a step");
        }
    }
}

/// Invisible at once; and who was told that a blob exists has the grace from when its piece is taken.
pub async fn a_manifest_that_names_very_much_is_deleted_in_pieces(fixture: Fixture) {
    let a = repo("a");
    let put = put_large(&fixture, &a, &["first", "last"]).await;
    fixture.outlive_leases();
    fixture.delete(&a, &put.digest).await.expect("a delete");
    assert_eq!(at(&fixture, &a, "large").await, None);
    assert!(fixture.belongs(&a, "first").await && fixture.belongs(&a, "last").await);
    fixture.outlive_leases();
    fixture
        .store
        .lease(&a, &digest("last"))
        .await
        .expect("it is told");
    let mut pieces = 1;
    while fixture.store.sweep_manifests(1).await.expect("a sweep") {
        pieces += 1;
        assert!(pieces < 10, "it never comes to an end");
    }
    assert_eq!(pieces, 2);
    fixture.clock.advance(fixture.store.lifetimes().grace);
    for entry in fixture.due().await {
        fixture.store.collect(&entry).await.expect("a step");
    }
    assert!(fixture.belongs(&a, "last").await, "it is in its grace");
    fixture.outlive_leases();
    assert!(!fixture.belongs(&a, "last").await && !fixture.belongs(&a, "first").await);
    assert!(fixture.record("last").await.is_some(), "the trash holds it");
    collect_by_the_page(&fixture).await;
    assert_eq!(
        (fixture.record("first").await, fixture.record("last").await),
        (None, None)
    );
}

/// With all that it held and opened.
pub async fn a_manifest_comes_back_between_any_two_pieces(fixture: Fixture) {
    let a = repo("a");
    let put = put_large(&fixture, &a, &["first", "last"]).await;
    for taken in 0..=2 {
        fixture.delete(&a, &put.digest).await.expect("a delete");
        for _ in 0..taken {
            fixture.store.sweep_manifests(1).await.expect("a piece");
        }
        undelete(&fixture, &a, &put.digest).await.expect("it is back");
        assert!(
            !fixture.store.sweep_manifests(1).await.expect("a sweep"),
            "nothing is left to sweep after {taken}"
        );
        fixture.outlive_leases();
        assert!(fixture.belongs(&a, "first").await && fixture.belongs(&a, "last").await);
        assert_eq!(at(&fixture, &a, "large").await, Some(put.digest));
    }
}

/// They are of another put.
pub async fn what_is_put_between_two_pieces_keeps_its_edges(fixture: Fixture) {
    let a = repo("a");
    let put = put_large(&fixture, &a, &["first", "last"]).await;
    fixture.delete(&a, &put.digest).await.expect("a delete");
    fixture.store.sweep_manifests(1).await.expect("a piece");
    fixture.put(&a, put.clone()).await.expect("it is put again");
    while fixture.store.sweep_manifests(1).await.expect("a sweep") {}
    fixture.outlive_leases();
    collect_by_the_page(&fixture).await;
    assert!(fixture.belongs(&a, "first").await && fixture.belongs(&a, "last").await);
    assert_eq!(at(&fixture, &a, "large").await, Some(put.digest));
}

/// Nothing that is there lists it any more.
pub async fn what_a_deleted_index_listed_can_be_deleted_before_its_pieces_are_taken(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    let child = image(&["x"], &["child"]);
    fixture.put(&a, child.clone()).await.expect("an image");
    let mut listed = vec![
        serde_json::json!({ "mediaType": OCI_MANIFEST, "digest": child.digest, "size": child.bytes.len() }),
    ];
    listed.extend((0..620).map(|n| {
        serde_json::json!({ "mediaType": OCI_MANIFEST, "digest": digest(&format!("never {n}")), "size": 2 })
    }));
    let mut index = write(
        OCI_INDEX,
        &serde_json::json!({ "schemaVersion": 2, "manifests": listed }),
        &["index"],
    );
    index.options.children = Children::Deferred;
    fixture.put(&a, index.clone()).await.expect("an index");
    assert_kind(fixture.delete(&a, &child.digest).await, ErrorKind::InUse);
    fixture.delete(&a, &index.digest).await.expect("a delete");
    fixture.delete(&a, &child.digest).await.expect("a delete");
    undelete(&fixture, &a, &child.digest).await.expect("it is back");
    undelete(&fixture, &a, &index.digest).await.expect("it is back");
    assert_kind(fixture.delete(&a, &child.digest).await, ErrorKind::InUse);
}

/// Nothing that is there names it any more; what is in the trash goes on holding it.
pub async fn what_a_deleted_manifest_named_can_be_given_up_before_its_pieces_are_taken(fixture: Fixture) {
    let a = repo("a");
    let put = put_large(&fixture, &a, &["first", "last"]).await;
    let needed = fixture.store.delete_blob(&a, &digest("last")).await;
    assert_kind(needed, ErrorKind::InUse);
    fixture.delete(&a, &put.digest).await.expect("a delete");
    for blob in ["last", "first"] {
        let given_up = fixture.store.delete_blob(&a, &digest(blob)).await;
        given_up.expect("nothing that is there needs it");
        assert!(!fixture.belongs(&a, blob).await);
    }
    fixture.outlive_leases();
    for entry in fixture.due().await {
        fixture.store.collect(&entry).await.expect("a step");
    }
    undelete(&fixture, &a, &put.digest).await.expect("it is back");
    assert!(fixture.belongs(&a, "first").await && fixture.belongs(&a, "last").await);
}

/// From when its piece is taken, as if it was not purged: whoever was told that a blob exists was told by its edge.
pub async fn what_is_purged_between_two_pieces_has_its_grace(fixture: Fixture) {
    let a = repo("a");
    let put = put_large(&fixture, &a, &["first", "last"]).await;
    fixture.outlive_leases();
    fixture.delete(&a, &put.digest).await.expect("a delete");
    fixture.store.sweep_manifests(1).await.expect("a piece");
    let told = fixture.store.lease(&a, &digest("last")).await;
    told.expect("it is told");
    let purged = fixture.store.purge(&caller(), &a, &put.digest).await;
    purged.expect("it was in the trash");
    while fixture.store.sweep_manifests(1).await.expect("a sweep") {}
    fixture.clock.advance(fixture.store.lifetimes().grace);
    for entry in fixture.due().await {
        fixture.store.collect(&entry).await.expect("a step");
    }
    assert!(fixture.belongs(&a, "last").await, "it is in its grace");
    collect_by_the_page(&fixture).await;
    assert_eq!(
        (fixture.record("first").await, fixture.record("last").await),
        (None, None)
    );
}

/// Whatever was taken of them before.
pub async fn a_deleted_repository_takes_its_pieces_along(fixture: Fixture) {
    let a = repo("a");
    let put = put_large(&fixture, &a, &["first", "last"]).await;
    fixture.delete(&a, &put.digest).await.expect("a delete");
    fixture.store.sweep_manifests(1).await.expect("a piece");
    fixture
        .store
        .delete_repository(&caller(), &a)
        .await
        .expect("a delete");
    while fixture.store.sweep_repositories(100).await.expect("a sweep") {}
    assert!(!fixture.store.sweep_manifests(1).await.expect("a sweep"));
    collect_by_the_page(&fixture).await;
    assert_eq!(
        (fixture.record("first").await, fixture.record("last").await),
        (None, None)
    );
}

/// Every edge went with the put that made it, so that a second delete takes those of the second put.
pub async fn what_was_put_again_between_two_pieces_can_be_deleted_again(fixture: Fixture) {
    let a = repo("a");
    let put = put_large(&fixture, &a, &["first", "last"]).await;
    fixture.delete(&a, &put.digest).await.expect("a delete");
    fixture.put(&a, put.clone()).await.expect("it is put again");
    fixture.delete(&a, &put.digest).await.expect("a delete");
    collect_by_the_page(&fixture).await;
    assert_eq!(
        (fixture.record("first").await, fixture.record("last").await),
        (None, None)
    );
}
