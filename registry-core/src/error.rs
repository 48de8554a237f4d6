//! One error type, one table from its kinds to HTTP statuses and OCI codes.

use std::error::Error as StdError;
use std::fmt;

use serde_json::Value;

/// A result whose error a client may be shown.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// Declares [`ErrorKind`] and its table in one place: variant, status, wire code.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:literal $code:literal,)*) => {
        /// What went wrong, in the protocol's terms. `status` and `code` are the one table of the protocol:
        /// distribution-spec "Error Codes", and the codes that Docker's registry API adds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$kind,)*];

            /// The HTTP status that carries this error.
            pub const fn status(self) -> u16 {
                match self { $(ErrorKind::$kind => $status,)* }
            }

            /// The code in the error body.
            pub const fn code(self) -> &'static str {
                match self { $(ErrorKind::$kind => $code,)* }
            }
        }
    };
}

kinds! {
    /// The blob is not known to this repository.
    BlobUnknown = 404 "BLOB_UNKNOWN",
    /// The request that adds to or ends an upload makes no sense.
    UploadInvalid = 400 "BLOB_UPLOAD_INVALID",
    /// No such upload, or not here, or no longer.
    UploadUnknown = 404 "BLOB_UPLOAD_UNKNOWN",
    /// A digest out of grammar, of an unknown algorithm, or not that of the content.
    DigestInvalid = 400 "DIGEST_INVALID",
    /// A manifest names content that this repository does not hold.
    ManifestBlobUnknown = 400 "MANIFEST_BLOB_UNKNOWN",
    /// The manifest cannot be understood.
    ManifestInvalid = 400 "MANIFEST_INVALID",
    /// The manifest is larger than the registry takes.
    ManifestTooLarge = 413 "MANIFEST_INVALID",
    /// The manifest is not known to this repository.
    ManifestUnknown = 404 "MANIFEST_UNKNOWN",
    /// A repository name out of grammar.
    NameInvalid = 400 "NAME_INVALID",
    /// No such repository.
    NameUnknown = 404 "NAME_UNKNOWN",
    /// The content's length is not the one that was announced.
    SizeInvalid = 400 "SIZE_INVALID",
    /// More was sent than the registry takes.
    TooLarge = 413 "SIZE_INVALID",
    /// A tag out of grammar.
    TagInvalid = 400 "TAG_INVALID",
    /// A page size or starting point that makes no sense.
    PaginationInvalid = 400 "PAGINATION_NUMBER_INVALID",
    /// A byte range that the content does not have, or a chunk out of order.
    RangeInvalid = 416 "RANGE_INVALID",
    /// The caller must say who it is.
    Unauthorized = 401 "UNAUTHORIZED",
    /// The caller is known and may not.
    Denied = 403 "DENIED",
    /// A write was refused because the limit it is charged to would be passed.
    QuotaExceeded = 403 "DENIED",
    /// The operation is not offered.
    Unsupported = 405 "UNSUPPORTED",
    /// The content is still needed by other content, and cannot be deleted before it.
    InUse = 409 "DENIED",
    /// The write's condition on what is there did not hold.
    PreconditionFailed = 412 "PRECONDITION",
    /// The request is not one of the protocol's.
    RequestInvalid = 400 "UNSUPPORTED",
    /// No route of the protocol has this path.
    RouteUnknown = 404 "UNSUPPORTED",
    /// A request that names more than the registry takes at once.
    UriTooLong = 414 "UNSUPPORTED",
    /// The client sends too slowly, or not at all.
    Timeout = 408 "BLOB_UPLOAD_INVALID",
    /// Too many requests; wait.
    TooManyRequests = 429 "TOOMANYREQUESTS",
    /// The registry cannot do it now; it may later.
    Unavailable = 503 "UNAVAILABLE",
    /// The registry's own fault.
    Internal = 500 "UNKNOWN",
}

/// An error that a client may be shown, and its source, which is only logged.
///
/// ```
/// use registry_core::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::NameUnknown, "repository \"team/app\" does not exist");
/// assert_eq!(error.kind().status(), 404);
/// assert_eq!(error.kind().code(), "NAME_UNKNOWN");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    detail: Option<Value>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind`; `message` names the offending thing and says what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            detail: None,
            source: None,
        }))
    }

    /// An error of the registry itself; the client learns no more than that.
    pub fn internal(source: impl Into<Source>) -> Self {
        Error::new(
            ErrorKind::Internal,
            "the registry failed; its log has the cause under this request's id",
        )
        .with_source(source)
    }

    /// Adds the machine-readable `detail` of the error body.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Adds the cause, for the log; it is never sent.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message for the client.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The machine-readable part for the client.
    pub fn detail(&self) -> Option<&Value> {
        self.0.detail.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.code(), self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(detail) = &self.0.detail {
            out.field("detail", detail);
        }
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Content known to this repository under no such digest.
pub fn blob_unknown(digest: &crate::Digest) -> Error {
    Error::new(
        ErrorKind::BlobUnknown,
        format!("blob {digest} is not known to this repository"),
    )
    .with_detail(serde_json::json!({ "digest": digest }))
}

/// Content of this repository whose bytes were found missing or damaged. Unknown, as it is to everybody until it is
/// pushed again; so a pusher pushes it, and a proxy asks where it came from.
pub fn blob_lost(digest: &crate::Digest) -> Error {
    Error::new(
        ErrorKind::BlobUnknown,
        format!("blob {digest} was lost or damaged in this registry; push it again"),
    )
    .with_detail(serde_json::json!({ "digest": digest }))
}

/// A manifest whose record or bytes were found damaged. Not unknown: its tags and its place are.
pub fn manifest_lost(digest: &crate::Digest) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("manifest {digest} was damaged in this registry; push it again"),
    )
    .with_detail(serde_json::json!({ "digest": digest }))
}

/// No such upload, or it belongs elsewhere, or it is over.
pub fn upload_unknown(id: &crate::UploadId) -> Error {
    Error::new(
        ErrorKind::UploadUnknown,
        format!("upload {id} is not known here; begin a new one"),
    )
    .with_detail(serde_json::json!({ "upload": id }))
}

/// No such manifest in this repository.
pub fn manifest_unknown(reference: &crate::Reference) -> Error {
    Error::new(
        ErrorKind::ManifestUnknown,
        format!("manifest {reference} is not known to this repository"),
    )
    .with_detail(serde_json::json!({ "reference": reference.to_string() }))
}

/// No such repository.
pub fn name_unknown(name: &crate::RepositoryName) -> Error {
    Error::new(
        ErrorKind::NameUnknown,
        format!("repository {name} does not exist"),
    )
    .with_detail(serde_json::json!({ "name": name }))
}
