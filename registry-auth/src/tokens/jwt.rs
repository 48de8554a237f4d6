//! The form of a token: a JSON Web Token (RFC 7519) signed with Ed25519 (RFC 8037), with the claims that
//! distribution's `docs/content/spec/auth/jwt.md` asks for.
//!
//! Clients do not look into tokens, so their algorithm is ours to choose, and there is one. What a header says about
//! keys beside an id is refused: a token cannot bring its own.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use registry_core::auth::{Access, Actions, Scope};
use registry_core::{Error, ErrorKind, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::key::SigningKey;

/// How far the clocks of two nodes may be apart.
pub const LEEWAY_SECONDS: u64 = 60;

/// Longest token that is looked at, in bytes.
pub const TOKEN_MAX: usize = 16 << 10;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who made the token.
    pub iss: String,
    /// Whom it is about; empty for nobody in particular.
    pub sub: String,
    /// The service that it is for.
    pub aud: String,
    /// When it ends, in seconds since the epoch, as the other times.
    pub exp: u64,
    /// From when on it is valid.
    pub nbf: u64,
    /// When it was made.
    pub iat: u64,
    /// Its own name, for logs.
    pub jti: String,
    /// What it opens.
    pub access: Vec<Entry>,
    /// The stamp of its subject's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<u64>,
    /// The ids of the projects whose repositories it opens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub projects: BTreeMap<String, u64>,
}

/// One entry of `access`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `repository` or `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The repository's name, or `catalog`.
    pub name: String,
    /// What may be done there.
    pub actions: Vec<String>,
}

impl Entry {
    /// A scope as the claim has it.
    pub fn list(scope: &Scope) -> Vec<Entry> {
        let entry = |kind: &str, name: &str, actions: Vec<String>| Entry {
            kind: kind.to_owned(),
            name: name.to_owned(),
            actions,
        };
        let actions = |actions: Actions| actions.iter().map(|action| action.as_str().to_owned()).collect();
        let mut entries: Vec<Entry> = scope
            .repositories()
            .map(|(name, opened)| entry("repository", name.as_str(), actions(opened)))
            .collect();
        if scope.opens_catalog() {
            entries.push(entry("registry", "catalog", vec!["*".to_owned()]));
        }
        entries
    }
}

impl Claims {
    /// What the token opens. Entries of types that are not known here open nothing.
    ///
    /// # Errors
    /// [`Unauthorized`](ErrorKind::Unauthorized) for what is no repository.
    pub fn scope(&self) -> Result<Scope> {
        let mut scope = Scope::new();
        for entry in &self.access {
            let actions = || entry.actions.iter().map(String::as_str);
            match (entry.kind.as_str(), entry.name.as_str()) {
                ("repository", name) => {
                    let name = name
                        .parse()
                        .map_err(|_| refused("the token opens what is no repository"))?;
                    scope.name(name, actions().collect());
                }
                ("registry", "catalog") if actions().any(|action| action == "*") => {
                    scope.open(Access::Catalog)
                }
                _ => {}
            }
        }
        Ok(scope)
    }
}

/// A token of these claims.
pub(super) fn sign(key: &SigningKey, claims: &Claims) -> Result<String> {
    let Some(encoding) = &key.encoding else {
        return Err(Error::internal(
            "a key without its private half was asked to sign",
        ));
    };
    let header = Header {
        kid: Some(key.id.clone()),
        ..Header::new(Algorithm::EdDSA)
    };
    encode(&header, claims, encoding).map_err(Error::internal)
}

/// The id of the key that a token says it was signed with. Nothing that it says is to be believed yet.
///
/// # Errors
/// [`Unauthorized`](ErrorKind::Unauthorized) for what is no token of this form, in particular of another algorithm, or
/// with a key of its own.
pub fn key_id(token: &str) -> Result<String> {
    if token.len() > TOKEN_MAX {
        return Err(refused("the token is too long"));
    }
    let header = decode_header(token).map_err(|why| refused("the token cannot be read").with_source(why))?;
    if header.alg != Algorithm::EdDSA {
        return Err(refused(
            "the token is signed by an algorithm that is not used here",
        ));
    }
    let brings = header.jwk.is_some()
        || header.jku.is_some()
        || header.x5c.is_some()
        || header.x5u.is_some()
        || header.crit.is_some()
        || header.enc.is_some()
        || header.zip.is_some();
    if brings {
        return Err(refused("the token's header holds what no token from here does"));
    }
    header.kid.ok_or_else(|| refused("the token names no key"))
}

/// The claims of a token that `key` has signed for `service`, and that is valid at `now`.
///
/// # Errors
/// [`Unauthorized`](ErrorKind::Unauthorized) for every other.
pub(super) fn verify(
    token: &str,
    key: &SigningKey,
    issuer: &str,
    service: &str,
    now: Timestamp,
) -> Result<Claims> {
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_issuer(&[issuer]);
    rules.set_audience(&[service]);
    rules.set_required_spec_claims(&["iss", "sub", "aud", "exp", "nbf"]);
    // Times are compared below, with the clock that the caller goes by.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    let read = decode::<Claims>(token, &key.decoding, &rules);
    let claims = read
        .map_err(|why| refused("the token is not valid").with_source(why))?
        .claims;
    check_times(&claims, now)?;
    Ok(claims)
}

/// Whether the token is valid at `now`, give or take the leeway.
pub(super) fn check_times(claims: &Claims, now: Timestamp) -> Result<()> {
    let now = now.0 / 1000;
    let (earliest, latest) = (
        now.saturating_sub(LEEWAY_SECONDS),
        now.saturating_add(LEEWAY_SECONDS),
    );
    if claims.exp <= earliest {
        let since = now - claims.exp;
        tracing::info!(
            subject = claims.sub,
            token = claims.jti,
            expired_seconds_ago = since,
            "a token was sent after its end; if this client does so again and again, its clock may be slow"
        );
        return Err(refused("the token has expired; get a new one"));
    }
    if claims.nbf > latest || claims.iat > latest {
        let ahead = claims.nbf.max(claims.iat) - now;
        tracing::warn!(
            subject = claims.sub,
            token = claims.jti,
            seconds_ahead = ahead,
            "a token is of a time to come: the clock of this node, or of that which made the token, is off"
        );
        return Err(refused(
            "the token is not valid yet; the registry's clocks disagree",
        ));
    }
    Ok(())
}

pub(super) fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, message)
}
