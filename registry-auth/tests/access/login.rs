//! Names and secrets: who is who, and what a refusal costs (CVE-2023-20902).
//!
//! That an unknown name takes as long as a wrong secret is shown by the work and not by a clock: the same number of slow hashes at the
//! same parameters, and for drawn secrets the same reads of the same records. A clock would have to tell microseconds apart beside
//! a hash of tens of milliseconds.

use std::sync::Arc;

use async_trait::async_trait;
use futures_executor::block_on;
use registry_auth::secret::{Secret, is_drawn};
use registry_auth::{
    AccountError, Argon2id, Directory, NewToken, NewUser, PasswordHashing, Profile, Settings, Tenants,
};
use registry_core::runtime::Threads;
use registry_core::{Error, ErrorKind, Result};
use registry_storage::memory::MemoryKv;

use super::house::{House, PASSWORD, PULL};

fn house() -> House {
    let house = House::new();
    house.project("team", false);
    house.user("alice");
    let disabled = house.user("disabled");
    block_on(house.tenants.accounts.set_enabled(disabled, false)).unwrap();
    house
}

#[test]
fn a_user_logs_in_with_their_password_and_no_other() {
    let house = house();
    let (subject, stamp) = house.verifies("alice", PASSWORD).unwrap();
    assert_eq!(subject, "alice");
    assert_eq!(house.subject("alice"), Some(stamp));
    for (name, secret) in [
        ("alice", "Harbor12346"),
        ("alice", ""),
        ("Alice", PASSWORD),
        ("nobody", PASSWORD),
        ("disabled", PASSWORD),
        ("", ""),
        ("alice#x", PASSWORD),
        ("anonymous", PASSWORD),
        ("system", PASSWORD),
    ] {
        assert!(house.verifies(name, secret).is_none(), "{name} {secret}");
    }
}

#[test]
fn whoever_is_refused_has_paid_for_one_slow_hash_whoever_they_are() {
    let house = house();
    let (_, robot) = house.robot("admin", "ci", "team", &[PULL]);
    assert!(is_drawn(robot.reveal()));
    house.hashing.verified.lock().unwrap().clear();
    let names = [
        "alice",
        "nobody",
        "disabled",
        "robot$ci",
        "robot$nobody",
        "robot$nowhere+ci",
        "alice#x",
        "",
        "a:b",
    ];
    for name in names {
        assert!(house.verifies(name, "Wrong12345").is_none(), "{name}");
    }
    let verified = std::mem::take(&mut *house.hashing.verified.lock().unwrap());
    assert_eq!(verified.len(), names.len());
    let parameters = |hash: &String| hash.rsplitn(3, '$').last().unwrap().to_owned();
    assert!(
        verified
            .iter()
            .all(|hash| parameters(hash) == parameters(&verified[0])),
        "{verified:?}"
    );
}

#[test]
fn a_wrong_drawn_secret_costs_the_same_reads_whatever_the_name() {
    let house = house();
    let user = block_on(house.tenants.accounts.user_named("alice")).unwrap().id;
    let new = NewToken {
        name: "ci".into(),
        description: String::new(),
        permissions: None,
        expires: None,
    };
    let (_, right) = block_on(house.tenants.accounts.create_token(user, new)).unwrap();
    house.robot("admin", "ci", "team", &[PULL]);
    house.hashing.verified.lock().unwrap().clear();
    let wrong = Secret::draw();
    let cost = |name: &str| {
        house.reads();
        assert!(house.verifies(name, wrong.reveal()).is_none());
        house.reads()
    };
    let costs: Vec<u64> = [
        "alice",
        "nobody",
        "disabled",
        "robot$ci",
        "robot$nobody",
        "alice#ci",
        "",
    ]
    .into_iter()
    .map(cost)
    .collect();
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    assert!(house.verifies("alice", right.reveal()).is_some());
    assert!(
        house.hashing.verified.lock().unwrap().is_empty(),
        "drawn secrets take no slow hash"
    );
}

#[test]
fn a_stamp_changes_with_what_an_account_may_and_not_with_its_profile() {
    let house = house();
    let accounts = &house.tenants.accounts;
    let alice = block_on(accounts.user_named("alice")).unwrap().id;
    let mut stamps = vec![house.subject("alice").unwrap()];
    block_on(accounts.set_profile(
        alice,
        Profile {
            realname: "Alice".into(),
            ..Profile::default()
        },
    ))
    .unwrap();
    assert_eq!(house.subject("alice"), Some(stamps[0]));
    let mut changed = || {
        let now = house.subject("alice").unwrap();
        assert!(!stamps.contains(&now));
        stamps.push(now);
    };
    block_on(accounts.set_password(alice, &Secret::new("Another12345"))).unwrap();
    changed();
    block_on(accounts.set_admin(alice, true)).unwrap();
    changed();
    block_on(accounts.set_enabled(alice, false)).unwrap();
    block_on(accounts.set_enabled(alice, true)).unwrap();
    changed();
    block_on(accounts.set_groups(alice, &[])).unwrap();
    changed();
    block_on(accounts.delete_user(alice)).unwrap();
    assert_eq!(house.subject("alice"), None);
    house.user("alice");
    changed();
}

#[test]
fn names_that_would_be_taken_for_others_are_refused() {
    let house = house();
    for name in [
        "",
        "robot$x",
        "robot-x",
        "a#b",
        "a:b",
        "a b",
        "a,b",
        "anonymous",
        "system",
        "a\n",
        &"x".repeat(256),
    ] {
        let new = NewUser::new(name, Secret::new(PASSWORD));
        let refused = block_on(house.tenants.accounts.create_user(new));
        assert!(matches!(refused, Err(AccountError::Invalid(_))), "{name:?}");
    }
    let taken = |email: &str, name: &str| NewUser {
        profile: Profile {
            email: email.to_owned(),
            ..Profile::default()
        },
        ..NewUser::new(name, Secret::new(PASSWORD))
    };
    let accounts = &house.tenants.accounts;
    block_on(accounts.create_user(taken("Bob@example.org", "bob"))).unwrap();
    for new in [taken("", "bob"), taken("bob@example.org", "robert")] {
        assert!(matches!(
            block_on(accounts.create_user(new)),
            Err(AccountError::Conflict(_))
        ));
    }
    block_on(accounts.create_user(taken("", "carol"))).unwrap();
}

#[test]
fn nothing_that_is_shown_has_a_secret_in_it() {
    let house = house();
    let row = block_on(house.tenants.accounts.user_named("alice")).unwrap();
    let (id, secret) = house.robot("admin", "ci", "team", &[PULL]);
    let robot = block_on(house.tenants.accounts.robot(id)).unwrap();
    let shown = format!(
        "{row:?} {robot:?} {secret:?} {:?} {:?}",
        house.tenants, house.tenants.accounts
    );
    assert!(!shown.contains("argon2") && !shown.contains(secret.reveal()));
    let fingerprint = registry_auth::secret::fingerprint(secret.reveal());
    assert!(!shown.contains(&fingerprint));
}

/// Hashing on which too many wait already.
struct Busy;

#[async_trait]
impl PasswordHashing for Busy {
    async fn hash(&self, password: &str) -> Result<String> {
        Argon2id::cheap().hash(password).await
    }

    async fn verify(&self, _password: &str, _hash: &str) -> Result<bool> {
        Err(Error::new(ErrorKind::TooManyRequests, "too many log in at once"))
    }

    fn nobodys(&self) -> String {
        Argon2id::cheap().nobodys()
    }
}

#[test]
fn a_login_that_cannot_be_checked_now_is_neither_right_nor_wrong() {
    let records = Arc::new(MemoryKv::new());
    let tenants = Tenants::open(records, Threads::shared(), Arc::new(Busy), Settings::default()).unwrap();
    block_on(tenants.accounts.first_start(Some(Secret::new(PASSWORD)))).unwrap();
    for name in ["admin", "nobody"] {
        let refused = block_on(tenants.accounts.verify(name, PASSWORD)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TooManyRequests, "{name}");
    }
}
