//! The names that a certificate is for.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// Most addresses of the machine that go into a certificate. A node of a cluster may have one for each service.
const MOST_ADDRESSES: usize = 100;

/// A name by which clients reach a server, as a certificate has it (RFC 5280 §4.2.1.6).
///
/// ```
/// use server_hyper::tls::Name;
/// assert_eq!("Registry.Example".parse::<Name>().unwrap().to_string(), "registry.example");
/// assert!("*.example".parse::<Name>().is_ok() && "::1".parse::<Name>().is_ok());
/// assert!("registry.example:5000".parse::<Name>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// In small letters; the first label may be `*`, which stands for any one.
    Dns(String),
    /// An address, without a port.
    Ip(IpAddr),
}

/// That a text is neither a host's name nor an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a host's name nor an IP address without a port")]
pub struct NameError;

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(address) = text.parse() {
            return Ok(Name::Ip(address));
        }
        let concrete = text.strip_prefix("*.").unwrap_or(text);
        // Clients leave the last dot away before they compare.
        if concrete.ends_with('.') || DnsName::try_from(concrete).is_err() {
            return Err(NameError);
        }
        Ok(Name::Dns(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Dns(name) => f.write_str(name),
            Name::Ip(address) => address.fmt(f),
        }
    }
}

/// What a machine is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its host name, if that can be a name in a certificate.
    pub host: Option<Name>,
    /// Addresses of its network interfaces.
    pub addresses: Vec<IpAddr>,
}

impl Machine {
    /// The one that this runs on. What cannot be found out is left out.
    pub fn this() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().parse().ok();
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            tracing::warn!(%error, "the machine's addresses cannot be found out; tls.names can name them");
            Vec::new()
        });
        let addresses = interfaces.iter().map(if_addrs::Interface::ip).collect();
        Machine { host, addresses }
    }
}

/// Where the names of a server's own certificate come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Where it listens. Of an unspecified address (`0.0.0.0`, `[::]`), the machine's addresses.
    pub listen: Vec<SocketAddr>,
    /// Names that were given.
    pub given: Vec<Name>,
}

impl Wanted {
    /// All names on `machine`.
    pub fn on(&self, machine: &Machine) -> BTreeSet<Name> {
        let mut names = BTreeSet::from([
            Name::Dns("localhost".to_owned()),
            Name::Ip(Ipv4Addr::LOCALHOST.into()),
            Name::Ip(Ipv6Addr::LOCALHOST.into()),
        ]);
        names.extend(machine.host.clone());
        names.extend(self.given.iter().cloned());
        for address in self.listen.iter().map(SocketAddr::ip) {
            if !address.is_unspecified() {
                names.insert(Name::Ip(address));
                continue;
            }
            // A listener at [::] takes what comes over IPv4 too.
            let mut reached: Vec<IpAddr> = machine
                .addresses
                .iter()
                .copied()
                .filter(|one| (address.is_ipv6() || one.is_ipv4()) && is_told_to_others(one))
                .collect();
            reached.sort_unstable();
            names.extend(reached.into_iter().take(MOST_ADDRESSES).map(Name::Ip));
        }
        names
    }
}

/// Whether clients use an address as it is: those of one link need an interface beside them.
fn is_told_to_others(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => !four.is_loopback() && !four.is_link_local(),
        IpAddr::V6(six) => !six.is_loopback() && !six.is_unicast_link_local(),
    }
}

/// Names one after the other, for messages.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    let names: Vec<String> = names.into_iter().map(Name::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> BTreeSet<Name> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn machine() -> Machine {
        let addresses = [
            "127.0.0.1",
            "192.0.2.7",
            "169.254.3.3",
            "::1",
            "2001:db8::7",
            "fe80::1",
        ];
        Machine {
            host: "build-7".parse().ok(),
            addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
        }
    }

    fn at(listen: &[&str]) -> Wanted {
        Wanted {
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            given: Vec::new(),
        }
    }

    #[test]
    fn loopback_and_the_hosts_name_are_always_among_the_names() {
        let always = ["localhost", "127.0.0.1", "::1", "build-7"];
        assert_eq!(at(&["127.0.0.1:5000"]).on(&machine()), names(&always));
        let nameless = Machine::default();
        assert_eq!(at(&[]).on(&nameless), names(&always[..3]));
    }

    #[test]
    fn a_listener_everywhere_has_the_machines_addresses_that_others_can_use() {
        let four = names(&["localhost", "127.0.0.1", "::1", "build-7", "192.0.2.7"]);
        assert_eq!(at(&["0.0.0.0:5000"]).on(&machine()), four);
        let mut both = four;
        both.extend(names(&["2001:db8::7"]));
        assert_eq!(at(&["[::]:5000"]).on(&machine()), both);
    }

    #[test]
    fn a_listener_at_an_address_and_what_was_given_add_to_them() {
        let mut wanted = at(&["198.51.100.1:443"]);
        wanted.given = names(&["registry.example", "*.example", "203.0.113.9"])
            .into_iter()
            .collect();
        let found = wanted.on(&machine());
        for name in names(&[
            "198.51.100.1",
            "registry.example",
            "*.example",
            "203.0.113.9",
            "localhost",
        ]) {
            assert!(found.contains(&name), "{name} is not in {found:?}");
        }
        assert_eq!(found.len(), 8);
    }

    #[test]
    fn a_machine_of_many_addresses_does_not_make_a_boundless_certificate() {
        let addresses = (0..5000u32).map(|n| Ipv4Addr::from(0x0a00_0000 + n).into());
        let machine = Machine {
            host: None,
            addresses: addresses.collect(),
        };
        let found = at(&["0.0.0.0:1", "[::]:1"]).on(&machine);
        assert_eq!(found.len(), 3 + MOST_ADDRESSES);
        assert!(
            found.contains(&"10.0.0.0".parse().unwrap()),
            "always the same ones"
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a..b",
            "a.",
            "-a",
            "a b",
            "a:1",
            "[::1]",
            "*.*.a",
            "a.*",
            "http://a",
            "ä.example",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NameError), "{text:?}");
        }
    }
}
