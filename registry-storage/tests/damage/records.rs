//! Damaged records.

use registry_core::store::{Reclaim, Txn, Undo};
use registry_core::{Digest, ErrorKind, Reference, Registry, Verify};
use registry_storage::testkit::block_on;

use crate::harness::{House, image, name, self_named, tag};

const LARGE: &[u8] = &[7; 5000];
const SMALL: &[u8] = b"a small one";

/// An image of a large and an inline blob, an index-like referrer to it, and a neighbour in another repository.
struct World {
    image: String,
    referrer: String,
}

impl World {
    fn new() -> World {
        let image = image(LARGE, &self_named());
        let subject = format!(
            r#","subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{}}}{}"#,
            Digest::sha256(image.as_bytes()),
            image.len(),
            self_named()
        );
        World {
            referrer: crate::harness::image(SMALL, &subject),
            image,
        }
    }

    async fn push(&self, house: &House, repository: &str) {
        house.push(repository, LARGE).await;
        house.push(repository, SMALL).await;
        house.put(repository, "image", &self.image).await.unwrap();
        house.put(repository, "referrer", &self.referrer).await.unwrap();
    }

    /// What does not come as it was pushed.
    async fn faults(&self, house: &House, repository: &str) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, manifest) in [("image", &self.image), ("referrer", &self.referrer)] {
            for reference in [tag(name), Reference::Digest(Digest::sha256(manifest.as_bytes()))] {
                match house.pull(repository, &reference).await {
                    Ok(pulled) => assert_eq!(pulled.bytes, manifest.as_bytes(), "{reference}"),
                    Err(why) => faults.push(format!("{reference}: {why}")),
                }
            }
        }
        for content in [LARGE, SMALL] {
            match house.read(repository, content).await {
                Ok(read) => assert_eq!(read, content),
                Err(why) => faults.push(format!("blob: {why:?}")),
            }
        }
        let (ctx, repository) = (&house.reader, name(repository));
        match house.registry.list_tags(ctx, &repository, None, 10).await {
            Ok(page) if page.items.len() == 2 => {}
            Ok(page) => faults.push(format!("tags: {:?}", page.items)),
            Err(why) => faults.push(format!("tags: {why}")),
        }
        let subject = Digest::sha256(self.image.as_bytes());
        let listed = house
            .registry
            .list_referrers(ctx, &repository, &subject, None, None, 10)
            .await;
        match listed {
            Ok(page) if page.items.len() == 1 => {}
            Ok(page) => faults.push(format!("referrers: {:?}", page.items)),
            Err(why) => faults.push(format!("referrers: {why}")),
        }
        match house.registry.list_repositories(ctx, None, 10).await {
            Ok(page) if page.items.contains(&repository) => {}
            Ok(page) => faults.push(format!("repositories: {:?}", page.items)),
            Err(why) => faults.push(format!("repositories: {why}")),
        }
        faults
    }
}

/// Every record of a registry is damaged in turn. Nothing wrong is ever served, the other repository goes on, and
/// one push, as clients push, brings everything back.
#[test]
fn whichever_record_is_damaged_the_next_push_brings_everything_back() {
    block_on(async {
        let world = World::new();
        let keys = {
            let house = House::new(Verify::Full, 100);
            world.push(&house, "a").await;
            world.push(&house, "b").await;
            house.keys().await
        };
        // Ids and put ids are counted, so each house has the same keys but for those that say when.
        let mut damaged = 0;
        for at in 0..keys.len() {
            let house = House::new(Verify::Full, 100);
            world.push(&house, "a").await;
            world.push(&house, "b").await;
            let key = house.keys().await[at].clone();
            if key.starts_with("content/") || key.starts_with("inline/") {
                continue; // Not records of the registry's own making; see below.
            }
            house.damage_record(&key);
            let table = key.split('/').next().unwrap();
            let before = world.faults(&house, "a").await;
            match table {
                // A blob's place is known to its record alone.
                "blob" => assert!(before.len() <= 1, "{key}: {before:?}"),
                _ => assert_eq!(before, [""; 0], "{key}"),
            }
            world.push(&house, "a").await;
            assert_eq!(world.faults(&house, "a").await, [""; 0], "{key}");
            assert_eq!(world.faults(&house, "b").await, [""; 0], "{key}");
            // Nor does it stand in the way of what comes after.
            for manifest in [&world.referrer, &world.image] {
                house
                    .registry
                    .delete_manifest(&house.pusher, &name("a"), &Digest::sha256(manifest.as_bytes()))
                    .await
                    .unwrap();
            }
            house.doomed().await;
            house.records.due(None, 100).await.unwrap();
            house.records.expired_uploads(None, 100).await.unwrap();
            assert_eq!(world.faults(&house, "b").await, [""; 0], "{key}");
            damaged += 1;
        }
        assert!(damaged > 25, "{damaged}");
    });
}

/// Every record is damaged in turn while two manifests are in the trash. They come back whole, or one push brings
/// everything back, and the other repository goes on.
#[test]
fn whichever_record_is_damaged_what_is_in_the_trash_comes_back_or_can_be_pushed() {
    async fn deleted(world: &World) -> House {
        let house = House::new(Verify::Full, 100);
        world.push(&house, "a").await;
        world.push(&house, "b").await;
        for manifest in [&world.referrer, &world.image] {
            let digest = Digest::sha256(manifest.as_bytes());
            let deleted = house
                .registry
                .delete_manifest(&house.pusher, &name("a"), &digest)
                .await;
            deleted.unwrap();
        }
        house
    }
    block_on(async {
        let world = World::new();
        let keys = deleted(&world).await.keys().await;
        let mut damaged = 0;
        for at in 0..keys.len() {
            let house = deleted(&world).await;
            let key = house.keys().await[at].clone();
            if key.starts_with("content/") || key.starts_with("inline/") {
                continue;
            }
            house.damage_record(&key);
            while house.records.purge_trash(100).await.unwrap() {}
            let mut back = true;
            for manifest in [&world.image, &world.referrer] {
                let digest = Digest::sha256(manifest.as_bytes());
                let undeleted = house
                    .records
                    .undelete(&house.pusher, &name("a"), &digest, None)
                    .await;
                // Its tags are known to its record in the trash alone.
                back &= undeleted.is_ok_and(|undeleted| undeleted.tags.len() == 1);
            }
            assert!(
                back || key.starts_with("trash/") || key.starts_with("blob/"),
                "{key}"
            );
            world.push(&house, "a").await;
            assert_eq!(world.faults(&house, "a").await, [""; 0], "{key}");
            assert_eq!(world.faults(&house, "b").await, [""; 0], "{key}");
            damaged += 1;
        }
        assert!(damaged > 30, "{damaged}");
    });
}

#[test]
fn a_manifest_whose_bytes_are_damaged_is_an_error_that_says_so_until_it_is_put_again() {
    block_on(async {
        let house = House::new(Verify::Off, 100);
        let manifest = image(SMALL, "");
        house.push("a", SMALL).await;
        let digest = house.put("a", "v1", &manifest).await.unwrap();
        house.put("a", "other", &image(SMALL, " ")).await.unwrap();
        house.damage_value(manifest.as_bytes());
        for reference in [tag("v1"), Reference::Digest(digest)] {
            for why in [
                house.pull("a", &reference).await.unwrap_err(),
                house.head("a", &reference).await.unwrap_err(),
            ] {
                assert_eq!(why.kind(), ErrorKind::Internal);
                let message = why.message();
                assert!(
                    message.contains(&digest.to_string()) && message.contains("push it again"),
                    "{message}"
                );
            }
        }
        house.pull("a", &tag("other")).await.unwrap();
        house.put("a", "v1", &manifest).await.unwrap();
        assert_eq!(
            house.pull("a", &tag("v1")).await.unwrap().bytes,
            manifest.as_bytes()
        );
    });
}

#[test]
fn manifest_bytes_that_are_others_or_gone_are_not_served() {
    block_on(async {
        let house = House::new(Verify::Off, 100);
        let manifest = image(SMALL, "");
        house.push("a", SMALL).await;
        house.put("a", "v1", &manifest).await.unwrap();
        let keys = house.keys().await;
        let key = keys.iter().find(|key| key.starts_with("content/")).unwrap();
        for txn in [
            Txn::new().put(key, image(SMALL, " ")),
            Txn::new().put(key, vec![b' '; 1 << 20]),
            Txn::new().delete(key),
        ] {
            house.kv.commit(txn).await.unwrap();
            for why in [
                house.pull("a", &tag("v1")).await.unwrap_err(),
                house.head("a", &tag("v1")).await.unwrap_err(),
            ] {
                assert_eq!(why.kind(), ErrorKind::Internal);
                assert!(why.message().contains("push it again"), "{why}");
            }
            let digest = house.put("a", "v1", &manifest).await.unwrap();
            house.pull("a", &tag("v1")).await.unwrap();
            assert_eq!(house.head("a", &tag("v1")).await.unwrap(), digest);
        }
    });
}

/// A type that was only in the request's header is known to nobody but the record.
#[test]
fn a_manifest_whose_record_is_lost_is_put_again_and_leaves_nothing_behind_when_it_is_deleted() {
    block_on(async {
        let house = House::new(Verify::Off, 0);
        let manifest = image(LARGE, "");
        house.push("a", LARGE).await;
        let digest = house.put("a", "v1", &manifest).await.unwrap();
        let record = |keys: Vec<String>| keys.into_iter().find(|key| key.starts_with("manifest/")).unwrap();
        house.damage_record(&record(house.keys().await));
        let why = house.pull("a", &tag("v1")).await.unwrap_err();
        assert!(why.message().contains(&digest.to_string()), "{why}");

        house.put("a", "v1", &manifest).await.unwrap();
        assert_eq!(
            house.pull("a", &tag("v1")).await.unwrap().bytes,
            manifest.as_bytes()
        );
        house
            .registry
            .delete_manifest(&house.pusher, &name("a"), &digest)
            .await
            .unwrap();
        house
            .records
            .purge(&house.pusher, &name("a"), &digest)
            .await
            .unwrap();
        let left: Vec<String> = house.keys().await;
        let left: Vec<&String> = left
            .iter()
            .filter(|key| {
                ["edge/", "manifest/", "content/", "children/", "tag/", "tagged/"]
                    .iter()
                    .any(|table| key.starts_with(table))
            })
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn a_tag_whose_record_is_damaged_can_be_moved_and_what_it_left_be_deleted() {
    block_on(async {
        let house = House::new(Verify::Off, 100);
        house.push("a", SMALL).await;
        let first = house.put("a", "v1", &image(SMALL, "")).await.unwrap();
        let keys = house.keys().await;
        let key = keys.iter().find(|key| key.starts_with("tag/")).unwrap();
        house.damage_record(key);
        let second = house.put("a", "v1", &image(SMALL, " ")).await.unwrap();
        house
            .registry
            .delete_manifest(&house.pusher, &name("a"), &first)
            .await
            .unwrap();
        let pulled = house.pull("a", &tag("v1")).await.unwrap();
        assert_eq!(pulled.info.digest, second);
    });
}

/// A byte of every key of one repository is changed in turn, to another text and to none. Whatever is done with that
/// repository then ends, takes no record of the other away, and serves nothing that was not pushed.
#[test]
fn whichever_key_is_damaged_no_other_record_goes_and_nothing_wrong_is_served() {
    block_on(async {
        let world = World::new();
        let keys = {
            let house = House::new(Verify::Full, 100);
            world.push(&house, "a").await;
            world.push(&house, "b").await;
            house.keys().await
        };
        let ids: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix("named/")).collect();
        let (own, other) = (ids[0], ids[1]);
        let mut damaged = 0;
        for (at, key) in keys.iter().enumerate() {
            // Blobs, and what is about them, are of both.
            let shared = ["pending/", "doomed/"].iter().any(|table| key.starts_with(table));
            if !key.contains(own) && !shared {
                continue;
            }
            // In the table, in an id or digest, and at the end.
            for (place, bits) in [(0, 1), (2, 1), (2, 0x80), (1, 1), (1, 0x80)] {
                let house = House::new(Verify::Full, 100);
                world.push(&house, "a").await;
                world.push(&house, "b").await;
                let key = house.keys().await[at].clone();
                let byte = match place {
                    0 => 1,
                    1 => key.len() - 1,
                    _ => key.len() / 2,
                };
                house.damage_key(&key, byte, bits);
                let _served = world.faults(&house, "a").await;
                for manifest in [&world.referrer, &world.image] {
                    let digest = Digest::sha256(manifest.as_bytes());
                    let _may_fail = house
                        .registry
                        .delete_manifest(&house.pusher, &name("a"), &digest)
                        .await;
                }
                house.records.doomed(None, 100).await.unwrap();
                for queued in house.records.due(None, 100).await.unwrap() {
                    let _may_fail = house.records.collect(&queued).await;
                }
                house.records.expired_uploads(None, 100).await.unwrap();
                let _may_fail = house.registry.delete_repository(&house.pusher, &name("a")).await;
                while house.records.sweep_repositories(10).await.unwrap_or(false) {}
                // What a changed key lies in the way of may not be found by searching, but nothing has removed it.
                let _served = world.faults(&house, "b").await;
                let left = house.all_keys().await;
                for kept in keys
                    .iter()
                    .filter(|key| key.contains(other) && !key.starts_with("lease/"))
                {
                    assert!(left.contains(kept), "{kept} for {key} at {byte}, {bits}");
                }
                damaged += 1;
            }
        }
        assert!(damaged > 80, "{damaged}");
    });
}
