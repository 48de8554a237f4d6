//! A certificate authority of berth's own, for registries that have no certificate from elsewhere.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::inspect::Inspected;
use super::names::Name;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long before it is made a certificate begins to be good: clients whose clocks are behind take it too.
pub const BACKDATED: Duration = DAY;
/// How long an authority is good: as long as the machines may be that were told to trust it.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * DAY.as_secs());
/// How long a server's certificate is good, from its first second to its last. Some clients take none that is longer
/// than 398 days, also of authorities that were added by hand.
pub const SERVER_LIFE: Duration = Duration::from_secs(397 * DAY.as_secs() - 1);

/// An authority: its certificate, which clients are told to trust, and its key, which never leaves the machine.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    inspected: Inspected,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("subject", &self.inspected.subject)
            .finish_non_exhaustive()
    }
}

/// A certificate that an [`Authority`] signed, and its key.
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its key, PEM (PKCS #8).
    pub key: Zeroizing<String>,
}

/// Why an authority cannot be made or used, or a certificate not be signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate's file holds no certificate.
    #[error("does not hold a certificate in PEM form")]
    NoCertificate,
    /// The certificate may not sign others, so that nobody would take those that it signs.
    #[error("is the certificate of a server, not of an authority")]
    NoAuthority,
    /// The key's file holds no key.
    #[error("does not hold a private key in PEM form")]
    NoKey,
    /// The key is not that of the certificate.
    #[error("is not the key of the certificate beside it")]
    OtherKey,
    /// It is past its end.
    #[error("ended on {}", humantime::format_rfc3339_seconds(*.0))]
    Ended(SystemTime),
    /// The library refuses.
    #[error(transparent)]
    Library(#[from] rcgen::Error),
}

impl Authority {
    /// An authority with a key of its own, good from a day before `now` on for ten years. The key is for
    /// [`from_pem`](Self::from_pem), in PEM.
    ///
    /// # Errors
    /// If there is no randomness, or `now` is no time that a certificate can have.
    pub fn make(now: SystemTime) -> Result<(Self, Zeroizing<String>), AuthorityError> {
        let key = KeyPair::generate()?;
        let pem = Zeroizing::new(key.serialize_pem());
        Ok((Self::signed(key, now)?, pem))
    }

    /// An authority with this key, PEM. It is called like every other with this key, so whoever trusts one of them trusts
    /// what any of them signs.
    ///
    /// # Errors
    /// If this is no key, or as for [`make`](Self::make).
    pub fn with_key(key: &str, now: SystemTime) -> Result<Self, AuthorityError> {
        Self::signed(parsed(key)?, now)
    }

    fn signed(key: KeyPair, now: SystemTime) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        let id = params.key_identifier(&key);
        let short: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name = called(&format!("berth CA {short}"));
        (params.not_before, params.not_after) = ((now - BACKDATED).into(), (now + AUTHORITY_LIFE).into());
        // It signs servers, and no authorities.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Self::of(certificate.der(), certificate.pem(), key)
    }

    /// The authority that was made before: its certificate and its key, both PEM.
    ///
    /// # Errors
    /// If one is none, or the key is another's.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| AuthorityError::NoCertificate)?;
        Self::of(&der, certificate.to_owned(), parsed(key)?)
    }

    fn of(der: &CertificateDer<'_>, pem: String, key: KeyPair) -> Result<Self, AuthorityError> {
        let inspected = Inspected::of(der).map_err(|_| AuthorityError::NoCertificate)?;
        if !inspected.is_authority {
            return Err(AuthorityError::NoAuthority);
        }
        if inspected.key != key.subject_public_key_info() {
            return Err(AuthorityError::OtherKey);
        }
        Ok(Authority {
            issuer: Issuer::from_ca_cert_der(der, key)?,
            pem,
            inspected,
        })
    }

    /// The certificate that clients are to trust, PEM. It is no secret.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What its certificate says.
    pub fn inspect(&self) -> &Inspected {
        &self.inspected
    }

    /// A certificate of a server with these names and a new key, good from a day before `now` on for at most 397 days,
    /// and no longer than the authority itself.
    ///
    /// # Errors
    /// [`AuthorityError::Ended`] if the authority is past its end.
    pub fn issue(&self, names: &BTreeSet<Name>, now: SystemTime) -> Result<Issued, AuthorityError> {
        if now >= self.inspected.not_after {
            return Err(AuthorityError::Ended(self.inspected.not_after));
        }
        let begin = now - BACKDATED;
        let end = (begin + SERVER_LIFE).min(self.inspected.not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = called("berth");
        (params.not_before, params.not_after) = (begin.into(), end.into());
        params.subject_alt_names = names.iter().map(alternative).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: Zeroizing::new(key.serialize_pem()),
        })
    }

    /// Whether a certificate says that this signed it.
    pub(super) fn signed_this(&self, certificate: &Inspected) -> bool {
        certificate.issuer == self.inspected.subject
            && certificate.issuer_key_id.is_some()
            && certificate.issuer_key_id == self.inspected.key_id
    }
}

fn parsed(key: &str) -> Result<KeyPair, AuthorityError> {
    KeyPair::from_pem(key).map_err(|_| AuthorityError::NoKey)
}

fn called(name: &str) -> DistinguishedName {
    let mut whole = DistinguishedName::new();
    whole.push(DnType::CommonName, name);
    whole
}

fn alternative(name: &Name) -> Result<SanType, rcgen::Error> {
    Ok(match name {
        Name::Dns(name) => SanType::DnsName(Ia5String::try_from(name.as_str())?),
        Name::Ip(address) => SanType::IpAddress(*address),
    })
}
