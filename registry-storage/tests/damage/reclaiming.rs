//! Damage among what is to be given back: it does not keep the rest from it.

use std::time::Duration;

use registry_core::store::{Lifetimes, Location, ManifestStore, Reclaim, Txn};
use registry_core::{Digest, Registry, UploadId, Verify};
use registry_storage::records::Records;
use registry_storage::testkit::block_on;

use crate::harness::{Counting, House, image, name};

const NO_TEXT: u8 = 0x80;

/// What is expired, doomed and due the moment that it is written.
fn at_once(house: &House) -> Records {
    let lifetimes = Lifetimes {
        grace: Duration::ZERO,
        bucket: Duration::from_millis(1),
        second_delay: Duration::ZERO,
        upload_idle: Duration::ZERO,
        longest_write: Duration::ZERO,
        longest_read: Duration::ZERO,
        undo: Duration::ZERO,
    };
    Records::new(house.kv.clone(), Counting::shared(), lifetimes)
}

async fn expired(records: &Records) -> Vec<UploadId> {
    let expired = records.expired_uploads(None, 10).await.unwrap();
    expired.into_iter().map(|expired| expired.id).collect()
}

async fn begin(records: &Records, id: u128) -> UploadId {
    let id = UploadId::new(id);
    let location = Location::File(format!("{}/{id}", &id.as_str()[..2]));
    let algorithm = Digest::sha256(b"").algorithm();
    records
        .claim(&name("a"), &id, &location, algorithm)
        .await
        .unwrap();
    id
}

#[test]
fn an_upload_whose_entry_among_those_that_expire_is_damaged_expires_all_the_same() {
    block_on(async {
        // A time that was changed, an id that was, and the value.
        for damage in [Some((10, 1)), Some((10, 8)), Some((40, 1)), None] {
            let house = House::new(Verify::Off, 0);
            let records = at_once(&house);
            let id = begin(&records, 1 << 100).await;
            let key = house.only_key("expiry/").await;
            match damage {
                Some((at, bits)) => house.damage_key(&key, at, bits),
                None => house.damage_record(&key),
            }
            let expected = match damage {
                Some((40, _)) => Vec::new(),
                _ => vec![id],
            };
            assert_eq!(expired(&records).await, expected);
            let left: Vec<String> = house.keys_of("expiry/").await;
            assert_eq!(left, expected.iter().map(|_| key.clone()).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_claim_that_is_damaged_keeps_no_other_from_expiring() {
    block_on(async {
        for entry_too in [false, true] {
            let house = House::new(Verify::Off, 0);
            let records = at_once(&house);
            let damaged = begin(&records, 1).await;
            let whole = begin(&records, 2).await;
            house.damage_record(&format!("upload/{damaged}"));
            let mut expected = vec![damaged.clone(), whole.clone()];
            if entry_too {
                let keys = house.keys_of("expiry/").await;
                house.damage_record(keys.iter().find(|key| key.ends_with(damaged.as_str())).unwrap());
                expected.remove(0);
            }
            assert_eq!(expired(&records).await, expected);
            let why = records.abandon(&damaged).await.unwrap_err();
            assert!(why.message().contains(damaged.as_str()), "{why}");
            assert!(records.abandon(&whole).await.unwrap());
        }
    });
}

#[test]
fn keys_that_are_no_text_are_stepped_over_wherever_they_are_met() {
    block_on(async {
        let house = House::new(Verify::Off, 0);
        let records = at_once(&house);
        for id in 1..=3 {
            begin(&records, id).await;
        }
        for key in [1_u128, 2, 3] {
            let location = Location::File(format!("00/{key:032x}"));
            let value = format!(
                r#"{{"v":1,"location":{},"not_before":0}}"#,
                serde_json::to_string(&location).unwrap()
            );
            house
                .kv
                .commit(Txn::new().put(format!("doomed/{location}"), value).put(
                    format!("pending/{key:016}/{}", Digest::sha256(&key.to_be_bytes())),
                    &b"{\"v\":1}"[..],
                ))
                .await
                .unwrap();
        }
        for table in ["expiry/", "doomed/", "pending/"] {
            let keys = house.keys_of(table).await;
            assert_eq!(keys.len(), 3);
            // At the end, and where what was first then sorts last.
            match table {
                "expiry/" => house.damage_key(&keys[0], table.len(), NO_TEXT),
                _ => house.damage_key(&keys[1], keys[1].len() - 1, NO_TEXT),
            }
        }
        assert_eq!(records.expired_uploads(None, 10).await.unwrap().len(), 2);
        assert_eq!(records.doomed(None, 10).await.unwrap().len(), 2);
        assert_eq!(records.due(None, 10).await.unwrap().len(), 2);
        // Also when the last of a page is what comes before it.
        assert_eq!(records.doomed(None, 1).await.unwrap().len(), 1);
        let first = records.doomed(None, 1).await.unwrap().remove(0);
        let next = records.doomed(Some(&first), 10).await.unwrap();
        assert_eq!(next.len(), 1);
    });
}

#[test]
fn a_deleted_repository_is_cleaned_up_whatever_is_damaged_of_another() {
    block_on(async {
        let house = House::new(Verify::Off, 1 << 10);
        for repository in ["a", "b", "c"] {
            house.push(repository, b"one").await;
            house.put(repository, "v1", &image(b"one", "")).await.unwrap();
        }
        let damaged = house.keys_of("manifest/").await[0].clone();
        for repository in ["a", "b"] {
            house
                .registry
                .delete_repository(&house.pusher, &name(repository))
                .await
                .unwrap();
        }
        let dropped = house.keys_of("dropped/").await;
        assert_eq!(dropped.len(), 2);
        // One has lost what it would take to take it apart, the other its entry in the list, a tag and a mirror.
        house.damage_record(&damaged);
        let first = damaged.split('/').nth(1).unwrap();
        let second = dropped[1].strip_prefix("dropped/").unwrap();
        assert_eq!(dropped[0], format!("dropped/{first}"));
        house.damage_record(&dropped[1]);
        for table in ["tag", "tagged"] {
            let prefix = format!("{table}/{second}/");
            house.damage_record(&house.only_key(&prefix).await);
        }
        let outcome = loop {
            match house.records.sweep_repositories(1).await {
                Ok(true) => {}
                other => break other,
            }
        };
        assert!(
            outcome.unwrap_err().to_string().contains("damaged"),
            "the first is told"
        );
        for table in ["dropped", "manifest", "content", "children", "tag", "tagged"] {
            let prefix = format!("{table}/{second}");
            assert!(house.keys_of(&prefix).await.is_empty(), "{prefix}");
        }
        house.pull("c", &crate::harness::tag("v1")).await.unwrap();
    });
}

/// Its id was changed to that of a repository that is there.
#[test]
fn a_damaged_entry_of_the_list_of_deleted_repositories_takes_nothing_from_one_that_is_there() {
    block_on(async {
        let house = House::new(Verify::Off, 1 << 10);
        house.push("a", b"one").await;
        house.put("a", "v1", &image(b"one", "")).await.unwrap();
        let id = house.only_key("named/").await["named/".len()..].to_owned();
        let dropped = format!("dropped/{id}");
        let put = Txn::new().put(&dropped, &br#"{"v":1,"name":"other"}"#[..]);
        house.kv.commit(put).await.unwrap();
        house.damage_record(&dropped);
        assert!(house.records.sweep_repositories(10).await.is_err());
        house.pull("a", &crate::harness::tag("v1")).await.unwrap();
        assert_eq!(house.read("a", b"one").await.unwrap(), b"one");
    });
}
