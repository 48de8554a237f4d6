//! The keys of `tls`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::schema::Config;
use super::value::{Kind, Value, quote};
use crate::tls::{self, Machine, Name, TLS, Tls, TlsError, Wanted};

/// TLS: with a certificate from files, with one that berth makes, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file with the server's certificate and its issuers.
    pub certificate: Option<PathBuf>,
    /// PEM file with its key.
    pub key: Option<PathBuf>,
    /// Whether berth makes its own certificate, with an authority of its own.
    pub self_signed: bool,
    /// Names that this one is to have beside those that berth finds out.
    pub names: Vec<Name>,
    /// How often to look whether the files changed, or a new certificate is due.
    pub reload: Duration,
}

impl TlsConfig {
    /// Whether the registry speaks TLS.
    pub fn is_on(&self) -> bool {
        self.certificate.is_some() || self.self_signed
    }

    /// The key that names the file an error is about.
    pub fn key_of(&self, error: &TlsError) -> &'static str {
        match self.key.as_deref() == Some(error.path()) {
            _ if self.self_signed => "tls.self_signed",
            true => "tls.key",
            false => "tls.certificate",
        }
    }

    /// What cannot be so: key and reason.
    pub(super) fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut claim = |holds: bool, key, why: &str| {
            if !holds {
                found.push((key, why.to_owned()));
            }
        };
        claim(
            self.certificate.is_none() || self.key.is_some(),
            "tls.certificate",
            "a certificate needs its key; set tls.key too",
        );
        claim(
            self.key.is_none() || self.certificate.is_some(),
            "tls.key",
            "a key needs its certificate; set tls.certificate too",
        );
        claim(
            self.certificate.is_none() || !self.self_signed,
            "tls.self_signed",
            "berth makes no certificate where tls.certificate names one; leave one of the two away",
        );
        claim(
            self.names.is_empty() || self.self_signed,
            "tls.names",
            "they are for a certificate that berth makes; set tls.self_signed too",
        );
        found
    }
}

impl Config {
    /// Whether the registry is at `https` or at `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_on() { "https" } else { "http" }
    }

    /// The certificate to speak TLS with, if it is to be spoken. Of one that berth makes, whoever calls this has the data
    /// directory for itself.
    ///
    /// # Errors
    /// [`TlsError`]; [`TlsConfig::key_of`] says which key it is about.
    pub fn certificate(&self) -> Result<Option<Arc<Tls>>, TlsError> {
        if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) {
            return Tls::from_files(certificate, key).map(Some);
        }
        if !self.tls.self_signed {
            return Ok(None);
        }
        let directory = self.certificates();
        Tls::self_signed(
            directory.as_deref(),
            self.wanted_names(),
            &Machine::this(),
            SystemTime::now(),
        )
        .map(Some)
    }

    /// What [`certificate`](Self::certificate) would do, a sentence each. Changes nothing.
    ///
    /// # Errors
    /// As that.
    pub fn certificate_plan(&self) -> Result<Vec<String>, TlsError> {
        if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) {
            return Tls::from_files(certificate, key).map(|_| Vec::new());
        }
        if !self.tls.self_signed {
            return Ok(Vec::new());
        }
        let directory = self.certificates();
        tls::plan(
            directory.as_deref(),
            &self.wanted_names(),
            &Machine::this(),
            SystemTime::now(),
        )
    }

    /// Where berth keeps certificates that it makes; nowhere if all is in memory.
    pub fn certificates(&self) -> Option<PathBuf> {
        (!self.memory).then(|| certificates_in(&self.data))
    }

    /// The names of a certificate that berth makes.
    fn wanted_names(&self) -> Wanted {
        let mut given = self.tls.names.clone();
        // Clients that are sent there for a token compare that name too.
        given.extend(
            self.trust
                .external
                .as_ref()
                .and_then(|external| external.host().parse().ok()),
        );
        Wanted {
            listen: self.listen.clone(),
            given,
        }
    }
}

/// Where in a data directory berth keeps certificates that it makes.
pub fn certificates_in(data: &Path) -> PathBuf {
    data.join(TLS)
}

/// Names for a certificate; there may be none.
impl Value for Vec<Name> {
    fn kind(&self) -> Kind {
        Kind::List
    }

    fn allowed(&self) -> String {
        "a host's name or an IP address without a port, or several of them".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        let parsed: Result<Vec<Name>, _> = match text.trim() {
            "" => Ok(Vec::new()),
            text => text.split(',').map(|one| one.trim().parse()).collect(),
        };
        match parsed {
            Ok(names) => {
                *self = names;
                true
            }
            Err(_) => false,
        }
    }

    fn show(&self) -> String {
        let all: Vec<String> = self.iter().map(|one| quote(&one.to_string())).collect();
        format!("[{}]", all.join(", "))
    }
}
