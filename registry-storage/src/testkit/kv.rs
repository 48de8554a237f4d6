//! What [`Kv`] promises.

mod concurrency;
mod conditions;
mod durability;
mod entries;
mod marks;
mod scans;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use registry_core::Timestamp;
use registry_core::store::{KEY_MAX, Kv, KvError, Precondition, Stamp, Txn};

use super::Fixture;

pub use concurrency::*;
pub use conditions::*;
pub use durability::*;
pub use entries::*;
pub use marks::*;
pub use scans::*;

/// Stamps one test per clause of the `Kv` contract; the word `durable` before the factory adds those about
/// opening the store again. See [`testkit`](crate::testkit).
#[macro_export]
macro_rules! kv_suite {
    ($name:ident, durable, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::kv_suite!(contract, $factory);
            $crate::stamp_clauses!(
                $crate::testkit::kv,
                durability,
                $factory,
                [
                    what_a_reader_sees_survives_reopening,
                    a_deleted_key_stays_deleted_across_reopening,
                    stamps_do_not_repeat_across_reopening,
                    now_does_not_go_back_across_reopening,
                ]
            );
        }
    };
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::kv,
            $name,
            $factory,
            [
                get_of_an_unwritten_key_is_nothing,
                put_is_read_back_with_the_stamp_of_its_commit,
                keys_and_values_are_kept_as_they_are,
                commit_absent_first_wins_second_conflicts,
                a_conflict_names_the_first_precondition_that_did_not_hold,
                writes_of_a_conflicting_txn_leave_no_trace,
                at_holds_until_the_key_is_written_again,
                at_fails_once_the_key_is_deleted,
                a_stamp_never_repeats_after_delete_and_recreate,
                later_commits_have_greater_stamps,
                all_writes_of_a_txn_have_its_stamp,
                writes_happen_in_their_order,
                deleting_nothing_is_fine,
                empty_is_about_texts_that_begin_alike,
                damaged_is_not_said_of_what_can_be_read,
                append_lists_in_commit_order,
                appends_of_one_txn_keep_their_order,
                scan_is_in_the_order_of_bytes,
                scan_keeps_to_its_prefix,
                scan_after_need_not_exist,
                scan_pages_make_the_whole,
                before_is_judged_at_commit,
                not_before_is_judged_at_commit,
                now_never_goes_back,
                too_large_keys_and_values_are_refused_and_the_largest_are_kept,
                of_64_concurrent_absent_writers_exactly_one_wins,
                a_later_txn_of_the_same_group_sees_the_earlier,
                concurrent_commits_are_as_if_one_after_another_in_the_order_of_stamps,
                a_conflict_does_not_disturb_its_neighbours,
                a_scan_sees_all_writes_of_a_txn_or_none,
                a_commit_whose_caller_left_happens_whole_or_not_at_all,
                a_mark_holds_until_its_record_is_written_and_no_longer,
                what_is_kept_under_a_current_mark_is_never_older_than_what_anybody_saw,
            ]
        );
    };
}

type F = Fixture<dyn Kv>;

async fn put(kv: &dyn Kv, key: &str, value: &str) -> Stamp {
    let txn = Txn::new().put(key, Bytes::copy_from_slice(value.as_bytes()));
    kv.commit(txn).await.expect("a plain put")
}

async fn keys(kv: &dyn Kv, prefix: &str) -> Vec<String> {
    let page = kv.scan(prefix, None, usize::MAX).await.expect("a scan");
    page.into_iter().map(|(key, _)| key).collect()
}

async fn value(kv: &dyn Kv, key: &str) -> Option<String> {
    let entry = kv.get(key).await.expect("a get")?;
    Some(String::from_utf8(entry.value.to_vec()).expect("a test's value is text"))
}

#[track_caller]
fn assert_conflict(outcome: Result<Stamp, KvError>, expected: &Precondition) {
    match outcome {
        Err(KvError::Conflict(broken)) => assert_eq!(broken, *expected),
        other => panic!("expected a conflict about {expected:?}, got {other:?}"),
    }
}

/// Waits for the store's own clock, which nothing here can set.
async fn until(kv: &dyn Kv, time: Timestamp) {
    while kv.now().await.expect("the clock") < time {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs tasks at once and gathers what they return.
async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in running {
        results.push(task.await.expect("a task that does not panic"));
    }
    results
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_clause_is_stamped() {
        crate::testkit::assert_every_clause_is_stamped(concat!(
            include_str!("kv.rs"),
            include_str!("kv/concurrency.rs"),
            include_str!("kv/conditions.rs"),
            include_str!("kv/durability.rs"),
            include_str!("kv/entries.rs"),
            include_str!("kv/marks.rs"),
            include_str!("kv/scans.rs"),
        ));
    }
}
