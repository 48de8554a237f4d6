//! Patterns of repository names.

use std::fmt;
use std::str::FromStr;

use registry_core::RepositoryName;
use registry_core::auth::Visible;
use serde::{Deserialize, Serialize};

/// Which repositories are meant: `*` for all, `team/*` for those below, `team/app-*` for those that begin so, or one name.
///
/// What comes before the star names at least the first component whole: `team*` would mean `teammate/app` too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// Every repository.
    All,
    /// Those that begin with this, which has a `/`.
    Below(String),
    /// This one.
    One(RepositoryName),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPattern(String);

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no pattern: write `*`, `team/*`, `team/app-*` or a whole repository name",
            self.0
        )
    }
}

impl std::error::Error for InvalidPattern {}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPattern(s.to_owned());
        match s.strip_suffix('*') {
            Some("") => Ok(Pattern::All),
            Some(prefix) => {
                // Whatever begins so is a name if this is.
                let begins = format!("{prefix}x").parse::<RepositoryName>().is_ok();
                match begins && prefix.contains('/') {
                    true => Ok(Pattern::Below(prefix.to_owned())),
                    false => Err(invalid()),
                }
            }
            None => Ok(Pattern::One(s.parse().map_err(|_| invalid())?)),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = InvalidPattern;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::All => f.write_str("*"),
            Pattern::Below(prefix) => write!(f, "{prefix}*"),
            Pattern::One(name) => name.fmt(f),
        }
    }
}

impl Pattern {
    /// Whether the pattern is about this repository.
    pub fn matches(&self, name: &RepositoryName) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Below(prefix) => name.as_str().starts_with(prefix.as_str()),
            Pattern::One(one) => one == name,
        }
    }

    /// Whether all that the pattern is about is in a project.
    pub fn is_within(&self, project: &str) -> bool {
        let text = match self {
            Pattern::All => return false,
            Pattern::Below(prefix) => prefix.as_str(),
            Pattern::One(name) => name.as_str(),
        };
        text.split('/').next() == Some(project)
    }

    /// The same for lists.
    pub fn show(&self, names: &mut Vec<RepositoryName>, prefixes: &mut Vec<String>) -> Option<Visible> {
        match self {
            Pattern::All => return Some(Visible::All),
            Pattern::Below(prefix) => prefixes.push(prefix.clone()),
            Pattern::One(name) => names.push(name.clone()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_are_read_strictly() {
        for good in ["*", "team/*", "team/app-*", "team/app", "team/a/b*"] {
            assert_eq!(good.parse::<Pattern>().unwrap().to_string(), good);
        }
        for bad in [
            "", "team*", "*/team", "Team/*", "/*", "a/*/b", "a//*", "a/-*", "a/b**", "a/../*",
        ] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad} was accepted");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_is_about_what_begins_with_it(pattern in "(\\*|[ab]/[ab]{0,2}\\*?)", name in "[ab]{1,2}/[ab]{1,3}") {
            if let (Ok(read), Ok(name)) = (pattern.parse::<Pattern>(), name.parse::<RepositoryName>()) {
                let expected = match pattern.strip_suffix('*') {
                    Some(prefix) => name.as_str().starts_with(prefix),
                    None => name.as_str() == pattern,
                };
                prop_assert_eq!(read.matches(&name), expected);
                if read.matches(&name) && read != Pattern::All {
                    prop_assert!(read.is_within(name.as_str().split('/').next().unwrap()));
                }
            }
        }
    }
}
