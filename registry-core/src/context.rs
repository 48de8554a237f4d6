//! What accompanies every operation: who asks and what they may, from where, under which id, until when.

use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::{Identity, Scope, Visible};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// The circumstances of one operation.
///
/// Cheap to clone. A wrapper that narrows what the caller may passes on a narrowed copy.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who asks.
    pub identity: Identity,
    /// What the caller's token opens, if it sent one: less than who asks may, and never more.
    pub scope: Option<Arc<Scope>>,
    /// Whether the caller may push to the repository that the operation names. A pusher who is told that a blob
    /// exists is promised that it will go on existing for a while; a reader is not.
    pub may_push: bool,
    /// The repositories whose names and contents the caller may see: what lists show, and what an anonymous mount
    /// may draw from.
    pub visible: Visible,
    /// The client's address, if there is one.
    pub remote: Option<IpAddr>,
    /// Names this request in logs, error bodies and events.
    pub request_id: Arc<str>,
    /// When the caller stops waiting, by the [`Runtime`](crate::Runtime)'s clock.
    pub deadline: Option<Timestamp>,
}

impl Context {
    /// The context of the registry's own work, and of an embedder who trusts the caller: everything is allowed.
    pub fn system() -> Self {
        Context {
            identity: Identity::System,
            scope: None,
            may_push: true,
            visible: Visible::All,
            remote: None,
            request_id: Arc::from("-"),
            deadline: None,
        }
    }

    /// The context of a request from outside. What the caller may is for [`Authorized`](crate::wrappers::Authorized)
    /// to narrow; without that wrapper, nothing is refused.
    pub fn request(identity: Identity, request_id: impl Into<Arc<str>>) -> Self {
        Context {
            identity,
            request_id: request_id.into(),
            ..Context::system()
        }
    }

    /// The same with a deadline.
    #[must_use]
    pub fn until(self, deadline: Timestamp) -> Self {
        Context {
            deadline: Some(deadline),
            ..self
        }
    }

    /// Refuses to begin work that nobody waits for any more.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable) once the deadline has passed.
    pub fn check_deadline(&self, now: Timestamp) -> Result<()> {
        match self.deadline {
            Some(deadline) if now >= deadline => Err(Error::new(
                ErrorKind::Unavailable,
                "the request took too long; try again",
            )),
            _ => Ok(()),
        }
    }
}
