//! What a run does with what waits, whatever the records say; and when it waits itself.

mod fake;

use futures_executor::block_on;
use registry_core::store::Terms;

use super::*;
use fake::{Fake, Fate, TenBytes, turn};

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
    let blobs: Vec<_> = seen.iter().filter(|(phase, ..)| *phase == Phase::Blobs).collect();
    assert_eq!(blobs.len(), 36);
    assert_eq!(*blobs[35], (Phase::Blobs, 35, 35));
    assert_eq!(seen.last(), Some(&(Phase::Unlink, 5, 5)));
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
