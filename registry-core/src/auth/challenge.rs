//! `WWW-Authenticate`: how a client is told to identify itself.

use super::{Access, Scope};

/// How a client is told to identify itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// HTTP Basic.
    Basic {
        /// Shown to people by their client.
        realm: String,
    },
    /// A bearer token from a token endpoint; the service adds the scope of the refused operation.
    Bearer {
        /// URL of the token endpoint.
        realm: String,
        /// The audience of the tokens.
        service: String,
    },
}

/// What is wrong with a token that was sent, in the words of RFC 6750, section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// It is not valid, or no longer.
    Invalid,
    /// It does not open what is asked for.
    InsufficientScope,
}

impl TokenProblem {
    const fn as_str(self) -> &'static str {
        match self {
            TokenProblem::Invalid => "invalid_token",
            TokenProblem::InsufficientScope => "insufficient_scope",
        }
    }
}

/// Longest `WWW-Authenticate` that is [read](Challenge::parse), in bytes.
pub const CHALLENGE_MAX: usize = 8 << 10;

impl Challenge {
    /// The value of `WWW-Authenticate` for an operation that needs `accesses`, sent with a token that has this
    /// `problem`. Always one challenge: clients misread several in one header.
    pub fn header(&self, accesses: &[Access], problem: Option<TokenProblem>) -> String {
        match self {
            Challenge::Basic { realm } => format!("Basic realm=\"{realm}\""),
            Challenge::Bearer { realm, service } => {
                let mut header = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
                let scope: Scope = accesses.iter().collect();
                if !scope.is_empty() {
                    header.push_str(&format!(",scope=\"{scope}\""));
                }
                if let Some(problem) = problem {
                    header.push_str(&format!(",error=\"{}\"", problem.as_str()));
                }
                header
            }
        }
    }

    /// What the value of a `WWW-Authenticate` asks for (RFC 9110, section 11.6.1), and for a token with which scope (RFC 6750,
    /// section 3). The first challenge counts, as for most clients. Nothing if it is of another scheme, says the same twice, names no
    /// realm, or is no challenge at all.
    ///
    /// The realm of a token is where a stranger wants a password sent: whoever follows it looks first where it leads.
    ///
    /// ```
    /// use registry_core::auth::Challenge;
    /// let header = r#"Bearer realm="https://r.example/token",service="r",scope="repository:a/b:pull""#;
    /// let (challenge, scope) = Challenge::parse(header).unwrap();
    /// assert_eq!(challenge, Challenge::Bearer { realm: "https://r.example/token".into(), service: "r".into() });
    /// assert_eq!(scope, "repository:a/b:pull");
    /// ```
    pub fn parse(header: &str) -> Option<(Challenge, String)> {
        if header.len() > CHALLENGE_MAX {
            return None;
        }
        let header = header.trim_matches(BLANKS);
        let (scheme, mut rest) = header.split_once(' ')?;
        let (mut realm, mut service, mut scope) = (None, None, None);
        while let Some((name, value, after)) = parameter(rest) {
            let place = match name.to_ascii_lowercase().as_str() {
                "realm" => Some(&mut realm),
                "service" => Some(&mut service),
                "scope" => Some(&mut scope),
                _ => None,
            };
            if let Some(place) = place
                && place.replace(value).is_some()
            {
                return None;
            }
            rest = after;
        }
        let realm = realm?;
        let challenge = match scheme.to_ascii_lowercase().as_str() {
            "basic" => Challenge::Basic { realm },
            "bearer" => Challenge::Bearer {
                realm,
                service: service.unwrap_or_default(),
            },
            _ => return None,
        };
        Some((challenge, scope.unwrap_or_default()))
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The parameter that a list begins with, and the rest of the list: nothing at its end, and where another challenge begins.
fn parameter(list: &str) -> Option<(&str, String, &str)> {
    let list = list.trim_start_matches([' ', '\t', ',']);
    let (name, rest) = list.split_once('=')?;
    let name = name.trim_end_matches(BLANKS);
    if name.is_empty() || !name.bytes().all(is_of_token) {
        return None;
    }
    let rest = rest.trim_start_matches(BLANKS);
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(|c: char| !c.is_ascii() || !is_of_token(c as u8));
        let (value, rest) = rest.split_at(end.unwrap_or(rest.len()));
        return (!value.is_empty()).then(|| (name, value.to_owned(), rest));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if c.is_control() && c != '\t' => return None,
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((name, value, &quoted[at + 1..])),
            _ => value.push(c),
        }
    }
    None
}

/// Whether a byte may be in a token (RFC 9110, section 5.6.2).
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::Action;
    use crate::name::RepositoryName;

    #[test]
    fn a_challenge_names_every_scope_once() {
        let name: RepositoryName = "a/b".parse().unwrap();
        let other: RepositoryName = "c/d".parse().unwrap();
        let accesses = [
            Access::Repository(name.clone(), Action::Pull),
            Access::Repository(name.clone(), Action::Push),
            Access::Repository(name, Action::Pull),
            Access::Repository(other, Action::Pull),
            Access::Catalog,
        ];
        let bearer = Challenge::Bearer {
            realm: "https://r/t".to_owned(),
            service: "r".to_owned(),
        };
        assert_eq!(
            bearer.header(&accesses, Some(TokenProblem::InsufficientScope)),
            "Bearer realm=\"https://r/t\",service=\"r\",scope=\"repository:a/b:pull,push repository:c/d:pull \
             registry:catalog:*\",error=\"insufficient_scope\""
        );
        assert_eq!(
            bearer.header(&[], None),
            "Bearer realm=\"https://r/t\",service=\"r\""
        );
    }

    #[test]
    fn what_is_no_challenge_of_ours_is_none() {
        for header in [
            "",
            "Bearer",
            "Bearer service=\"r\"",
            "Digest realm=\"r\"",
            "Bearer realm=\"a",
            "Bearer realm=\"a\",realm=\"b\"",
            "Bearer realm=",
            "Bearer realm=\"a\nb\"",
        ] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
        let long = format!("Basic realm=\"{}\"", "a".repeat(CHALLENGE_MAX));
        assert_eq!(Challenge::parse(&long), None);
    }

    #[test]
    fn schemes_and_names_are_read_in_any_case_and_values_without_quotes() {
        let (challenge, scope) =
            Challenge::parse("bearer Realm=here , SERVICE = \"a \\\"b\\\"\" ,x=1").unwrap();
        let expected = Challenge::Bearer {
            realm: "here".to_owned(),
            service: "a \"b\"".to_owned(),
        };
        assert_eq!((challenge, scope.as_str()), (expected, ""));
    }

    #[test]
    fn of_several_challenges_the_first_counts() {
        let (challenge, _) = Challenge::parse("Basic realm=\"one\", Bearer realm=\"two\"").unwrap();
        assert_eq!(
            challenge,
            Challenge::Basic {
                realm: "one".to_owned()
            }
        );
    }

    proptest! {
        #[test]
        fn what_is_asked_for_is_read_as_it_was_meant(
            realm in "https?://[a-z0-9.:/-]{1,40}",
            service in "[a-z0-9.-]{1,20}",
            names in prop::collection::vec("[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}", 0..4),
        ) {
            let pulls: Vec<Access> = names
                .iter()
                .map(|name| Access::Repository(name.parse().unwrap(), Action::Pull))
                .collect();
            let challenge = Challenge::Bearer { realm, service };
            let header = challenge.header(&pulls, Some(TokenProblem::Invalid));
            let (read, scope) = Challenge::parse(&header).unwrap();
            prop_assert_eq!(read, challenge);
            let meant: Scope = pulls.iter().collect();
            prop_assert_eq!(scope, meant.to_string());
        }

        #[test]
        fn whatever_is_sent_is_read_or_is_none(header in "\\PC{0,200}") {
            let _read = Challenge::parse(&header);
        }
    }
}
