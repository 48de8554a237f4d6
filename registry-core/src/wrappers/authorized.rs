//! Asks an authorizer before every operation.

use async_trait::async_trait;

use super::gate::{Call, Gate, Gated};
use crate::auth::{Access, Action, Authorizer, Decision, Identity};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::name::RepositoryName;
use crate::registry::Registry;

/// A registry in which everybody may do what an [`Authorizer`] says, and nothing else.
///
/// A request with a [scope](Context::scope) reaches what that opens, however much more the caller may.
///
/// A refusal does not reveal what the caller may not know: who has not said who they are is asked to, whatever is
/// there; who has, and may not know of the repository, is told that there is none.
pub struct Authorized;

impl Authorized {
    /// Puts `authorizer` in front of `inner`.
    pub fn around<R: Registry, A: Authorizer>(inner: R, authorizer: A) -> Gated<R, Authorize<A>> {
        Gated::new(inner, Authorize(authorizer))
    }
}

/// The gate of [`Authorized`].
#[derive(Clone, Debug)]
pub struct Authorize<A>(A);

/// The repository that a call names, and what must be allowed there.
fn access<'a>(call: Call<'a>) -> Option<(&'a RepositoryName, Action)> {
    Some(match call {
        Call::StatBlob(name)
        | Call::ReadBlob(name)
        | Call::MountSource(name)
        | Call::StatManifest(name)
        | Call::GetManifest(name)
        | Call::ListTags(name)
        | Call::ListReferrers(name) => (name, Action::Pull),
        Call::MountBlob(name)
        | Call::BeginUpload(name)
        | Call::UploadStatus(name)
        | Call::AppendUpload(name)
        | Call::FinishUpload(name)
        | Call::CancelUpload(name)
        | Call::PutManifest(name) => (name, Action::Push),
        Call::DeleteBlob(name)
        | Call::DeleteManifest(name)
        | Call::DeleteTag(name)
        | Call::DeleteRepository(name) => (name, Action::Delete),
        Call::ListRepositories => return None,
    })
}

#[async_trait]
impl<A: Authorizer> Gate for Authorize<A> {
    async fn admit(&self, ctx: &Context, call: Call<'_>) -> Result<Context> {
        if ctx.identity == Identity::System {
            return Ok(ctx.clone());
        }
        let needed = match access(call) {
            Some((name, action)) => Access::Repository(name.clone(), action),
            None => Access::Catalog,
        };
        let opens = |access: &Access| ctx.scope.as_ref().is_none_or(|scope| scope.permits(access));
        if !opens(&needed) {
            return Err(self.beyond(ctx, &needed).await?);
        }
        if let Some(refused) = self.refuses(ctx, &needed).await? {
            return Err(refused);
        }
        let mut ctx = ctx.clone();
        match call {
            // Being told "it exists" is worth a promise only to somebody who may push here.
            Call::StatBlob(name) => {
                let push = Access::Repository(name.clone(), Action::Push);
                ctx.may_push &= ctx.scope.as_ref().is_none_or(|scope| scope.permits(&push))
                    && self.refuses(&ctx, &push).await?.is_none();
            }
            Call::ListRepositories | Call::MountBlob(_) => {
                ctx.visible = ctx.visible.and(&self.0.visible(&ctx.identity).await?);
            }
            _ => {}
        }
        // The list of repositories is opened as a whole; a mount draws from what the token names.
        if let (Call::MountBlob(_), Some(scope)) = (call, &ctx.scope) {
            ctx.visible = ctx.visible.and(&scope.visible());
        }
        Ok(ctx)
    }
}

impl<A: Authorizer> Authorize<A> {
    /// Why the caller may not have what is needed, if that is so.
    async fn refuses(&self, ctx: &Context, needed: &Access) -> Result<Option<Error>> {
        let decision = self.0.authorize(&ctx.identity, std::slice::from_ref(needed));
        Ok(match decision.await? {
            Decision::Allowed => None,
            Decision::Denied { visible } => Some(refusal(&ctx.identity, needed, visible)),
            Decision::Missing(message) => Some(missing(needed, message)),
        })
    }

    /// Why a token that does not open `needed` is refused. If it names the repository, the client asked for more than it
    /// was given, and learns what it would have been told without a token; if not, the token says nothing about
    /// that repository, and whoever holds it learns nothing either.
    async fn beyond(&self, ctx: &Context, needed: &Access) -> Result<Error> {
        if ctx.scope.as_ref().is_some_and(|scope| scope.names(needed))
            && let Some(refused) = self.refuses(ctx, needed).await?
        {
            return Ok(refused);
        }
        Ok(Error::new(
            ErrorKind::Unauthorized,
            format!("the token does not open {needed}; get one that does"),
        ))
    }
}

/// What the repository would be in does not exist.
fn missing(needed: &Access, message: String) -> Error {
    let error = Error::new(ErrorKind::NameUnknown, message);
    match needed {
        Access::Repository(name, _) => error.with_detail(serde_json::json!({ "name": name })),
        Access::Catalog => error,
    }
}

fn refusal(identity: &Identity, needed: &Access, visible: bool) -> Error {
    match (identity, needed) {
        (Identity::Anonymous, _) => Error::new(
            ErrorKind::Unauthorized,
            format!("{needed} takes an account; log in"),
        ),
        (_, Access::Repository(name, _)) if !visible => Error::new(
            ErrorKind::NameUnknown,
            format!("repository {name} does not exist, or {identity} may not know of it"),
        )
        .with_detail(serde_json::json!({ "name": name })),
        _ => Error::new(ErrorKind::Denied, format!("{identity} may not have {needed}")),
    }
}
