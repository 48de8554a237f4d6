//! Under which address a client knows the registry, and under which the registry knows the client.
//!
//! Both may be told by proxies, and are believed only from networks that are configured to hold some: by `Forwarded`
//! (RFC 7239) or, without that, by `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`. Proxies add to these what they
//! see; so they are read from the last entry on, as far as trust goes, and what a client wrote itself lies beyond.

mod forwarded;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use ipnet::IpNet;
use registry_core::http::{Encrypted, RemoteAddr};
use registry_core::{Error, ErrorKind};

pub use forwarded::{Hop, parse_forwarded};

/// Longest host with its port.
const AUTHORITY_MAX: usize = 255 + 6;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Not at all.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    fn named(text: &str) -> Option<Scheme> {
        [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
    }
}

/// An origin (RFC 6454): scheme, host and port. Holds nothing that means something in a header or in a URL beside that.
///
/// ```
/// use registry_auth::origin::Origin;
/// let origin: Origin = "https://registry.example.com:8443/".parse().unwrap();
/// assert_eq!(origin.to_string(), "https://registry.example.com:8443");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    authority: String,
}

impl Origin {
    /// An origin of a host that may have a port; nothing if it is no host.
    pub fn new(scheme: Scheme, authority: &str) -> Option<Self> {
        is_authority(authority).then(|| Origin {
            scheme,
            authority: authority.to_ascii_lowercase(),
        })
    }

    /// How connections to it are protected.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host, without its port, and without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => host,
            _ => &self.authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Its host, with its port if that is not the scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let (scheme, rest) = text.split_once("://")?;
            Origin::new(Scheme::named(scheme)?, rest.strip_suffix('/').unwrap_or(rest))
        };
        read().ok_or_else(|| {
            Error::new(
                ErrorKind::RequestInvalid,
                "an origin is http:// or https://, a host, and a port if need be: https://registry.example.com",
            )
        })
    }
}

/// Whether `text` is a host, which may have a port.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host_is_sound = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    let port_is_sound = port.is_none_or(|port| is_port(port).is_some());
    text.len() <= AUTHORITY_MAX && host_is_sound && port_is_sound
}

fn is_port(text: &str) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|port| *port != 0)
}

/// Whom to believe about where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The registry's origin, whatever a request says.
    pub external: Option<Origin>,
    /// Networks of proxies.
    pub proxies: Vec<IpNet>,
}

impl Trust {
    /// The origin under which the client of this request knows the registry; nothing if the request does not say one that
    /// could be told back.
    pub fn origin(&self, head: &Parts) -> Option<Origin> {
        if let Some(external) = &self.external {
            return Some(external.clone());
        }
        let told = self.told(head);
        let direct = match head.extensions.get::<Encrypted>() {
            Some(Encrypted) => Scheme::Https,
            None => Scheme::Http,
        };
        let scheme = told.scheme.unwrap_or(direct);
        let own = head.uri.authority().map(|authority| authority.as_str());
        let own = own.or_else(|| text(&head.headers, HOST.as_str()));
        let host = told.host.as_deref().or(own)?;
        match told.port.filter(|port| *port != scheme.port()) {
            Some(port) if is_authority(&format!("{host}:{port}")) => {
                Origin::new(scheme, &format!("{host}:{port}"))
            }
            _ => Origin::new(scheme, host),
        }
    }

    /// The address of the client itself, as far as it can be known.
    pub fn client(&self, head: &Parts) -> Option<IpAddr> {
        let peer = head
            .extensions
            .get::<RemoteAddr>()
            .map(|remote| remote.0.to_canonical());
        self.told(head).client.or(peer)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// What the proxies in front tell.
    fn told(&self, head: &Parts) -> Told {
        let Some(RemoteAddr(peer)) = head.extensions.get::<RemoteAddr>() else {
            return Told::default();
        };
        if !self.trusts(*peer) {
            return Told::default();
        }
        match joined(&head.headers, "forwarded") {
            Some(value) => self.told_by_forwarded(*peer, &value),
            None => self.told_by_x_forwarded(*peer, &head.headers),
        }
    }

    fn told_by_forwarded(&self, peer: IpAddr, value: &str) -> Told {
        let mut told = Told::default();
        let mut adder = Some(peer);
        for hop in parse_forwarded(value).unwrap_or_default().into_iter().rev() {
            if !adder.is_some_and(|adder| self.trusts(adder)) {
                break;
            }
            // What was said further out is nearer to the client.
            told.scheme = hop.proto.as_deref().and_then(Scheme::named).or(told.scheme);
            told.host = hop.host.filter(|host| is_authority(host)).or(told.host);
            told.client = hop.client.or(told.client);
            adder = hop.client;
        }
        told
    }

    fn told_by_x_forwarded(&self, peer: IpAddr, headers: &HeaderMap) -> Told {
        let (mut hops, mut adder, mut client) = (0, Some(peer), None);
        let addresses = joined(headers, "x-forwarded-for").unwrap_or_default();
        for address in addresses.rsplit(',') {
            if !adder.is_some_and(|adder| self.trusts(adder)) {
                break;
            }
            hops += 1;
            adder = forwarded::node(address.trim());
            client = adder.or(client);
        }
        // A proxy that adds to one list adds to all; one that writes a list anew leaves one value.
        let value = |name| {
            let values = joined(headers, name)?;
            let values: Vec<&str> = values.split(',').map(str::trim).collect();
            Some(values[values.len().saturating_sub(hops.max(1))].to_owned())
        };
        Told {
            scheme: value("x-forwarded-proto").and_then(|proto| Scheme::named(&proto)),
            host: value("x-forwarded-host").filter(|host| is_authority(host)),
            port: value("x-forwarded-port").and_then(|port| is_port(&port)),
            client,
        }
    }
}

#[derive(Debug, Default)]
struct Told {
    scheme: Option<Scheme>,
    host: Option<String>,
    /// Told apart from the host, for one that has none.
    port: Option<u16>,
    client: Option<IpAddr>,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Longest list that is looked at.
const LIST_MAX: usize = 8 << 10;

/// All values of a header as one list; nothing if there is none, or it is no text, or longer than any proxies make it.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut all = String::new();
    for value in headers.get_all(name) {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(value.to_str().ok()?);
        if all.len() > LIST_MAX {
            return None;
        }
    }
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests;
