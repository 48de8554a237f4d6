//! The certificates that berth makes for itself: where they are kept, and when there are new ones.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::TlsError;
use super::authority::{Authority, AuthorityError, Issued};
use super::inspect::Inspected;
use super::keep::{Readers, keep, make_directory, own_secret};
use super::names::{Machine, Name, Wanted, listed};

/// The directory for them in the data directory.
pub const TLS: &str = "tls";
/// In it, the authority's certificate: what clients are told to trust.
pub const AUTHORITY: &str = "ca.pem";
/// In it, the authority's key.
pub const AUTHORITY_KEY: &str = "ca.key";
/// In it, the server's certificate.
pub const SERVER: &str = "server.pem";
/// In it, the server's key.
const SERVER_KEY: &str = "server.key";

/// How long before its end a server's certificate is replaced.
pub const RENEWED_BEFORE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A chain and its key, as the TLS library takes them.
pub(super) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A server's certificate that berth issued to itself, and what it issues the next one with.
#[derive(Debug)]
pub(super) struct Own {
    /// Where all is kept; in memory only if nowhere.
    directory: Option<PathBuf>,
    authority: Authority,
    wanted: Wanted,
    current: Mutex<Inspected>,
}

/// Why a new certificate is due.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    /// There is none, or none that can be used.
    None,
    /// It is for other names.
    Names(BTreeSet<Name>),
    /// It ends soon.
    Ends(SystemTime),
}

impl Due {
    fn why(&self) -> String {
        match self {
            Due::None => "there was none that can be used".to_owned(),
            Due::Names(names) => format!("the names changed, in {}", listed(names)),
            Due::Ends(end) => format!("the last one ends on {}", humantime::format_rfc3339_seconds(*end)),
        }
    }
}

impl Own {
    /// What is in `directory`, and what is missing there, made; all of it in memory if there is no directory.
    pub(super) fn open(
        directory: Option<&Path>,
        wanted: Wanted,
        machine: &Machine,
        now: SystemTime,
    ) -> Result<(Self, Pair), TlsError> {
        let found = match directory {
            Some(directory) => {
                make_directory(directory).map_err(|error| unusable(directory, error))?;
                let found = Found::in_directory(directory)?;
                for name in [AUTHORITY_KEY, SERVER_KEY] {
                    let path = directory.join(name);
                    own_secret(&path).map_err(|error| unusable(&path, error))?;
                }
                found
            }
            None => Found::default(),
        };
        let authority = match (found.authority, directory) {
            (FoundAuthority::Whole(authority), _) => *authority,
            (FoundAuthority::KeyAlone(key), directory) => {
                let authority = Authority::with_key(&key, now)
                    .map_err(|error| refused(directory, AUTHORITY_KEY, error))?;
                store(directory, AUTHORITY, authority.pem(), Readers::Anyone)?;
                authority
            }
            (FoundAuthority::Nothing, directory) => {
                let (authority, key) =
                    Authority::make(now).map_err(|error| refused(directory, AUTHORITY, error))?;
                // The key first: with it alone, the same authority can be made again.
                store(directory, AUTHORITY_KEY, &key, Readers::Owner)?;
                store(directory, AUTHORITY, authority.pem(), Readers::Anyone)?;
                tracing::info!(
                    "made a certificate authority, {}; clients have to be told to trust it: berth trust",
                    authority.inspect().subject
                );
                authority
            }
        };
        let names = wanted.on(machine);
        if let Some((pair, inspected)) = found.server
            && due(&inspected, &authority, &names, now).is_none()
            && inspected.names == names
        {
            let own = Own {
                directory: directory.map(Path::to_owned),
                authority,
                wanted,
                current: Mutex::new(inspected),
            };
            return Ok((own, pair));
        }
        let issued = authority
            .issue(&names, now)
            .map_err(|error| refused(directory, AUTHORITY, error))?;
        keep_issued(directory, &issued)?;
        let (pair, inspected) = usable(&issued)?;
        tell(&inspected);
        let own = Own {
            directory: directory.map(Path::to_owned),
            authority,
            wanted,
            current: Mutex::new(inspected),
        };
        Ok((own, pair))
    }

    /// A new certificate if one is due: the one in use ends soon, or is not for a name by which the machine is reached now.
    /// A name that has gone is no reason, since addresses come and go.
    pub(super) fn renew(&self, machine: &Machine, now: SystemTime) -> Result<Option<Pair>, TlsError> {
        let names = self.wanted.on(machine);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(due) = due(&current, &self.authority, &names, now) else {
            return Ok(None);
        };
        let directory = self.directory.as_deref();
        let issued = self
            .authority
            .issue(&names, now)
            .map_err(|error| refused(directory, AUTHORITY, error))?;
        let (pair, inspected) = usable(&issued)?;
        // A disk that is full is no reason to go on with a certificate that ends; the next start makes another one.
        if let Err(error) = keep_issued(directory, &issued) {
            tracing::error!(%error, "the server's new certificate is in use, but could not be kept");
        }
        tracing::info!("a new certificate was due: {}", due.why());
        tell(&inspected);
        *current = inspected;
        Ok(Some(pair))
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }
}

fn tell(inspected: &Inspected) {
    tracing::info!(
        "made a server certificate for {}; good until {}",
        listed(&inspected.names),
        humantime::format_rfc3339_seconds(inspected.not_after)
    );
}

/// What a start would do with the certificates of `directory`, in a sentence for each. Changes nothing.
///
/// # Errors
/// [`TlsError`] if what is there would keep it from starting.
pub fn plan(
    directory: Option<&Path>,
    wanted: &Wanted,
    machine: &Machine,
    now: SystemTime,
) -> Result<Vec<String>, TlsError> {
    let found = match directory {
        Some(directory) => Found::in_directory(directory)?,
        None => Found::default(),
    };
    let names = wanted.on(machine);
    let issues = |why: &str| {
        format!(
            "a new server certificate would be made for {}{why}",
            listed(&names)
        )
    };
    let (authority, file) = match (found.authority, directory) {
        (FoundAuthority::Whole(authority), Some(directory)) => (authority, directory.join(AUTHORITY)),
        (_, Some(directory)) => {
            let would = format!(
                "a certificate authority would be made, and be kept in {}",
                directory.display()
            );
            return Ok(vec![would, issues("")]);
        }
        (_, None) => {
            let would = "a certificate authority would be made, in memory only: another one with each start";
            return Ok(vec![would.to_owned(), issues("")]);
        }
    };
    let inspected = authority.inspect();
    if now >= inspected.not_after {
        return Err(refused(
            directory,
            AUTHORITY,
            AuthorityError::Ended(inspected.not_after),
        ));
    }
    let kept = format!(
        "signed by {}, which clients are to trust: {}, good until {}",
        inspected.subject,
        file.display(),
        humantime::format_rfc3339_seconds(inspected.not_after)
    );
    let due = match &found.server {
        None => Some(Due::None),
        Some((_, server)) if server.names != names => Some(Due::Names(names.clone())),
        Some((_, server)) => due(server, &authority, &names, now),
    };
    let server = match (due, &found.server) {
        (None, Some((_, server))) => format!(
            "the server certificate is for {}, and good until {}",
            listed(&server.names),
            humantime::format_rfc3339_seconds(server.not_after)
        ),
        (Some(Due::Names(_)), _) => issues(", as the names changed"),
        (Some(Due::Ends(_)), _) => issues(", as the last one ends soon"),
        _ => issues(""),
    };
    Ok(vec![kept, server])
}

/// Why a certificate has to be replaced, if it has to.
fn due(current: &Inspected, authority: &Authority, names: &BTreeSet<Name>, now: SystemTime) -> Option<Due> {
    if !authority.signed_this(current) {
        return Some(Due::None);
    }
    let missing: BTreeSet<Name> = names.difference(&current.names).cloned().collect();
    if !missing.is_empty() {
        return Some(Due::Names(missing));
    }
    let end = current.not_after;
    // The authority's end is its own as well: nothing lasts longer.
    let lasts = now + RENEWED_BEFORE < end || end >= authority.inspect().not_after && now < end;
    // Made by a clock that has been put back since.
    let begun = current.not_before <= now;
    (!lasts || !begun).then_some(Due::Ends(end))
}

/// What a directory holds of certificates.
#[derive(Default)]
struct Found {
    authority: FoundAuthority,
    /// The server's certificate and key, if they can be used.
    server: Option<(Pair, Inspected)>,
}

#[derive(Default)]
enum FoundAuthority {
    #[default]
    Nothing,
    /// Making it ended before there was a certificate, or that was lost.
    KeyAlone(Zeroizing<String>),
    Whole(Box<Authority>),
}

impl Found {
    fn in_directory(directory: &Path) -> Result<Self, TlsError> {
        let path = |name: &str| directory.join(name);
        let authority = match (read(&path(AUTHORITY))?, read(&path(AUTHORITY_KEY))?) {
            (Some(certificate), Some(key)) => {
                let authority = Authority::from_pem(&certificate, &key).map_err(|error| {
                    let name = match error {
                        AuthorityError::NoKey | AuthorityError::OtherKey => AUTHORITY_KEY,
                        _ => AUTHORITY,
                    };
                    refused(Some(directory), name, error)
                })?;
                FoundAuthority::Whole(Box::new(authority))
            }
            (None, Some(key)) => FoundAuthority::KeyAlone(key),
            (None, None) => FoundAuthority::Nothing,
            (Some(_), None) => {
                return Err(TlsError::Malformed {
                    path: path(AUTHORITY_KEY),
                    what: format!(
                        "is missing, so that nothing can be signed as {} promises; bring it back, or remove {AUTHORITY} too: \
                         then another authority is made, and every client has to be told to trust that one",
                        path(AUTHORITY).display()
                    ),
                });
            }
        };
        let server = match (read(&path(SERVER))?, read(&path(SERVER_KEY))?) {
            // Replaced whatever is the matter with it, so nobody needs to know.
            (Some(certificate), Some(key)) => pair(&certificate, &key),
            _ => None,
        };
        Ok(Found { authority, server })
    }
}

/// A certificate and a key that belong together.
fn pair(certificate: &str, key: &str) -> Option<(Pair, Inspected)> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .ok()?;
    let inspected = Inspected::of(chain.first()?).ok()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).ok()?;
    Some(((chain, key), inspected))
}

fn usable(issued: &Issued) -> Result<(Pair, Inspected), TlsError> {
    pair(&issued.certificate, &issued.key).ok_or_else(|| TlsError::Malformed {
        path: PathBuf::from(SERVER),
        what: "was made just now and cannot be used".to_owned(),
    })
}

/// The key first, so that a certificate never stands there with none; one that is not its own is found at the next start.
fn keep_issued(directory: Option<&Path>, issued: &Issued) -> Result<(), TlsError> {
    store(directory, SERVER_KEY, &issued.key, Readers::Owner)?;
    store(directory, SERVER, &issued.certificate, Readers::Anyone)
}

fn store(directory: Option<&Path>, name: &str, text: &str, readers: Readers) -> Result<(), TlsError> {
    match directory {
        Some(directory) => {
            keep(directory, name, text, readers).map_err(|error| unusable(&directory.join(name), error))
        }
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, TlsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TlsError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

fn unusable(path: &Path, error: io::Error) -> TlsError {
    TlsError::Malformed {
        path: path.to_owned(),
        what: format!("cannot be made: {error}"),
    }
}

fn refused(directory: Option<&Path>, name: &str, error: AuthorityError) -> TlsError {
    let path = directory.map_or_else(|| PathBuf::from(name), |directory| directory.join(name));
    let what = match error {
        AuthorityError::Ended(_) => format!(
            "{error}; remove it and {AUTHORITY_KEY}, so that another one is made, and tell every client to trust that one"
        ),
        error => error.to_string(),
    };
    TlsError::Malformed { path, what }
}
