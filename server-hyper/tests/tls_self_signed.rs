//! Certificates that berth makes for itself.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use server_hyper::tls::{
    AUTHORITY_LIFE, BACKDATED, Inspected, Machine, Name, RENEWED_BEFORE, SERVER_LIFE, Tls, TlsError, Wanted,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use support::{get, hello, http1_over, read, soon, start};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// 2026-01-01, so that no test depends on when it runs.
fn new_year() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// A data directory's certificates, on a machine that a test chooses.
struct Kept {
    directory: tempfile::TempDir,
    machine: Machine,
    given: Vec<Name>,
}

impl Kept {
    fn new() -> Self {
        Kept {
            directory: tempfile::tempdir().unwrap(),
            machine: Machine {
                host: Some(name("build-7")),
                addresses: vec!["192.0.2.7".parse().unwrap()],
            },
            given: vec![name("registry.example")],
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("tls").join(name)
    }

    fn open(&self, now: SystemTime) -> Result<Arc<Tls>, TlsError> {
        let wanted = Wanted {
            listen: vec!["0.0.0.0:5000".parse().unwrap()],
            given: self.given.clone(),
        };
        Tls::self_signed(Some(&self.path("")), wanted, &self.machine, now)
    }

    fn der(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    fn says(&self, name: &str) -> Inspected {
        Inspected::of(&self.der(name)).unwrap()
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.path(""))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    fs::read(entry.path()).unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    }

    /// Whether a client that trusts the authority takes the server by this name then.
    fn takes(&self, called: &str, then: SystemTime) -> Result<(), rustls::Error> {
        let seconds = then.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        verifier(&self.der("ca.pem"))
            .verify_server_cert(
                &self.der("server.pem"),
                &[],
                &ServerName::try_from(called.to_owned()).unwrap(),
                &[],
                UnixTime::since_unix_epoch(seconds),
            )
            .map(|_| ())
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn verifier(authority: &CertificateDer<'static>) -> Arc<WebPkiServerVerifier> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .unwrap()
}

#[test]
fn a_client_that_trusts_the_authority_takes_the_server_by_each_of_its_names() {
    let kept = Kept::new();
    kept.open(new_year()).unwrap();
    for called in [
        "localhost",
        "127.0.0.1",
        "::1",
        "build-7",
        "192.0.2.7",
        "registry.example",
    ] {
        assert_eq!(kept.takes(called, new_year()), Ok(()), "{called}");
    }
    for called in ["example", "a.registry.example", "192.0.2.8", "build-8"] {
        assert!(kept.takes(called, new_year()).is_err(), "{called}");
    }
    // Another's authority is not enough, though it is made the same way.
    let other = Kept::new();
    other.open(new_year()).unwrap();
    fs::copy(other.path("ca.pem"), kept.path("ca.pem")).unwrap();
    assert!(kept.takes("localhost", new_year()).is_err());
}

#[test]
fn clients_whose_clocks_are_behind_by_a_day_take_it_and_no_certificate_lasts_longer_than_allowed() {
    let kept = Kept::new();
    let now = new_year();
    kept.open(now).unwrap();
    let second = Duration::from_secs(1);
    assert_eq!(kept.takes("localhost", now - BACKDATED), Ok(()));
    let early = kept.takes("localhost", now - BACKDATED - second).unwrap_err();
    assert!(
        matches!(
            early,
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
            )
        ),
        "{early}"
    );
    let server = kept.says("server.pem");
    let life = server.not_after.duration_since(server.not_before).unwrap();
    assert!(life == SERVER_LIFE && life < 397 * DAY, "{life:?}");
    assert_eq!(kept.takes("localhost", server.not_after), Ok(()));
    assert!(kept.takes("localhost", server.not_after + second).is_err());
    let authority = kept.says("ca.pem");
    assert_eq!(authority.not_before, now - BACKDATED);
    assert_eq!(authority.not_after, now + AUTHORITY_LIFE);
}

#[test]
fn the_authority_signs_servers_and_nothing_else() {
    let kept = Kept::new();
    kept.open(new_year()).unwrap();
    let der = kept.der("ca.pem");
    let (_, authority) = x509_parser::parse_x509_certificate(&der).unwrap();
    let basic = authority.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    let usage = authority.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());

    let der = kept.der("server.pem");
    let (_, server) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(!server.is_ca());
    let usage = server.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let extended = server.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.client_auth && !extended.any);
    assert_ne!(server.raw_serial(), authority.raw_serial());
}

#[test]
fn a_restart_keeps_the_authority_and_the_certificate() {
    let kept = Kept::new();
    let first = kept.open(new_year()).unwrap();
    let files = kept.files();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ca.key", "ca.pem", "server.key", "server.pem"]);
    let second = kept.open(new_year() + 100 * DAY).unwrap();
    assert_eq!(kept.files(), files, "nothing was due");
    assert_eq!(first.authority(), second.authority());
    assert_eq!(first.authority().unwrap().as_bytes(), files[1].1);
}

#[test]
fn keys_are_for_their_owner_alone_and_are_made_so_again() {
    let kept = Kept::new();
    kept.open(new_year()).unwrap();
    let mode = |name: &str| fs::metadata(kept.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("server.key")), (0o600, 0o600));
    assert_eq!((mode("ca.pem"), mode("server.pem")), (0o644, 0o644));
    fs::set_permissions(kept.path("ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    kept.open(new_year()).unwrap();
    assert_eq!(mode("ca.key"), 0o600);
}

#[test]
fn a_certificate_is_renewed_before_its_end_by_the_same_authority() {
    let kept = Kept::new();
    let tls = kept.open(new_year()).unwrap();
    let (authority, first) = (kept.says("ca.pem"), kept.says("server.pem"));
    let due = first.not_after - RENEWED_BEFORE;
    let renewed = |at| tls.renew_if_due(&kept.machine, at).unwrap();
    assert!(!renewed(due - Duration::from_secs(1)));
    assert_eq!(kept.says("server.pem"), first);
    assert!(renewed(due));
    assert!(!renewed(due), "once");
    let second = kept.says("server.pem");
    assert_eq!(second.names, first.names);
    assert_eq!(second.not_after, due - BACKDATED + SERVER_LIFE);
    assert_eq!(kept.says("ca.pem"), authority);
    assert_eq!(kept.takes("localhost", first.not_after + DAY), Ok(()));
    // A server that was off at the time renews when it starts.
    let late = second.not_after + DAY;
    kept.open(late).unwrap();
    assert_eq!(kept.takes("localhost", late), Ok(()));
    assert_eq!(kept.says("ca.pem"), authority);
}

#[test]
fn a_name_that_is_new_makes_a_new_certificate_and_one_that_is_gone_only_at_a_start() {
    let mut kept = Kept::new();
    let tls = kept.open(new_year()).unwrap();
    let first = kept.says("server.pem");

    kept.machine.addresses.clear();
    assert!(!tls.renew_if_due(&kept.machine, new_year()).unwrap());
    kept.machine.addresses.push("198.51.100.7".parse().unwrap());
    assert!(tls.renew_if_due(&kept.machine, new_year()).unwrap());
    let second = kept.says("server.pem");
    let difference = |one: &Inspected, other: &Inspected| -> BTreeSet<Name> {
        one.names.difference(&other.names).cloned().collect()
    };
    assert_eq!(
        difference(&second, &first),
        BTreeSet::from([name("198.51.100.7")])
    );
    assert_eq!(difference(&first, &second), BTreeSet::from([name("192.0.2.7")]));

    kept.given = vec![name("other.example")];
    kept.open(new_year()).unwrap();
    let third = kept.says("server.pem");
    assert_eq!(
        difference(&second, &third),
        BTreeSet::from([name("registry.example")])
    );
    assert_eq!(
        difference(&third, &second),
        BTreeSet::from([name("other.example")])
    );
}

#[test]
fn a_server_certificate_never_outlives_its_authority_and_an_authority_that_ended_is_told() {
    let kept = Kept::new();
    kept.open(new_year()).unwrap();
    let end = kept.says("ca.pem").not_after;
    let tls = kept.open(end - 10 * DAY).unwrap();
    assert_eq!(kept.says("server.pem").not_after, end);
    // There is nothing longer to be had, so it is not made anew all the time.
    assert!(!tls.renew_if_due(&kept.machine, end - DAY).unwrap());
    for error in [
        tls.renew_if_due(&kept.machine, end).unwrap_err(),
        kept.open(end).unwrap_err(),
    ] {
        let said = error.to_string();
        assert!(said.contains("tls/ca.pem: ended on 20"), "{said}");
        assert!(said.contains("remove it and ca.key"), "{said}");
    }
}

#[test]
fn a_server_certificate_that_cannot_be_used_is_replaced() {
    let kept = Kept::new();
    kept.open(new_year()).unwrap();
    let other = Kept::new();
    other.open(new_year()).unwrap();
    let good = kept.files();
    let spoil: [&dyn Fn(); 6] = [
        &|| fs::remove_file(kept.path("server.pem")).unwrap(),
        &|| fs::remove_file(kept.path("server.key")).unwrap(),
        &|| fs::write(kept.path("server.pem"), "nonsense").unwrap(),
        &|| fs::write(kept.path("server.key"), "").unwrap(),
        // As a crash between the two leaves them.
        &|| copy(&other.path("server.key"), &kept.path("server.key")),
        &|| {
            copy(&other.path("server.key"), &kept.path("server.key"));
            copy(&other.path("server.pem"), &kept.path("server.pem"));
        },
    ];
    for spoil in spoil {
        spoil();
        kept.open(new_year()).unwrap();
        assert_eq!(kept.takes("localhost", new_year()), Ok(()));
        let files = kept.files();
        assert_eq!(files[..2], good[..2], "the authority stays");
        assert_eq!(files.len(), 4);
    }
}

#[test]
fn an_authority_whose_certificate_is_missing_is_made_again_for_whoever_trusts_it() {
    let kept = Kept::new();
    kept.open(new_year()).unwrap();
    let trusted = kept.der("ca.pem");
    fs::remove_file(kept.path("ca.pem")).unwrap();
    fs::remove_file(kept.path("server.pem")).unwrap();
    kept.open(new_year()).unwrap();
    fs::write(kept.path("ca.pem"), pem(&trusted)).unwrap();
    assert_eq!(kept.takes("localhost", new_year()), Ok(()));
}

fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

#[test]
fn an_authority_is_never_replaced_and_what_is_wrong_with_it_is_told_with_its_file() {
    let kept = Kept::new();
    kept.open(new_year()).unwrap();
    let other = Kept::new();
    other.open(new_year()).unwrap();
    let cases: [(&dyn Fn(), &str); 6] = [
        (
            &|| fs::remove_file(kept.path("ca.key")).unwrap(),
            "tls/ca.key: is missing",
        ),
        (
            &|| fs::write(kept.path("ca.key"), "x").unwrap(),
            "tls/ca.key: does not hold a private key",
        ),
        (
            &|| fs::write(kept.path("ca.pem"), "x").unwrap(),
            "tls/ca.pem: does not hold a certificate",
        ),
        (
            &|| copy(&other.path("ca.key"), &kept.path("ca.key")),
            "tls/ca.key: is not the key of the certificate",
        ),
        (
            &|| copy(&kept.path("server.pem"), &kept.path("ca.pem")),
            "tls/ca.pem: is the certificate of a server",
        ),
        (
            &|| {
                fs::remove_file(kept.path("ca.pem")).unwrap();
                fs::create_dir(kept.path("ca.pem")).unwrap();
            },
            "tls/ca.pem: cannot be read",
        ),
    ];
    for (spoil, expected) in cases {
        let files = kept.files();
        spoil();
        let said = kept.open(new_year()).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
        if kept.path("ca.pem").is_dir() {
            fs::remove_dir(kept.path("ca.pem")).unwrap();
        }
        for (name, content) in files {
            fs::write(kept.path(&name), content).unwrap();
        }
    }
    kept.open(new_year()).unwrap();
}

async fn connect(
    address: SocketAddr,
    authority: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

fn leaf(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections_without_a_restart_and_old_ones_go_on() {
    let kept = Kept::new();
    let tls = kept.open(SystemTime::now()).unwrap();
    let server = start(hello().tls(Arc::clone(&tls))).await;
    let authority = kept.der("ca.pem");
    let stream = connect(server.address, &authority).await.unwrap();
    let first = leaf(&stream);
    assert_eq!(first, kept.der("server.pem").to_vec());
    let mut old = http1_over(stream).await;
    assert_eq!(
        read(soon(old.send_request(get("/"))).await.unwrap()).await.1,
        "hello"
    );

    let mut machine = kept.machine.clone();
    machine.addresses.push("203.0.113.1".parse().unwrap());
    assert!(tls.renew_if_due(&machine, SystemTime::now()).unwrap());
    let stream = connect(server.address, &authority).await.unwrap();
    assert_ne!(leaf(&stream), first);
    assert_eq!(leaf(&stream), kept.der("server.pem").to_vec());
    assert_eq!(
        read(soon(old.send_request(get("/"))).await.unwrap()).await.1,
        "hello"
    );
}

#[tokio::test]
async fn in_memory_an_authority_is_made_and_no_file() {
    let tls = Tls::self_signed(None, Wanted::default(), &Machine::default(), SystemTime::now()).unwrap();
    let server = start(hello().tls(Arc::clone(&tls))).await;
    let authority = CertificateDer::from_pem_slice(tls.authority().unwrap().as_bytes()).unwrap();
    connect(server.address, &authority).await.unwrap();
    let again = Tls::self_signed(None, Wanted::default(), &Machine::default(), SystemTime::now()).unwrap();
    assert_ne!(tls.authority(), again.authority(), "another one with each start");
    assert!(!format!("{tls:?}").contains("PRIVATE"), "no key is printed");
}

#[test]
fn a_renewed_certificate_that_cannot_be_kept_is_used_all_the_same() {
    let kept = Kept::new();
    let tls = kept.open(new_year()).unwrap();
    let first = kept.says("server.pem");
    // Where the new file would be written there is a directory, which not even root can write to.
    let in_the_way = kept.path("server.key.new");
    fs::create_dir(&in_the_way).unwrap();
    assert!(tls.renew_if_due(&kept.machine, first.not_after - DAY).unwrap());
    assert!(
        !tls.renew_if_due(&kept.machine, first.not_after - DAY).unwrap(),
        "it is in use"
    );
    assert_eq!(kept.says("server.pem"), first);
    fs::remove_dir(&in_the_way).unwrap();
    kept.open(first.not_after - DAY).unwrap();
    assert_ne!(kept.says("server.pem"), first);
}

#[test]
fn the_directory_is_made_with_its_parents() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("not/yet/tls");
    let open = || Tls::self_signed(Some(&deep), Wanted::default(), &Machine::default(), new_year());
    open().unwrap();
    assert!(deep.join("ca.pem").exists());
}
