//! Repositories: a name that is given up means nothing of what it meant, at once and for ever.

use registry_core::store::Collected;
use registry_core::{ErrorKind, MountFrom, Reference};

use super::{Fixture, assert_kind, caller, digest, image, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_repositories_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::repositories,
            $name,
            $factory,
            [
                a_deleted_repository_means_nothing_at_once,
                a_repository_made_again_has_nothing_of_the_old,
                a_claim_of_a_deleted_repository_is_unknown_even_under_a_new_one,
                nothing_is_mounted_from_a_deleted_repository,
                sweeping_a_deleted_repository_frees_what_it_held,
                sweeping_takes_small_pieces_and_comes_to_an_end,
                sweeping_the_old_leaves_the_new,
                a_put_that_races_the_delete_of_its_repository_is_in_the_old_or_in_a_new_one,
            ]
        );
    };
}

async fn drop_repository(fixture: &Fixture, name: &str) {
    fixture
        .store
        .delete_repository(&caller(), &repo(name))
        .await
        .expect("a delete");
}

/// Before anything is cleaned up.
pub async fn a_deleted_repository_means_nothing_at_once(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    drop_repository(&fixture, "a").await;
    assert_kind(fixture.store.blob(&a, &digest("x")).await, ErrorKind::NameUnknown);
    assert_kind(
        fixture.store.manifest(&a, &Reference::Digest(manifest)).await,
        ErrorKind::NameUnknown,
    );
    assert_kind(fixture.store.list_tags(&a, None, 9).await, ErrorKind::NameUnknown);
    assert_kind(
        fixture.store.delete_repository(&caller(), &a).await,
        ErrorKind::NameUnknown,
    );
    assert_eq!(
        fixture
            .store
            .list_repositories(&caller(), None, 9)
            .await
            .expect("a list")
            .items,
        []
    );
}

/// Swept or not.
pub async fn a_repository_made_again_has_nothing_of_the_old(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "old", "old").await;
    drop_repository(&fixture, "a").await;
    fixture.image(&a, "new", "new").await;
    for _ in 0..2 {
        assert!(!fixture.belongs(&a, "old").await && fixture.belongs(&a, "new").await);
        assert_kind(
            fixture.store.manifest(&a, &Reference::Digest(manifest)).await,
            ErrorKind::ManifestUnknown,
        );
        let tags = fixture.store.list_tags(&a, None, 9).await.expect("a list").items;
        assert_eq!(tags, ["new".parse().expect("a tag")]);
        assert_kind(
            fixture.put(&a, image(&["old"], &["v"])).await,
            ErrorKind::ManifestBlobUnknown,
        );
        while fixture.store.sweep_repositories(10).await.expect("a sweep") {}
    }
}

/// It was for another.
pub async fn a_claim_of_a_deleted_repository_is_unknown_even_under_a_new_one(fixture: Fixture) {
    let a = repo("a");
    fixture.image(&a, "old", "v").await;
    let claim = fixture.claim(&a).await;
    drop_repository(&fixture, "a").await;
    assert_kind(
        fixture.store.upload(&a, &claim.id).await,
        ErrorKind::UploadUnknown,
    );
    fixture.image(&a, "new", "v").await;
    assert_kind(
        fixture.store.upload(&a, &claim.id).await,
        ErrorKind::UploadUnknown,
    );
    assert_kind(
        fixture.try_publish(&claim, "late").await,
        ErrorKind::UploadUnknown,
    );
    assert!(!fixture.belongs(&a, "late").await);
    fixture.clock.advance(fixture.store.lifetimes().upload_idle);
    assert!(
        fixture.store.abandon(&claim.id).await.expect("an answer"),
        "its location is still reclaimed"
    );
}

/// Neither by name nor from anywhere, though its edges are still there.
pub async fn nothing_is_mounted_from_a_deleted_repository(fixture: Fixture) {
    let (a, b) = (repo("a"), repo("b"));
    fixture.image(&a, "x", "v").await;
    drop_repository(&fixture, "a").await;
    for from in [MountFrom::Repository(a), MountFrom::Anywhere] {
        let mounted = fixture
            .store
            .mount(&caller(), &b, &digest("x"), &from)
            .await
            .expect("an answer");
        assert_eq!(mounted, None, "{from:?}");
    }
}

/// The collector can have it.
pub async fn sweeping_a_deleted_repository_frees_what_it_held(fixture: Fixture) {
    fixture.image(&repo("a"), "x", "v").await;
    fixture.image(&repo("b"), "y", "v").await;
    drop_repository(&fixture, "a").await;
    while fixture.store.sweep_repositories(10).await.expect("a sweep") {}
    fixture.collect_until(Collected::Removed).await;
    fixture.collect_all().await;
    assert_eq!(fixture.record("x").await, None);
    assert!(fixture.belongs(&repo("b"), "y").await);
}

/// Any of which may be the last before a crash.
pub async fn sweeping_takes_small_pieces_and_comes_to_an_end(fixture: Fixture) {
    for n in 0..6 {
        fixture
            .image(&repo("a"), &format!("x{n}"), &format!("v{n}"))
            .await;
    }
    drop_repository(&fixture, "a").await;
    let mut pieces = 0;
    while fixture.store.sweep_repositories(2).await.expect("a sweep") {
        pieces += 1;
        assert!(pieces < 100, "it never comes to an end");
    }
    assert!(pieces >= 3, "{pieces} pieces of two for six manifests");
    assert!(!fixture.store.sweep_repositories(2).await.expect("a sweep"));
    fixture.collect_all().await;
    for n in 0..6 {
        assert_eq!(fixture.record(&format!("x{n}")).await, None);
    }
}

/// Also where both have the same content under the same name.
pub async fn sweeping_the_old_leaves_the_new(fixture: Fixture) {
    let a = repo("a");
    let old = fixture.image(&a, "x", "v").await;
    drop_repository(&fixture, "a").await;
    let new = fixture.image(&a, "x", "v").await;
    assert_eq!(old, new);
    while fixture.store.sweep_repositories(1).await.expect("a sweep") {}
    fixture.collect_all().await;
    assert!(fixture.belongs(&a, "x").await);
    let tagged = Reference::Tag("v".parse().expect("a tag"));
    assert_eq!(
        fixture
            .store
            .manifest_bytes(&a, &tagged)
            .await
            .expect("a manifest")
            .info
            .digest,
        new
    );
}

/// Never in between.
pub async fn a_put_that_races_the_delete_of_its_repository_is_in_the_old_or_in_a_new_one(fixture: Fixture) {
    let a = repo("a");
    for round in 0..24 {
        let bytes = format!("round {round}");
        fixture.image(&a, "base", "base").await;
        fixture.publish(&a, &bytes).await;
        let put = {
            let (store, a, write) = (fixture.store.clone(), a.clone(), image(&[&bytes], &["v"]));
            tokio::spawn(async move { store.put_manifest(&caller(), &a, write).await })
        };
        let delete = {
            let (store, a) = (fixture.store.clone(), a.clone());
            tokio::spawn(async move { store.delete_repository(&caller(), &a).await })
        };
        let put = put.await.expect("no panic");
        delete.await.expect("no panic").expect("it is there");
        if let Err(error) = put {
            assert_eq!(error.kind(), ErrorKind::ManifestBlobUnknown, "{error:?}");
        }
        // The blob belonged to the old one, so a put that is acknowledged was in the old one, and went with it.
        assert_kind(fixture.store.list_tags(&a, None, 9).await, ErrorKind::NameUnknown);
        while fixture.store.sweep_repositories(100).await.expect("a sweep") {}
    }
}
