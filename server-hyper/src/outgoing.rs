//! How commands reach a server over HTTP: which certificates they trust, and where no secret goes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest that a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Why an address cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error("{0}")]
    Invalid(String),
    /// What is sent there could be read on its way.
    #[error("{0}: to another machine only over https: the secret could be read on its way")]
    Clear(String),
    /// The certificates to trust cannot be read.
    #[error("{file}: {why}")]
    Certificates {
        /// Where they should be.
        file: String,
        /// Why not.
        why: String,
    },
}

/// Which addresses may be asked over plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// Only this machine's own.
    Loopback,
    /// All, although what is sent can be read on its way.
    Anywhere,
}

/// A client for the server at `url`. For https the server's certificate must lead to one in the PEM file `authority`;
/// without one, to one that the system trusts. It follows no redirects and asks no proxy, since secrets would go with
/// it, and an answer of any status is an answer.
///
/// # Errors
/// [`AddressError`].
pub fn agent(url: &str, authority: Option<&Path>, clear: Clear) -> Result<ureq::Agent, AddressError> {
    let uri: http::Uri = url
        .parse()
        .map_err(|why| AddressError::Invalid(format!("{url:?} is no address: {why}")))?;
    let roots = match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Some(roots(authority)?),
        (Some("http"), Some(host)) if clear == Clear::Anywhere || is_loopback(host) => None,
        (Some("http"), Some(_)) => return Err(AddressError::Clear(url.to_owned())),
        _ => {
            return Err(AddressError::Invalid(format!(
                "{url:?} is no address of a server, such as http://127.0.0.1:5001"
            )));
        }
    };
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_connect(Some(CONNECT));
    if let Some(roots) = roots {
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        config = config.tls_config(tls);
    }
    Ok(config.build().into())
}

/// Whether a host of an address is this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// What is trusted: the certificates in a file, else those that the system trusts.
fn roots(authority: Option<&Path>) -> Result<RootCerts, AddressError> {
    let certificates: Vec<CertificateDer<'static>> = match authority {
        Some(file) => {
            let failed = |why: String| AddressError::Certificates {
                file: file.display().to_string(),
                why,
            };
            let read = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|why| failed(why.to_string()))?;
            if read.is_empty() {
                return Err(failed("holds no certificate".to_owned()));
            }
            read
        }
        // Some of the system's may be unreadable; the others count.
        None => rustls_native_certs::load_native_certs().certs,
    };
    let certificates: Vec<_> = certificates
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    Ok(RootCerts::new_with_certs(&certificates))
}
