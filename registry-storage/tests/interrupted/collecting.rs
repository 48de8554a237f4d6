//! Collecting.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use registry_core::store::{BlobStore, Collected, Kv, ManifestStore, Reclaim, Txn};
use registry_core::{Digest, ErrorKind, MountFrom, PutManifest, Reference, Registry, once};
use registry_storage::testkit::block_on;

use crate::harness::*;

#[test]
fn what_is_published_while_it_is_being_collected_stays() {
    for stage in [Collected::Condemned, Collected::Removed] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            let entry = to(&house, stage).await;
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    other.push("b", b"layer").await;
                }),
            );
            house.slow_records.collect(&entry).await.unwrap();
            let interrupted = !house.interrupted.disarm();
            if interrupted {
                house.live_for(23 * HOUR).await;
                assert_eq!(house.read("b", &blob.digest).await.as_deref(), Ok(&b"layer"[..]));
                house.tag("b", "t", &image(&blob, "")).await;
                house.live_for(100 * HOUR).await;
                assert_eq!(house.read("b", &blob.digest).await.as_deref(), Ok(&b"layer"[..]));
                assert_eq!(house.stored().await, 1, "the other location was given back");
            }
            interrupted
        });
    }
}

#[test]
fn what_a_deferred_edge_names_while_it_is_being_collected_stays() {
    for stage in [Collected::Condemned, Collected::Removed] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            let entry = to(&house, stage).await;
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    let put = deferred(PutManifest::tagged(tag("t"), OCI, image(&blob, "")));
                    other.put("proxy", put).await.unwrap();
                }),
            );
            house.slow_records.collect(&entry).await.unwrap();
            let interrupted = !house.interrupted.disarm();
            if interrupted {
                house.live_for(100 * HOUR).await;
                assert!(house.records.blob_record(&blob.digest).await.unwrap().is_some());
            }
            interrupted
        });
    }
}

/// The entry whose step is `stage`, when it is due.
async fn to(house: &House, stage: Collected) -> registry_core::store::Pending {
    house.clock.advance(40 * HOUR);
    if stage == Collected::Removed {
        house.collect().await;
        house.clock.advance(3 * HOUR);
    }
    house.records.due(None, 1).await.unwrap().pop().unwrap()
}

#[test]
fn a_manifest_put_while_its_blob_is_collected_is_whole_or_refused() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        house.clock.advance(23 * HOUR);
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.live_for(20 * HOUR).await;
            }),
        );
        let put = PutManifest::tagged(tag("t"), OCI, image(&blob, ""));
        let put = house.slow.put_manifest(&house.ctx, &name("a"), put).await;
        let interrupted = !house.interrupted.disarm();
        match put {
            Ok(_) => {
                house.live_for(40 * HOUR).await;
                assert_eq!(house.read("a", &blob.digest).await.as_deref(), Ok(&b"layer"[..]));
            }
            Err(why) => assert_eq!(why.kind(), ErrorKind::ManifestBlobUnknown),
        }
        interrupted
    });
}

#[test]
fn a_pusher_told_that_a_blob_exists_has_the_grace_whatever_the_collector_does() {
    for mount in [false, true] {
        at_every_point(async |house, at| {
            let blob = house.push("a", b"layer").await;
            house.clock.advance(23 * HOUR);
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    other.live_for(20 * HOUR).await;
                }),
            );
            let (ctx, a, b) = (&house.ctx, name("a"), name("b"));
            let told = match mount {
                false => house
                    .slow
                    .stat_blob(ctx, &a, &blob.digest)
                    .await
                    .ok()
                    .map(|_| "a"),
                true => house
                    .slow
                    .mount_blob(ctx, &b, &blob.digest, &MountFrom::Anywhere)
                    .await
                    .unwrap()
                    .map(|_| "b"),
            };
            let interrupted = !house.interrupted.disarm();
            if let Some(repository) = told {
                house.live_for(23 * HOUR).await;
                assert_eq!(
                    house.read(repository, &blob.digest).await.as_deref(),
                    Ok(&b"layer"[..])
                );
            }
            interrupted
        });
    }
}

#[test]
fn what_a_deleted_manifest_deferred_is_collected_when_it_came_meanwhile() {
    at_every_point(async |house, at| {
        let blob = info(b"late");
        let put = deferred(PutManifest::tagged(tag("t"), OCI, image(&blob, "")));
        let digest = house.put("proxy", put).await.unwrap();
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.push("owner", b"late").await;
                other.live_for(40 * HOUR).await;
            }),
        );
        house
            .slow
            .delete_manifest(&house.ctx, &name("proxy"), &digest)
            .await
            .unwrap();
        let interrupted = !house.interrupted.disarm();
        house.live_for(140 * HOUR).await;
        assert_eq!(
            house.records.blob_record(&blob.digest).await.unwrap(),
            None,
            "interrupted at {at}"
        );
        interrupted
    });
}

#[test]
fn a_push_replaces_lost_bytes_even_if_the_blob_is_condemned_while_it_looks_at_them() {
    at_every_point(async |house, at| {
        let (name, ctx) = (name("a"), &house.ctx);
        let blob = house.push("a", b"content").await;
        house.clock.advance(31 * HOUR); // nothing holds it any more
        let record = house.records.blob_record(&blob.digest).await.unwrap().unwrap();
        house.bytes.unlink(&record.location).await.unwrap();
        let upload = house.registry.begin_upload(ctx, &name, None).await.unwrap();
        let other = house.clone();
        house
            .interrupted
            .arm(at, Box::pin(async move { other.collect().await }));
        let pushed = house
            .slow
            .finish_upload(ctx, &name, &upload.id, None, once(&b"content"[..]), &blob.digest)
            .await;
        let interrupted = !house.interrupted.disarm();
        pushed.unwrap();
        let read = house.read("a", &blob.digest).await;
        assert_eq!(read.as_deref(), Ok(&b"content"[..]), "interrupted at {at}");
        interrupted
    });
}

#[test]
fn a_pull_is_not_led_to_the_location_of_a_blobs_earlier_life() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"content").await;
        to(&house, Collected::Condemned).await;
        house.clock.advance(3 * HOUR); // the second delay is over
        let other = house.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other.collect().await;
                other.push("a", b"content").await;
            }),
        );
        let found = house.slow_records.blob(&name("a"), &blob.digest).await;
        let interrupted = !house.interrupted.disarm();
        if let Ok(found) = found {
            let record = house.records.blob_record(&blob.digest).await.unwrap().unwrap();
            assert_eq!(found.location, record.location, "interrupted at {at}");
        }
        interrupted
    });
}

#[test]
fn a_tag_set_while_its_manifest_goes_by_policy_leads_to_a_whole_image() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let untagged = PutManifest {
            tags: Vec::new(),
            ..PutManifest::tagged(tag("t"), OCI, image(&blob, ""))
        };
        house
            .registry
            .put_manifest(&house.ctx, &name("a"), untagged)
            .await
            .unwrap();
        house.clock.advance(HOUR);
        let found = untagged_for(&house, std::time::Duration::ZERO).await.remove(0);
        let (other, write) = (
            house.clone(),
            PutManifest::tagged(tag("t"), OCI, image(&blob, "")),
        );
        house.interrupted.arm(
            at,
            Box::pin(async move {
                other
                    .registry
                    .put_manifest(&other.ctx, &name("a"), write)
                    .await
                    .unwrap();
            }),
        );
        let deleted = house.slow_records.delete_untagged(&found).await.unwrap();
        let interrupted = !house.interrupted.disarm();
        assert_ne!(deleted, interrupted, "what has a tag was deleted");
        if interrupted {
            house.live_for(80 * HOUR).await;
            let tagged = Reference::Tag(tag("t"));
            let manifest = house.registry.get_manifest(&house.ctx, &name("a"), &tagged).await;
            assert_eq!(manifest.unwrap().info.digest, found.digest);
            assert_eq!(house.read("a", &blob.digest).await.as_deref(), Ok(&b"layer"[..]));
        }
        interrupted
    });
}

/// Manifests that the policy would take that leaves them for so long.
async fn untagged_for(house: &House, kept: std::time::Duration) -> Vec<registry_core::store::Untagged> {
    while house.records.follow(10).await.unwrap() {}
    let until = house.records.time().await.unwrap() - kept;
    house.records.untagged(until, None, 10).await.unwrap()
}

#[test]
fn what_loses_its_last_tag_as_the_policy_comes_by_stays_for_the_policys_time() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        for of_it in ["one", "other"] {
            house.tag("a", of_it, &image(&blob, "")).await;
        }
        let gone = tag("one");
        let registry = &house.registry;
        registry.delete_tag(&house.ctx, &name("a"), &gone).await.unwrap();
        house.clock.advance(3 * HOUR);
        let found = untagged_for(&house, HOUR).await;
        registry
            .delete_tag(&house.ctx, &name("a"), &tag("other"))
            .await
            .unwrap();
        for untagged in &found {
            assert!(
                !house.records.delete_untagged(untagged).await.unwrap(),
                "it had a tag until now"
            );
        }
        house.clock.advance(3 * HOUR);
        let found = untagged_for(&house, HOUR).await;
        assert!(house.records.delete_untagged(&found[0]).await.unwrap());
    });
}

#[test]
fn a_put_that_slept_on_its_way_does_not_shorten_the_policys_time() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        house.tag("a", "t", &image(&blob, "")).await;
        let clock = house.clock.clone();
        let asleep = async move { clock.advance(std::time::Duration::from_secs(30 * 60)) };
        house.interrupted.arm(at, Box::pin(asleep));
        let other = PutManifest::tagged(tag("t"), OCI, image(&blob, r#","annotations":{"n":"2"}"#));
        house
            .slow
            .put_manifest(&house.ctx, &name("a"), other)
            .await
            .unwrap();
        let interrupted = !house.interrupted.disarm();
        house.clock.advance(HOUR - std::time::Duration::from_secs(1));
        assert!(untagged_for(&house, HOUR).await.is_empty(), "interrupted at {at}");
        house.clock.advance(HOUR);
        assert_eq!(untagged_for(&house, HOUR).await.len(), 1);
        interrupted
    });
}

#[test]
fn a_manifest_put_while_its_blob_is_collected_without_grace_is_whole_or_refused() {
    let terms = registry_core::store::Terms {
        grace: Some(std::time::Duration::ZERO),
        alone: false,
    };
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        let (other, put) = (
            house.clone(),
            PutManifest::tagged(tag("t"), OCI, image(&blob, "")),
        );
        let outcome = Arc::new(Mutex::new(None));
        let told = outcome.clone();
        house.interrupted.arm(
            at,
            Box::pin(async move {
                let put = other.registry.put_manifest(&other.ctx, &name("a"), put).await;
                *told.lock().unwrap() = Some(put.map(drop));
            }),
        );
        for entry in house.records.queued(None, 10).await.unwrap() {
            house.slow_records.collect_on(&entry, &terms).await.unwrap();
        }
        let interrupted = !house.interrupted.disarm();
        let outcome = outcome.lock().unwrap().take();
        match outcome {
            None => assert!(!interrupted),
            Some(Err(why)) => assert_eq!(why.kind(), ErrorKind::ManifestBlobUnknown),
            Some(Ok(())) => {
                house.live_for(80 * HOUR).await;
                assert_eq!(house.read("a", &blob.digest).await.as_deref(), Ok(&b"layer"[..]));
            }
        }
        interrupted
    });
}

/// Most writes of a transaction that cleans up: many fewer than any engine takes.
const FEW: usize = 10_000;

#[test]
fn a_blob_with_very_many_leases_is_collected_in_small_transactions() {
    block_on(async {
        for is_named in [true, false] {
            let house = house();
            let blob = house.push("a", b"layer").await;
            if is_named {
                house.tag("a", "t", &image(&blob, "")).await;
            }
            let entry = to_due(&house).await;
            let end = entry.due.0;
            let many = (0..12_000_u32).fold(Txn::new(), |txn, n| {
                txn.put(
                    format!("lease/{}/{end:016}/{n:032x}", blob.digest),
                    &b"{\"v\":1}"[..],
                )
            });
            house.kv.commit(many).await.unwrap();
            let done = house.slow_records.collect(&entry).await.unwrap();
            let expected = match is_named {
                true => Collected::Dropped,
                false => Collected::Condemned,
            };
            assert_eq!(done, expected);
            assert!(house.interrupted.largest.load(Ordering::SeqCst) <= FEW);
            assert!(house.kv.scan("lease/", None, 1).await.unwrap().is_empty());
        }
    });
}

#[test]
fn the_feed_is_followed_in_small_transactions_however_much_was_about_what_was_deleted() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let mut subjects = Vec::new();
        for n in 0..12 {
            subjects.push(
                house
                    .tag(
                        "a",
                        &format!("t{n}"),
                        &image(&blob, &format!(r#","annotations":{{"n":"{n}"}}"#)),
                    )
                    .await,
            );
        }
        let tagged = house.kv.scan("tag/", None, 1).await.unwrap();
        let id = tagged[0].0.split('/').nth(1).unwrap().to_owned();
        for subject in &subjects {
            let about = (0..1000).fold(Txn::new(), |txn, n| {
                let referrer = Digest::sha256(format!("{subject} {n}").as_bytes());
                txn.put(format!("referrer/{id}/{subject}/{referrer}"), &b"{}"[..])
            });
            house.kv.commit(about).await.unwrap();
            house
                .registry
                .delete_manifest(&house.ctx, &name("a"), subject)
                .await
                .unwrap();
        }
        while house.slow_records.follow(1000).await.unwrap() {}
        let loose = house
            .kv
            .scan(&format!("loose/{id}/"), None, usize::MAX)
            .await
            .unwrap();
        assert!(loose.len() >= 12_000, "{}", loose.len());
        let largest = house.interrupted.largest.load(Ordering::SeqCst);
        assert!(largest <= FEW, "{largest}");
    });
}

#[test]
fn looking_for_what_may_be_unlinked_reads_what_may() {
    block_on(async {
        let house = house();
        let mut doomed = Txn::new();
        let now = house.clock.now();
        for n in 0..3000_u64 {
            // A few of them are over.
            let not_before = match n % 1000 {
                0 => now.0,
                _ => now.0 + 1000 + n,
            };
            let record = format!(r#"{{"v":1,"location":{{"object":"{n:04}"}},"not_before":{not_before}}}"#);
            doomed = doomed.put(format!("doomed/object:{n:04}"), record);
        }
        house.kv.commit(doomed).await.unwrap();
        let records = &house.slow_records;
        // As an earlier version left them, so that the first look puts them in order.
        assert_eq!(records.doomed(None, 100).await.unwrap().len(), 3);
        let before = house.interrupted.read.load(Ordering::SeqCst);
        let due = records.doomed(None, 100).await.unwrap();
        assert_eq!(due.len(), 3);
        let read = house.interrupted.read.load(Ordering::SeqCst) - before;
        assert!(read <= 110, "{read} of 3000 were read");
        for doomed in &due {
            records.clear_doomed(doomed).await.unwrap();
        }
        assert!(records.doomed(None, 100).await.unwrap().is_empty());
        for table in ["doomed/", "unlink/"] {
            assert_eq!(house.kv.scan(table, None, usize::MAX).await.unwrap().len(), 2997);
        }
    });
}

#[test]
fn a_manifest_that_was_read_costs_the_records_that_its_name_leads_to_and_no_bytes() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let digest = house.tag("a", "t", &image(&blob, "")).await;
        let read = async |reference: &Reference| {
            let before = house.interrupted.read.load(Ordering::SeqCst);
            let found = house.slow.stat_manifest(&house.ctx, &name("a"), reference).await;
            assert_eq!(found.unwrap().digest, digest);
            house.interrupted.read.load(Ordering::SeqCst) - before
        };
        let (tag, digest) = (Reference::Tag(tag("t")), Reference::Digest(digest));
        assert_eq!(read(&tag).await, 3 + 4, "to look for the bytes, and to have them");
        assert_eq!(read(&tag).await, 3, "name, tag, manifest");
        assert_eq!(read(&digest).await, 2, "name, manifest");
    });
}

#[test]
fn what_is_in_memory_is_gone_for_readers_when_its_record_is() {
    block_on(async {
        let house = house_with(1 << 20);
        let layer = house.push("a", b"layer").await;
        let digest = house.tag("a", "t", &image(&layer, "")).await;
        let (blob, ctx) = (layer.digest, &house.ctx);
        let reference = Reference::Digest(digest);
        for _ in 0..2 {
            assert!(house.slow.get_manifest(ctx, &name("a"), &reference).await.is_ok());
            assert!(house.slow.read_blob(ctx, &name("a"), &blob, None).await.is_ok());
        }
        // Known to the registry, and of nobody else's.
        house.push("b", b"other").await;
        let other = house.slow.read_blob(ctx, &name("b"), &blob, None).await;
        assert_eq!(other.unwrap_err().kind(), ErrorKind::BlobUnknown);
        let other = house.slow.get_manifest(ctx, &name("b"), &reference).await;
        assert_eq!(other.unwrap_err().kind(), ErrorKind::ManifestUnknown);
        // By way of another registry on the same records.
        let deleted = house.records.delete_manifest(ctx, &name("a"), &digest).await;
        deleted.unwrap();
        let gone = house.slow.get_manifest(ctx, &name("a"), &reference).await;
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::ManifestUnknown);
        house.clock.advance(1000 * HOUR);
        let gone = house.slow.read_blob(ctx, &name("a"), &blob, None).await;
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::BlobUnknown);
    });
}

async fn to_due(house: &House) -> registry_core::store::Pending {
    house.clock.advance(48 * HOUR);
    house.records.due(None, 1).await.unwrap().pop().unwrap()
}

#[test]
fn a_sweep_of_pieces_to_which_others_are_faster_is_no_failure() {
    at_every_point(async |house, at| {
        let (blob, layer) = (house.push("a", b"config").await, house.push("a", b"layer").await);
        let manifest = image_of(&blob, &layer);
        let digest = house.tag("a", "t", &manifest).await;
        let records = house.records.clone().in_pieces_of(1);
        let deleted = records.delete_manifest(&house.ctx, &name("a"), &digest).await;
        deleted.unwrap();
        let (ctx, another) = (
            house.ctx.clone(),
            house.tag("a", "t", &format!("{manifest} ")).await,
        );
        let faster = async move {
            while records.sweep_manifests(1).await.unwrap() {}
            let deleted = records.delete_manifest(&ctx, &name("a"), &another).await;
            deleted.unwrap();
        };
        house.interrupted.arm(at, Box::pin(faster));
        house.slow_records.sweep_manifests(1).await.unwrap();
        let interrupted = !house.interrupted.disarm();
        while house.records.sweep_manifests(1).await.unwrap() {}
        interrupted
    });
}
