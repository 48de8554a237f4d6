//! What [`UploadStore`](registry_core::store::UploadStore) promises.

mod appending;
mod durability;
mod fencing;
mod finishing;
mod sealing;

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use registry_core::store::StoreError;
use registry_core::{Algorithm, Digest, UploadId, empty, once};

use super::content::{Stalling, chunked, content, read_all, upload};
use super::{ByteStore, Fixture};

pub use appending::*;
pub use durability::*;
pub use fencing::*;
pub use finishing::*;
pub use sealing::*;

/// Stamps one test per clause of the `UploadStore` contract; the word `durable` before the factory adds those about
/// opening the store again. See [`testkit`](crate::testkit).
#[macro_export]
macro_rules! upload_store_suite {
    ($name:ident, durable, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::upload_store_suite!(contract, $factory);
            $crate::stamp_clauses!(
                $crate::testkit::upload_store,
                durability,
                $factory,
                [
                    received_survives_reopening,
                    an_upload_goes_on_after_reopening,
                    seal_can_be_repeated_after_reopening,
                    a_sealed_upload_takes_no_more_bytes_after_reopening_either,
                    a_writer_that_never_ended_leaves_a_prefix_across_reopening,
                    finished_bytes_survive_reopening,
                ]
            );
        }
    };
    ($name:ident, $factory:expr) => {
        $crate::stamp_clauses!(
            $crate::testkit::upload_store,
            $name,
            $factory,
            [
                every_upload_has_a_location_of_its_own,
                nothing_is_there_before_the_first_byte,
                append_gives_the_new_length,
                appends_go_to_the_end,
                chunks_of_any_size_make_the_same_content,
                bytes_that_do_not_begin_where_the_upload_is_are_refused,
                an_interrupted_stream_keeps_what_came_before,
                an_append_whose_caller_left_leaves_a_prefix,
                a_superseded_writer_writes_nothing_more,
                a_stalled_writer_is_taken_over_where_it_was,
                an_out_of_order_append_takes_nothing_over,
                sealing_ends_the_writer,
                discarding_ends_the_writer,
                writers_at_once_leave_bytes_that_match_their_digest,
                uploads_do_not_disturb_each_other,
                sealed_bytes_are_read_at_their_location,
                seal_with_wrong_digest_tells_the_actual_one_and_the_right_one_still_seals,
                seal_under_another_algorithm_than_hinted,
                hints_may_differ_between_appends,
                seal_without_any_byte_is_the_empty_content,
                seal_can_be_repeated,
                a_sealed_upload_takes_no_more_bytes,
                discarding_nothing_is_fine,
                finish_appends_and_seals,
                finish_without_any_byte_is_the_empty_content,
                an_interrupted_finish_keeps_what_came_before,
                a_finish_under_a_wrong_digest_seals_nothing,
                an_out_of_order_finish_is_refused,
            ]
        );
    };
}

type F = Fixture<dyn ByteStore>;

const SHA256: Algorithm = Algorithm::Sha256;

async fn all(store: &dyn ByteStore, id: &UploadId) -> Bytes {
    let location = store.location(id);
    let size = store.size(&location).await.unwrap().expect("something there");
    read_all(store.read(&location, 0..size).await.unwrap())
        .await
        .unwrap()
}

#[track_caller]
fn assert_superseded(outcome: Result<u64, StoreError>) {
    assert!(
        matches!(outcome, Err(StoreError::Superseded)),
        "not superseded: {outcome:?}"
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_clause_is_stamped() {
        crate::testkit::assert_every_clause_is_stamped(concat!(
            include_str!("upload_store.rs"),
            include_str!("upload_store/appending.rs"),
            include_str!("upload_store/durability.rs"),
            include_str!("upload_store/fencing.rs"),
            include_str!("upload_store/finishing.rs"),
            include_str!("upload_store/sealing.rs"),
        ));
    }
}
