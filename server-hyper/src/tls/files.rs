//! Certificates in files that somebody else writes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use super::own::Pair;

/// What tells that a file was replaced or written to, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl Version {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Some(Version {
            modified: metadata.modified().ok()?,
            length: metadata.len(),
            inode,
        })
    }
}

/// A certificate chain and its key in two PEM files.
#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    seen: Mutex<[Option<Version>; 2]>,
}

impl Files {
    pub(super) fn open(certificate: PathBuf, key: PathBuf) -> Result<(Self, Pair), TlsError> {
        // Before reading, so that a write in between is found at the next look.
        let seen = Mutex::new([Version::of(&certificate), Version::of(&key)]);
        let files = Files {
            certificate,
            key,
            seen,
        };
        let pair = files.read()?;
        Ok((files, pair))
    }

    /// Whether one was replaced or written to since the last look.
    pub(super) fn changed(&self) -> bool {
        let now = [Version::of(&self.certificate), Version::of(&self.key)];
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *seen != now;
        *seen = now;
        changed
    }

    pub(super) fn read(&self) -> Result<Pair, TlsError> {
        let chain = read_chain(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_reader(open(&self.key)?)
            .map_err(|error| malformed(&self.key, error, "a private key"))?;
        Ok((chain, key))
    }

    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }

    pub(super) fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Unusable {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        }
    }
}

/// The certificates in a PEM file; at least one.
fn read_chain(certificate: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_reader_iter(open(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(certificate, error, "a certificate"))?;
    match chain.is_empty() {
        true => Err(malformed(certificate, pem::Error::NoItemsFound, "a certificate")),
        false => Ok(chain),
    }
}

fn open(path: &Path) -> Result<io::BufReader<File>, TlsError> {
    File::open(path)
        .map(io::BufReader::new)
        .map_err(|source| TlsError::Unreadable {
            path: path.to_owned(),
            source,
        })
}

fn malformed(path: &Path, error: pem::Error, wanted: &str) -> TlsError {
    let what = match error {
        pem::Error::NoItemsFound => format!("does not hold {wanted} in PEM form"),
        other => format!("is not PEM: {other}"),
    };
    TlsError::Malformed {
        path: path.to_owned(),
        what,
    }
}
