//! Histories whose verdict is known.

use super::history::{History, Opening, Record, SHELVES};
use super::linear::{Operation, Verdict, explained};
use super::shelf::{Action, Expect, Layout, Outcome, State};

/// Manifests 0 to 3 name blob 0 each; 4 is an index of 0 and 1.
fn layout() -> Layout {
    Layout {
        blobs: [1, 1, 1, 1, 0, 0],
        manifests: [0, 0, 0, 0, 0b11, 0],
    }
}

/// Blob 0 is there, and manifest 0 under tag 0.
fn initial() -> State {
    State {
        tags: [Some(0), None, None],
        manifests: 1,
        blobs: 1,
    }
}

fn operation(invoked: u64, ended: u64, action: Action, outcome: Outcome) -> Operation {
    Operation {
        invoked,
        ended,
        action,
        outcome,
    }
}

fn put(invoked: u64, ended: u64, manifest: u8, expect: Expect, outcome: Outcome) -> Operation {
    let action = Action::PutManifest {
        manifest,
        tags: 1,
        expect,
    };
    operation(invoked, ended, action, outcome)
}

fn read(invoked: u64, ended: u64, at: Option<u8>) -> Operation {
    let outcome = at.map_or(Outcome::Absent, Outcome::At);
    operation(invoked, ended, Action::ReadTag { tag: 0 }, outcome)
}

#[track_caller]
fn assert_explained(operations: &[Operation]) {
    assert_eq!(explained(&layout(), &initial(), operations), Verdict::Explained);
}

#[track_caller]
fn assert_refused(operations: &[Operation]) {
    let verdict = explained(&layout(), &initial(), operations);
    assert!(matches!(verdict, Verdict::Unexplained(_)), "{verdict:?}");
}

const DONE: Outcome = Outcome::Done;
const UNKNOWN: Outcome = Outcome::Unknown;

#[test]
fn writes_at_the_same_time_may_come_in_either_order() {
    for last in [1, 2] {
        assert_explained(&[
            put(0, 10, 1, Expect::Any, DONE),
            put(1, 9, 2, Expect::Any, DONE),
            read(20, 21, Some(last)),
        ]);
    }
}

#[test]
fn a_write_that_would_change_nothing_may_come_when_it_does() {
    let delete = operation(0, 10, Action::DeleteManifest { manifest: 0 }, DONE);
    assert_explained(&[delete, put(1, 12, 0, Expect::Any, DONE), read(20, 21, Some(0))]);
}

#[test]
fn a_lost_update_is_found() {
    assert_refused(&[put(0, 10, 1, Expect::Any, DONE), read(20, 21, Some(0))]);
    assert_refused(&[
        put(0, 10, 1, Expect::Any, DONE),
        put(11, 20, 2, Expect::Any, DONE),
        read(30, 31, Some(1)),
    ]);
}

#[test]
fn a_stale_read_after_the_answer_is_found_and_one_before_it_is_not() {
    assert_explained(&[put(0, 10, 1, Expect::Any, DONE), read(5, 6, Some(0))]);
    assert_explained(&[put(0, 10, 1, Expect::Any, DONE), read(5, 6, Some(1))]);
    assert_refused(&[put(0, 10, 1, Expect::Any, DONE), read(11, 12, Some(0))]);
}

#[test]
fn two_readers_do_not_see_a_write_come_and_go() {
    assert_refused(&[
        put(0, 10, 1, Expect::Any, DONE),
        read(1, 2, Some(1)),
        read(3, 4, Some(0)),
    ]);
}

#[test]
fn a_resurrected_tag_is_found() {
    let delete = operation(0, 10, Action::DeleteTag { tag: 0 }, DONE);
    assert_explained(&[delete.clone(), read(11, 12, None)]);
    assert_refused(&[delete, read(11, 12, None), read(13, 14, Some(0))]);
}

#[test]
fn of_conditional_writers_one_wins() {
    let (one, other) = (Expect::At(0), Outcome::Precondition);
    assert_explained(&[put(0, 10, 1, one, DONE), put(0, 10, 2, one, other.clone())]);
    assert_refused(&[put(0, 10, 1, one, DONE), put(0, 10, 2, one, DONE)]);
    assert_refused(&[put(0, 10, 1, one, other.clone()), read(0, 20, Some(0))]);
    // The answer that never came may have been the one that won.
    assert_explained(&[put(0, 50, 1, one, UNKNOWN), put(0, 10, 2, one, other)]);
}

#[test]
fn what_got_no_answer_happened_before_the_end_or_never() {
    let lost = put(0, 50, 1, Expect::Any, UNKNOWN);
    assert_explained(&[lost.clone(), read(60, 61, Some(0))]);
    assert_explained(&[lost.clone(), read(60, 61, Some(1))]);
    assert_explained(&[lost.clone(), read(20, 21, Some(0)), read(60, 61, Some(1))]);
    // Not there after the end, and then there.
    assert_refused(&[lost.clone(), read(60, 61, Some(0)), read(62, 63, Some(1))]);
    // Seen once is done: it cannot be undone by the end.
    assert_refused(&[lost, read(20, 21, Some(1)), read(60, 61, Some(0))]);
}

#[test]
fn a_manifest_takes_its_tags_with_it_and_an_index_holds_it() {
    let delete = |outcome| operation(0, 10, Action::DeleteManifest { manifest: 0 }, outcome);
    assert_explained(&[delete(DONE), read(11, 12, None)]);
    assert_refused(&[delete(DONE), read(11, 12, Some(0))]);
    assert_refused(&[delete(Outcome::InUse), read(11, 12, Some(0))]);
    let index = operation(
        0,
        1,
        Action::PutManifest {
            manifest: 4,
            tags: 0,
            expect: Expect::Any,
        },
        DONE,
    );
    // It lists manifest 1, which is not there.
    assert_refused(std::slice::from_ref(&index));
    let both = [
        put(0, 1, 1, Expect::Any, DONE),
        Operation {
            invoked: 2,
            ended: 3,
            ..index
        },
    ];
    let held = operation(4, 5, Action::DeleteManifest { manifest: 0 }, Outcome::InUse);
    assert_explained(&[both[0].clone(), both[1].clone(), held.clone()]);
    assert_refused(&[
        both[0].clone(),
        both[1].clone(),
        Operation {
            outcome: DONE,
            ..held
        },
    ]);
}

#[test]
fn what_was_said_to_exist_is_there_for_the_manifest() {
    let head = operation(0, 1, Action::ReadBlob { blob: 0 }, DONE);
    let refused = put(2, 3, 1, Expect::Any, Outcome::Missing);
    assert_refused(&[head.clone(), refused.clone()]);
    // Unless somebody deleted it in between, which nobody may while manifest 0 needs it.
    let delete = operation(1, 3, Action::DeleteBlob { blob: 0 }, DONE);
    assert_refused(&[head.clone(), delete.clone(), refused.clone()]);
    let loose = State {
        blobs: 1,
        ..State::default()
    };
    let verdict = explained(&layout(), &loose, &[head, delete, refused]);
    assert_eq!(verdict, Verdict::Explained);
}

/// A round in which clients at work moved a tag, deleted, and raced; `after` is what was read after the end.
fn recorded(after: State) -> History {
    let record = |invoked, ended, action, outcome| Record {
        thread: 0,
        kind: String::new(),
        shelf: 3,
        action,
        outcome,
        invoked,
        ended,
    };
    let put = |manifest, tags| Action::PutManifest {
        manifest,
        tags,
        expect: Expect::Any,
    };
    let mut states = vec![State::default(); SHELVES];
    states[3] = initial();
    History {
        opening: Opening {
            seed: 1,
            round: 2,
            ending: "SIGKILL".to_owned(),
            cut: None,
            layouts: vec![layout(), layout()],
            states,
        },
        records: vec![
            record(0, 10, put(1, 0b10), DONE),
            record(5, 12, put(2, 0b01), DONE),
            record(13, 20, Action::DeleteTag { tag: 0 }, DONE),
            record(14, 40, Action::PushBlob { blob: 5 }, UNKNOWN),
            record(21, 30, put(3, 0b100), DONE),
            record(50, 60, Action::Observe, Outcome::State(after)),
        ],
    }
}

#[test]
fn a_history_from_which_one_acknowledged_write_is_missing_is_refused() {
    let after = State {
        tags: [None, Some(1), Some(3)],
        manifests: 0b1111,
        blobs: 1,
    };
    let whole = recorded(after);
    assert!(whole.judge().violations.is_empty());
    let with_the_unknown = State {
        blobs: 0b10_0001,
        ..after
    };
    assert!(recorded(with_the_unknown).judge().violations.is_empty());
    // As if the server had never done it: each write is missed.
    for missing in [0, 1, 2, 4] {
        let mut edited = whole.clone();
        edited.records.remove(missing);
        assert!(!edited.judge().violations.is_empty(), "{missing}");
    }
    // As if the end had taken something, or added it.
    for wrong in [
        State {
            tags: [Some(2), Some(1), Some(3)],
            ..after
        },
        State {
            tags: [None, Some(1), None],
            ..after
        },
        State {
            manifests: 0b0111,
            ..after
        },
        State { blobs: 0, ..after },
        State { blobs: 0b11, ..after },
    ] {
        assert!(!recorded(wrong).judge().violations.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_history_reads_as_it_was_written() {
    let history = recorded(State::default());
    let mut written = Vec::new();
    history.write(&mut written).unwrap();
    assert_eq!(History::read(written.as_slice()).unwrap(), history);
    assert!(History::read(&b""[..]).is_err());
}

#[test]
fn an_upload_is_never_behind_its_acknowledgements_nor_ahead_of_its_sender() {
    let mut history = recorded(State::default());
    let base = history.records[0].clone();
    let judged = |history: &mut History, may_be_gone, outcome| {
        let action = Action::ReadUpload {
            acknowledged: 10,
            sent: 20,
            may_be_gone,
        };
        history.records = vec![Record {
            action,
            outcome,
            ..base.clone()
        }];
        history.judge().violations.len()
    };
    for (at, violations) in [(9, 1), (10, 0), (15, 0), (20, 0), (21, 1)] {
        assert_eq!(
            judged(&mut history, false, Outcome::Offset(at)),
            violations,
            "{at}"
        );
    }
    assert_eq!(judged(&mut history, true, Outcome::Absent), 0);
    assert_eq!(judged(&mut history, false, Outcome::Absent), 1);
}
