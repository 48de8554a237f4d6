//! Claims.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use registry_core::store::{Content, ManifestStore, Reclaim};
use registry_core::{Digest, ErrorKind, Registry, UploadId, once};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

use crate::harness::*;

#[test]
fn an_upload_that_makes_progress_does_not_expire() {
    block_on(async {
        let house = house();
        let upload = house
            .registry
            .begin_upload(&house.ctx, &name("a"), None)
            .await
            .unwrap();
        let mut whole = Vec::new();
        for part in [&b"one"[..], b"two", b"three", b"four"] {
            // Less than the day that an upload may rest.
            house.live_for(20 * HOUR).await;
            whole.extend_from_slice(part);
            let appended = house
                .registry
                .append_upload(&house.ctx, &name("a"), &upload.id, None, once(part))
                .await;
            assert_eq!(
                appended.map_err(|why| why.to_string()).map(|now| now.received),
                Ok(whole.len() as u64)
            );
        }
    });
}

#[test]
fn an_upload_of_a_deleted_repository_does_not_make_it_again() {
    for recreated in [false, true] {
        at_every_point(async |house, at| {
            house.push("a", b"first").await;
            let upload = house
                .registry
                .begin_upload(&house.ctx, &name("a"), None)
                .await
                .unwrap();
            let claim = house.records.upload(&name("a"), &upload.id).await.unwrap();
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move {
                    other
                        .registry
                        .delete_repository(&other.ctx, &name("a"))
                        .await
                        .unwrap();
                    if recreated {
                        other.push("a", b"new").await;
                    }
                }),
            );
            let blob = info(b"late");
            let content = Content::Inline(Bytes::from_static(b"late"));
            let published = house.slow_records.publish(&claim, &blob, content).await;
            let interrupted = !house.interrupted.disarm();
            if interrupted {
                assert_eq!(
                    published.map(drop).map_err(|why| why.kind()),
                    Err(ErrorKind::UploadUnknown),
                    "interrupted at {at}"
                );
            }
            interrupted
        });
    }
}

#[test]
fn a_published_location_is_never_doomed_by_ending_its_upload() {
    for publish_is_interrupted in [false, true] {
        for by_cancelling in [false, true] {
            at_every_point(async |house, at| {
                let (ctx, a) = (&house.ctx, name("a"));
                let upload = house.registry.begin_upload(ctx, &a, None).await.unwrap();
                house
                    .registry
                    .append_upload(ctx, &a, &upload.id, None, once(&b"layer"[..]))
                    .await
                    .unwrap();
                let claim = house.records.upload(&a, &upload.id).await.unwrap();
                if !by_cancelling {
                    house.clock.set(claim.expires);
                }
                let publish = async |records: &Records| {
                    records
                        .publish(&claim, &info(b"layer"), Content::Uploaded)
                        .await
                        .is_ok()
                };
                let end = async |records: &Records| match by_cancelling {
                    true => records.cancel(&claim).await.is_ok(),
                    false => records.abandon(&claim.id).await.unwrap(),
                };
                let (records, claimed) = (house.records.clone(), claim.clone());
                house.interrupted.arm(
                    at,
                    Box::pin(async move {
                        let _either = match (publish_is_interrupted, by_cancelling) {
                            (false, _) => records
                                .publish(&claimed, &info(b"layer"), Content::Uploaded)
                                .await
                                .is_ok(),
                            (true, true) => records.cancel(&claimed).await.is_ok(),
                            (true, false) => records.abandon(&claimed.id).await.unwrap(),
                        };
                    }),
                );
                let done = match publish_is_interrupted {
                    true => publish(&house.slow_records).await,
                    false => end(&house.slow_records).await,
                };
                let interrupted = !house.interrupted.disarm();
                assert_eq!(done, !interrupted, "one of the two happens");
                // Past the claim's end and the longest write, for which a location is held.
                house.clock.advance(48 * HOUR);
                let doomed = house.records.doomed(None, 10).await.unwrap();
                let record = house.records.blob_record(&info(b"layer").digest).await.unwrap();
                assert_eq!(doomed.len() + usize::from(record.is_some()), 1);
                interrupted
            });
        }
    }
}

#[test]
fn two_renewals_of_one_claim_at_once_do_not_end_it() {
    at_every_point(async |house, at| {
        let upload = house
            .registry
            .begin_upload(&house.ctx, &name("a"), None)
            .await
            .unwrap();
        let claim = house.records.upload(&name("a"), &upload.id).await.unwrap();
        let (records, theirs) = (house.records.clone(), claim.clone());
        house.interrupted.arm(
            at,
            Box::pin(async move {
                records.touch(&theirs).await.unwrap();
            }),
        );
        let touched = house.slow_records.touch(&claim).await;
        assert_eq!(
            touched.map(drop).map_err(|why| why.kind()),
            Ok(()),
            "interrupted at {at}"
        );
        !house.interrupted.disarm()
    });
}

#[test]
fn a_writer_that_slept_before_its_first_large_piece_leaves_nothing_behind() {
    block_on(async {
        let house = house_with(1000);
        let upload = house
            .registry
            .begin_upload(&house.ctx, &name("a"), None)
            .await
            .unwrap();
        let (other, id): (House, UploadId) = (house.clone(), upload.id.clone());
        let late = stream::once(async move {
            other
                .registry
                .cancel_upload(&other.ctx, &name("a"), &id)
                .await
                .unwrap();
            other.live_for(3 * HOUR).await;
            Ok(Bytes::from(vec![0; 2000]))
        });
        let bytes = Box::pin(once(&b"small"[..]).chain(late));
        let finished = house
            .registry
            .finish_upload(
                &house.ctx,
                &name("a"),
                &upload.id,
                None,
                bytes,
                &Digest::sha256(b""),
            )
            .await;
        assert!(finished.is_err());
        house.live_for(100 * HOUR).await;
        assert_eq!(house.stored().await, 0, "bytes that no record names");
    });
}

/// A day and more passes, in which the upload is given up and its bytes are unlinked.
async fn everything_of_an_upload_goes(house: &House) {
    house.clock.advance(25 * HOUR);
    house.tidy().await;
    house.clock.advance(2 * HOUR);
    house.tidy().await;
}

#[test]
fn a_writer_that_slept_since_it_read_its_claim_leaves_no_bytes_behind() {
    for finishes in [false, true] {
        at_every_point(async |house, at| {
            let (name, ctx) = (name("a"), &house.ctx);
            let upload = house.registry.begin_upload(ctx, &name, None).await.unwrap();
            let other = house.clone();
            house.interrupted.arm(
                at,
                Box::pin(async move { everything_of_an_upload_goes(&other).await }),
            );
            let (bytes, digest) = (once(&b"late"[..]), info(b"late").digest);
            let written = match finishes {
                false => house
                    .slow
                    .append_upload(ctx, &name, &upload.id, None, bytes)
                    .await
                    .map(drop),
                true => house
                    .slow
                    .finish_upload(ctx, &name, &upload.id, None, bytes, &digest)
                    .await
                    .map(drop),
            };
            let interrupted = !house.interrupted.disarm();
            if interrupted
                && house
                    .registry
                    .upload_status(ctx, &name, &upload.id)
                    .await
                    .is_err()
            {
                house.live_for(60 * HOUR).await;
                let kept = usize::from(finishes && written.is_ok() && house.read("a", &digest).await.is_ok());
                assert_eq!(house.stored().await, kept, "interrupted at {at}: {written:?}");
            }
            interrupted
        });
    }
}
