//! Pushing, mounting and reading a blob at every stage of its collection.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use registry_core::Digest;

use crate::house::{House, Stage, Store, blob, image, whole};
use crate::on_every_store;

/// A blob whose collection has come to a stage, and nothing that points at it.
async fn brought_to(house: &House, repository: &str, stage: Stage) -> Bytes {
    let content = house.content();
    house.push_blob(repository, &content).await;
    house.bring_to(stage).await;
    content
}

/// Whether its repository still has it: only in its grace.
fn belongs(stage: Stage) -> bool {
    stage == Stage::Graced
}

/// Puts an image of the blob, lets a week of collections pass, and pulls it.
async fn assert_stays(house: &House, repository: &str, content: &Bytes) {
    house.put(repository, "v1", &image(&[content], None)).await;
    house.collect_for_a_week().await;
    house.assert_pulls(repository, "v1").await;
}

on_every_store!(
    /// HEAD tells the truth, the push succeeds, and GET has the bytes at once and from then on.
    a_blob_is_pushed_again_at_every_stage_of_its_collection,
    async |house: House| {
        for stage in Stage::ALL {
            let content = brought_to(&house, "a", stage).await;
            let digest = Digest::sha256(&content);
            assert_eq!(house.has_blob("a", &digest).await, belongs(stage), "{stage:?}");
            house.push_blob("a", &content).await;
            assert!(house.has_blob("a", &digest).await, "{stage:?}");
            house.assert_readable("a", &content).await;
            assert_stays(&house, "a", &content).await;
        }
    }
);

on_every_store!(
    /// As above, by a client that sends only what HEAD says is not there.
    whoever_skips_what_head_says_is_there_can_put_the_manifest_at_every_stage,
    async |house: House| {
        for stage in Stage::ALL {
            let content = brought_to(&house, "a", stage).await;
            house.ensure_blob("a", &content).await;
            // All but the whole grace later, and after a collection.
            house.clock.advance(house.lifetimes.grace);
            house.collect().await;
            assert_stays(&house, "a", &content).await;
        }
    }
);

on_every_store!(
    /// What another repository pushes is not kept from it by what becomes of the blob elsewhere.
    a_blob_is_pushed_elsewhere_at_every_stage_of_its_collection,
    async |house: House| {
        for stage in Stage::ALL {
            let content = brought_to(&house, "a", stage).await;
            let digest = Digest::sha256(&content);
            assert!(!house.has_blob("b", &digest).await, "knowing a digest opens nothing: {stage:?}");
            house.push_blob("b", &content).await;
            assert_stays(&house, "b", &content).await;
        }
    }
);

on_every_store!(
    /// A mount is answered yes only while the blob belongs to its source, and is then worth as much as a push.
    a_mount_at_every_stage_is_answered_truly,
    async |house: House| {
        for stage in Stage::ALL {
            let content = brought_to(&house, "a", stage).await;
            let digest = Digest::sha256(&content);
            let mounted = house.mount("b", &digest, "a").await;
            assert_eq!(mounted, belongs(stage), "{stage:?}");
            if !mounted {
                assert!(!house.has_blob("b", &digest).await, "{stage:?}");
                house.push_blob("b", &content).await;
            }
            house.assert_readable("b", &content).await;
            assert_stays(&house, "b", &content).await;
        }
    }
);

on_every_store!(
    /// An image that is deleted and pushed again, whatever has become of its blobs meanwhile, is whole at once.
    an_image_is_deleted_and_pushed_again_at_every_stage,
    async |house: House| {
        for stage in Stage::ALL {
            let (config, layer) = (house.content(), house.content());
            let pushed = house.push_image("a", &[&config, &layer]).await;
            house.put("a", "latest", &pushed).await;
            // Its pushers' own promises end before it goes: what is left is the grace of the dereferenced.
            house.collect_for_a_week().await;
            assert_eq!(house.delete_manifest("a", &pushed).await, 202);
            assert_eq!(house.status("a", "latest").await, 404, "its tag went with it");
            house.bring_to(stage).await;
            let again = house.push_image("a", &[&config, &layer]).await;
            assert_eq!(again.digest, pushed.digest);
            house.put("a", "latest", &again).await;
            house.assert_pulls("a", "latest").await;
            house.collect_for_a_week().await;
            house.assert_pulls("a", "latest").await;
        }
    }
);

/// As above while what was deleted waits in the trash, which holds its blobs and opens nothing; and then once it is out.
#[tokio::test]
async fn an_image_is_pushed_again_while_it_is_in_the_trash_and_after() {
    for store in [Store::Memory, Store::Embedded] {
        for days in [0, 2, 3, 4, 6] {
            const DAY: Duration = Duration::from_secs(24 * 3600);
            let house = House::with_trash(store, 100 << 10, 3 * DAY).await;
            let (config, layer) = (house.content(), house.content());
            let pushed = house.push_image("a", &[&config, &layer]).await;
            house.put("a", "latest", &pushed).await;
            house.collect_for_a_week().await;
            assert_eq!(house.delete_manifest("a", &pushed).await, 202);
            for _ in 0..days * 24 {
                house.clock.advance(DAY / 24);
                house.collect().await;
            }
            assert_eq!(house.status("a", "latest").await, 404);
            // Whether HEAD says yes or no, it is true, and the push succeeds.
            let again = house.push_image("a", &[&config, &layer]).await;
            assert_eq!(again.digest, pushed.digest);
            house.put("a", "latest", &again).await;
            house.collect_for_a_week().await;
            house.assert_pulls("a", "latest").await;
            assert_eq!(house.delete_manifest("a", &pushed).await, 202);
            house.collect_for_a_week().await;
            assert!(
                !house.is_recorded(&Digest::sha256(&layer)).await,
                "nothing is left in the end"
            );
        }
    }
}

on_every_store!(
    /// A tag that is deleted and put again is there at once, and its manifest was there all the time.
    a_tag_is_deleted_and_put_again_at_every_stage,
    async |house: House| {
        for stage in [Stage::Graced, Stage::Lapsed] {
            let config = house.content();
            let pushed = house.push_image("a", &[&config]).await;
            house.put("a", "latest", &pushed).await;
            assert_eq!(house.delete("/v2/a/manifests/latest").await, 202);
            house.bring_to(stage).await;
            house.collect().await;
            house.assert_pulls("a", pushed.digest).await;
            house.put("a", "latest", &pushed).await;
            house.collect_for_a_week().await;
            house.assert_pulls("a", "latest").await;
        }
    }
);

on_every_store!(
    /// A collector that was paused after it had read its entry, and goes on after the push, takes nothing away.
    a_paused_collector_that_goes_on_after_a_push_takes_nothing_away,
    async |house: House| {
        for stage in [Stage::Lapsed, Stage::Condemned] {
            use registry_core::store::Reclaim as _;
            let content = brought_to(&house, "a", stage).await;
            let lifetimes = house.lifetimes;
            house.clock.advance(lifetimes.second_delay + Duration::from_secs(60));
            let read = house.records.due(None, 10).await.unwrap();
            assert!(!read.is_empty(), "{stage:?}");
            house.push_blob("a", &content).await;
            for entry in &read {
                house.records.collect(entry).await.unwrap();
            }
            house.assert_readable("a", &content).await;
            assert_stays(&house, "a", &content).await;
        }
    }
);

/// A pull has begun, and is read only after its blob was condemned, removed and unlinked: every byte comes.
#[tokio::test]
async fn a_running_pull_completes_while_its_blob_is_condemned_removed_and_unlinked() {
    // More than what sockets hold on both sides: the server is in the middle of it.
    const LENGTH: usize = 24 << 20;
    for store in [Store::Memory, Store::Embedded] {
        let house = House::new(store, LENGTH).await;
        let content = house.content();
        let digest = house.push_blob("a", &content).await;
        let response = house.begin(Method::GET, &blob("a", &digest), "", "").await;
        assert_eq!(response.status(), 200);
        let mut readers = vec![response];
        for stage in [Stage::Condemned, Stage::Removed, Stage::Gone] {
            // The clock goes on from stage to stage, so each is reached on a new push.
            house.bring_to(stage).await;
            assert_eq!(house.get(&blob("a", &digest)).await.status, 404, "{stage:?}");
            house.push_blob("a", &content).await;
            readers.push(house.begin(Method::GET, &blob("a", &digest), "", "").await);
        }
        house.bring_to(Stage::Gone).await;
        assert!(!house.is_recorded(&digest).await);
        for reader in readers {
            assert_eq!(reader.status(), 200);
            assert!(
                whole(reader).await == content,
                "every byte of a pull that had begun"
            );
        }
    }
}
