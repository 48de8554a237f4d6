//! Manifests and tags: one transaction or none, and the feed that tells of it.

use registry_core::store::{Event, EventKind};
use registry_core::{Charge, Digest, ErrorKind, Expect, Reference, Tag};

use super::{Fixture, assert_kind, caller, image, index, repo};

#[doc(hidden)]
#[macro_export]
macro_rules! manifest_store_manifests_clauses {
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::manifest_store::manifests,
            $name,
            $factory,
            [
                a_manifest_is_kept_as_its_bytes,
                putting_again_makes_no_second_hold,
                a_refused_put_writes_nothing,
                an_index_and_the_delete_of_its_child_never_both_succeed,
                a_tag_and_the_delete_of_its_manifest_leave_no_tag_without_one,
                every_change_is_told_in_order,
                what_did_not_happen_is_not_told,
                the_feed_is_read_in_pages,
                of_64_charges_at_once_as_many_win_as_the_limit_allows,
            ]
        );
    };
}

async fn at(fixture: &Fixture, tag: &str) -> Option<Digest> {
    let tag: Tag = tag.parse().expect("a test's tag");
    match fixture.store.manifest(&repo("a"), &Reference::Tag(tag)).await {
        Ok(record) => Some(record.info.digest),
        Err(error) if error.kind().status() == 404 => None,
        Err(error) => panic!("{error:?}"),
    }
}

async fn told(fixture: &Fixture) -> Vec<Event> {
    fixture.store.events(None, 1000).await.expect("the feed")
}

/// With its type and length.
pub async fn a_manifest_is_kept_as_its_bytes(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    let write = image(&["x"], &["v"]);
    let (digest, bytes) = (write.digest, write.bytes.clone());
    fixture.put(&a, write).await.expect("a put");
    let manifest = fixture
        .store
        .manifest_bytes(&a, &Reference::Digest(digest))
        .await
        .expect("a manifest");
    assert_eq!((&manifest.bytes, manifest.info.digest), (&bytes, digest));
    let record = fixture
        .store
        .manifest(&a, &Reference::Digest(digest))
        .await
        .expect("a manifest");
    assert_eq!(record.info, manifest.info);
    assert_eq!(at(&fixture, "v").await, Some(digest));
}

/// One delete takes all of it away.
pub async fn putting_again_makes_no_second_hold(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    let mut manifest = None;
    for tag in ["v", "v", "w"] {
        manifest = Some(
            fixture
                .put(&a, image(&["x"], &[tag]))
                .await
                .expect("a put")
                .digest,
        );
    }
    fixture
        .delete(&a, &manifest.expect("a manifest"))
        .await
        .expect("a delete");
    assert_eq!((at(&fixture, "v").await, at(&fixture, "w").await), (None, None));
    fixture
        .store
        .delete_blob(&a, &super::digest("x"))
        .await
        .expect("nothing needs it");
    fixture.collect_all().await;
    assert_eq!(fixture.record("x").await, None);
}

/// No manifest, no tag, no hold on what it names, no charge.
pub async fn a_refused_put_writes_nothing(fixture: Fixture) {
    let a = repo("a");
    let one = fixture.image(&a, "one", "taken").await;
    fixture.publish(&a, "x").await;
    let charge = Charge {
        counter: "team".to_owned(),
        amount: 1,
        limit: Some(1),
    };

    let mut taken = image(&["x"], &["free", "taken"]);
    taken.options.expect = Expect::Absent;
    taken.options.charge = vec![charge.clone()];
    let digest = taken.digest;
    assert_kind(fixture.put(&a, taken).await, ErrorKind::PreconditionFailed);
    let mut missing = image(&["x", "missing"], &["free"]);
    missing.options.charge = vec![charge.clone()];
    assert_kind(fixture.put(&a, missing).await, ErrorKind::ManifestBlobUnknown);
    let mut dear = image(&["x"], &["free"]);
    dear.options.charge = vec![Charge {
        amount: 2,
        ..charge.clone()
    }];
    assert_kind(fixture.put(&a, dear).await, ErrorKind::QuotaExceeded);

    assert_eq!(
        (at(&fixture, "free").await, at(&fixture, "taken").await),
        (None, Some(one))
    );
    let unknown = fixture.store.manifest(&a, &Reference::Digest(digest)).await;
    assert_kind(unknown, ErrorKind::ManifestUnknown);
    let mut within = image(&["x"], &["free"]);
    within.options.charge = vec![charge];
    fixture.put(&a, within).await.expect("nothing was charged before");
    fixture.delete(&a, &digest).await.expect("a delete");
    fixture
        .store
        .delete_blob(&a, &super::digest("x"))
        .await
        .expect("nothing else holds it");
}

/// The closure of what is acknowledged is whole.
pub async fn an_index_and_the_delete_of_its_child_never_both_succeed(fixture: Fixture) {
    let a = repo("a");
    for round in 0..24 {
        let bytes = format!("round {round}");
        fixture.publish(&a, &bytes).await;
        let child = image(&[&bytes], &[]);
        let digest = child.digest;
        fixture.put(&a, child.clone()).await.expect("a child");
        let put = {
            let (store, a, index) = (fixture.store.clone(), a.clone(), index(&child));
            tokio::spawn(async move { store.put_manifest(&caller(), &a, index).await })
        };
        let delete = {
            let (store, a) = (fixture.store.clone(), a.clone());
            tokio::spawn(async move { store.delete_manifest(&caller(), &a, &digest).await })
        };
        let (put, deleted) = (put.await.expect("no panic"), delete.await.expect("no panic"));
        assert_ne!(put.is_ok(), deleted.is_ok(), "{put:?} {deleted:?}");
        let there = fixture
            .store
            .manifest(&a, &Reference::Digest(digest))
            .await
            .is_ok();
        assert_eq!(there, put.is_ok());
    }
}

/// A tag that is put meanwhile goes too, or comes after.
pub async fn a_tag_and_the_delete_of_its_manifest_leave_no_tag_without_one(fixture: Fixture) {
    let a = repo("a");
    for round in 0..24 {
        let (bytes, tag) = (format!("round {round}"), format!("v{round}"));
        fixture.publish(&a, &bytes).await;
        let digest = fixture
            .put(&a, image(&[&bytes], &[]))
            .await
            .expect("a manifest")
            .digest;
        let put = {
            let (store, a, write) = (fixture.store.clone(), a.clone(), image(&[&bytes], &[&tag]));
            tokio::spawn(async move { store.put_manifest(&caller(), &a, write).await })
        };
        let delete = {
            let (store, a) = (fixture.store.clone(), a.clone());
            tokio::spawn(async move { store.delete_manifest(&caller(), &a, &digest).await })
        };
        put.await
            .expect("no panic")
            .expect("its blob is held, before and after");
        delete
            .await
            .expect("no panic")
            .expect("it is there, with or without the tag");
        let there = fixture
            .store
            .manifest(&a, &Reference::Digest(digest))
            .await
            .is_ok();
        let tags = fixture
            .store
            .list_tags(&a, None, 100)
            .await
            .expect("a list")
            .items;
        assert_eq!(
            tags.iter().any(|listed| listed.as_str() == tag),
            there,
            "round {round}"
        );
        assert_eq!(at(&fixture, &tag).await.is_some(), there, "round {round}");
    }
}

/// Who, in which request, where, what, and from where to where.
pub async fn every_change_is_told_in_order(fixture: Fixture) {
    let a = repo("a");
    let one = fixture.image(&a, "one", "v").await;
    let two = fixture.image(&a, "two", "v").await;
    fixture
        .store
        .delete_tag(&caller(), &a, &"v".parse().expect("a tag"))
        .await
        .expect("a delete");
    fixture.delete(&a, &one).await.expect("a delete");
    fixture
        .store
        .delete_repository(&caller(), &a)
        .await
        .expect("a delete");

    let told = told(&fixture).await;
    assert!(told.windows(2).all(|pair| pair[0].position < pair[1].position));
    for event in &told {
        assert_eq!(
            (event.actor.as_str(), event.request_id.as_str()),
            ("tester", "contract")
        );
        assert_eq!((&event.repository, event.at), (&a, fixture.now()));
    }
    let kinds: Vec<&EventKind> = told.iter().map(|event| &event.kind).collect();
    let [
        EventKind::ManifestPut {
            digest: first,
            tags: first_tags,
            ..
        },
        EventKind::ManifestPut {
            digest: second,
            tags: second_tags,
            ..
        },
        EventKind::TagDeleted { tag },
        EventKind::ManifestDeleted { digest: deleted, .. },
        EventKind::RepositoryDeleted,
    ] = kinds[..]
    else {
        panic!("{kinds:?}");
    };
    assert_eq!((*first, *second, *deleted), (one, two, one));
    assert_eq!((first_tags[0].from, first_tags[0].to), (None, Some(one)));
    assert_eq!((second_tags[0].from, second_tags[0].to), (Some(one), Some(two)));
    assert_eq!((tag.tag.as_str(), tag.from, tag.to), ("v", Some(two), None));
}

/// The feed is of the same transactions.
pub async fn what_did_not_happen_is_not_told(fixture: Fixture) {
    let a = repo("a");
    let one = fixture.image(&a, "one", "v").await;
    let before = told(&fixture).await;
    let mut taken = image(&["one"], &["v"]);
    taken.options.expect = Expect::Absent;
    assert_kind(fixture.put(&a, taken).await, ErrorKind::PreconditionFailed);
    assert_kind(
        fixture.put(&a, image(&["missing"], &["w"])).await,
        ErrorKind::ManifestBlobUnknown,
    );
    assert_kind(
        fixture.delete(&a, &super::digest("never")).await,
        ErrorKind::ManifestUnknown,
    );
    let missing: Tag = "w".parse().expect("a tag");
    assert_kind(
        fixture.store.delete_tag(&caller(), &a, &missing).await,
        ErrorKind::ManifestUnknown,
    );
    assert_eq!(told(&fixture).await, before);
    assert_eq!(at(&fixture, "v").await, Some(one));
}

/// From the position after the last that was read.
pub async fn the_feed_is_read_in_pages(fixture: Fixture) {
    for n in 0..7 {
        fixture.image(&repo("a"), &format!("x{n}"), "v").await;
    }
    let whole = told(&fixture).await;
    assert_eq!(whole.len(), 7);
    let mut read: Vec<Event> = Vec::new();
    loop {
        let after = read.last().map(|event| event.position.clone());
        let page = fixture.store.events(after.as_deref(), 3).await.expect("a page");
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        read.extend(page);
    }
    assert_eq!(read, whole);
}

/// The counter is of the same transactions too.
pub async fn of_64_charges_at_once_as_many_win_as_the_limit_allows(fixture: Fixture) {
    let a = repo("a");
    fixture.publish(&a, "x").await;
    let puts = (0..64).map(|n| {
        // Each a manifest of its own, so that it is the counter alone that they meet at.
        let blobs: Vec<&str> = std::iter::repeat_n("x", n + 1).collect();
        let mut write = image(&blobs, &[&format!("t{n}")]);
        write.options.charge = vec![Charge {
            counter: "team".to_owned(),
            amount: 3,
            limit: Some(30),
        }];
        let (store, a) = (fixture.store.clone(), a.clone());
        tokio::spawn(async move { store.put_manifest(&caller(), &a, write).await })
    });
    let mut won = 0;
    for put in puts.collect::<Vec<_>>() {
        match put.await.expect("no panic") {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{error:?}"),
        }
    }
    assert_eq!(won, 10);
}
