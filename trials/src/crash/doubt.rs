//! What an answer is worth that came while a file system was being shut down.
//!
//! A machine without power answers nobody; one whose file systems are shut down goes on. ext4 and XFS look for the
//! shutdown when `fsync` begins: of one that is under way when the journal is aborted, they may say that it succeeded
//! (both were seen to). So a write that was under way during the cut is one whose outcome is not known, and what was
//! read from then on may be of such a write. A write that was sent after the cut must not be acknowledged, and counts
//! if it is.

use super::client::Upload;
use super::history::Record;
use super::shelf::Outcome;

/// Takes back what such answers cannot mean; the cut went on from the first moment to the second.
pub fn doubt(records: &mut [Record], uploads: &mut dyn Iterator<Item = &mut Upload>, cut: (u64, u64)) {
    for record in records {
        let wrote = record.action.writes() && record.outcome == Outcome::Done;
        let doubtful = match wrote {
            true => under_way(record.invoked, record.ended, cut),
            false => record.ended > cut.0,
        };
        if doubtful && !matches!(record.outcome, Outcome::Wrong(_)) {
            record.outcome = Outcome::Unknown;
        }
    }
    for upload in uploads {
        let steps = &mut upload.steps;
        steps.retain(|step| !under_way(step.invoked, step.ended, cut));
        match steps.last() {
            Some(step) => upload.acknowledged = step.received,
            None => {
                upload.acknowledged = 0;
                upload.may_be_gone = true;
            }
        }
        // More was sent: a sync of it may have failed on the one disk and, as it should, have ended the upload on the
        // other, which went a moment later. A power cut takes both at once.
        upload.may_be_gone |= upload.sent > upload.acknowledged;
    }
}

fn under_way(invoked: u64, ended: u64, (from, to): (u64, u64)) -> bool {
    invoked < to && ended > from
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::shelf::Action;

    #[test]
    fn only_what_was_under_way_is_doubted_of_writes_and_all_later_reads() {
        let push = Action::PushBlob { blob: 0 };
        let read = Action::ReadBlob { blob: 0 };
        let done = |action, invoked, ended| {
            let mut records = [Record {
                thread: 0,
                kind: String::new(),
                shelf: 0,
                action,
                outcome: Outcome::Done,
                invoked,
                ended,
            }];
            doubt(&mut records, &mut std::iter::empty(), (10, 20));
            records[0].outcome == Outcome::Done
        };
        assert!(done(push, 1, 9) && done(push, 21, 30));
        assert!(!done(push, 9, 11) && !done(push, 12, 13) && !done(push, 19, 30));
        assert!(done(read, 1, 9));
        assert!(!done(read, 9, 11) && !done(read, 21, 30));
    }
}
