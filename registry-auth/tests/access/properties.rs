//! What holds for every role, pattern and name.

use futures_executor::block_on;
use proptest::prelude::*;
use registry_auth::Pattern;
use registry_auth::roles::Role;
use registry_core::auth::{Action, Authorizer, Decision, Identity};

use super::house::House;

fn a_role() -> impl Strategy<Value = Role> {
    prop::sample::select(&Role::ALL[..])
}

fn an_action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![Action::Pull, Action::Push, Action::Delete])
}

fn a_repository() -> impl Strategy<Value = String> {
    "(team|teams|open)(/[ab]{1,2}){0,2}"
}

fn a_pattern() -> impl Strategy<Value = String> {
    "team/[ab]{0,2}\\*|team/[ab]{1,2}(/[ab]\\*?)?"
}

/// Whole has the role in the project, part only on the pattern, more a role that is as great or greater.
fn house(role: Role, more: Role, pattern: &Pattern) -> House {
    let house = House::new();
    let team = house.project("team", false);
    house.project("teams", false);
    house.project("open", true);
    let (whole, part, greater) = (house.user("whole"), house.user("part"), house.user("greater"));
    house.member(team, whole, role, None);
    house.member(team, part, role, Some(&pattern.to_string()));
    house.member(team, greater, more, None);
    house
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_role_on_a_pattern_never_gives_more_than_the_role_and_a_greater_role_never_less(
        roles in (a_role(), a_role()),
        pattern in a_pattern(),
        asked in prop::collection::vec((a_repository(), an_action()), 1..20),
    ) {
        let pattern: Pattern = pattern.parse().unwrap();
        let house = house(roles.0.min(roles.1), roles.0.max(roles.1), &pattern);
        for (repository, action) in asked {
            let [whole, part, greater, nobody] =
                ["whole", "part", "greater", ""].map(|name| house.may(name, &repository, action));
            prop_assert!(!part || whole, "{} {:?}", repository, action);
            prop_assert!(!whole || greater, "{} {:?}", repository, action);
            // And just as much where it is about.
            if pattern.matches(&repository.parse().unwrap()) {
                prop_assert_eq!(part, whole);
            } else {
                prop_assert_eq!(part, nobody);
            }
        }
    }

    #[test]
    fn lists_show_what_may_be_pulled(
        role in a_role(),
        pattern in a_pattern(),
        asked in prop::collection::vec(a_repository(), 1..20),
    ) {
        let pattern: Pattern = pattern.parse().unwrap();
        let house = house(role, role, &pattern);
        for name in ["whole", "part", "", "admin"] {
            let identity = match name {
                "" => Identity::Anonymous,
                name => Identity::Named(name.into()),
            };
            let visible = block_on(house.tenants.authorizer.visible(&identity)).unwrap();
            for repository in &asked {
                let pulls = house.decide(name, repository, Action::Pull) == Decision::Allowed;
                prop_assert_eq!(visible.contains(&repository.parse().unwrap()), pulls, "{} {}", name, repository);
            }
        }
    }
}
