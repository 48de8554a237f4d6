//! Tokens: their keys, their form, who gives them out and who takes them.
//!
//! [`Keys`] are shared by all nodes through the records. [`TokenAuthority`] makes tokens and reads them; [`Bearer`] takes them
//! for who sends a request.
//! [`TokenService`] decides who gets a token for what, and [`TokenEndpoint`] is that over HTTP.

mod authority;
mod bearer;
mod endpoint;
mod jwt;
mod key;
mod keys;
mod parameters;
mod provider;
mod refresh;
mod service;

pub use authority::{Issued, LIFETIME_MAX, LIFETIME_MIN, STATE_FRESH, TokenAuthority, TokenOptions};
pub use bearer::{Bearer, TOKEN_PATH};
pub use endpoint::{JWKS_PATH, TokenEndpoint};
pub use jwt::{Claims, Entry, LEEWAY_SECONDS, TOKEN_MAX, key_id};
pub use key::{SealingKey, SigningKey};
pub use keys::{KeyOptions, Keys, Rotated, Rotation};
pub use parameters::{FORM_MAX, parse_form, parse_query};
pub use refresh::{RefreshOptions, RefreshTokens};
pub use service::{Claimed, TokenReply, TokenRequest, TokenService};

use registry_core::store::KvError;
use registry_core::{Error, ErrorKind};

fn records_failed(why: KvError) -> Error {
    match why {
        KvError::Full(_) => {
            Error::new(ErrorKind::Unavailable, "the registry has no room left").with_source(why)
        }
        why => Error::internal(why),
    }
}
