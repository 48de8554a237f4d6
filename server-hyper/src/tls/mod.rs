//! TLS, with certificates that can be replaced while connections go on.
//!
//! They are read from files that somebody else writes, or made by berth itself, with an authority of its own.

mod authority;
mod files;
mod inspect;
mod keep;
mod names;
mod own;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

pub use authority::{AUTHORITY_LIFE, Authority, AuthorityError, BACKDATED, Issued, SERVER_LIFE};
pub use inspect::{Inspected, NoCertificate};
pub(crate) use names::listed;
pub use names::{Machine, Name, NameError, Wanted};
pub use own::{AUTHORITY, AUTHORITY_KEY, RENEWED_BEFORE, SERVER, TLS, plan};

use files::Files;
use own::{Own, Pair};

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

/// A certificate chain and its key, which may be replaced: those of two PEM files that are read again when they change, or
/// those that berth made, until it makes new ones.
///
/// Connections keep what they were made with; each new one gets what came last. What cannot be used changes nothing: the
/// certificate that was in use stays in use.
#[derive(Debug)]
pub struct Tls {
    source: Source,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

#[derive(Debug)]
enum Source {
    Files(Files),
    Own(Box<Own>),
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
        let (files, pair) = Files::open(certificate.into(), key.into())?;
        Self::with(Source::Files(files), pair)
    }

    /// Takes berth's own authority and server certificate from `directory`, and makes there what is missing or due; without
    /// a directory, in memory. The authority is made once and stays; the server's certificate is for the names that `wanted`
    /// has on `machine`, and at `now` good for [`RENEWED_BEFORE`] at least.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn self_signed(
        directory: Option<&Path>,
        wanted: Wanted,
        machine: &Machine,
        now: SystemTime,
    ) -> Result<Arc<Self>, TlsError> {
        let (own, pair) = Own::open(directory, wanted, machine, now)?;
        Self::with(Source::Own(Box::new(own)), pair)
    }

    fn with(source: Source, pair: Pair) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let current = RwLock::new(Arc::new(source.certified(pair, &provider)?));
        Ok(Arc::new(Tls {
            source,
            provider,
            current,
        }))
    }

    /// The certificate of berth's own authority, PEM, which clients are to trust; none if the certificate is from files.
    pub fn authority(&self) -> Option<&str> {
        match &self.source {
            Source::Files(_) => None,
            Source::Own(own) => Some(own.authority().pem()),
        }
    }

    /// Reads the files again if they changed since the last look, or makes a new certificate if one is due. Whether a new
    /// one is in use.
    ///
    /// # Errors
    /// [`TlsError`] if what is there now cannot be used; of files, told once for each change.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        match &self.source {
            Source::Files(files) => match files.changed() {
                true => self.reload().map(|()| true),
                false => Ok(false),
            },
            Source::Own(_) => self.renew_if_due(&Machine::this(), SystemTime::now()),
        }
    }

    /// Makes a new certificate if berth makes its own, and at `now` on `machine` one is due: the last one ends within
    /// [`RENEWED_BEFORE`], or lacks a name. Whether it did.
    ///
    /// # Errors
    /// [`TlsError`] if none can be made.
    pub fn renew_if_due(&self, machine: &Machine, now: SystemTime) -> Result<bool, TlsError> {
        let Source::Own(own) = &self.source else {
            return Ok(false);
        };
        let renewed = own.renew(machine, now)?;
        let due = renewed.is_some();
        if let Some(pair) = renewed {
            self.take(pair)?;
        }
        Ok(due)
    }

    /// Reads the files again, whether they changed or not; of certificates that berth makes, makes what is due.
    ///
    /// # Errors
    /// [`TlsError`] if what is there now cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        match &self.source {
            Source::Files(files) => self.take(files.read()?),
            Source::Own(_) => self.renew_if_due(&Machine::this(), SystemTime::now()).map(drop),
        }
    }

    fn take(&self, pair: Pair) -> Result<(), TlsError> {
        let new = Arc::new(self.source.certified(pair, &self.provider)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Looks for changed files, or whether a new certificate is due, every `interval`, for as long as the future is polled;
    /// logs what it finds.
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
        match (reloaded, &self.source) {
            (Ok(true), Source::Files(files)) => {
                tracing::info!(certificate = %files.certificate().display(), "the certificate was reloaded");
            }
            (Ok(_), _) => {}
            (Err(error), Source::Files(_)) => {
                tracing::error!(%error, "the new certificate cannot be used; the old one stays in use");
            }
            (Err(error), Source::Own(_)) => {
                tracing::error!(%error, "no new certificate can be made; the old one stays in use");
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

impl Source {
    /// Also checks that the key belongs to the certificate.
    fn certified(&self, (chain, key): Pair, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        CertifiedKey::from_der(chain, key, provider).map_err(|source| match self {
            Source::Files(files) => files.unusable(source),
            Source::Own(_) => TlsError::Malformed {
                path: PathBuf::from(TLS),
                what: source.to_string(),
            },
        })
    }
}
