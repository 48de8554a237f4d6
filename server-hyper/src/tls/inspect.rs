//! What a certificate says of itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::names::Name;

/// The parts of a certificate that berth looks at. Nothing of it is proven by being here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The server names it is for. Those of kinds that are not for servers are left out.
    pub names: BTreeSet<Name>,
    /// From when on it is good.
    pub not_before: SystemTime,
    /// Until when it is good.
    pub not_after: SystemTime,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Which key it is for, DER (SubjectPublicKeyInfo).
    pub(super) key: Vec<u8>,
    /// Which key it is for, in short.
    pub(super) key_id: Option<Vec<u8>>,
    /// Which key signed it, in short.
    pub(super) issuer_key_id: Option<Vec<u8>>,
}

/// That bytes are not a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no X.509 certificate")]
pub struct NoCertificate;

impl Inspected {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`NoCertificate`].
    pub fn of(der: &[u8]) -> Result<Self, NoCertificate> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NoCertificate)?;
        let mut inspected = Inspected {
            names: BTreeSet::new(),
            not_before: moment(certificate.validity().not_before),
            not_after: moment(certificate.validity().not_after),
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            is_authority: certificate.is_ca(),
            key: certificate.public_key().raw.to_vec(),
            key_id: None,
            issuer_key_id: None,
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(alternative) => {
                    inspected
                        .names
                        .extend(alternative.general_names.iter().filter_map(name));
                }
                ParsedExtension::SubjectKeyIdentifier(id) => inspected.key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    inspected.issuer_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                _ => {}
            }
        }
        Ok(inspected)
    }

    /// Whether it names itself as its issuer.
    pub fn is_own_issuer(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether clients that call the server by this name take it.
    pub fn covers(&self, name: &Name) -> bool {
        let any_label = match name {
            Name::Dns(name) => name
                .split_once('.')
                .map(|(_, parent)| Name::Dns(format!("*.{parent}"))),
            Name::Ip(_) => None,
        };
        self.names.contains(name) || any_label.is_some_and(|any| self.names.contains(&any))
    }
}

fn moment(time: ASN1Time) -> SystemTime {
    match u64::try_from(time.timestamp()) {
        Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        Err(_) => SystemTime::UNIX_EPOCH,
    }
}

fn name(general: &GeneralName<'_>) -> Option<Name> {
    match general {
        GeneralName::DNSName(name) => name.parse().ok(),
        GeneralName::IPAddress(bytes) => {
            let address: IpAddr = match <[u8; 4]>::try_from(*bytes) {
                Ok(four) => four.into(),
                Err(_) => <[u8; 16]>::try_from(*bytes).ok()?.into(),
            };
            Some(Name::Ip(address))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_covers_its_names_and_one_label_for_each_star() {
        let made = rcgen::generate_simple_self_signed([
            "registry.example".to_owned(),
            "*.apps.example".to_owned(),
            "192.0.2.1".to_owned(),
        ]);
        let inspected = Inspected::of(made.unwrap().cert.der()).unwrap();
        let covers = |text: &str| inspected.covers(&text.parse().unwrap());
        for name in [
            "registry.example",
            "REGISTRY.example",
            "a.apps.example",
            "192.0.2.1",
        ] {
            assert!(covers(name), "{name}");
        }
        for name in [
            "example",
            "a.registry.example",
            "a.b.apps.example",
            "apps.example",
            "192.0.2.2",
            "::1",
        ] {
            assert!(!covers(name), "{name}");
        }
        assert!(!inspected.is_authority && inspected.is_own_issuer());
    }

    #[test]
    fn what_is_no_certificate_is_told_and_does_no_harm() {
        for bytes in [&b""[..], b"0", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0; 4096]] {
            assert_eq!(Inspected::of(bytes), Err(NoCertificate));
        }
    }
}
