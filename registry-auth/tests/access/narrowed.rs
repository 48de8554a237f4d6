//! Robots and access tokens: never more than whoever made them, at creation, at a change and at use (Harbor #18636, #21026).

use std::time::Duration;

use futures_executor::block_on;
use registry_auth::roles::Role;
use registry_auth::secret::Secret;
use registry_auth::{AccountError, NewRobot, NewToken, Permission, RobotChange};
use registry_core::auth::Action::{Delete, Pull, Push};
use registry_core::auth::{Authorizer, Identity};

use super::house::{House, PASSWORD, PULL, PUSH, new_robot};

const DAY: Duration = Duration::from_secs(86_400);

/// Alice manages `team`, and Bob pushes to it. There is `other` too.
fn house() -> House {
    let house = House::new();
    let team = house.project("team", false);
    house.project("other", false);
    let (alice, bob) = (house.user("alice"), house.user("bob"));
    house.member(team, alice, Role::ProjectAdmin, None);
    house.member(team, bob, Role::Developer, None);
    house
}

fn create(house: &House, by: &str, new: NewRobot) -> Result<(u64, Secret), AccountError> {
    let (row, secret) = block_on(house.tenants.accounts.create_robot(by, new))?;
    Ok((row.id, secret))
}

fn in_project(name: &str, project: &str, access: &[(&str, &str)]) -> NewRobot {
    NewRobot {
        project: Some(project.to_owned()),
        permissions: vec![Permission::project(project, access)],
        ..new_robot(name)
    }
}

fn forbidden<T: std::fmt::Debug>(outcome: Result<T, AccountError>) -> String {
    match outcome {
        Err(AccountError::Forbidden(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_robot_may_what_it_was_given_and_no_more() {
    let house = house();
    let (_, secret) = create(&house, "alice", in_project("ci", "team", &[PULL, PUSH])).unwrap();
    for (repository, action, expected) in [
        ("team/app", Pull, true),
        ("team/app", Push, true),
        ("team/app", Delete, false),
        ("other/app", Pull, false),
    ] {
        assert_eq!(
            house.may("robot$team+ci", repository, action),
            expected,
            "{repository} {action:?}"
        );
    }
    // Shells take `$` for something else.
    for name in ["robot$team+ci", "robot-team+ci"] {
        let (subject, _) = house.verifies(name, secret.reveal()).unwrap();
        assert_eq!(subject, "robot$team+ci");
    }
    assert!(house.verifies("robot$ci", secret.reveal()).is_none());
    assert!(house.verifies("alice", secret.reveal()).is_none());
    assert!(house.may("robot-team+ci", "team/app", Pull));
}

#[test]
fn nobody_makes_a_robot_that_may_more_than_they() {
    let house = house();
    forbidden(create(&house, "bob", in_project("ci", "team", &[PULL])));
    forbidden(create(&house, "alice", in_project("ci", "other", &[PULL])));
    forbidden(create(&house, "nobody", in_project("ci", "team", &[PULL])));
    let everywhere = NewRobot {
        permissions: vec![Permission::project("*", &[PULL])],
        ..new_robot("ci")
    };
    forbidden(create(&house, "alice", everywhere.clone()));
    create(&house, "admin", everywhere).unwrap();
    let system = NewRobot {
        permissions: vec![Permission::system(&[("user", "create")])],
        ..new_robot("users")
    };
    forbidden(create(&house, "alice", system));
    // A robot that may make robots makes none that may more.
    let maker = in_project("maker", "team", &[("robot", "create"), PULL]);
    create(&house, "alice", maker).unwrap();
    let why = forbidden(create(
        &house,
        "robot$team+maker",
        in_project("child", "team", &[PUSH]),
    ));
    assert!(why.contains("repository:push in project team"), "{why}");
    create(&house, "robot$team+maker", in_project("child", "team", &[PULL])).unwrap();
    assert!(house.may("robot$team+child", "team/app", Pull));
}

#[test]
fn nobody_changes_a_robot_to_what_may_more_than_they() {
    let house = house();
    let (id, _) = create(&house, "alice", in_project("ci", "team", &[PULL])).unwrap();
    let more = |access: &[(&str, &str)]| RobotChange {
        permissions: Some(vec![Permission::project("team", access)]),
        ..RobotChange::default()
    };
    let change =
        |by: &str, change: RobotChange| block_on(house.tenants.accounts.change_robot(by, id, change));
    forbidden(change("bob", more(&[PULL])));
    forbidden(change("robot$team+ci", more(&[PUSH])));
    change("alice", more(&[PULL, PUSH])).unwrap();
    assert!(house.may("robot$team+ci", "team/app", Push));
    let outside = RobotChange {
        permissions: Some(vec![Permission::project("other", &[PULL])]),
        ..RobotChange::default()
    };
    assert!(matches!(change("admin", outside), Err(AccountError::Invalid(_))));
}

#[test]
fn a_robot_loses_what_its_creator_loses() {
    let house = house();
    let projects = &house.tenants.projects;
    let team = block_on(projects.named("team")).unwrap().id;
    let (_, secret) = create(&house, "alice", in_project("ci", "team", &[PULL, PUSH])).unwrap();
    create(
        &house,
        "alice",
        in_project("maker", "team", &[("robot", "create"), PULL, PUSH]),
    )
    .unwrap();
    create(
        &house,
        "robot$team+maker",
        in_project("child", "team", &[PULL, PUSH]),
    )
    .unwrap();
    let both = |expected: bool, action| {
        for robot in ["robot$team+ci", "robot$team+child"] {
            assert_eq!(house.may(robot, "team/app", action), expected, "{robot}");
        }
    };
    both(true, Push);
    let members = block_on(projects.members(team, Default::default())).unwrap();
    assert_eq!(members.total, 3);
    let alice = block_on(house.tenants.accounts.user_named("alice")).unwrap();
    let all = registry_core::store::collection::Query::all();
    let members = block_on(projects.members(team, all)).unwrap().rows;
    let hers = members
        .iter()
        .find(|it| it.value.who == registry_auth::Grantee::User(alice.id))
        .unwrap();
    block_on(projects.set_role(team, hers.id, Role::Guest)).unwrap();
    both(false, Push);
    both(true, Pull);
    block_on(house.tenants.accounts.set_enabled(alice.id, false)).unwrap();
    both(false, Pull);
    assert!(house.verifies("robot$team+ci", secret.reveal()).is_none());
    assert_eq!(house.subject("robot$team+ci"), None);
    block_on(house.tenants.accounts.set_enabled(alice.id, true)).unwrap();
    both(true, Pull);
    block_on(house.tenants.accounts.delete_user(alice.id)).unwrap();
    both(false, Pull);
    // Somebody else of her name is not her.
    let again = house.user("alice");
    house.member(team, again, Role::ProjectAdmin, None);
    both(false, Pull);
}

#[test]
fn a_robot_is_worth_nothing_once_it_is_expired_disabled_deleted_or_refreshed() {
    let house = house();
    let accounts = &house.tenants.accounts;
    let new = NewRobot {
        duration: 2,
        ..in_project("ci", "team", &[PULL])
    };
    let (id, secret) = create(&house, "alice", new).unwrap();
    let is_worth = |secret: &Secret| {
        let verified = house.verifies("robot$team+ci", secret.reveal());
        let stamp = house.subject("robot$team+ci");
        assert_eq!(
            verified.is_some(),
            house.may("robot$team+ci", "team/app", Pull) && verified.is_some()
        );
        verified.is_some_and(|(_, verified)| Some(verified) == stamp)
    };
    assert!(is_worth(&secret));
    let set = |disabled| RobotChange {
        disabled: Some(disabled),
        ..RobotChange::default()
    };
    let change = |change| block_on(accounts.change_robot("alice", id, change)).map(drop);
    // A change of what it may not is no reason to ask for permissions.
    change(set(true)).unwrap();
    assert!(!is_worth(&secret) && !house.may("robot$team+ci", "team/app", Pull));
    change(set(false)).unwrap();
    assert!(is_worth(&secret));
    let before = house.subject("robot$team+ci");
    let fresh = block_on(accounts.refresh_robot("admin", id, None))
        .unwrap()
        .unwrap();
    assert!(!is_worth(&secret) && is_worth(&fresh));
    assert_ne!(house.subject("robot$team+ci"), before);
    assert!(block_on(accounts.refresh_robot("admin", id, Some(&Secret::new("weak")))).is_err());
    let chosen = Secret::new("Chosen1Secret");
    assert_eq!(
        block_on(accounts.refresh_robot("admin", id, Some(&chosen))).unwrap(),
        None
    );
    assert!(!is_worth(&fresh) && is_worth(&chosen));
    house.clock.advance(2 * DAY - Duration::from_millis(1));
    assert!(is_worth(&chosen));
    house.clock.advance(Duration::from_millis(1));
    assert!(!is_worth(&chosen) && !house.may("robot$team+ci", "team/app", Pull));
    let longer = RobotChange {
        duration: Some(-1),
        ..RobotChange::default()
    };
    change(longer).unwrap();
    assert!(is_worth(&chosen));
    block_on(accounts.delete_robot("admin", id)).unwrap();
    assert!(!is_worth(&chosen) && !house.may("robot$team+ci", "team/app", Pull));
}

#[test]
fn permissions_that_mean_nothing_are_refused() {
    let house = house();
    for permissions in [
        vec![],
        vec![Permission::project("team", &[])],
        vec![Permission::project("team", &[("repository", "fly")])],
        vec![Permission::project("team", &[("quota", "push")])],
        vec![Permission::system(&[("repository", "pull")])],
        vec![Permission::project("team", &[PULL]); 101],
    ] {
        let new = NewRobot {
            permissions,
            ..new_robot("ci")
        };
        assert!(matches!(
            create(&house, "admin", new),
            Err(AccountError::Invalid(_))
        ));
    }
    let nowhere = NewRobot {
        permissions: vec![Permission::project("nowhere", &[PULL])],
        ..new_robot("ci")
    };
    assert!(matches!(
        create(&house, "admin", nowhere),
        Err(AccountError::Missing(_))
    ));
    for name in ["", "CI", "a+b", "a$", "a b", "-a"] {
        assert!(
            create(&house, "admin", in_project(name, "team", &[PULL])).is_err(),
            "{name}"
        );
    }
}

#[test]
fn a_wildcard_stands_for_what_there_is() {
    let house = house();
    create(&house, "alice", in_project("all", "team", &[("*", "*")])).unwrap();
    assert!(house.may("robot$team+all", "team/app", Delete));
    create(&house, "alice", in_project("reader", "team", &[("*", "pull")])).unwrap();
    assert!(
        house.may("robot$team+reader", "team/app", Pull) && !house.may("robot$team+reader", "team/app", Push)
    );
}

fn token(house: &House, user: &str, new: NewToken) -> (u64, u64, Secret) {
    let user = block_on(house.tenants.accounts.user_named(user)).unwrap().id;
    let (row, secret) = block_on(house.tenants.accounts.create_token(user, new)).unwrap();
    (user, row.id, secret)
}

fn named(name: &str) -> NewToken {
    NewToken {
        name: name.to_owned(),
        description: String::new(),
        permissions: None,
        expires: None,
    }
}

#[test]
fn an_access_token_is_its_user_narrowed() {
    let house = house();
    let reads = NewToken {
        permissions: Some(vec![Permission::project("team", &[PULL])]),
        ..named("reads")
    };
    let (user, _, secret) = token(&house, "bob", reads);
    let (subject, stamp) = house.verifies("bob", secret.reveal()).unwrap();
    assert_eq!(subject, "bob#reads");
    assert_eq!(house.subject("bob#reads"), Some(stamp));
    assert!(house.may("bob#reads", "team/app", Pull) && !house.may("bob#reads", "team/app", Push));
    assert!(
        house.verifies("alice", secret.reveal()).is_none(),
        "it is nobody else's"
    );
    let (_, _, whole) = token(&house, "bob", named("whole"));
    assert_eq!(house.verifies("bob", whole.reveal()).unwrap().0, "bob#whole");
    assert!(house.may("bob#whole", "team/app", Push) && !house.may("bob#whole", "other/app", Pull));
    let twice = house.tenants.accounts.create_token(user, named("whole"));
    assert!(matches!(block_on(twice), Err(AccountError::Conflict(_))));
    // Nor may it make what would outlive it.
    forbidden(create(&house, "alice#ci", in_project("ci", "team", &[PULL])));
}

#[test]
fn an_access_token_dies_by_its_time_by_its_user_and_by_being_deleted() {
    let house = house();
    let accounts = &house.tenants.accounts;
    let short = NewToken {
        expires: Some(registry_core::Runtime::now(&*house.clock) + DAY),
        ..named("short")
    };
    let (bob, _, short) = token(&house, "bob", short);
    let (_, id, long) = token(&house, "bob", named("long"));
    assert!(house.verifies("bob", short.reveal()).is_some());
    house.clock.advance(DAY);
    assert!(house.verifies("bob", short.reveal()).is_none() && !house.may("bob#short", "team/app", Pull));
    let stamp = house.subject("bob#long");
    block_on(accounts.set_password(bob, &Secret::new("Another12345"))).unwrap();
    assert_ne!(house.subject("bob#long"), stamp);
    block_on(accounts.set_enabled(bob, false)).unwrap();
    assert!(house.verifies("bob", long.reveal()).is_none() && house.subject("bob#long").is_none());
    block_on(accounts.set_enabled(bob, true)).unwrap();
    assert!(house.may("bob#long", "team/app", Push));
    assert!(
        block_on(accounts.delete_token(1, id)).is_err(),
        "it is not the administrator's"
    );
    block_on(accounts.delete_token(bob, id)).unwrap();
    assert!(house.verifies("bob", long.reveal()).is_none() && !house.may("bob#long", "team/app", Pull));
    assert!(house.verifies("bob", "Another12345").is_some() && house.verifies("bob", PASSWORD).is_none());
    let past = NewToken {
        expires: Some(registry_core::Timestamp(1)),
        ..named("past")
    };
    assert!(block_on(accounts.create_token(bob, past)).is_err());
}

#[test]
fn lists_show_robots_and_tokens_what_both_they_and_their_makers_see() {
    let house = house();
    house.project("open", true);
    create(&house, "alice", in_project("ci", "team", &[PULL])).unwrap();
    create(&house, "alice", in_project("blind", "team", &[PUSH])).unwrap();
    let sees = |name: &str, repository: &str| {
        let visible = block_on(house.tenants.authorizer.visible(&Identity::Named(name.into()))).unwrap();
        visible.contains(&repository.parse().unwrap())
    };
    assert!(sees("robot$team+ci", "team/app") && !sees("robot$team+ci", "other/app"));
    assert!(!sees("robot$team+blind", "team/app") && sees("robot$team+blind", "open/app"));
    let everywhere = NewRobot {
        permissions: vec![Permission::project("*", &[PULL])],
        ..new_robot("all")
    };
    create(&house, "admin", everywhere).unwrap();
    assert!(sees("robot$all", "other/app"));
}

#[test]
fn whoever_may_less_than_a_robot_is_not_given_its_secret() {
    let house = house();
    let accounts = &house.tenants.accounts;
    let (strong, secret) = create(&house, "alice", in_project("strong", "team", &[PULL, PUSH])).unwrap();
    let tends = &[
        PULL,
        ("robot", "update"),
        ("robot", "delete"),
        ("robot", "create"),
    ];
    let (tender, _) = create(&house, "alice", in_project("tender", "team", tends)).unwrap();
    let refreshed = block_on(accounts.refresh_robot("robot$team+tender", strong, None));
    assert!(
        matches!(refreshed, Err(AccountError::Forbidden(_))),
        "{refreshed:?}"
    );
    assert!(house.verifies("robot$team+strong", secret.reveal()).is_some());
    assert!(block_on(accounts.refresh_robot("robot$team+tender", tender, None)).is_ok());
    // Taking away gives nothing.
    block_on(accounts.delete_robot("robot$team+tender", strong)).unwrap();
    let gone = block_on(accounts.delete_robot("admin", strong));
    assert!(matches!(gone, Err(AccountError::Missing(_))));
    forbidden(block_on(accounts.delete_robot("bob", tender)));
}
