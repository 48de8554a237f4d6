//! What a client asks of the token endpoint, read from a query or from a form.
//!
//! Rules: distribution, `docs/content/spec/auth/token.md` and `oauth.md`; RFC 6749, sections 4.3 and 6.

use std::borrow::Cow;

use registry_core::auth::Scope;
use registry_core::{Error, ErrorKind, Result};

use super::service::{Claimed, TokenRequest};
use crate::credentials::Credentials;

/// Longest form, in bytes.
pub const FORM_MAX: usize = 32 << 10;

struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    fn read(text: &'a [u8]) -> Self {
        Parameters(form_urlencoded::parse(text).collect())
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_ref())
    }

    /// The one value of `name`: if there are two, readers could take different ones.
    fn one(&self, name: &'static str) -> Result<Option<&str>> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            None => Ok(value),
            Some(_) => Err(invalid(format!(
                "the parameter {name} is given again; give it once"
            ))),
        }
    }

    fn required(&self, name: &'static str) -> Result<&str> {
        self.one(name)?
            .ok_or_else(|| invalid(format!("the parameter {name} is missing")))
    }

    fn request(&self, offline: bool, who: Claimed) -> Result<TokenRequest> {
        Ok(TokenRequest {
            service: self
                .one("service")?
                .filter(|service| !service.is_empty())
                .map(str::to_owned),
            scope: Scope::parse(self.all("scope"))?,
            offline,
            who,
        })
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::RequestInvalid, message)
}

/// What the query of a `GET` asks for; `who` is what its `Authorization` says.
///
/// # Errors
/// [`RequestInvalid`](ErrorKind::RequestInvalid), naming the parameter.
pub fn parse_query(query: &str, who: Claimed) -> Result<TokenRequest> {
    let parameters = Parameters::read(query.as_bytes());
    let offline = parameters
        .one("offline_token")?
        .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
    parameters.request(offline, who)
}

/// What the form of a `POST` asks for.
///
/// # Errors
/// [`RequestInvalid`](ErrorKind::RequestInvalid), naming the parameter; [`Unauthorized`](ErrorKind::Unauthorized) for
/// credentials that cannot be any.
pub fn parse_form(form: &[u8]) -> Result<TokenRequest> {
    if form.len() > FORM_MAX {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the form is longer than {FORM_MAX} bytes"),
        ));
    }
    let parameters = Parameters::read(form);
    let offline = match parameters.one("access_type")? {
        None | Some("" | "online") => false,
        Some("offline") => true,
        Some(_) => return Err(invalid("access_type is online or offline".to_owned())),
    };
    let who = match parameters.required("grant_type")? {
        "password" => Claimed::Login(Credentials::new(
            parameters.required("username")?,
            parameters.required("password")?,
        )?),
        "refresh_token" => Claimed::Refresh(parameters.required("refresh_token")?.to_owned()),
        _ => return Err(invalid("grant_type is password or refresh_token".to_owned())),
    };
    parameters.request(offline, who)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scopes_are_repeated_and_joined_by_spaces_however_these_are_written() {
        let read = |query: &str| parse_query(query, Claimed::Nobody).unwrap();
        let request = read(
            "service=berth&scope=repository:a:pull+repository:b:push&scope=repository%3Ac%3Apull%20registry:catalog:*&account=x",
        );
        assert_eq!(
            request.scope.to_string(),
            "repository:a:pull repository:b:push repository:c:pull registry:catalog:*"
        );
        assert_eq!(
            (request.service.as_deref(), request.offline),
            (Some("berth"), false)
        );
        assert!(read("offline_token=true").offline && read("offline_token=1").offline);
        assert!(!read("offline_token=false").offline);
    }

    #[test]
    fn a_form_says_who_and_what() {
        let request = parse_form(b"grant_type=password&username=al&password=p%2B+w&service=s&client_id=c&access_type=offline&scope=repository:a:pull").unwrap();
        assert_eq!(
            request.who,
            Claimed::Login(Credentials::new("al", "p+ w").unwrap())
        );
        assert!(request.offline && !format!("{request:?}").contains("p+ w"));
        let request = parse_form(b"grant_type=refresh_token&refresh_token=brt_x").unwrap();
        assert!(!format!("{request:?}").contains("brt_x"));
    }

    #[test]
    fn what_is_missing_twice_or_unknown_is_named() {
        for (form, named) in [
            ("", "grant_type"),
            ("grant_type=code", "grant_type"),
            ("grant_type=password&username=a", "password"),
            ("grant_type=password&password=a", "username"),
            ("grant_type=refresh_token", "refresh_token"),
            ("grant_type=password&grant_type=password", "grant_type"),
            (
                "grant_type=refresh_token&refresh_token=a&service=a&service=b",
                "service",
            ),
            (
                "grant_type=refresh_token&refresh_token=a&access_type=x",
                "access_type",
            ),
            ("grant_type=refresh_token&refresh_token=a&scope=x", "scope"),
        ] {
            let error = parse_form(form.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::RequestInvalid, "{form}");
            assert!(error.message().contains(named), "{form}: {error}");
        }
        assert_eq!(
            parse_form(&vec![b'a'; FORM_MAX + 1]).unwrap_err().kind(),
            ErrorKind::TooLarge
        );
    }

    proptest! {
        #[test]
        fn no_form_makes_the_reader_panic(form: Vec<u8>, more in "(grant_type|scope|username|password|refresh_token)=[a-z_:*,+%0-9]{0,9}(&[a-z=&%]{0,20}){0,3}") {
            let _read_or_refused = (parse_form(&form), parse_form(more.as_bytes()), parse_query(&more, Claimed::Nobody));
        }
    }
}
