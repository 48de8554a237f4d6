//! Rules that are written down once: who, where, what.

use async_trait::async_trait;
use registry_core::Result;
use registry_core::auth::{Access, Action, Authorizer, Decision, Identity, Visible};

use crate::pattern::Pattern;

/// Grants what its rules grant, and nothing else.
///
/// ```
/// use registry_auth::{Rule, StaticPolicy, Who};
/// use registry_core::auth::Action::{Pull, Push};
///
/// let policy = StaticPolicy::new([
///     Rule::new(Who::Anyone, "public/*".parse().unwrap(), [Pull]),
///     Rule::new(Who::Named("ci".into()), "team/app".parse().unwrap(), [Pull, Push]),
/// ]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct StaticPolicy {
    rules: Vec<Rule>,
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    who: Who,
    repositories: Pattern,
    actions: Vec<Action>,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody, whether or not they say who they are.
    Anyone,
    /// Everybody who has said who they are.
    Authenticated,
    /// This account.
    Named(String),
}

impl Rule {
    /// Grants `who` these actions on these repositories.
    pub fn new(who: Who, repositories: Pattern, actions: impl IntoIterator<Item = Action>) -> Self {
        Rule {
            who,
            repositories,
            actions: actions.into_iter().collect(),
        }
    }

    fn is_about(&self, identity: &Identity) -> bool {
        match (&self.who, identity) {
            (Who::Anyone, _) => true,
            (Who::Authenticated, identity) => *identity != Identity::Anonymous,
            (Who::Named(wanted), Identity::Named(name)) => **wanted == **name,
            (Who::Named(_), _) => false,
        }
    }
}

impl StaticPolicy {
    /// A policy of these rules. Without any, nobody may do anything.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        StaticPolicy {
            rules: rules.into_iter().collect(),
        }
    }

    /// Everybody who has said who they are may do everything, and others nothing.
    pub fn for_users() -> Self {
        StaticPolicy::new([Rule::new(
            Who::Authenticated,
            Pattern::All,
            [Action::Pull, Action::Push, Action::Delete],
        )])
    }

    /// Everybody may do everything: an open registry.
    pub fn open() -> Self {
        StaticPolicy::new([Rule::new(
            Who::Anyone,
            Pattern::All,
            [Action::Pull, Action::Push, Action::Delete],
        )])
    }

    /// The rules about an identity.
    fn about<'p>(&'p self, identity: &'p Identity) -> impl Iterator<Item = &'p Rule> {
        self.rules.iter().filter(move |rule| rule.is_about(identity))
    }

    fn grants(&self, identity: &Identity, access: &Access) -> bool {
        self.about(identity).any(|rule| match access {
            Access::Repository(name, action) => {
                rule.repositories.matches(name) && rule.actions.contains(action)
            }
            // Anybody who may pull something may ask for the list; it holds what they may see.
            Access::Catalog => rule.actions.contains(&Action::Pull),
        })
    }

    fn sees(&self, identity: &Identity, access: &Access) -> bool {
        match access {
            Access::Repository(name, _) => {
                self.grants(identity, &Access::Repository(name.clone(), Action::Pull))
            }
            Access::Catalog => true,
        }
    }
}

#[async_trait]
impl Authorizer for StaticPolicy {
    async fn authorize(&self, identity: &Identity, accesses: &[Access]) -> Result<Decision> {
        Ok(
            match accesses.iter().find(|access| !self.grants(identity, access)) {
                None => Decision::Allowed,
                Some(refused) => Decision::Denied {
                    visible: self.sees(identity, refused),
                },
            },
        )
    }

    async fn visible(&self, identity: &Identity) -> Result<Visible> {
        let (mut names, mut prefixes) = (Vec::new(), Vec::new());
        for rule in self
            .about(identity)
            .filter(|rule| rule.actions.contains(&Action::Pull))
        {
            if let Some(all) = rule.repositories.show(&mut names, &mut prefixes) {
                return Ok(all);
            }
        }
        Ok(Visible::Only {
            names: names.into(),
            prefixes: prefixes.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;

    fn policy() -> StaticPolicy {
        StaticPolicy::new([
            Rule::new(Who::Anyone, "public/*".parse().unwrap(), [Action::Pull]),
            Rule::new(Who::Authenticated, "shared".parse().unwrap(), [Action::Pull]),
            Rule::new(
                Who::Named("ci".into()),
                "team/*".parse().unwrap(),
                [Action::Pull, Action::Push],
            ),
        ])
    }

    fn decide(identity: &Identity, name: &str, action: Action) -> Decision {
        let access = Access::Repository(name.parse().unwrap(), action);
        block_on(policy().authorize(identity, &[access])).unwrap()
    }

    #[test]
    fn what_no_rule_grants_is_denied() {
        let ci = Identity::Named("ci".into());
        assert_eq!(decide(&ci, "team/app", Action::Push), Decision::Allowed);
        assert_eq!(
            decide(&ci, "team/app", Action::Delete),
            Decision::Denied { visible: true }
        );
        assert_eq!(
            decide(&ci, "teammate/app", Action::Pull),
            Decision::Denied { visible: false }
        );
        assert_eq!(
            decide(&Identity::Anonymous, "public/x", Action::Pull),
            Decision::Allowed
        );
        assert_eq!(
            decide(&Identity::Anonymous, "public/x", Action::Push),
            Decision::Denied { visible: true }
        );
        assert_eq!(
            decide(&Identity::Anonymous, "shared", Action::Pull),
            Decision::Denied { visible: false }
        );
        assert_eq!(
            decide(&Identity::Named("eve".into()), "shared", Action::Pull),
            Decision::Allowed
        );
    }

    #[test]
    fn what_may_be_seen_is_what_may_be_pulled() {
        for identity in [
            Identity::Anonymous,
            Identity::Named("ci".into()),
            Identity::Named("eve".into()),
        ] {
            let visible = block_on(policy().visible(&identity)).unwrap();
            for name in ["public/x", "shared", "team/app", "other"] {
                let pulls = decide(&identity, name, Action::Pull) == Decision::Allowed;
                assert_eq!(
                    visible.contains(&name.parse().unwrap()),
                    pulls,
                    "{identity} {name}"
                );
            }
        }
    }
}
