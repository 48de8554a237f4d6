//! Shows some repositories and hides the rest.

use async_trait::async_trait;

use super::gate::{Call, Gate, Gated};
use crate::auth::Visible;
use crate::context::Context;
use crate::error::{self, Result};
use crate::registry::Registry;

/// A registry that has only some of another's repositories. The others do not exist for its callers, nor can they
/// be made.
pub struct Select;

impl Select {
    /// Shows of `inner` what `shown` covers.
    pub fn around<R: Registry>(inner: R, shown: Visible) -> Gated<R, Show> {
        Gated::new(inner, Show(shown))
    }
}

/// The gate of [`Select`].
#[derive(Clone, Debug)]
pub struct Show(Visible);

#[async_trait]
impl Gate for Show {
    async fn admit(&self, ctx: &Context, call: Call<'_>) -> Result<Context> {
        match call.repository() {
            Some(name) if !self.0.contains(name) => Err(error::name_unknown(name)),
            _ => Ok(Context {
                visible: ctx.visible.and(&self.0),
                ..ctx.clone()
            }),
        }
    }
}
