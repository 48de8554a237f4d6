//! The `Forwarded` header: RFC 7239, section 4.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// Most hops that are looked at.
const HOPS_MAX: usize = 32;

/// What one proxy tells of the request that it received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    /// Who sent it, if that is told, and as an address.
    pub client: Option<IpAddr>,
    /// Its `Host`.
    pub host: Option<String>,
    /// Its scheme.
    pub proto: Option<String>,
}

/// The hops of a `Forwarded` header, the first first; nothing if it is not of the grammar.
pub fn parse_forwarded(text: &str) -> Option<Vec<Hop>> {
    let mut rest = text;
    let mut hops = Vec::new();
    loop {
        let (hop, after) = hop(rest)?;
        hops.push(hop);
        if hops.len() > HOPS_MAX {
            return None;
        }
        match after {
            Some(after) => rest = after,
            None => return Some(hops),
        }
    }
}

/// A hop, and what follows its comma.
fn hop(text: &str) -> Option<(Hop, Option<&str>)> {
    let mut hop = Hop::default();
    let mut seen = Vec::new();
    let mut rest = blank(text);
    loop {
        let end = rest.find(['=', ';', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if let Some(after) = after.strip_prefix('=') {
            let name = name.to_ascii_lowercase();
            if !is_token(&name) || seen.contains(&name) {
                return None;
            }
            let (value, after) = value(after)?;
            match name.as_str() {
                "for" => hop.client = node(&value),
                "host" => hop.host = Some(value),
                "proto" => hop.proto = Some(value),
                _ => {}
            }
            seen.push(name);
            rest = blank(after);
        } else if blank(name).is_empty() {
            // Pairs may be left out.
            rest = after;
        } else {
            return None;
        }
        match rest.chars().next() {
            Some(';') => rest = blank(&rest[1..]),
            Some(',') => return Some((hop, Some(&rest[1..]))),
            None => return Some((hop, None)),
            Some(_) => return None,
        }
    }
}

/// A value, which is a token or in quotes, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !is_token_char(c)).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// The address of a node, without its port; nothing for one that hides.
pub(super) fn node(text: &str) -> Option<IpAddr> {
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .or_else(|| {
            // A port may hide.
            let (host, port) = text.rsplit_once(':')?;
            let host: Ipv4Addr = host.parse().ok()?;
            port.starts_with('_')
                .then(|| SocketAddrV4::new(host, 0).ip().to_owned().into())
        })?;
    Some(address.to_canonical())
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

/// RFC 9110, section 5.6.2.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}
