//! How a remote registry is reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use crate::origin::{InvalidOrigin, Origin};
use crate::registry::RemoteRegistry;
use crate::wire::Wire;

/// Settings of a [`RemoteRegistry`].
#[derive(Clone)]
pub struct Builder {
    origin: String,
    basic: Option<(String, String)>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    tls: Option<ClientConfig>,
}

/// Why a remote registry cannot be made of these settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The origin is none.
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// A secret would be sent in the clear over a network.
    #[error("credentials are sent over https, or to this machine itself, and nowhere else")]
    SecretInTheClear,
    /// A user name with a colon, or characters that a header cannot carry.
    #[error("the credentials cannot be sent as HTTP Basic: a user name has no colon")]
    Credentials,
    /// The system's trusted certificates cannot be read, or TLS not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Builder {
    /// The registry at `origin`: `https://host`, `http://127.0.0.1:5000`. Anonymous; ten seconds to connect, thirty
    /// of standstill; the system's trusted certificates.
    pub fn new(origin: impl Into<String>) -> Self {
        Builder {
            origin: origin.into(),
            basic: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            tls: None,
        }
    }

    /// Says who asks, by HTTP Basic. Taken only for `https`, or for this machine itself.
    #[must_use]
    pub fn basic(mut self, user: impl Into<String>, secret: impl Into<String>) -> Self {
        self.basic = Some((user.into(), secret.into()));
        self
    }

    /// How long a connection may take to come about.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the far end may stand still, neither taking nor giving bytes, while it is its turn.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Uses these TLS settings, other roots of trust perhaps, instead of the system's.
    #[must_use]
    pub fn tls(mut self, config: ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Makes the client. Nothing is sent before the first operation.
    ///
    /// # Errors
    /// [`BuildError`] says which setting makes no sense.
    pub fn build(self) -> Result<RemoteRegistry, BuildError> {
        let origin: Origin = self.origin.parse()?;
        if self.basic.is_some() && !origin.is_https() && !origin.is_loopback() {
            return Err(BuildError::SecretInTheClear);
        }
        let authorization = self.basic.as_ref().map(authorization).transpose()?;

        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(self.connect_timeout));
        http.set_nodelay(true);
        let tls = match self.tls {
            Some(config) => config,
            None => default_tls(&origin)?,
        };
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let connector = match origin.is_https() {
            true => builder.https_only(),
            false => builder.https_or_http(),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.idle_timeout)
            .build(connector.enable_http1().wrap_connector(http));
        Ok(RemoteRegistry::new_on(Wire {
            client,
            origin,
            authorization,
            idle: self.idle_timeout,
        }))
    }
}

fn default_tls(origin: &Origin) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| BuildError::Tls(why.into()))?;
    let roots = match origin.is_https() {
        true => versions
            .with_native_roots()
            .map_err(|why| BuildError::Tls(why.into()))?,
        // Not used: a registry without TLS is not left for one with it.
        false => versions.with_root_certificates(RootCertStore::empty()),
    };
    Ok(roots.with_no_client_auth())
}

fn authorization((user, secret): &(String, String)) -> Result<HeaderValue, BuildError> {
    if user.contains(':') {
        return Err(BuildError::Credentials);
    }
    let value = format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")));
    let mut value = HeaderValue::try_from(value).map_err(|_| BuildError::Credentials)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Builder {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("origin", &self.origin)
            .field("user", &self.basic.as_ref().map(|(user, _)| user))
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_neither_shown_nor_sent_in_the_clear() {
        let builder = Builder::new("http://127.0.0.1:5000").basic("robot", "hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"));
        let registry = builder.build().unwrap();
        let shown = format!("{registry:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains(&STANDARD.encode("robot:hunter2")),
            "{shown}"
        );

        let elsewhere = Builder::new("http://10.0.0.1:5000")
            .basic("robot", "hunter2")
            .build();
        assert!(matches!(elsewhere, Err(BuildError::SecretInTheClear)));
        let colon = Builder::new("http://127.0.0.1:5000").basic("a:b", "c").build();
        assert!(matches!(colon, Err(BuildError::Credentials)));
    }
}
