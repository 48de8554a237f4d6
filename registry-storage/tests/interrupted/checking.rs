//! Checks of records that others write.

use std::future::poll_fn;
use std::pin::pin;

use registry_core::Registry;
use registry_storage::records::check::Options;

use crate::harness::*;

/// Far more often than a check of so few records has others go first.
const OFTEN: usize = 10_000;

#[test]
fn a_check_comes_to_an_end_whatever_is_written_before_what_it_read_last() {
    at_every_point(async |house, at| {
        let blob = house.push("a", b"layer").await;
        house.tag("a", "t", &image(&blob, "")).await;
        let other = house.clone();
        let writes = async move {
            let (ctx, a) = (&other.ctx, name("a"));
            for _ in 0..3 {
                other.registry.begin_upload(ctx, &a, None).await.unwrap();
            }
            other.push("b", b"other").await;
            other.registry.delete_tag(ctx, &a, &tag("t")).await.unwrap();
        };
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
