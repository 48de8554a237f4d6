//! Users, roles and projects.

use std::sync::Arc;

use futures_executor::block_on;
use registry_auth::roles::{Act, Resource, Role};
use registry_auth::{AccountError, CreatesProjects, Grantee, GroupKind, NewGroup, Settings};
use registry_core::auth::Action::{Delete, Pull, Push};
use registry_core::auth::{Access, Authorizer, Decision, Identity};
use registry_core::runtime::Threads;
use registry_core::store::Lifetimes;
use registry_core::wrappers::Authorized;
use registry_core::{Context, ErrorKind, LocalRegistry, Options, Registry, RepositoryName};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;

use super::house::House;

/// What an account may in the private and the public project: pull, push, delete.
const EXPECTED: &[(&str, [bool; 3], [bool; 3])] = &[
    ("", [false, false, false], [true, false, false]),
    ("stranger", [false, false, false], [true, false, false]),
    ("limited", [true, false, false], [true, false, false]),
    ("guest", [true, false, false], [true, false, false]),
    ("developer", [true, true, false], [true, true, false]),
    ("maintainer", [true, true, true], [true, true, true]),
    ("manager", [true, true, true], [true, true, true]),
    ("admin", [true, true, true], [true, true, true]),
    ("disabled", [false, false, false], [false, false, false]),
    ("nobody", [false, false, false], [false, false, false]),
];

fn filled() -> House {
    let house = House::new();
    let projects = [house.project("private", false), house.project("open", true)];
    let roles = ["limited", "guest", "developer", "maintainer", "manager"];
    for (name, role) in roles.into_iter().zip(Role::ALL) {
        let user = house.user(name);
        for project in projects {
            house.member(project, user, role, None);
        }
    }
    house.user("stranger");
    let disabled = house.user("disabled");
    for project in projects {
        house.member(project, disabled, Role::ProjectAdmin, None);
    }
    block_on(house.tenants.accounts.set_enabled(disabled, false)).unwrap();
    house
}

/// Gitea's CVE-2026-27771: what is private is nobody's who was given nothing.
#[test]
fn every_account_may_in_each_project_what_the_matrix_says() {
    let house = filled();
    for (name, private, open) in EXPECTED {
        for (project, expected) in [("private", private), ("open", open)] {
            for (action, expected) in [Pull, Push, Delete].into_iter().zip(expected) {
                let repository = format!("{project}/app");
                assert_eq!(
                    house.may(name, &repository, action),
                    *expected,
                    "{name:?} {action:?} {repository}"
                );
            }
        }
    }
}

#[test]
fn a_refusal_shows_what_may_be_pulled_and_nothing_else() {
    let house = filled();
    assert_eq!(
        house.decide("", "open/app", Push),
        Decision::Denied { visible: true }
    );
    assert_eq!(
        house.decide("", "private/app", Push),
        Decision::Denied { visible: false }
    );
    assert_eq!(
        house.decide("guest", "private/app", Push),
        Decision::Denied { visible: true }
    );
    assert_eq!(
        house.decide("stranger", "private/app", Pull),
        Decision::Denied { visible: false }
    );
    // One that is not there looks the same to who may not know.
    assert_eq!(
        house.decide("stranger", "nowhere/app", Pull),
        Decision::Denied { visible: false }
    );
    assert_eq!(
        house.decide("", "nowhere/app", Push),
        Decision::Denied { visible: false }
    );
}

#[test]
fn a_push_into_a_project_that_is_not_there_says_so_to_who_may_know() {
    let told = "project \"calico\" does not exist; create it with: berth project create calico";
    let house = filled();
    for (name, action) in [
        ("admin", Push),
        ("admin", Pull),
        ("admin", Delete),
        ("stranger", Push),
    ] {
        assert_eq!(
            house.decide(name, "calico/node", action),
            Decision::Missing(told.to_owned()),
            "{name}"
        );
    }
    let settings = Settings {
        users_create_projects: false,
        ..Settings::default()
    };
    let house = House::with(settings);
    house.user("stranger");
    assert_eq!(
        house.decide("stranger", "calico/node", Push),
        Decision::Denied { visible: false }
    );
    assert_eq!(
        house.decide("admin", "calico/node", Push),
        Decision::Missing(told.to_owned())
    );
}

fn registry() -> LocalRegistry {
    let (kv, bytes) = (Arc::new(MemoryKv::new()), Arc::new(MemoryBytes::new()));
    let records = Records::new(kv, Threads::shared(), Lifetimes::default());
    LocalRegistry::new(
        Arc::new(records),
        bytes.clone(),
        bytes,
        Threads::shared(),
        Options::default(),
    )
}

fn as_user(name: &str) -> Context {
    Context::request(Identity::Named(name.into()), "test")
}

#[test]
fn a_missing_project_is_a_404_that_names_it() {
    let house = filled();
    let registry = Authorized::around(registry(), house.tenants.authorizer.clone());
    let name: RepositoryName = "calico/node".parse().unwrap();
    let refused = block_on(registry.begin_upload(&as_user("admin"), &name, None)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NameUnknown);
    assert!(
        refused.message().starts_with("project \"calico\" does not exist"),
        "{refused}"
    );
    let refused = block_on(registry.begin_upload(&as_user("nobody"), &name, None)).unwrap_err();
    assert!(!refused.message().contains("project"), "{refused}");
}

#[test]
fn where_the_operator_wants_it_the_first_push_makes_the_project_and_a_question_does_not() {
    let settings = Settings {
        auto_create: true,
        ..Settings::default()
    };
    let house = House::with(settings);
    let alice = house.user("alice");
    let projects = house.tenants.projects.clone();
    let registry = CreatesProjects::around(registry(), projects.clone());
    let registry = Authorized::around(registry, house.tenants.authorizer.clone());
    let name: RepositoryName = "calico/node".parse().unwrap();
    assert!(house.may("alice", "calico/node", Push));
    let digest = registry_core::Digest::sha256(b"x");
    assert!(block_on(registry.stat_blob(&as_user("alice"), &name, &digest)).is_err());
    assert!(
        block_on(projects.named("calico")).is_err(),
        "nothing was written yet"
    );
    block_on(registry.begin_upload(&as_user("alice"), &name, None)).unwrap();
    let made = block_on(projects.named("calico")).unwrap();
    assert_eq!((made.value.owner, made.value.public), (alice, false));
    assert!(house.may("alice", "calico/node", Delete));
    house.user("bob");
    assert!(!house.may("bob", "calico/node", Pull));
}

#[test]
fn a_role_on_a_pattern_is_for_what_matches() {
    let house = House::new();
    let team = house.project("team", false);
    let alice = house.user("alice");
    house.member(team, alice, Role::Developer, Some("team/app-*"));
    house.member(team, alice, Role::LimitedGuest, Some("team/base"));
    for (repository, pull, push) in [
        ("team/app-one", true, true),
        ("team/app-one/deep", true, true),
        ("team/base", true, false),
        ("team/app", false, false),
        ("team/other", false, false),
        ("team", false, false),
    ] {
        assert_eq!(house.may("alice", repository, Pull), pull, "{repository}");
        assert_eq!(house.may("alice", repository, Push), push, "{repository}");
    }
    // It is no role in the project as a whole.
    let alice = Identity::Named("alice".into());
    let may = |resource, act| block_on(house.tenants.authorizer.may(&alice, "team", resource, act)).unwrap();
    assert!(!may(Resource::Project, Act::Read) && !may(Resource::Member, Act::List));
    let elsewhere = "other/*".parse().unwrap();
    let refused = house
        .tenants
        .projects
        .add_member(team, Grantee::User(2), Role::Guest, Some(elsewhere));
    assert!(matches!(block_on(refused), Err(AccountError::Invalid(_))));
}

#[test]
fn a_project_made_again_is_another_with_none_of_the_members() {
    let house = House::new();
    let old = house.project("team", false);
    let alice = house.user("alice");
    house.member(old, alice, Role::ProjectAdmin, None);
    house.robot("admin", "ci", "team", &[super::house::PULL]);
    assert!(house.may("alice", "team/app", Push) && house.may("robot$ci", "team/app", Pull));
    block_on(house.tenants.projects.delete(old)).unwrap();
    assert!(!house.may("alice", "team/app", Pull) && !house.may("robot$ci", "team/app", Pull));
    let new = house.project("team", false);
    assert!(new > old);
    assert!(
        !house.may("alice", "team/app", Pull),
        "a member of the one before"
    );
    assert!(
        !house.may("robot$ci", "team/app", Pull),
        "a robot of the one before"
    );
    assert!(house.may("admin", "team/app", Push));
}

#[test]
fn groups_give_their_members_roles() {
    let house = House::new();
    let team = house.project("team", false);
    let alice = house.user("alice");
    let accounts = &house.tenants.accounts;
    let new = NewGroup {
        name: "devs".into(),
        kind: GroupKind::Ldap,
        ldap_dn: "cn=devs".into(),
    };
    let devs = block_on(accounts.create_group(new)).unwrap().id;
    let given = house
        .tenants
        .projects
        .add_member(team, Grantee::Group(devs), Role::Developer, None);
    block_on(given).unwrap();
    assert!(!house.may("alice", "team/app", Pull));
    block_on(accounts.set_groups(alice, &[devs])).unwrap();
    assert!(house.may("alice", "team/app", Push));
    block_on(accounts.delete_group(devs)).unwrap();
    assert!(!house.may("alice", "team/app", Pull));
    assert!(block_on(accounts.set_groups(alice, &[devs])).is_err());
}

#[test]
fn the_list_is_for_whoever_says_who_they_are() {
    let house = filled();
    let ask = |identity: Identity| {
        block_on(house.tenants.authorizer.authorize(&identity, &[Access::Catalog])).unwrap()
    };
    assert_eq!(ask(Identity::Named("stranger".into())), Decision::Allowed);
    assert_eq!(ask(Identity::Anonymous), Decision::Denied { visible: true });
    assert_eq!(
        ask(Identity::Named("nobody".into())),
        Decision::Denied { visible: false }
    );
    assert_eq!(ask(Identity::System), Decision::Allowed);
}

#[test]
fn what_is_no_name_is_refused() {
    let house = House::new();
    for bad in ["", "a/b", "Team", "-x", "a..b", &"x".repeat(300)] {
        let made = house.tenants.projects.create(bad, 1, false, Default::default());
        assert!(matches!(block_on(made), Err(AccountError::Invalid(_))), "{bad}");
    }
    house.project("team", false);
    let twice = block_on(house.tenants.projects.create("team", 1, true, Default::default()));
    assert!(matches!(twice, Err(AccountError::Conflict(_))));
}

#[test]
fn who_is_deleted_leaves_no_role_behind() {
    let house = House::new();
    let team = house.project("team", false);
    let alice = house.user("alice");
    house.member(team, alice, Role::Developer, None);
    block_on(house.tenants.accounts.delete_user(alice)).unwrap();
    assert!(!house.may("alice", "team/app", Pull));
    let all = registry_core::store::collection::Query::all();
    assert_eq!(
        block_on(house.tenants.projects.members(team, all)).unwrap().total,
        1
    );
}
