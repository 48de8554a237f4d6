//! What a run does with what waits, whatever the records say; and when it waits itself.

mod fake;

use futures_executor::block_on;
use registry_core::store::{Cause, Terms};

use super::*;
use fake::{Fake, Fate, TenBytes, release, turn};

const SMALL: usize = 10;

fn settings() -> Settings {
    Settings {
        batch: SMALL,
        rate: None,
        ..Settings::default()
    }
}

fn collector(records: &Arc<Fake>, settings: Settings) -> Collector {
    let clock = Arc::new(records.clock.clone());
    Collector::new(Arc::clone(records) as _, Arc::new(TenBytes), clock, settings)
}

fn run(records: &Arc<Fake>) -> Summary {
    run_of(&collector(records, settings()))
}

fn run_of(collector: &Collector) -> Summary {
    block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut |_| {})).unwrap()
}

#[test]
fn what_is_damaged_keeps_nothing_else_from_being_given_back() {
    // More damaged than are read at once, and before all that is not.
    let bad = 2 * SMALL as u64 + 3;
    let records = Fake::new(bad + 25, bad + 15, bad + 17, bad);
    let summary = run(&records);
    let expected = Counts {
        looked_at: 25,
        dropped: 25,
        abandoned: 15,
        unlinked: 17,
        bytes: 170,
        failures: 3 * bad + 1,
        ..Counts::default()
    };
    assert_eq!((summary.outcome, summary.counts), (RunEnd::Done, expected));
    assert_eq!(records.state().uploads.len() as u64, bad);
    // They are counted again by the next run, and nothing else is there.
    let again = Counts {
        failures: 3 * bad + 1,
        ..Counts::default()
    };
    assert_eq!(run(&records).counts, again);
}

#[test]
fn all_that_is_due_is_given_back_in_one_run() {
    let records = Fake::new(35, 25, 45, 0);
    let collector = collector(&records, settings());
    let summary = run_of(&collector);
    let counts = summary.counts;
    assert_eq!((counts.dropped, counts.abandoned, counts.unlinked), (35, 25, 45));
    assert_eq!(run_of(&collector).counts, Counts::default());
    let observed = collector.observed();
    assert_eq!((observed.totals, observed.runs), (counts, 2));
    assert_eq!(records.state().runs[0].2, Some(RunEnd::Done));
    assert_eq!(records.state().lead, None, "the lead was kept");
}

#[test]
fn progress_counts_every_step_up_to_what_was_known() {
    let records = Fake::new(35, 0, 5, 0);
    let mut seen = Vec::new();
    let collector = collector(&records, settings());
    let mut note = |progress: &Progress| seen.push((progress.phase, progress.done, progress.of));
    block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut note)).unwrap();
    // Told when a phase begins or goes on, and after each step; a phase that comes round again goes on from where it was.
    let blobs: Vec<u64> = seen
        .iter()
        .filter(|(phase, ..)| *phase == Phase::Blobs)
        .map(|(_, done, of)| {
            assert_eq!(*of, 35);
            *done
        })
        .collect();
    let mut steps = blobs.clone();
    steps.dedup();
    assert_eq!(steps, (0..=35).collect::<Vec<u64>>());
    assert!(blobs.len() <= 35 + 35 / SMALL + 1);
    assert_eq!(seen.last(), Some(&(Phase::Unlink, 5, 5)));
}

#[test]
fn a_large_repository_that_is_swept_keeps_nothing_else_waiting() {
    let records = Fake::new(35, 15, 25, 0);
    records.state().pieces = 1000;
    let counts = run(&records).counts;
    assert_eq!((counts.dropped, counts.abandoned, counts.unlinked), (35, 15, 25));
    let state = records.state();
    assert_eq!(state.pieces, 0);
    for what in ["drop_pending", "abandon", "clear_doomed"] {
        let last = state.writes.iter().rposition(|write| *write == what).unwrap();
        let swept = state.writes[..last]
            .iter()
            .filter(|write| **write == "sweep_repository");
        assert!(swept.count() <= 5, "{what} waited for the repository to be swept");
    }
}

#[test]
fn what_many_manifests_without_a_tag_are_does_not_keep_anything_else_waiting() {
    let records = Fake::new(10, 0, 5, 0);
    let now = records.clock.time();
    records.state().untagged = (0..500).collect();
    let policy = Policy {
        untagged: Some(Duration::from_secs(3600)),
    };
    let collector = collector(&records, Settings { policy, ..settings() });
    let mut left = None;
    let mut note = |progress: &Progress| {
        if progress.counts.unlinked == 5 {
            left.get_or_insert(records.state().untagged.len());
        }
    };
    block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut note)).unwrap();
    assert!(left.unwrap() >= 480, "{left:?} were left at {now}");
    assert_eq!(records.state().untagged.len(), 0);
}

#[test]
fn what_is_named_again_since_it_was_listed_is_not_unlinked() {
    let records = Fake::new(0, 0, 5, 0);
    let collector = collector(
        &records,
        Settings {
            workers: 1,
            ..settings()
        },
    );
    let mut cleared = |progress: &Progress| {
        if progress.counts.unlinked == 2 {
            records.state().doomed.remove(&3);
        }
    };
    let summary = block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut cleared)).unwrap();
    assert_eq!((summary.counts.unlinked, summary.counts.bytes), (4, 40));
}

#[test]
fn a_run_that_cannot_be_recorded_gives_the_lead_back() {
    let records = Fake::new(5, 0, 0, 0);
    records.state().refuses_runs = true;
    let collector = collector(&records, settings());
    let refused = block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut |_| {}));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(records.state().lead, None, "nobody else may collect");
    assert_eq!(records.state().queue.len(), 5);
}

#[test]
fn a_run_that_is_stopped_ends_at_the_next_step_and_the_next_run_goes_on() {
    let records = Fake::new(100, 0, 0, 0);
    let collector = collector(
        &records,
        Settings {
            workers: 1,
            ..settings()
        },
    );
    let stop = Stop::new();
    let mut after_some = |progress: &Progress| {
        if progress.counts.dropped == 42 {
            stop.stop();
        }
    };
    let summary = block_on(collector.run(&RunOptions::default(), &stop, &mut after_some)).unwrap();
    assert_eq!((summary.outcome, summary.counts.dropped), (RunEnd::Stopped, 42));
    assert_eq!(records.state().queue.len(), 58);
    assert_eq!(records.state().lead, None);
    assert_eq!(run_of(&collector).counts.dropped, 58);
}

#[test]
fn no_more_steps_are_taken_in_a_second_than_the_rate_says() {
    for rate in [1, 7, 100, 1000] {
        let records = Fake::new(200, 0, 0, 0);
        let before = records.clock.time();
        run_of(&collector(
            &records,
            Settings {
                rate: Some(rate),
                interval: Duration::from_secs(3600),
                ..settings()
            },
        ));
        let took = records.clock.time().since(before).as_secs_f64();
        // The first goes at once, and so do those that the timer is too coarse for.
        let expected = 199.0 / f64::from(rate);
        assert!(
            (expected - 0.02..=expected + 0.02).contains(&took),
            "{rate}: {took}"
        );
    }
}

#[test]
fn a_run_that_cannot_keep_up_goes_faster_with_each_interval_and_four_times_as_fast_at_most() {
    let records = Fake::new(10_000, 0, 0, 0);
    let collector = collector(
        &records,
        Settings {
            rate: Some(10),
            interval: Duration::from_secs(60),
            ..settings()
        },
    );
    let began = records.clock.time();
    let mut done = [0_u64; 400];
    let mut note = |progress: &Progress| {
        let at = records.clock.time().since(began).as_secs() as usize;
        done[at] = progress.counts.dropped;
    };
    block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut note)).unwrap();
    for (minute, rate) in [10, 20, 30, 40, 40].into_iter().enumerate() {
        let steps = done[minute * 60 + 55] - done[minute * 60 + 5];
        assert!(steps.abs_diff(50 * rate) <= 2 * rate, "minute {minute}: {steps}");
    }
}

#[test]
fn a_run_that_is_alone_knows_no_rate_and_commits_in_groups() {
    let records = Fake::new(500, 0, 0, 0);
    let before = records.clock.time();
    let collector = collector(
        &records,
        Settings {
            rate: Some(1),
            batch: 500,
            ..settings()
        },
    );
    let terms = Terms {
        alone: true,
        ..Terms::default()
    };
    block_on(collector.run(&RunOptions { terms }, &Stop::new(), &mut |_| {})).unwrap();
    assert_eq!(records.clock.time(), before);
    assert_eq!(records.most_under_way.load(Ordering::SeqCst), 64);
}

#[test]
fn no_more_steps_are_under_way_than_there_are_workers() {
    for workers in [1, 3, 8] {
        let records = Fake::new(50, 0, 0, 0);
        run_of(&collector(
            &records,
            Settings {
                workers,
                ..settings()
            },
        ));
        assert_eq!(records.most_under_way.load(Ordering::SeqCst), workers);
    }
}

#[test]
fn a_step_that_others_overtake_is_tried_again_and_then_left_to_the_next_run() {
    let records = Fake::new(0, 0, 0, 0);
    records.state().queue = [(1, Fate::Dropped(2)), (2, Fate::Dropped(5))].into();
    let counts = run(&records).counts;
    assert_eq!((counts.dropped, counts.conflicts), (1, 1));
    assert_eq!(run(&records).counts.dropped, 1);
}

#[test]
fn while_another_node_leads_nothing_is_done_and_when_it_has_died_its_lead_ends() {
    let records = Fake::new(5, 0, 0, 0);
    let lasting = Duration::from_secs(60);
    let dead = block_on(records.lead("other", "its run", lasting))
        .unwrap()
        .unwrap();
    let collector = collector(&records, settings());
    let refused = block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut |_| {}));
    let why = refused.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unavailable);
    assert!(why.message().contains("node other collects"), "{why}");
    assert_eq!(records.state().queue.len(), 5);
    block_on(records.clock.sleep(dead.until.since(records.clock.time())));
    assert_eq!(run_of(&collector).counts.dropped, 5);
}

#[test]
fn a_node_that_is_started_again_goes_on_at_once() {
    let records = Fake::new(5, 0, 0, 0);
    let lasting = Duration::from_secs(60);
    let name = settings().node;
    block_on(records.lead(&name, "before the crash", lasting))
        .unwrap()
        .unwrap();
    assert_eq!(run(&records).counts.dropped, 5);
}

#[test]
fn a_long_run_keeps_the_lead_and_says_how_far_it_is() {
    let mut records = Fake::new(100, 0, 0, 0);
    Arc::get_mut(&mut records).unwrap().step = Duration::from_secs(5);
    let collector = collector(
        &records,
        Settings {
            workers: 1,
            ..settings()
        },
    );
    let mut noted = 0;
    let mut note = |_: &Progress| {
        noted = noted.max(records.state().runs[0].1.dropped);
        let until = records.state().lead.as_ref().unwrap().until;
        assert!(records.clock.time() < until, "the lead ran out");
    };
    let summary = block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut note)).unwrap();
    assert_eq!(summary.counts.dropped, 100);
    assert!(noted >= 90, "{noted}");
}

#[test]
fn a_run_that_loses_the_lead_ends_before_its_next_step() {
    let mut records = Fake::new(100, 0, 0, 0);
    Arc::get_mut(&mut records).unwrap().step = Duration::from_secs(5);
    let collector = collector(
        &records,
        Settings {
            workers: 1,
            ..settings()
        },
    );
    let mut taken_over = |progress: &Progress| {
        if progress.counts.dropped == 10 {
            let mut state = records.state();
            let mine = state.lead.take().unwrap();
            state.lead = Some(registry_core::store::Lead {
                node: "other".to_owned(),
                ..mine
            });
        }
    };
    let summary = block_on(collector.run(&RunOptions::default(), &Stop::new(), &mut taken_over)).unwrap();
    assert_eq!(summary.outcome, RunEnd::Overtaken);
    // It looks after a third of the lead's minute at the latest.
    assert!(
        (10..=14).contains(&summary.counts.dropped),
        "{}",
        summary.counts.dropped
    );
    let lead = records.state().lead.clone().unwrap();
    assert_eq!(lead.node, "other", "what another has was given up");
}

#[test]
fn nothing_is_unlinked_while_it_is_held() {
    let records = Fake::new(5, 0, 25, 0);
    let collector = collector(&records, settings());
    let hold = collector.hold();
    let counts = run_of(&collector.clone()).counts;
    assert_eq!((counts.dropped, counts.unlinked), (5, 0));
    drop(hold);
    assert_eq!(run_of(&collector).counts.unlinked, 25);
}

/// A loop that is stopped when somebody has slept past `end`.
fn work_until(records: &Arc<Fake>, collector: &Collector, end: Timestamp) {
    let stop = Stop::new();
    let watch = async {
        while records.clock.time() < end {
            turn().await;
        }
        stop.stop();
    };
    block_on(futures_util::future::join(collector.work(&stop), watch));
}

#[test]
fn the_loop_sleeps_until_something_is_due_and_writes_nothing_before() {
    let records = Fake::new(0, 0, 0, 0);
    let start = records.clock.time();
    let due = start + Duration::from_secs(150);
    records.state().queue.insert(due.0, Fate::Dropped(0));
    let collector = collector(&records, settings());
    work_until(&records, &collector, due + Duration::from_secs(1));
    let looks = records.state().looks.clone();
    let first: Vec<u64> = looks.iter().map(|at| at.since(start).as_secs()).take(4).collect();
    assert_eq!(first, [0, 60, 120, 150]);
    assert_eq!(records.state().writes, ["lead", "drop_pending"]);
    assert_eq!(records.state().runs.len(), 1);
}

#[test]
fn untagged_manifests_go_when_the_policy_says_so_and_stay_without_one() {
    let records = Fake::new(0, 0, 0, 0);
    let now = records.clock.time();
    let hours = |hours: u64| (now - Duration::from_secs(hours * 3600)).0;
    records.state().untagged = [hours(30), hours(25), hours(23), hours(0)].into();
    assert_eq!(run(&records).counts, Counts::default());
    let policy = Policy {
        untagged: Some(Duration::from_secs(24 * 3600)),
    };
    let collector = collector(&records, Settings { policy, ..settings() });
    work_until(&records, &collector, now + Duration::from_secs(1800));
    assert_eq!(records.state().untagged.len(), 2);
    assert_eq!(collector.observed().totals.untagged, 2);
    work_until(&records, &collector, now + Duration::from_secs(3700));
    assert_eq!(records.state().untagged.len(), 1);
}

#[test]
fn what_fails_for_ever_does_not_make_the_loop_spin() {
    let records = Fake::new(3, 0, 0, 3);
    let start = records.clock.time();
    work_until(
        &records,
        &collector(&records, settings()),
        start + Duration::from_secs(600),
    );
    let runs = records.state().runs.len();
    assert!((9..=11).contains(&runs), "{runs}");
}

#[test]
fn a_plan_counts_what_would_go_and_writes_nothing() {
    let records = Fake::new(35, 4, 6, 0);
    records.state().queue.insert(u64::MAX, Fate::Dropped(0));
    let collector = collector(&records, settings());
    let mut told = 0;
    let mut plan = |terms| {
        let options = RunOptions { terms };
        let mut count = |_| told += 1;
        block_on(collector.plan(&options, &Stop::new(), &mut count)).unwrap()
    };
    let due = plan(Terms::default());
    assert_eq!((due.condemn.count, due.condemn.bytes), (35, 350));
    assert_eq!((due.uploads, due.unlink.count, due.unlink.bytes), (4, 6, 60));
    // What is not due yet is looked at on other terms only.
    let grace = Some(Duration::ZERO);
    let all = plan(Terms { grace, alone: false });
    assert_eq!(all.condemn.count, 36);
    assert_eq!(told, 35 + 10 + 36 + 10);
    assert_eq!(records.state().writes, [""; 0]);
}

#[test]
fn a_plan_says_what_goes_for_each_reason_and_counts_no_blob_twice() {
    let records = Fake::new(0, 0, 0, 0);
    let now = records.clock.time();
    let manifest = |number: u64| Digest::sha256(&number.to_be_bytes());
    records.state().untagged = [0, 1].into();
    records.state().deleted = vec![
        release(Cause::Trash { until: now }, manifest(2)),
        release(Cause::Deleted, manifest(3)),
        release(Cause::Repository, manifest(4)),
        // Two puts of one manifest in a deleted repository, say.
        release(Cause::Repository, manifest(4)),
    ];
    let policy = Policy {
        untagged: Some(Duration::from_secs(3600)),
    };
    let collector = collector(&records, Settings { policy, ..settings() });
    let mut told = 0;
    let mut count = |_| told += 1;
    let plan = block_on(collector.plan(&RunOptions::default(), &Stop::new(), &mut count)).unwrap();
    let sums = [plan.untagged, plan.trash, plan.deleted, plan.swept].map(|tally| (tally.count, tally.bytes));
    assert_eq!(sums, [(2, 20), (1, 10), (1, 10), (2, 10)]);
    assert_eq!(plan.repositories["team/app"], Tally { count: 5, bytes: 50 });
    assert_eq!(told, 6);
    assert!(plan.any());
    assert_eq!(records.state().writes, [""; 0]);
}
