//! `{"rotate_keys":…}`: another key that signs tokens.

use registry_auth::tokens::Rotation;
use serde_json::Value;

use super::Failure;
use super::line::result;
use crate::stores::Stores;

/// Replaces the key that signs tokens; the result is a [`Rotated`](registry_auth::tokens::Rotated).
pub(super) async fn rotate(how: Rotation, stores: &Stores) -> Result<Value, Failure> {
    result(stores.keys.rotate(how).await?)
}
