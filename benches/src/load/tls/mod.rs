//! TLS 1.3 with one cipher suite for all servers, and a certificate that the tool makes.
//!
//! rustls makes the handshake; then its keys are taken, and [`records`] are sealed and opened here: the client opens what it
//! receives where it lies and drops it, and [`floor`] is a server that does nothing but read, seal and write. So that all
//! servers pay for the same cipher, the client offers no other.

pub mod floor;
pub mod records;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Connection, RootCertStore, ServerConfig};

use records::Keys;

/// The only cipher suite that the client offers: the first that clients written in Go offer on processors with AES.
pub const CIPHER_SUITE: &str = "TLS_AES_128_GCM_SHA256";

/// The provider that the server has too, with this suite alone.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..ring::default_provider()
    })
}

/// A certificate for loopback, its key, and a client that trusts it and nothing else.
#[derive(Clone)]
pub struct Identity {
    certificate: String,
    key: String,
    /// How a client connects to servers that show it.
    pub client: Arc<ClientConfig>,
}

/// Where a server finds its certificate.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl Files {
    /// Below this directory, whether they are there or not.
    pub fn below(directory: &Path) -> Self {
        Files {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        }
    }
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).map_err(io::Error::other)?;
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        client.enable_secret_extraction = true;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Identity {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            client: Arc::new(client),
        })
    }

    /// Writes the certificate and its key below a directory.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<Files> {
        let files = Files::below(directory);
        fs::write(&files.certificate, &self.certificate)?;
        fs::write(&files.key, &self.key)?;
        Ok(files)
    }
}

/// How the floor accepts connections with this certificate.
///
/// # Errors
/// If the files hold no certificate and its key.
pub fn server(files: &Files) -> io::Result<Arc<ServerConfig>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(io::Error::other)?
        .collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Makes the handshake on a stream that blocks. The keys for what is sent, and for what is received.
///
/// It takes one record at a time, so nothing is left in rustls that was received behind the handshake.
///
/// # Errors
/// If the peer is not there, not trusted, or has no such cipher suite.
pub fn shake_hands(stream: &mut (impl Read + Write), mut tls: Connection) -> io::Result<[Keys; 2]> {
    let mut record = Vec::new();
    loop {
        while tls.wants_write() {
            tls.write_tls(stream)?;
        }
        if !tls.is_handshaking() {
            break;
        }
        records::take(stream, &mut record)?;
        let mut left = record.as_slice();
        while !left.is_empty() {
            tls.read_tls(&mut left)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
    let secrets = tls.dangerous_extract_secrets().map_err(io::Error::other)?;
    Ok([Keys::new(secrets.tx)?, Keys::new(secrets.rx)?])
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::super::connection::{Connection, Request};
    use super::super::{Target, fill};
    use super::*;

    #[tokio::test]
    async fn what_the_floor_seals_the_client_opens() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::new().unwrap();
        let config = server(&identity.write(directory.path()).unwrap()).unwrap();
        // Neither a whole number of records nor of batches.
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|at| (at / 7) as u8).collect();
        fs::write(directory.path().join("blob"), &bytes).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = Target {
            address: listener.local_addr().unwrap(),
            process: None,
            tls: Some(identity.client),
        };
        let root = directory.path().to_owned();
        std::thread::spawn(move || floor::serve(&listener, &root, &config));
        let mut connection = Connection::to(&target);
        let whole = Request::get("GET", "/blob");
        for _ in 0..2 {
            let (_, got) = connection.read(&whole, &[], &[200]).await.unwrap();
            assert!(got == bytes);
            let (_, dropped) = connection.ask(&whole, &[], &[200]).await.unwrap();
            assert_eq!(dropped, bytes.len() as u64);
        }
        let nowhere = Request::get("GET", &fill::blob_path("a", "b"));
        assert!(connection.ask(&nowhere, &[], &[200]).await.is_err());
    }

    #[test]
    fn a_server_with_another_certificate_is_not_trusted() {
        let directory = tempfile::tempdir().unwrap();
        let config = server(&Identity::new().unwrap().write(directory.path()).unwrap()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || floor::serve(&listener, directory.path(), &config));
        let stranger = Identity::new().unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let tls = rustls::ClientConnection::new(stranger.client, address.ip().into()).unwrap();
        let refused = shake_hands(&mut stream, tls.into()).err().unwrap();
        assert!(refused.to_string().contains("certificate"), "{refused}");
    }
}
