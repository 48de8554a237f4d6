//! Names a client chooses: repositories, tags, and the reference that is one of tag or digest.
//!
//! Grammar: distribution-spec, `spec.md`, "Pulling manifests". Parsed once, at the edge; from there on a name is known
//! to hold no upper case, no `..`, no empty segment and no character that means something to a file system or a URL.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

/// Longest repository name accepted, in bytes. The specification's limit of 255 includes a client's host name.
pub const NAME_MAX: usize = 255;

/// Longest tag, in bytes.
pub const TAG_MAX: usize = 128;

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// A repository name out of grammar.
    #[error(
        "a repository name is lower-case letters and digits, separated by one of `.`, `_`, `__`, dashes or `/`, at most 255 characters"
    )]
    Repository,
    /// A tag out of grammar.
    #[error("a tag is 1 to 128 letters, digits, `_`, `.` or `-`, and does not start with `.` or `-`")]
    Tag,
}

/// Declares an immutable, cheaply cloned text whose grammar `$check` decides.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:path, $error:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                if $check(s) { Ok(Self(s.into())) } else { Err($error) }
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(|why| serde::de::Error::custom(format_args!("{text:?}: {why}")))
            }
        }
    };
}

text! {
    /// The name of a repository, such as `library/alpine`.
    ///
    /// ```
    /// use registry_core::RepositoryName;
    /// assert!("team/app".parse::<RepositoryName>().is_ok());
    /// assert!("team/../other".parse::<RepositoryName>().is_err());
    /// ```
    RepositoryName, is_repository_name, InvalidName::Repository
}

text! {
    /// A tag: a movable name for a manifest within one repository.
    Tag, is_tag, InvalidName::Tag
}

fn is_repository_name(s: &str) -> bool {
    s.len() <= NAME_MAX && s.split('/').all(is_name_segment)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_name_segment(segment: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = segment;
    loop {
        let word = rest.find(|c| !alphanumeric(c)).unwrap_or(rest.len());
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.find(alphanumeric).unwrap_or(rest.len());
        match &rest[..separator] {
            "." | "_" | "__" => {}
            dashes if dashes.bytes().all(|b| b == b'-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

fn is_tag(s: &str) -> bool {
    (1..=TAG_MAX).contains(&s.len())
        && !s.starts_with(['.', '-'])
        && s.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// What a manifest is asked for by: its tag or its digest, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// Whatever the tag points at now.
    Tag(Tag),
    /// Exactly this content.
    Digest(Digest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Reference::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Reference::Digest(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repository_names_keep_the_grammar_of_the_specification() {
        for good in [
            "a",
            "0",
            "library/alpine",
            "a.b/c_d/e__f/g-h/i--j---k",
            "1/2/3",
            &"a".repeat(255),
        ] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good} was refused");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a/B",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            ".a",
            "a.",
            "_a",
            "..",
            "a/..",
            "../a",
            "a/./b",
            "a b",
            "a\0b",
            "a%2fb",
            "a:b",
            "ä",
            "a\\b",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn tags_keep_the_grammar_of_the_specification() {
        for good in ["latest", "_", "V1.0-rc_1", &"a".repeat(128)] {
            assert!(good.parse::<Tag>().is_ok(), "{good} was refused");
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            ".a",
            "a/b",
            "a b",
            "a:b",
            "a@b",
            "a\0",
            "é",
            &"a".repeat(129),
        ] {
            assert!(bad.parse::<Tag>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn the_hand_written_name_parser_agrees_with_the_grammar(name in "[a-zA-Z0-9._/-]{0,24}") {
            prop_assert_eq!(name.parse::<RepositoryName>().is_ok(), grammar(&name));
        }
    }

    /// The grammar again as a table-driven automaton, for one path component at a time.
    fn grammar(name: &str) -> bool {
        name.split('/').all(|segment| {
            let mut state = 0; // 0 start, 1 word, 2 dot, 3 one underscore, 4 two underscores, 5 dashes, 9 refused
            for c in segment.chars() {
                state = match (state, c) {
                    (0..=5, 'a'..='z' | '0'..='9') => 1,
                    (1, '.') => 2,
                    (1, '_') => 3,
                    (3, '_') => 4,
                    (1 | 5, '-') => 5,
                    _ => 9,
                };
            }
            state == 1
        })
    }
}
