//! Counters.

use registry_core::store::{Entry, Kv};
use registry_core::{Charge, ErrorKind, PutManifest};
use registry_storage::testkit::block_on;

use crate::harness::*;

fn charge(amount: i64, limit: Option<u64>) -> Charge {
    Charge {
        counter: "quota".to_owned(),
        amount,
        limit,
    }
}

#[test]
fn charges_to_one_counter_in_one_write_do_not_pass_its_limit_together() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let mut put = PutManifest::tagged(tag("t"), OCI, image(&blob, ""));
        put.options.charge = vec![charge(6, Some(10)), charge(6, Some(10))];
        assert_eq!(house.put("a", put).await, Err(ErrorKind::QuotaExceeded));
    });
}

#[test]
fn charges_to_one_counter_in_one_write_add_up() {
    block_on(async {
        let house = house();
        let blob = house.push("a", b"layer").await;
        let mut put = PutManifest::tagged(tag("t"), OCI, image(&blob, ""));
        // Often enough that two charges meet in one shard.
        put.options.charge = vec![charge(1, None), charge(1, None)];
        for _ in 0..200 {
            house.put("a", put.clone()).await.unwrap();
        }
        let shards = house.kv.scan("counter/quota/", None, 100).await.unwrap();
        let amount = |entry: &Entry| {
            let counter: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
            counter["amount"].as_i64().unwrap()
        };
        assert_eq!(shards.iter().map(|(_, entry)| amount(entry)).sum::<i64>(), 400);
    });
}
