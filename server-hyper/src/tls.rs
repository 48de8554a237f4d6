//! TLS, with certificates that can be replaced while connections go on.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM, or holds nothing of the kind that is looked for in it.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Both files are readable, but cannot be used together.
    #[error("{} and {}: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl TlsError {
    /// The file that it is about; of two that do not fit together, the certificate.
    pub fn path(&self) -> &Path {
        match self {
            TlsError::Unreadable { path, .. } | TlsError::Malformed { path, .. } => path,
            TlsError::Unusable { certificate, .. } => certificate,
        }
    }
}

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

/// A certificate chain and its key, read from two PEM files and read again when those change.
///
/// Connections keep what they were made with; each new one gets what was read last. A file that cannot be used
/// changes nothing: the certificate that was in use stays in use.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<[Option<Version>; 2]>,
}

impl Tls {
    /// Reads `certificate` (the server's own first, then its issuers) and `key`, both PEM.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn from_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Arc<Self>, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        let provider = Arc::new(ring::default_provider());
        // Before reading, so that a write in between is found at the next look.
        let seen = [Version::of(&certificate), Version::of(&key)];
        let current = read(&certificate, &key, &provider)?;
        Ok(Arc::new(Tls {
            certificate,
            key,
            provider,
            current: RwLock::new(Arc::new(current)),
            seen: Mutex::new(seen),
        }))
    }

    /// Reads the files again if they changed since the last look. Whether a new certificate is in use.
    ///
    /// # Errors
    /// [`TlsError`] if what is there now cannot be used; told once for each change.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let now = [Version::of(&self.certificate), Version::of(&self.key)];
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return Ok(false);
            }
            *seen = now;
        }
        self.reload()?;
        Ok(true)
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// [`TlsError`] if what is there now cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.certificate, &self.key, &self.provider)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Looks for changed files every `interval`, for as long as the future is polled; logs what it finds.
    pub async fn watch(self: Arc<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            self.tell(self.reload_if_changed());
        }
    }

    /// Reads the files again, and logs how that went.
    pub fn reload_and_tell(&self) {
        self.tell(self.reload().map(|()| true));
    }

    fn tell(&self, reloaded: Result<bool, TlsError>) {
        match reloaded {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(certificate = %self.certificate.display(), "the certificate was reloaded")
            }
            Err(error) => {
                tracing::error!(%error, "the new certificate cannot be used; the old one stays in use");
            }
        }
    }

    /// The configuration for a server that speaks HTTP/2 and HTTP/1.1 with this certificate.
    pub(crate) fn server_config(self: &Arc<Self>) -> Arc<ServerConfig> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_reader_iter(open(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(certificate, error, "a certificate"))?;
    if chain.is_empty() {
        return Err(malformed(certificate, pem::Error::NoItemsFound, "a certificate"));
    }
    let private =
        PrivateKeyDer::from_pem_reader(open(key)?).map_err(|error| malformed(key, error, "a private key"))?;
    // Also checks that the key belongs to the certificate.
    CertifiedKey::from_der(chain, private, provider).map_err(|source| TlsError::Unusable {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
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
