//! How old a decision may be: never older than what this node wrote, and never a second behind another.

use std::time::Duration;

use futures_executor::block_on;
use registry_auth::roles::Role;
use registry_auth::{Directory, Grantee, GroupKind, NewGroup, STALE_AFTER};
use registry_core::auth::Action::{Pull, Push};
use registry_core::auth::{Authorizer, Identity};

use super::house::House;

const TICK: Duration = Duration::from_millis(1);

/// CVE-2025-23208: who is taken out of a group has lost what it gave with the next request; at another node within the
/// bound.
#[test]
fn who_leaves_a_group_is_denied_at_once_here_and_within_a_second_elsewhere() {
    let here = House::new();
    let team = here.project("team", false);
    let alice = here.user("alice");
    let accounts = &here.tenants.accounts;
    let new = NewGroup {
        name: "devs".into(),
        kind: GroupKind::Oidc,
        ldap_dn: String::new(),
    };
    let devs = block_on(accounts.create_group(new)).unwrap().id;
    block_on(
        here.tenants
            .projects
            .add_member(team, Grantee::Group(devs), Role::Developer, None),
    )
    .unwrap();
    block_on(accounts.set_groups(alice, &[devs])).unwrap();
    let there = here.another();
    assert!(here.may("alice", "team/app", Push) && there.may("alice", "team/app", Push));
    block_on(accounts.set_groups(alice, &[])).unwrap();
    assert!(!here.may("alice", "team/app", Push));
    here.clock.advance(STALE_AFTER);
    assert!(!there.may("alice", "team/app", Push));
}

#[test]
fn whatever_another_node_writes_counts_within_a_second_and_not_before_it_is_asked_for() {
    let here = House::new();
    let team = here.project("team", false);
    let (alice, bob) = (here.user("alice"), here.user("bob"));
    here.member(team, alice, Role::Guest, None);
    let there = here.another();
    let subject = |house: &House, name: &str| block_on(house.tenants.accounts.subject(name)).unwrap();
    let project = |house: &House| block_on(house.tenants.accounts.project("team")).unwrap();
    assert!(there.may("alice", "team/app", Pull) && subject(&there, "bob").is_some());
    assert_eq!(project(&there), Some(team));
    here.clock.advance(STALE_AFTER - TICK);
    block_on(here.tenants.accounts.set_enabled(bob, false)).unwrap();
    block_on(here.tenants.projects.delete(team)).unwrap();
    assert_eq!((subject(&here, "bob"), project(&here)), (None, None));
    here.clock.advance(TICK);
    assert_eq!((subject(&there, "bob"), project(&there)), (None, None));
    assert!(!there.may("alice", "team/app", Pull));
    let visible = block_on(there.tenants.authorizer.visible(&Identity::Named("alice".into()))).unwrap();
    assert!(!visible.contains(&"team/app".parse().unwrap()));
}

#[test]
fn a_clock_that_goes_back_makes_nothing_fresh() {
    let here = House::new();
    let team = here.project("team", true);
    let there = here.another();
    assert!(there.may("", "team/app", Pull));
    block_on(here.tenants.projects.set_public(team, false)).unwrap();
    there.clock.back(Duration::from_secs(3600));
    assert!(!there.may("", "team/app", Pull));
}

#[test]
fn a_warm_decision_reads_no_record_and_a_second_of_them_reads_one() {
    let house = House::new();
    let team = house.project("team", false);
    let alice = house.user("alice");
    house.member(team, alice, Role::Developer, None);
    house.robot("admin", "ci", "team", &[super::house::PULL]);
    let ask = || {
        assert!(house.may("alice", "team/app", Push) && house.may("robot$ci", "team/app", Pull));
        assert!(!house.may("nobody", "team/app", Pull) && !house.may("alice", "nowhere/app", Pull));
        assert!(house.subject("alice").is_some());
        let visible = block_on(house.tenants.authorizer.visible(&Identity::Named("alice".into())));
        assert!(visible.unwrap().contains(&"team/app".parse().unwrap()));
    };
    ask();
    house.reads();
    (0..100).for_each(|_| ask());
    assert_eq!(house.reads(), 0);
    house.clock.advance(STALE_AFTER);
    (0..100).for_each(|_| ask());
    assert_eq!(house.reads(), 1, "the mark");
}

#[test]
fn names_that_nobody_has_fill_no_memory() {
    let house = House::new();
    for number in 0..30_000 {
        assert!(!house.may(&format!("nobody{number}"), &format!("nowhere{number}/app"), Pull));
    }
    let shown = format!("{:?}", house.tenants.authorizer.kept());
    let (accounts, projects) = house.tenants.authorizer.kept();
    assert!(accounts <= 10_000 && projects <= 10_000, "{shown}");
    assert!(!house.may(&"x".repeat(10_000), "nowhere/app", Pull));
}
