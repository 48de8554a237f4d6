//! The history of tags, and tags that come back.

use registry_core::store::{Order, TagChange};
use registry_core::{ErrorKind, Expect, Reference};

use super::undo::{at, outlive_the_trash, purge, tag, trash, undelete};
use super::{Fixture, assert_kind, caller, image, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_history_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::history,
            $name,
            $factory,
            [
                every_move_of_a_tag_is_in_its_history,
                a_put_that_leaves_a_tag_where_it_is_moves_nothing,
                a_put_that_is_refused_moves_nothing,
                each_tag_has_a_history_of_its_own,
                a_history_is_listed_in_pages_either_way,
                a_history_goes_with_its_repository,
                a_deleted_tag_comes_back,
                a_deleted_tag_that_was_set_since_stays_where_it_is,
                a_tag_does_not_come_back_without_its_manifest,
                a_deleted_tag_goes_when_its_window_ends,
            ]
        );
    };
}

async fn history(fixture: &Fixture, order: Order, after: Option<&str>, limit: usize) -> Vec<TagChange> {
    let tag = "v".parse().expect("a tag");
    let page = fixture
        .store
        .tag_history(&repo("a"), &tag, order, after, limit)
        .await
        .expect("a history");
    page.items
}

/// Made, moved, deleted, back again: with who, when, from what and to what. It outlives the tag.
pub async fn every_move_of_a_tag_is_in_its_history(fixture: Fixture) {
    let a = repo("a");
    let tag = "v".parse().expect("a tag");
    let mut times = vec![fixture.now()];
    let first = fixture.image(&a, "x", "v").await;
    let mut later = || {
        fixture.clock.advance(std::time::Duration::from_secs(1));
        times.push(fixture.now());
    };
    later();
    let second = fixture.image(&a, "y", "v").await;
    later();
    fixture
        .store
        .delete_tag(&caller(), &a, &tag)
        .await
        .expect("a delete");
    later();
    fixture
        .store
        .undelete_tag(&caller(), &a, &tag)
        .await
        .expect("it is back");
    later();
    fixture.delete(&a, &second).await.expect("a delete");
    later();
    fixture
        .store
        .undelete(&caller(), &a, &second, None)
        .await
        .expect("it is back");
    later();
    fixture.delete(&a, &second).await.expect("a delete");

    let moves = history(&fixture, Order::OldestFirst, None, 100).await;
    let (to, gone) = (Some, None);
    let expected = [
        (gone, to(first)),
        (to(first), to(second)),
        (to(second), gone),
        (gone, to(second)),
        (to(second), gone),
        (gone, to(second)),
        (to(second), gone),
    ];
    let seen: Vec<_> = moves.iter().map(|moved| (moved.from, moved.to)).collect();
    assert_eq!(seen, expected);
    assert!(moves.iter().all(|moved| moved.by == "tester"), "{moves:?}");
    let at: Vec<_> = moves.iter().map(|moved| moved.at).collect();
    assert_eq!(at, times);
}

/// However often it is put.
pub async fn a_put_that_leaves_a_tag_where_it_is_moves_nothing(fixture: Fixture) {
    let a = repo("a");
    for _ in 0..3 {
        fixture.image(&a, "x", "v").await;
    }
    assert_eq!(history(&fixture, Order::NewestFirst, None, 100).await.len(), 1);
}

/// Nor does it leave a trace.
pub async fn a_put_that_is_refused_moves_nothing(fixture: Fixture) {
    let a = repo("a");
    let first = fixture.image(&a, "x", "v").await;
    fixture.publish(&a, "y").await;
    let mut put = image(&["y"], &["v"]);
    put.options.expect = Expect::Absent;
    assert_kind(fixture.put(&a, put).await, ErrorKind::PreconditionFailed);
    let moves = history(&fixture, Order::NewestFirst, None, 100).await;
    assert_eq!(
        moves.iter().map(|moved| moved.to).collect::<Vec<_>>(),
        [Some(first)]
    );
}

/// Also where one's name begins with another's.
pub async fn each_tag_has_a_history_of_its_own(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    for tags in [&["v", "v1", "v-1"][..], &["v1"], &["v.1"]] {
        fixture.put(&a, image(&["x"], tags)).await.expect("a put");
    }
    assert_eq!(history(&fixture, Order::NewestFirst, None, 100).await.len(), 1);
    assert_eq!(history(&fixture, Order::OldestFirst, None, 100).await.len(), 1);
}

/// Each page begins after the last position of the one before.
pub async fn a_history_is_listed_in_pages_either_way(fixture: Fixture) {
    let a = repo("a");
    for n in 0..7 {
        fixture.image(&a, &format!("x{n}"), "v").await;
    }
    let all = history(&fixture, Order::OldestFirst, None, 100).await;
    assert_eq!(all.len(), 7);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let (mut pages, mut after) = (Vec::new(), None::<String>);
        loop {
            let tag = "v".parse().expect("a tag");
            let page = fixture
                .store
                .tag_history(&a, &tag, order, after.as_deref(), 3)
                .await
                .expect("a history");
            after = page.items.last().map(|moved| moved.position.clone());
            pages.extend(page.items);
            if !page.more {
                break;
            }
        }
        if order == Order::NewestFirst {
            pages.reverse();
        }
        assert_eq!(pages, all, "{order:?}");
    }
}

/// And the next of its name has none of it.
pub async fn a_history_goes_with_its_repository(fixture: Fixture) {
    let a = repo("a");
    fixture.image(&a, "x", "v").await;
    fixture
        .store
        .delete_repository(&caller(), &a)
        .await
        .expect("a delete");
    let tag = "v".parse().expect("a tag");
    assert_kind(
        fixture
            .store
            .tag_history(&a, &tag, Order::NewestFirst, None, 9)
            .await,
        ErrorKind::NameUnknown,
    );
    fixture
        .put(&a, image(&["y"], &[]))
        .await
        .expect_err("nothing was pushed here");
    fixture.image(&a, "y", "other").await;
    assert_eq!(history(&fixture, Order::NewestFirst, None, 9).await, []);
    while fixture.store.sweep_repositories(1).await.expect("a sweep") {}
    assert_eq!(history(&fixture, Order::NewestFirst, None, 9).await, []);
}

/// To where it was.
pub async fn a_deleted_tag_comes_back(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    let deleted = fixture.now();
    fixture
        .store
        .delete_tag(&caller(), &a, &tag("v"))
        .await
        .expect("a delete");
    let listed = fixture
        .store
        .list_deleted_tags(&a, None, 9)
        .await
        .expect("a list");
    assert_eq!(listed.items.len(), 1);
    let listed = &listed.items[0];
    assert_eq!((&listed.tag, listed.digest), (&tag("v"), manifest));
    assert_eq!((listed.by.as_str(), listed.at), ("tester", deleted));
    assert_eq!(trash(&fixture, &a).await, []);
    let back = fixture.store.undelete_tag(&caller(), &a, &tag("v")).await;
    assert_eq!(back.expect("it is back"), manifest);
    assert_eq!(at(&fixture, &a, "v").await, Some(manifest));
    assert_kind(
        fixture.store.undelete_tag(&caller(), &a, &tag("never")).await,
        ErrorKind::ManifestUnknown,
    );
    // It goes with the manifest as any does.
    fixture.delete(&a, &manifest).await.expect("a delete");
    assert_eq!(at(&fixture, &a, "v").await, None);
    assert_eq!(trash(&fixture, &a).await[0].tags, [tag("v")]);
}

/// Whoever set it meant it.
pub async fn a_deleted_tag_that_was_set_since_stays_where_it_is(fixture: Fixture) {
    let a = repo("a");
    fixture.image(&a, "x", "v").await;
    fixture
        .store
        .delete_tag(&caller(), &a, &tag("v"))
        .await
        .expect("a delete");
    let new = fixture.image(&a, "y", "v").await;
    assert_kind(
        fixture.store.undelete_tag(&caller(), &a, &tag("v")).await,
        ErrorKind::PreconditionFailed,
    );
    assert_eq!(at(&fixture, &a, "v").await, Some(new));
    assert_eq!(
        fixture
            .store
            .list_deleted_tags(&a, None, 9)
            .await
            .expect("a list")
            .items,
        []
    );
}

/// The refusal names it.
pub async fn a_tag_does_not_come_back_without_its_manifest(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture
        .store
        .delete_tag(&caller(), &a, &tag("v"))
        .await
        .expect("a delete");
    fixture.delete(&a, &manifest).await.expect("a delete");
    let refused = assert_kind(
        fixture.store.undelete_tag(&caller(), &a, &tag("v")).await,
        ErrorKind::ManifestUnknown,
    );
    assert!(refused.message().contains(&manifest.to_string()), "{refused}");
    let back = undelete(&fixture, &a, &manifest).await.expect("it is back");
    assert_eq!(back.tags, [], "it had lost its tag before");
    fixture
        .store
        .undelete_tag(&caller(), &a, &tag("v"))
        .await
        .expect("it is back");
    assert_eq!(at(&fixture, &a, "v").await, Some(manifest));
}

/// Its manifest stays.
pub async fn a_deleted_tag_goes_when_its_window_ends(fixture: Fixture) {
    let a = repo("a");
    let manifest = fixture.image(&a, "x", "v").await;
    fixture
        .store
        .delete_tag(&caller(), &a, &tag("v"))
        .await
        .expect("a delete");
    outlive_the_trash(&fixture);
    purge(&fixture).await;
    assert_kind(
        fixture.store.undelete_tag(&caller(), &a, &tag("v")).await,
        ErrorKind::ManifestUnknown,
    );
    fixture
        .store
        .manifest(&a, &Reference::Digest(manifest))
        .await
        .expect("the manifest");
}
