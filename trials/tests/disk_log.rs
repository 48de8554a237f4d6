//! Power cuts in the model: a slice of what the command `disk_log` does.

use registry_storage::Omission;
use trials::disk_log::{FileSystem, Report, Trial, replay, run};

fn cut(trial: Trial, cuts: usize) -> Report {
    run(trial, 42, cuts, 1, &mut |_| {})
}

#[track_caller]
fn assert_kept(report: &Report) {
    let first = report.violations.first();
    assert!(first.is_none(), "{}", first.unwrap());
    assert!(report.disks > report.cuts, "every cut left the same");
    assert!(
        report.acknowledged * 20 > report.cuts,
        "{} answers are too few to say anything",
        report.acknowledged
    );
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_is_cut() {
    assert_kept(&cut(Trial::STRICT, 2500));
}

#[test]
fn each_sync_that_is_left_out_is_missed() {
    for omission in Omission::ALL {
        let report = cut(Trial::without(omission), 20_000);
        let name = omission.name();
        let violation = report.violations.first();
        let violation = violation.unwrap_or_else(|| panic!("nobody notices that {name} is not synced"));
        assert!(!violation.tail.is_empty(), "{violation}");
        let again = replay(Trial::without(omission), violation.seed, violation.cut);
        assert_eq!(
            again.map(|again| again.to_string()),
            Some(violation.to_string()),
            "the same seed is the same trial"
        );
    }
}

#[test]
fn relaxed_keeps_every_record_loses_nothing_to_a_kill_and_is_never_wrong() {
    assert_kept(&cut(Trial::RELAXED, 600));
}

#[test]
fn without_extended_attributes_a_file_system_must_write_bytes_before_lengths() {
    assert_kept(&cut(Trial::on(FileSystem::UnmarkedOrdered), 600));
    let report = cut(Trial::on(FileSystem::Unmarked), 20_000);
    let violation = report.violations.first();
    let violation = violation.expect("a length alone says nothing after a power cut");
    assert_eq!(violation.promise, "acknowledged upload bytes", "{violation}");
}
