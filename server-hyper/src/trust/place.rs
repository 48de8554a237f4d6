//! Where a registry is, as references to images have it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::tls::Name;

/// A registry's host, and the port if it is not the one of https. Clients look for certificates by this text, so it has to
/// be the one with which their references to images begin.
///
/// ```
/// use server_hyper::trust::Place;
/// for text in ["registry.example", "registry.example:5000", "192.0.2.7:5000", "[::1]:5000"] {
///     assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
/// }
/// assert!("https://registry.example".parse::<Place>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    host: Name,
    port: Option<u16>,
}

/// That a text is no HOST or HOST:PORT.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no HOST or HOST:PORT, as references to images begin with it: registry.example:5000 or [::1]:5000"
)]
pub struct PlaceError(String);

impl Place {
    /// A host at a port.
    pub fn new(host: Name, port: Option<u16>) -> Self {
        Place { host, port }
    }

    /// Its host.
    pub fn host(&self) -> &Name {
        &self.host
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let parse = || {
            let (host, port) = match text.strip_prefix('[') {
                Some(rest) => {
                    let (address, rest) = rest.split_once(']')?;
                    let host = Name::Ip(IpAddr::V6(address.parse().ok()?));
                    let port = if rest.is_empty() {
                        None
                    } else {
                        Some(rest.strip_prefix(':')?)
                    };
                    (host, port)
                }
                None => match text.split_once(':') {
                    Some((host, port)) => (host.parse().ok()?, Some(port)),
                    None => (text.parse().ok()?, None),
                },
            };
            let port = match port {
                Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
                Some(_) => return None,
                None => None,
            };
            let concrete = matches!(&host, Name::Ip(_)) || !text.starts_with('*');
            (concrete && port != Some(0)).then_some(Place { host, port })
        };
        parse().ok_or_else(|| PlaceError(text.to_owned()))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Name::Ip(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            host => host.fmt(f)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_something_else_in_a_path_or_a_shell_is_no_place() {
        for text in [
            "",
            ":5000",
            "a:",
            "a:b",
            "a:0",
            "a:65536",
            "a:+1",
            "*.a",
            "a/b",
            "../a",
            "a b",
            "$(a)",
            "a;b",
            "'a'",
            "::1",
            "[::1",
            "[::1]5000",
            "[192.0.2.1]",
            "https://a",
            "a:1:2",
            "a%b",
        ] {
            assert_eq!(
                text.parse::<Place>(),
                Err(PlaceError(text.to_owned())),
                "{text:?}"
            );
        }
    }
}
