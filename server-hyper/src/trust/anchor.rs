//! Which certificate a client must trust to take a server's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use registry_core::Digest;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::Place;
use crate::tls::{Inspected, Name, listed};

/// What a client has to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// This certificate, which it does not know by itself.
    Certificate {
        /// The certificate, PEM.
        pem: String,
        /// What it says.
        inspected: Box<Inspected>,
        /// The SHA-256 of its DER, in hexadecimal: by this it can be compared over another way.
        fingerprint: String,
    },
    /// Nothing: the server's certificate leads to an authority that this machine's system trusts.
    System {
        /// Who signed the last certificate that the server sends.
        issuer: String,
    },
}

/// Why it is not known what a client has to trust.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no certificates.
    #[error("{}: does not hold a certificate in PEM form", path.display())]
    None {
        /// Which.
        path: PathBuf,
    },
    /// The file that was given is not of those who signed the server's certificate.
    #[error("{}: none of its certificates signed those in {}: {why}", authorities.display(), server.display())]
    Other {
        /// What was given.
        authorities: PathBuf,
        /// The server's certificate.
        server: PathBuf,
        /// What the verifier says.
        why: String,
    },
    /// Neither the server's file nor the system has the authority.
    #[error(
        "{}: signed by {issuer}, whose certificate is not in it, and which this machine's system does not trust ({why}); \
         get that certificate from whoever made this one, and name it with --ca-file", server.display()
    )]
    Unknown {
        /// The server's certificate.
        server: PathBuf,
        /// Who signed the last one in the file.
        issuer: String,
        /// What the verifier says.
        why: String,
    },
}

/// A certificate of a file: as it stands there, and what it says.
struct Listed {
    pem: String,
    der: CertificateDer<'static>,
    inspected: Inspected,
}

impl Anchor {
    /// The certificate in a file: that of an authority of berth's own.
    ///
    /// # Errors
    /// If there is none.
    pub fn in_file(path: &Path) -> Result<Self, AnchorError> {
        certificates(path).map(|mut all| Anchor::of(all.swap_remove(0)))
    }

    /// What leads to the certificate chain in `server`: one in `authorities` if that is given, else the last of the chain if it
    /// is its own issuer, else one of `system`, which are those that the system trusts.
    ///
    /// # Errors
    /// [`AnchorError`].
    pub fn of_server(
        server: &Path,
        authorities: Option<&Path>,
        system: &[CertificateDer<'static>],
        now: SystemTime,
    ) -> Result<Self, AnchorError> {
        let mut chain = certificates(server)?;
        if let Some(path) = authorities {
            let mut last = String::new();
            for candidate in certificates(path)? {
                match leads(&chain, std::slice::from_ref(&candidate.der), now) {
                    Ok(()) => return Ok(Anchor::of(candidate)),
                    Err(why) => last = why,
                }
            }
            return Err(AnchorError::Other {
                authorities: path.to_owned(),
                server: server.to_owned(),
                why: last,
            });
        }
        let last = chain.len() - 1;
        if chain[last].inspected.is_own_issuer() {
            return Ok(Anchor::of(chain.swap_remove(last)));
        }
        let issuer = chain[last].inspected.issuer.clone();
        match leads(&chain, system, now) {
            Ok(()) => Ok(Anchor::System { issuer }),
            Err(why) => Err(AnchorError::Unknown {
                server: server.to_owned(),
                issuer,
                why,
            }),
        }
    }

    fn of(certificate: Listed) -> Self {
        Anchor::Certificate {
            fingerprint: Digest::sha256(&certificate.der).hex(),
            pem: certificate.pem,
            inspected: Box::new(certificate.inspected),
        }
    }
}

/// Whether a chain leads to one of these; if not, why.
fn leads(chain: &[Listed], to: &[CertificateDer<'static>], now: SystemTime) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(to.iter().cloned());
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    // Which name it is for is another question; any that it has will do.
    let own = chain[0].inspected.names.iter().map(|name| match name {
        Name::Dns(name) => name.replacen('*', "any", 1),
        Name::Ip(address) => address.to_string(),
    });
    let name = own.into_iter().find_map(|name| ServerName::try_from(name).ok());
    let name = name.ok_or("it has no name of a server (subjectAltName)")?;
    let ders: Vec<CertificateDer<'static>> = chain[1..].iter().map(|one| one.der.clone()).collect();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    verifier
        .verify_server_cert(&chain[0].der, &ders, &name, &[], UnixTime::since_unix_epoch(now))
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// Why clients of a place do not take the certificate in a file by its name or its time, whatever they trust.
///
/// # Errors
/// If there is no certificate in it.
pub fn covers(server: &Path, places: &[Place], now: SystemTime) -> Result<Vec<String>, AnchorError> {
    let certificate = certificates(server)?.swap_remove(0).inspected;
    let mut complaints = Vec::new();
    for place in places {
        if !certificate.covers(place.host()) {
            complaints.push(format!(
                "clients refuse the certificate at {place}: it is for {} only",
                listed(&certificate.names)
            ));
        }
    }
    if now > certificate.not_after {
        complaints.push(format!(
            "clients refuse the certificate: it ended on {}",
            humantime::format_rfc3339_seconds(certificate.not_after)
        ));
    }
    Ok(complaints)
}

/// All certificates in a PEM file, of which there is at least one.
fn certificates(path: &Path) -> Result<Vec<Listed>, AnchorError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let text = fs::read_to_string(path).map_err(|source| AnchorError::Read {
        path: path.to_owned(),
        source,
    })?;
    let all: Option<Vec<Listed>> = text
        .split(BEGIN)
        .skip(1)
        .map(|rest| {
            let (inner, _) = rest.split_once(END)?;
            let pem = format!("{BEGIN}{inner}{END}\n").replace('\r', "");
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
            let inspected = Inspected::of(&der).ok()?;
            Some(Listed { pem, der, inspected })
        })
        .collect();
    all.filter(|all| !all.is_empty())
        .ok_or_else(|| AnchorError::None {
            path: path.to_owned(),
        })
}
