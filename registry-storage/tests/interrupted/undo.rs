//! Undelete, purge and deletion in pieces.

use std::time::Duration;

use registry_core::store::{HISTORY_MAX, Lifetimes, ManifestStore, Order, Reclaim, Undo, roll_back};
use registry_core::{Digest, ErrorKind, Expect, PutManifest, Reference, Registry};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

use crate::harness::*;

/// A manifest that names this blob, and more than is taken in one piece.
fn large(blob: &registry_core::BlobInfo) -> String {
    let layers: Vec<String> = (0..620)
        .map(|n| {
            let digest = Digest::sha256(format!("never pushed {n}").as_bytes());
            format!(r#"{{"mediaType":"x/y","digest":"{digest}","size":9}}"#)
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{}","size":{}}},"layers":[{}]}}"#,
        blob.digest,
        blob.size,
        layers.join(",")
    )
}

/// Nothing is left of anything but what is named here.
async fn holds_nothing_else(house: &House, blobs: &[Digest]) {
    house.live_for(200 * HOUR).await;
    let mut kept = 0;
    for blob in blobs {
        kept += usize::from(house.records.blob_record(blob).await.unwrap().is_some());
    }
    assert_eq!(kept, blobs.len());
    assert_eq!(house.stored().await, blobs.len());
}

#[test]
fn an_undelete_and_a_purge_do_not_both_happen() {
    for undelete_first in [true, false] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            let digest = house.tag("a", "t", &image(&blob, "")).await;
            house
                .registry
                .delete_manifest(&house.ctx, &name("a"), &digest)
                .await
                .unwrap();
            let other = house.clone();
            let undelete = async |records: &Records| {
                records
                    .undelete(&house.ctx, &name("a"), &digest, None)
                    .await
                    .is_ok()
            };
            let purge =
                async |records: &Records| records.purge(&house.ctx, &name("a"), &digest).await.is_ok();
            let (slow, fast) = (house.slow_records.clone(), other.records.clone());
            let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let (seen, ctx) = (done.clone(), house.ctx.clone());
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    let done = match undelete_first {
                        true => fast.purge(&ctx, &name("a"), &digest).await.is_ok(),
                        false => fast.undelete(&ctx, &name("a"), &digest, None).await.is_ok(),
                    };
                    seen.store(done, std::sync::atomic::Ordering::SeqCst);
                }),
            );
            let ours = match undelete_first {
                true => undelete(&slow).await,
                false => purge(&slow).await,
            };
            let interrupted = !house.interrupted.disarm();
            let theirs = done.load(std::sync::atomic::Ordering::SeqCst);
            assert!(ours != theirs, "{undelete_first} {at}: {ours} and {theirs}");
            let back = ours == undelete_first;
            assert_eq!(house.at("a", "t").await.is_ok(), back);
            match back {
                true => {
                    house.live_for(200 * HOUR).await;
                    assert!(house.read("a", &blob.digest).await.is_ok());
                }
                false => holds_nothing_else(&house, &[]).await,
            }
            interrupted
        });
    }
}

#[test]
fn an_undelete_keeps_what_it_brings_back_though_the_collector_is_at_work() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let digest = house.tag("a", "t", &image(&blob, "")).await;
        house
            .registry
            .delete_manifest(&house.ctx, &name("a"), &digest)
            .await
            .unwrap();
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.live_for(200 * HOUR).await;
            }),
        );
        let back = house
            .slow_records
            .undelete(&house.ctx, &name("a"), &digest, None)
            .await;
        let interrupted = !house.interrupted.disarm();
        match back {
            Ok(_) => {
                house.live_for(200 * HOUR).await;
                assert!(house.read("a", &blob.digest).await.is_ok(), "interrupted at {at}");
                assert_eq!(house.at("a", "t").await, Ok(digest));
            }
            Err(why) => {
                assert_eq!(why.kind(), ErrorKind::ManifestUnknown, "interrupted at {at}");
                holds_nothing_else(&house, &[]).await;
            }
        }
        interrupted
    });
}

#[test]
fn an_undelete_moves_no_tag_that_is_set_meanwhile() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let old = house.tag("a", "t", &image(&blob, "")).await;
        house
            .registry
            .delete_manifest(&house.ctx, &name("a"), &old)
            .await
            .unwrap();
        let other = house.clone();
        let new = image(&blob, r#","annotations":{"new":"yes"}"#);
        let moved = new.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.tag("a", "t", &moved).await;
            }),
        );
        let back = house
            .slow_records
            .undelete(&house.ctx, &name("a"), &old, None)
            .await
            .unwrap();
        let interrupted = !house.interrupted.disarm();
        if interrupted {
            assert_eq!(house.at("a", "t").await, Ok(Digest::sha256(new.as_bytes())));
            assert_eq!(back.kept.len(), 1, "interrupted at {at}");
        }
        interrupted
    });
}

#[test]
fn a_manifest_that_comes_back_while_it_is_put_or_put_while_it_comes_back_is_there_once() {
    for put_first in [true, false] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            let bytes = image(&blob, "");
            let digest = house.tag("a", "t", &bytes).await;
            house
                .registry
                .delete_manifest(&house.ctx, &name("a"), &digest)
                .await
                .unwrap();
            let (other, again) = (house.clone(), bytes.clone());
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    if put_first {
                        // Too late once it was put.
                        let _either = other
                            .records
                            .undelete(&other.ctx, &name("a"), &digest, None)
                            .await;
                    } else {
                        other.tag("a", "again", &again).await;
                    }
                }),
            );
            if put_first {
                let put = PutManifest::tagged(tag("again"), OCI, bytes);
                house
                    .slow
                    .put_manifest(&house.ctx, &name("a"), put)
                    .await
                    .unwrap();
            } else {
                let _either = house
                    .slow_records
                    .undelete(&house.ctx, &name("a"), &digest, None)
                    .await;
            }
            let interrupted = !house.interrupted.disarm();
            if put_first || interrupted {
                assert_eq!(house.at("a", "again").await, Ok(digest), "interrupted at {at}");
            }
            assert_eq!(
                house.records.list_trash(&name("a"), None, 9).await.unwrap().items,
                []
            );
            holds_nothing_else(&house, &[blob.digest]).await;
            house
                .registry
                .delete_manifest(&house.ctx, &name("a"), &digest)
                .await
                .unwrap();
            holds_nothing_else(&house, &[]).await;
            interrupted
        });
    }
}

#[test]
fn a_large_manifest_comes_back_whole_while_its_pieces_are_taken() {
    for crashed in [true, false] {
        let at_some_points = async |house: House, at: usize| {
            let blob = house.push("a", b"layer").await;
            let put = deferred(PutManifest::tagged(tag("t"), OCI, large(&blob)));
            let digest = house.put("a", put).await.unwrap();
            house
                .registry
                .delete_manifest(&house.ctx, &name("a"), &digest)
                .await
                .unwrap();
            let other = house.clone();
            let back = Box::pin(async move {
                other
                    .records
                    .undelete(&other.ctx, &name("a"), &digest, None)
                    .await
                    .unwrap();
            });
            house.interrupted.arm(at, back);
            // One piece, and no more: as if it ended there.
            house.slow_records.sweep_manifests(1).await.unwrap();
            if !crashed {
                while house.slow_records.sweep_manifests(1).await.unwrap() {}
            }
            let interrupted = !house.interrupted.disarm();
            if !interrupted {
                house
                    .records
                    .undelete(&house.ctx, &name("a"), &digest, None)
                    .await
                    .unwrap();
            }
            house.live_for(200 * HOUR).await;
            assert_eq!(house.at("a", "t").await, Ok(digest), "interrupted at {at}");
            assert!(house.read("a", &blob.digest).await.is_ok(), "interrupted at {at}");
            house
                .registry
                .delete_manifest(&house.ctx, &name("a"), &digest)
                .await
                .unwrap();
            holds_nothing_else(&house, &[]).await;
            interrupted
        };
        // Of the hundreds of looks at one edge after the other, some stand for all.
        block_on(async {
            for at in [0, 1, 2, 3, 4, 5, 6, 7, 100, 777, 1003, 1004, 1005, 1006, 1007] {
                at_some_points(house(), at).await;
            }
        });
    }
}

#[test]
fn without_a_window_what_is_deleted_is_gone_and_leaves_nothing() {
    block_on(async {
        let house = house();
        let lifetimes = Lifetimes {
            undo: Duration::ZERO,
            ..Lifetimes::default()
        };
        let records = Records::new(
            house.kv.clone(),
            registry_core::runtime::Threads::shared(),
            lifetimes,
        );
        for manifest in [false, true] {
            let blob = house.push("a", b"layer").await;
            let bytes = match manifest {
                true => large(&blob),
                false => image(&blob, ""),
            };
            let put = deferred(PutManifest::tagged(tag("t"), OCI, bytes));
            let digest = house.put("a", put).await.unwrap();
            records
                .delete_tag(&house.ctx, &name("a"), &tag("t"))
                .await
                .unwrap();
            records
                .delete_manifest(&house.ctx, &name("a"), &digest)
                .await
                .unwrap();
            assert_eq!(records.list_trash(&name("a"), None, 9).await.unwrap().items, []);
            let gone = records.undelete(&house.ctx, &name("a"), &digest, None).await;
            assert_eq!(gone.unwrap_err().kind(), ErrorKind::ManifestUnknown);
            let gone = records.undelete_tag(&house.ctx, &name("a"), &tag("t")).await;
            assert_eq!(gone.unwrap_err().kind(), ErrorKind::ManifestUnknown);
            house.live_for(40 * HOUR).await;
            assert_eq!(house.stored().await, 0);
        }
    });
}

#[test]
fn a_history_is_trimmed_to_its_last_moves() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let manifests = [image(&blob, ""), image(&blob, r#","annotations":{"n":"1"}"#)];
        // That none of the moves beyond the last thousand leaves a mark has a chance of one in 10^10.
        for n in 0..HISTORY_MAX + 1500 {
            house.tag("a", "t", &manifests[n % 2]).await;
        }
        while house.records.purge_trash(10).await.unwrap() {}
        let page = house
            .records
            .tag_history(&name("a"), &tag("t"), Order::NewestFirst, None, 5000)
            .await
            .unwrap();
        assert_eq!(page.items.len(), HISTORY_MAX);
        let last = Digest::sha256(manifests[(HISTORY_MAX + 1499) % 2].as_bytes());
        assert_eq!(page.items[0].to, Some(last));
    });
}

#[test]
fn a_tag_is_rolled_back_to_what_is_there_and_to_what_is_in_the_trash() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let old = house.tag("a", "t", &image(&blob, "")).await;
        house.tag("a", "other", &image(&blob, "")).await;
        let new = house
            .tag("a", "t", &image(&blob, r#","annotations":{"new":"yes"}"#))
            .await;
        for trashed in [false, true] {
            if trashed {
                house
                    .registry
                    .delete_manifest(&house.ctx, &name("a"), &old)
                    .await
                    .unwrap();
            }
            let back = async |to: &Digest, expect: Expect| {
                let (registry, undo) = (&house.registry, &house.records);
                roll_back(registry, undo, &house.ctx, &name("a"), &tag("t"), to, expect).await
            };
            let refused = back(&old, Expect::At(old)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
            assert_eq!(house.at("a", "t").await, Ok(new));
            back(&old, Expect::At(new)).await.unwrap();
            assert_eq!(house.at("a", "t").await, Ok(old));
            assert_eq!(house.at("a", "other").await.is_ok(), !trashed);
            back(&new, Expect::Any).await.unwrap();
            assert_eq!(house.at("a", "t").await, Ok(new));
        }
        let never = Digest::sha256(b"never");
        let unknown = roll_back(
            &house.registry,
            &house.records,
            &house.ctx,
            &name("a"),
            &tag("t"),
            &never,
            Expect::Any,
        )
        .await;
        assert_eq!(unknown.unwrap_err().kind(), ErrorKind::ManifestUnknown);
        let moves = house
            .records
            .tag_history(&name("a"), &tag("t"), Order::NewestFirst, None, 9)
            .await
            .unwrap();
        let to: Vec<_> = moves.items.iter().map(|moved| moved.to).collect();
        assert_eq!(to, [new, old, new, old, new, old].map(Some));
        let found = house
            .registry
            .stat_manifest(&house.ctx, &name("a"), &Reference::Digest(old))
            .await;
        assert!(found.is_ok());
    });
}

#[test]
fn a_blob_that_is_given_up_while_what_named_it_comes_back_is_kept_or_comes_back_too() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let layer = house.push("a", b"another").await;
        let manifest = image_of(&blob, &layer);
        let digest = house.tag("a", "t", &manifest).await;
        let records = house.records.clone().in_pieces_of(1);
        let deleted = records.delete_manifest(&house.ctx, &name("a"), &digest).await;
        deleted.unwrap();
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                let back = other
                    .records
                    .undelete(&other.ctx, &name("a"), &digest, None)
                    .await;
                back.unwrap();
            }),
        );
        let given_up = house.slow.delete_blob(&house.ctx, &name("a"), &blob.digest).await;
        let interrupted = !house.interrupted.disarm();
        match interrupted {
            // Whichever came first, the manifest is there.
            true => {
                assert!(given_up.is_ok() || given_up.unwrap_err().kind() == ErrorKind::InUse);
                assert_eq!(house.at("a", "t").await, Ok(digest));
                assert!(house.read("a", &blob.digest).await.is_ok(), "at {at}");
            }
            false => {
                given_up.unwrap();
                assert_eq!(house.read("a", &blob.digest).await, Err(ErrorKind::BlobUnknown));
            }
        }
        interrupted
    });
}
