//! Checks of records that others write.

use std::future::poll_fn;
use std::pin::pin;

use registry_core::store::{Kv, Txn};
use registry_storage::records::check::Options;

use crate::harness::*;

/// Far more often than a check of so few records has others go first.
const OFTEN: usize = 10_000;

#[test]
fn a_check_comes_to_an_end_whatever_is_written_before_what_it_read_last() {
    at_every_point(async |house, at| {
        // Of a table that this version does not know, through which it goes record by record.
        let unknown = async |house: &House, key: &str| {
            house.kv.commit(Txn::new().put(key, "")).await.unwrap();
        };
        house.push("a", b"layer").await;
        unknown(&house, "zone/m").await;
        let other = house.clone();
        let writes = async move { unknown(&other, "zone/a").await };
        house.interrupted.arm(at, Box::pin(writes));
        let mut tell = |_: registry_storage::records::check::Told<'_>| {};
        let bytes = house.bytes.as_ref();
        let mut check = pin!(house.slow_records.check(bytes, Options::default(), &mut tell));
        let mut waits = 0;
        poll_fn(|context| {
            waits += 1;
            assert!(waits < OFTEN, "interrupted at {at}, it goes on for ever");
            check.as_mut().poll(context)
        })
        .await
        .unwrap();
        !house.interrupted.disarm()
    });
}
