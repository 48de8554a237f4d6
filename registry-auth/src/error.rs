//! Why something about accounts or projects was not done.

use registry_core::store::KvError;
use registry_core::store::collection::CollectionError;
use registry_core::{Error, ErrorKind};

/// Why an account or a project was not made, changed or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// What was given makes no sense; says what would.
    #[error("{0}")]
    Invalid(String),
    /// There is one already.
    #[error("{0}")]
    Conflict(String),
    /// There is none.
    #[error("{0}")]
    Missing(String),
    /// The caller may not.
    #[error("{0}")]
    Forbidden(String),
    /// The records refused.
    #[error(transparent)]
    Records(CollectionError),
    /// A password could not be hashed.
    #[error("the password could not be hashed")]
    Hashing(#[source] Error),
}

impl From<CollectionError> for AccountError {
    fn from(error: CollectionError) -> Self {
        match error {
            CollectionError::Taken { .. } => AccountError::Conflict(error.to_string()),
            CollectionError::Missing { .. } => AccountError::Missing(error.to_string()),
            CollectionError::TooLong { .. } | CollectionError::Query(_) => {
                AccountError::Invalid(error.to_string())
            }
            other => AccountError::Records(other),
        }
    }
}

impl From<AccountError> for Error {
    /// As the registry's protocol tells it. The management API has codes of its own.
    fn from(error: AccountError) -> Error {
        // It says itself why, and when to try again.
        if let AccountError::Hashing(why) = error {
            return why;
        }
        let kind = match &error {
            AccountError::Invalid(_) => ErrorKind::RequestInvalid,
            AccountError::Conflict(_) => ErrorKind::PreconditionFailed,
            AccountError::Missing(_) => ErrorKind::NameUnknown,
            AccountError::Forbidden(_) => ErrorKind::Denied,
            AccountError::Records(CollectionError::Store(KvError::Full(_) | KvError::OutcomeUnknown(_))) => {
                let told = "the registry cannot write its accounts now; look, and try again";
                return Error::new(ErrorKind::Unavailable, told).with_source(error);
            }
            AccountError::Records(_) | AccountError::Hashing(_) => return Error::internal(error),
        };
        Error::new(kind, error.to_string())
    }
}
