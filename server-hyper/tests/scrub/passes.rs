//! How a pass goes over everything: its place, its pace, its nodes, its clock.

use std::sync::atomic::Ordering;
use std::time::Duration;

use registry_core::store::{Scrub as _, ScrubCount, ScrubCursor, ScrubPlace};
use registry_gc::Scrubber;

use crate::house::{House, RATE, WEEK, content};

#[tokio::test]
async fn a_restart_goes_on_where_it_was_and_one_node_is_at_it_at_a_time() {
    let house = House::new();
    let blobs = 100;
    for seed in 0..blobs {
        house.push(&content(seed)).await;
    }
    house.clock.advance(WEEK);
    // Stops like a process that is killed, after 45 of about 100 seconds.
    let (rate, killed_at) = (64 << 10, Duration::from_secs(45));
    let scrubber = house.scrubber_at(rate);
    house.time.stop_at(Some(killed_at));
    let killed = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            _ = scrubber.run_due() => panic!("it was to stop"),
            () = async { while house.time.slept() < killed_at { tokio::task::yield_now().await } } => {}
        }
    });
    killed.await.unwrap();
    house.time.stop_at(None);
    let first = scrubber.status().count.blobs;
    let (cursor, _) = house.records.cursor().await.unwrap().unwrap();
    assert!(matches!(cursor.place, ScrubPlace::Blobs(Some(_))), "{cursor:?}");
    assert!(cursor.done.blobs > 0 && cursor.done.blobs <= first);

    // Another node waits until the first must be dead, and reads only the rest.
    let other = house.scrubber_at(rate);
    let wait = other.run_due().await.unwrap();
    assert_eq!(other.status().count.blobs, 0, "two nodes are at it");
    assert!(wait > Duration::ZERO && wait < WEEK);
    house.clock.advance(wait);
    house.disk.reads.store(0, Ordering::SeqCst);
    let wait = other.run_due().await.unwrap();
    assert_eq!(other.status().count.blobs, blobs - cursor.done.blobs);
    assert_eq!(house.disk.reads.load(Ordering::SeqCst), blobs - cursor.done.blobs);
    assert!(
        wait > Duration::ZERO && wait < WEEK,
        "the next pass is due a week after this one began"
    );
    let (cursor, _) = house.records.cursor().await.unwrap().unwrap();
    assert_eq!((cursor.place, cursor.done.blobs), (ScrubPlace::End, blobs));
    assert!(cursor.finished.is_some());

    // The node that stood still sees that it is not its turn any more.
    assert!(scrubber.run_due().await.unwrap() > Duration::ZERO);
    assert_eq!(scrubber.status().count.blobs, first);
}

#[tokio::test]
async fn the_rate_is_kept() {
    let house = House::new();
    let bytes: u64 = 100 * 50_000;
    for seed in 0..100 {
        house.push(&content(seed)).await;
    }
    let status = house.scrub().await;
    assert_eq!((status.count.blobs, status.count.bytes), (100, bytes));
    let slept = house.time.slept().as_secs_f64();
    let counted = (bytes + 100 * (16 << 10)) as f64;
    let (least, most) = (bytes as f64 / RATE as f64, counted / RATE as f64);
    assert!(
        (least - 0.5..=most + 0.01).contains(&slept),
        "{bytes} bytes in {slept} s at {RATE} bytes per second"
    );
}

#[tokio::test]
async fn a_short_page_is_not_the_end() {
    let house = House::new();
    for seed in 0..10 {
        house.push_image(&format!("tag{seed}"), &content(seed)).await;
    }
    for table in ["blob/", "manifest/"] {
        *house.kv.short.lock().unwrap() = Some((table, 3));
        let count = house.scrub().await.count;
        assert_eq!((count.blobs, count.manifests), (10, 10), "{table}");
    }
}

/// Lets a scrubber run until it has slept that long.
async fn run_for(house: &House, scrubber: &Scrubber, time: Duration) {
    let end = house.time.slept() + time;
    house.time.stop_at(Some(end));
    let ran = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            () = scrubber.run() => panic!("it never ends"),
            () = async { while house.time.slept() < end { tokio::task::yield_now().await } } => {}
        }
    });
    ran.await.unwrap();
    house.time.stop_at(None);
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_stands_still_since_keeps_no_pass_from_its_week() {
    let house = House::new();
    house.push(&content(1)).await;
    // The records' clock never goes back: it stands until the system's has caught up with it.
    let scrubber = house.scrubber();
    run_for(&house, &scrubber, 4 * WEEK - Duration::from_secs(24 * 3600)).await;
    assert_eq!(
        scrubber.status().count.blobs,
        4,
        "one now, and one after each week"
    );
    // Not after every restart, nor never if it is restarted often.
    let mut read = 0;
    for _ in 0..28 {
        let scrubber = house.scrubber();
        run_for(&house, &scrubber, Duration::from_secs(24 * 3600)).await;
        read += scrubber.status().count.blobs;
    }
    assert!((3..=4).contains(&read), "{read} passes in four weeks");
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_nobody_from_a_pass_that_a_dead_node_was_at_nor_repeats_it() {
    for place in [ScrubPlace::Blobs(None), ScrubPlace::End] {
        let house = House::new();
        house.push(&content(1)).await;
        let ahead = house.clock.now() + 52 * WEEK;
        let cursor = ScrubCursor {
            began: ahead,
            place: place.clone(),
            finished: None,
            holder: "dead".into(),
            held_until: ahead,
            done: ScrubCount::default(),
        };
        house.records.save_cursor(&cursor, None).await.unwrap().unwrap();
        let scrubber = house.scrubber();
        run_for(&house, &scrubber, WEEK - Duration::from_secs(3600)).await;
        let expected = if place == ScrubPlace::End { 0 } else { 1 };
        assert_eq!(scrubber.status().count.blobs, expected, "within a week");
        run_for(&house, &scrubber, Duration::from_secs(4 * 3600)).await;
        assert_eq!(scrubber.status().count.blobs, expected + 1, "after a week");
    }
}
