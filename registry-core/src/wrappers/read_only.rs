//! Takes every write away.

use async_trait::async_trait;

use super::gate::{Call, Gate, Gated};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::registry::Registry;

/// A registry that can only be read. Pushers are refused; nobody is a pusher, so nothing is promised to one.
pub struct ReadOnly;

impl ReadOnly {
    /// Makes `inner` read-only.
    pub fn around<R: Registry>(inner: R) -> Gated<R, RefuseWrites> {
        Gated::new(inner, RefuseWrites)
    }
}

/// The gate of [`ReadOnly`].
#[derive(Clone, Copy, Debug)]
pub struct RefuseWrites;

#[async_trait]
impl Gate for RefuseWrites {
    async fn admit(&self, ctx: &Context, call: Call<'_>) -> Result<Context> {
        match call {
            Call::StatBlob(_)
            | Call::ReadBlob(_)
            | Call::StatManifest(_)
            | Call::GetManifest(_)
            | Call::ListTags(_)
            | Call::ListReferrers(_)
            | Call::ListRepositories => Ok(Context {
                may_push: false,
                ..ctx.clone()
            }),
            Call::DeleteBlob(_)
            | Call::MountBlob(_)
            | Call::MountSource(_)
            | Call::BeginUpload(_)
            | Call::UploadStatus(_)
            | Call::AppendUpload(_)
            | Call::FinishUpload(_)
            | Call::CancelUpload(_)
            | Call::PutManifest(_)
            | Call::DeleteManifest(_)
            | Call::DeleteTag(_)
            | Call::DeleteRepository(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "this registry is read-only; push to the one it shows",
            )),
        }
    }
}
