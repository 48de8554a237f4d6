//! The replay follows what the code does, and fails where a trace was changed into what the model does not do.

use serde_json::{Value, json};
use std::sync::OnceLock;
use trials::replay::stress::{Engine, Stress, Work, record};
use trials::replay::trace::Wrote;
use trials::replay::{Event, Happened, Trace, follow};

/// A good trace, recorded once.
fn good() -> &'static Trace {
    static TRACE: OnceLock<Trace> = OnceLock::new();
    TRACE.get_or_init(|| {
        record(Stress {
            engine: Engine::Memory,
            work: Work::Everything,
            seed: 1,
            clients: 4,
            operations: 50,
        })
        .expect("a run")
    })
}

/// The first commit of that name for which `change` finds something to change, and the trace with the change.
fn changed(name: &str, change: impl Fn(&mut Vec<Wrote>) -> bool) -> (usize, Trace) {
    let mut trace = good().clone();
    let at = trace
        .events
        .iter_mut()
        .position(|event| match &mut event.happened {
            Happened::Commit { name: of, wrote, .. } => of == name && change(wrote),
            _ => false,
        });
    (at.unwrap_or_else(|| panic!("no {name} to change")), trace)
}

fn drop_writes(table: &'static str) -> impl Fn(&mut Vec<Wrote>) -> bool {
    move |wrote| {
        let before = wrote.len();
        wrote.retain(|write| !write.key().starts_with(table));
        wrote.len() < before
    }
}

/// Holds that a commit of that name without its writes to `table` is not what the model does. Of some it is: a lease may be
/// there already, and what a deleted repository is left with may be swept later.
#[track_caller]
fn one_diverges_without(name: &str, table: &'static str) {
    let events = good().events.iter().enumerate();
    let candidates = events.filter(|(_, event)| {
        is_named(event, name) && wrote(event).iter().any(|write| write.key().starts_with(table))
    });
    let mut tried = 0;
    for (at, _) in candidates {
        let mut trace = good().clone();
        if let Happened::Commit { wrote, .. } = &mut trace.events[at].happened {
            drop_writes(table)(wrote);
        }
        if follow(&trace).is_err_and(|failure| failure.event == at) {
            return;
        }
        tried += 1;
    }
    panic!("the model does each of {tried} without it");
}

#[track_caller]
fn diverges_at(at: usize, trace: &Trace) {
    let failure = follow(trace).expect_err("the model does not do this");
    assert_eq!(failure.event, at, "{failure}");
}

/// Another event of the same moment, before the one at `at`.
fn before(at: usize, happened: Happened) -> Trace {
    let mut trace = good().clone();
    let event = Event {
        happened,
        ..trace.events[at].clone()
    };
    trace.events.insert(at, event);
    trace
}

fn position(find: impl Fn(&Event) -> bool) -> usize {
    good().events.iter().position(find).expect("such an event")
}

fn is_named(event: &Event, of: &str) -> bool {
    matches!(&event.happened, Happened::Commit { name, .. } if name == of)
}

fn commit(name: &str, wrote: Vec<Wrote>) -> Happened {
    Happened::Commit {
        name: name.to_owned(),
        asserted: Vec::new(),
        wrote,
    }
}

fn wrote(event: &Event) -> &[Wrote] {
    match &event.happened {
        Happened::Commit { wrote, .. } => wrote,
        _ => &[],
    }
}

fn put_of<'a>(event: &'a Event, table: &str) -> Option<(&'a str, &'a Value)> {
    wrote(event).iter().find_map(|write| match write {
        Wrote::Put(key, value) if key.starts_with(table) => Some((key.as_str(), value)),
        _ => None,
    })
}

#[test]
fn what_the_code_did_is_followed_to_the_end() {
    let totals = follow(good()).expect("the model does the same");
    for name in [
        "publish (fresh)",
        "publish (keep)",
        "lease",
        "condemn",
        "remove",
        "unlink",
        "clear_doomed",
    ] {
        assert!(totals.covered.contains(name), "{name} in {totals:?}");
    }
}

#[test]
fn a_trace_that_was_saved_is_the_same_trace() {
    let mut lines = Vec::new();
    good().save(&mut lines).expect("memory takes it");
    assert_eq!(&Trace::load(&lines[..]).expect("a trace"), good());
}

#[test]
fn a_publish_without_its_lease_diverges() {
    let (at, trace) = changed("publish", drop_writes("lease/"));
    diverges_at(at, &trace);
}

#[test]
fn a_lease_without_its_entry_in_the_queue_diverges() {
    // One whose entry is not there already, from another repository's lease of the same bucket.
    let at = position(|event| {
        is_named(event, "lease")
            && put_of(event, "pending/").is_some_and(|(key, _)| {
                let stamp = event.stamp;
                !good().events.iter().any(|other| {
                    other.stamp < stamp && put_of(other, "pending/").is_some_and(|it| it.0 == key)
                })
            })
    });
    let mut trace = good().clone();
    if let Happened::Commit { wrote, .. } = &mut trace.events[at].happened {
        wrote.retain(|write| !write.key().starts_with("pending/"));
    }
    diverges_at(at, &trace);
}

#[test]
fn a_publish_that_leaves_its_claim_diverges() {
    let (at, trace) = changed("publish", drop_writes("upload/"));
    // Its upload is then never published, so the claim and the bytes are of another world: the record names nothing.
    let failure = follow(&trace).expect_err("the model does not do this");
    assert!(failure.event <= at, "{failure}");
}

#[test]
fn a_publish_that_forgets_the_losing_location_diverges() {
    let (at, trace) = changed("publish", drop_writes("doomed/"));
    diverges_at(at, &trace);
}

#[test]
fn a_delete_without_the_grace_of_the_dereferenced_diverges() {
    one_diverges_without("delete_manifest", "lease/");
}

#[test]
fn a_delete_that_leaves_an_edge_diverges() {
    one_diverges_without("delete_manifest", "edge/");
}

#[test]
fn a_blob_that_is_condemned_without_an_entry_for_its_removal_diverges() {
    let (at, trace) = changed("condemn", |wrote| {
        let before = wrote.len();
        wrote.retain(|write| !matches!(write, Wrote::Put(key, _) if key.starts_with("pending/")));
        wrote.len() < before
    });
    diverges_at(at, &trace);
}

#[test]
fn a_second_delay_that_is_too_short_diverges() {
    let (at, trace) = changed("condemn", |wrote| {
        wrote.iter_mut().any(|write| match write {
            Wrote::Put(key, value) if key.starts_with("blob/") => {
                let remove_after = &mut value["state"]["condemned"]["remove_after"];
                *remove_after = json!(remove_after.as_u64().expect("a time") - 60_000);
                true
            }
            _ => false,
        })
    });
    diverges_at(at, &trace);
}

#[test]
fn a_blob_that_is_condemned_while_an_edge_holds_it_diverges() {
    // Right after a manifest was put: its blob's record as it is, condemned.
    let at = position(|event| is_named(event, "put_manifest") && put_of(event, "edge/").is_some());
    let edge = put_of(&good().events[at], "edge/").expect("an edge").0;
    let digest = edge.split('/').nth(1).expect("a digest");
    let key = format!("blob/{digest}");
    let record = good().events[..at]
        .iter()
        .rev()
        .find_map(|event| put_of(event, &key))
        .expect("its record");
    let mut value = record.1.clone();
    value["state"] = json!({ "condemned": { "remove_after": good().events[at].now + 4 * 60_000 } });
    let trace = before(at + 1, commit("condemn", vec![Wrote::Put(key, value)]));
    diverges_at(at + 1, &trace);
}

#[test]
fn a_removal_before_its_time_diverges() {
    let condemn = position(|event| is_named(event, "condemn"));
    let remove = good().events[condemn..]
        .iter()
        .position(|event| {
            is_named(event, "remove")
                && put_of(&good().events[condemn], "blob/")
                    .is_some_and(|(key, _)| wrote(event).contains(&Wrote::Delete(key.to_owned())))
        })
        .map(|at| condemn + at);
    let removal = good().events[remove.expect("the removal of what was condemned")]
        .happened
        .clone();
    diverges_at(condemn + 1, &before(condemn + 1, removal));
}

#[test]
fn a_removal_that_dooms_nothing_diverges() {
    let (at, trace) = changed("remove", drop_writes("doomed/"));
    diverges_at(at, &trace);
}

#[test]
fn an_unlink_without_doomed_diverges() {
    let at = position(|event| matches!(event.happened, Happened::Sealed(_)));
    let Happened::Sealed(location) = good().events[at].happened.clone() else {
        unreachable!("it was looked for");
    };
    diverges_at(at + 1, &before(at + 1, Happened::Unlinked(location)));
}

#[test]
fn an_entry_that_is_dropped_without_cause_diverges() {
    // The entry that a lease has just left.
    let at = position(|event| is_named(event, "publish") && put_of(event, "pending/").is_some());
    let (key, _) = put_of(&good().events[at], "pending/").expect("its entry");
    let dropped = commit("drop_pending", vec![Wrote::Delete(key.to_owned())]);
    diverges_at(at + 1, &before(at + 1, dropped));
}

#[test]
fn a_cancelled_upload_that_is_doomed_for_too_short_diverges() {
    let (at, trace) = changed("cancel", |wrote| {
        wrote.iter_mut().any(|write| match write {
            Wrote::Put(key, value) if key.starts_with("doomed/") => {
                let not_before = &mut value["not_before"];
                *not_before = json!(not_before.as_u64().expect("a time") - 60_000);
                true
            }
            _ => false,
        })
    });
    diverges_at(at, &trace);
}

#[test]
fn a_location_that_is_cleared_without_an_unlink_diverges() {
    let at = position(|event| is_named(event, "clear_doomed"));
    let key = wrote(&good().events[at])[0].key().to_owned();
    let location = key.strip_prefix("doomed/").expect("a doomed location");
    let mut trace = good().clone();
    trace
        .events
        .retain(|event| !matches!(&event.happened, Happened::Unlinked(of) if of == location));
    let at = trace
        .events
        .iter()
        .position(|event| is_named(event, "clear_doomed") && wrote(event)[0].key() == key);
    diverges_at(at.expect("it is there still"), &trace);
}
