//! What a token opens: repositories and actions, and nothing beside them.
//!
//! Grammar: distribution, `docs/content/spec/auth/scope.md`. A scope is a list of entries `type:name:action,…`, separated
//! by spaces. A type may have a class in brackets, which means nothing here; a name may hold one colon, before a
//! port; so the type ends at the first colon and the name at the last.

use std::fmt;
use std::sync::Arc;

use super::{Access, Action, Visible};
use crate::error::{Error, ErrorKind, Result};
use crate::http::quoted;
use crate::name::RepositoryName;

/// Longest text of a scope, all its parts together, in bytes.
pub const SCOPE_TEXT_MAX: usize = 16 << 10;

/// Most entries in a scope.
pub const SCOPE_ENTRIES_MAX: usize = 64;

/// A set of [`Action`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Actions(u8);

impl Actions {
    /// None.
    pub const NONE: Actions = Actions(0);

    /// All there are, in the order in which they are written.
    const ORDER: [Action; 3] = [Action::Pull, Action::Push, Action::Delete];

    const fn bit(action: Action) -> u8 {
        match action {
            Action::Pull => 1,
            Action::Push => 2,
            Action::Delete => 4,
        }
    }

    /// Whether `action` is among them.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & Self::bit(action) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and `action`.
    #[must_use]
    pub const fn with(self, action: Action) -> Actions {
        Actions(self.0 | Self::bit(action))
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Actions) -> Actions {
        Actions(self.0 & other.0)
    }

    /// Each of them: pull, push, delete.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Self::ORDER
            .into_iter()
            .filter(move |action| self.contains(*action))
    }

    /// The actions of this name in a scope: one, or with `*` all; none for what is known elsewhere only.
    pub fn named(name: &str) -> Actions {
        match name {
            "*" => Self::ORDER.into_iter().collect(),
            _ => Self::ORDER
                .into_iter()
                .filter(|action| action.as_str() == name)
                .collect(),
        }
    }
}

impl<'a> FromIterator<&'a str> for Actions {
    /// The actions of these names.
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let named = names.into_iter().map(Actions::named);
        named.fold(Actions::NONE, |all, named| Actions(all.0 | named.0))
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions.into_iter().fold(Actions::NONE, Actions::with)
    }
}

/// The repositories and actions that a token names, or that a client asks a token for.
///
/// A repository may be named without any action. It opens nothing then, but says that the client asked for it: so
/// that a refusal can be about the repository and not about the token.
///
/// ```
/// use registry_core::auth::{Access, Action, Scope};
/// let scope: Scope = "repository:team/app:pull,push registry:catalog:*".parse().unwrap();
/// assert!(scope.permits(&Access::Repository("team/app".parse().unwrap(), Action::Push)));
/// assert!(!scope.permits(&Access::Repository("team/other".parse().unwrap(), Action::Pull)));
/// assert_eq!(scope.to_string(), "repository:team/app:pull,push registry:catalog:*");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Each repository once, in the order in which they were named.
    repositories: Vec<(RepositoryName, Actions)>,
    catalog: bool,
}

impl Scope {
    /// Opens nothing and names nothing.
    pub fn new() -> Self {
        Scope::default()
    }

    /// Reads scopes as a client gives them: in several parameters, each of several entries.
    ///
    /// An entry about something that this registry does not have (another type, a name that no repository can
    /// have, an action of somebody else's) is left out: asking for more than there is, is no mistake.
    ///
    /// # Errors
    /// [`RequestInvalid`](ErrorKind::RequestInvalid) for what is no scope at all, and beyond
    /// [`SCOPE_TEXT_MAX`] or [`SCOPE_ENTRIES_MAX`].
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Scope> {
        let (mut scope, mut left, mut entries) = (Scope::new(), SCOPE_TEXT_MAX, SCOPE_ENTRIES_MAX);
        for text in texts {
            left = left.checked_sub(text.len()).ok_or_else(|| {
                invalid(format!(
                    "the scope is longer than {SCOPE_TEXT_MAX} bytes; ask for less at once"
                ))
            })?;
            for entry in text.split(' ').filter(|entry| !entry.is_empty()) {
                entries = entries.checked_sub(1).ok_or_else(|| {
                    invalid(format!(
                        "the scope has more than {SCOPE_ENTRIES_MAX} entries; ask for less at once"
                    ))
                })?;
                scope.add_entry(entry)?;
            }
        }
        Ok(scope)
    }

    fn add_entry(&mut self, entry: &str) -> Result<()> {
        let (resource, name, actions) = split(entry).ok_or_else(|| {
            invalid(format!(
                "{} is no scope; write type:name:actions, such as repository:team/app:pull,push",
                quoted(entry)
            ))
        })?;
        match resource {
            "repository" => {
                if let Ok(name) = name.parse() {
                    self.name(name, actions.split(',').collect());
                }
            }
            "registry" if name == "catalog" => self.catalog |= actions.split(',').any(|action| action == "*"),
            _ => {}
        }
        Ok(())
    }

    /// Names `repository`, and opens it for `actions` beside what it is open for already.
    pub fn name(&mut self, repository: RepositoryName, actions: Actions) {
        match self
            .repositories
            .iter_mut()
            .find(|(known, _)| *known == repository)
        {
            Some((_, known)) => known.0 |= actions.0,
            None => self.repositories.push((repository, actions)),
        }
    }

    /// Opens what `access` says.
    pub fn open(&mut self, access: Access) {
        match access {
            Access::Repository(name, action) => self.name(name, Actions::NONE.with(action)),
            Access::Catalog => self.catalog = true,
        }
    }

    /// Whether the scope opens `access`.
    pub fn permits(&self, access: &Access) -> bool {
        match access {
            Access::Repository(name, action) => self
                .actions(name)
                .is_some_and(|actions| actions.contains(*action)),
            Access::Catalog => self.catalog,
        }
    }

    /// Whether the scope speaks of what `access` is about, whether or not it opens it.
    pub fn names(&self, access: &Access) -> bool {
        match access {
            Access::Repository(name, _) => self.actions(name).is_some(),
            Access::Catalog => self.catalog,
        }
    }

    fn actions(&self, name: &RepositoryName) -> Option<Actions> {
        let found = self.repositories.iter().find(|(known, _)| known == name);
        found.map(|(_, actions)| *actions)
    }

    /// The repositories that are named, with the actions for which each is open.
    pub fn repositories(&self) -> impl Iterator<Item = (&RepositoryName, Actions)> {
        self.repositories.iter().map(|(name, actions)| (name, *actions))
    }

    /// Whether the list of repositories is open.
    pub fn opens_catalog(&self) -> bool {
        self.catalog
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.repositories.is_empty() && !self.catalog
    }

    /// What both open. Names what this scope names.
    #[must_use]
    pub fn and(&self, other: &Scope) -> Scope {
        Scope {
            repositories: self
                .repositories()
                .map(|(name, actions)| (name.clone(), actions.and(other.actions(name).unwrap_or_default())))
                .collect(),
            catalog: self.catalog && other.catalog,
        }
    }

    /// The repositories that are open for pulling, and no others.
    pub fn visible(&self) -> Visible {
        let pulled = self
            .repositories()
            .filter(|(_, actions)| actions.contains(Action::Pull));
        Visible::Only {
            names: pulled.map(|(name, _)| name.clone()).collect(),
            prefixes: Arc::new([]),
        }
    }

    /// The same scope where its repositories have other names; those without one are left out.
    #[must_use]
    pub fn renamed(&self, name: impl Fn(&RepositoryName) -> Option<RepositoryName>) -> Scope {
        let renamed = self
            .repositories()
            .filter_map(|(known, actions)| Some((name(known)?, actions)));
        Scope {
            repositories: renamed.collect(),
            catalog: self.catalog,
        }
    }
}

impl<'a> FromIterator<&'a Access> for Scope {
    fn from_iter<I: IntoIterator<Item = &'a Access>>(accesses: I) -> Self {
        let mut scope = Scope::new();
        for access in accesses {
            scope.open(access.clone());
        }
        scope
    }
}

impl std::str::FromStr for Scope {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Scope::parse([s])
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (name, actions) in self.repositories() {
            write!(f, "{between}repository:{name}:")?;
            for (at, action) in actions.iter().enumerate() {
                f.write_str(if at == 0 { "" } else { "," })?;
                f.write_str(action.as_str())?;
            }
            between = " ";
        }
        match self.catalog {
            true => write!(f, "{between}registry:catalog:*"),
            false => Ok(()),
        }
    }
}

/// An entry's type without its class, its name and its actions; nothing if it is not of the grammar.
fn split(entry: &str) -> Option<(&str, &str, &str)> {
    let (resource, rest) = entry.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let (resource, class) = match resource.split_once('(') {
        Some((resource, class)) => (resource, class.strip_suffix(')')?),
        None => (resource, "none"),
    };
    let word =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let action = |text: &str| text == "*" || text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let named = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_graphic())
        && name.bytes().filter(|b| *b == b':').count() <= 1;
    let sound = word(resource) && word(class) && named && actions.split(',').all(action);
    sound.then_some((resource, name, actions))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::RequestInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn scopes_are_read_repeated_joined_and_with_classes() {
        let texts = [
            "repository:a/b:pull  repository(plugin):c:push",
            "repository:a/b:push,pull registry:catalog:*",
        ];
        let scope = Scope::parse(texts).unwrap();
        assert_eq!(
            scope.to_string(),
            "repository:a/b:pull,push repository:c:push registry:catalog:*"
        );
        assert!(scope.opens_catalog());
        assert_eq!(
            read("repository:a:*").to_string(),
            "repository:a:pull,push,delete"
        );
        assert_eq!(read("").to_string(), "");
    }

    #[test]
    fn what_this_registry_does_not_have_is_left_out_without_error() {
        for (text, left) in [
            ("namespace:team:pull", ""),
            ("registry:other:*", ""),
            ("registry:catalog:pull", ""),
            ("repository:localhost:5000/a/b:pull", ""),
            ("repository:Team/App:pull", ""),
            ("repository:a:scanner-pull,pull", "repository:a:pull"),
            ("repository:a:", "repository:a:"),
            ("repository:a:,pull", "repository:a:pull"),
        ] {
            assert_eq!(read(text).to_string(), left, "{text}");
        }
    }

    #[test]
    fn what_is_no_scope_is_refused_by_name() {
        for bad in [
            "repository",
            "repository:a",
            ":a:pull",
            "repository::pull",
            "repository(:a:pull",
            "repository():a:pull",
            "Repository:a:pull",
            "repository:a:PULL",
            "repository:a:b:c:pull",
            "repository:ä:pull",
            "repository:a:pull\t",
            "repository:a:pull\"",
        ] {
            let error = bad.parse::<Scope>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::RequestInvalid, "{bad}");
            assert!(error.message().contains("is no scope"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_scope_is_bounded_in_length_and_number() {
        let many = |count| "repository:a:pull ".repeat(count);
        assert!(many(SCOPE_ENTRIES_MAX).parse::<Scope>().is_ok());
        assert!(many(SCOPE_ENTRIES_MAX + 1).parse::<Scope>().is_err());
        let long = format!("repository:{}:pull", "a".repeat(SCOPE_TEXT_MAX));
        assert!(long.parse::<Scope>().unwrap_err().message().len() < 200);
        let spaces = " ".repeat(SCOPE_TEXT_MAX / 2 + 1);
        assert!(Scope::parse([spaces.as_str(), spaces.as_str()]).is_err());
    }

    #[test]
    fn a_scope_opens_exactly_what_it_names() {
        let scope = read("repository:p/a:pull repository:p/c:");
        let access = |name: &str, action| Access::Repository(name.parse().unwrap(), action);
        assert!(scope.permits(&access("p/a", Action::Pull)));
        for (name, action) in [
            ("p/a", Action::Push),
            ("p/b", Action::Pull),
            ("p", Action::Pull),
            ("p/a/x", Action::Pull),
        ] {
            assert!(!scope.permits(&access(name, action)), "{name}");
        }
        assert!(scope.names(&access("p/c", Action::Pull)) && !scope.permits(&access("p/c", Action::Pull)));
        assert!(!scope.permits(&Access::Catalog));
        assert!(scope.visible().contains(&"p/a".parse().unwrap()));
        assert!(!scope.visible().contains(&"p/c".parse().unwrap()));
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        let entry = (
            "[a-z]{1,3}(/[a-z0-9]{1,3}){0,2}",
            prop::collection::vec(0usize..3, 0..4),
        );
        (prop::collection::vec(entry, 0..8), any::<bool>()).prop_map(|(entries, catalog)| {
            let mut scope = Scope {
                catalog,
                ..Scope::new()
            };
            for (name, actions) in entries {
                scope.name(
                    name.parse().unwrap(),
                    actions.into_iter().map(|at| Actions::ORDER[at]).collect(),
                );
            }
            scope
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(scope in any_scope()) {
            prop_assert_eq!(read(&scope.to_string()), scope);
        }

        #[test]
        fn what_is_read_prints_in_one_form(text in "(repository|registry|x)(\\([a-z]\\))?:[a-z/:.A-Z]{1,6}:[a-z,*-]{0,9}") {
            if let Ok(scope) = text.parse::<Scope>() {
                let printed = scope.to_string();
                prop_assert_eq!(&read(&printed), &scope);
                prop_assert_eq!(read(&printed).to_string(), printed);
            }
        }

        #[test]
        fn both_open_what_each_opens(a in any_scope(), b in any_scope()) {
            let both = a.and(&b);
            for (name, _) in a.repositories().chain(b.repositories()) {
                for action in Actions::ORDER {
                    let access = Access::Repository(name.clone(), action);
                    prop_assert_eq!(both.permits(&access), a.permits(&access) && b.permits(&access));
                }
            }
            prop_assert_eq!(both.opens_catalog(), a.opens_catalog() && b.opens_catalog());
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _read_or_refused = text.parse::<Scope>();
        }
    }
}
