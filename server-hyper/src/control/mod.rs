//! How operators talk to a registry: one question, and its answer as lines of JSON.
//!
//! A [`Request`] is answered by [`answer`] with a stream of [`Line`]s: how far the work is, what was found, and as the
//! last one either the result or why there is none. Whoever drops the stream cancels the work at its next step.
//! It takes three ways:
//!
//! - over the [socket](Socket) in the data directory, for whoever may use the files there;
//! - over HTTP, as `POST /control` on the [admin listener](crate::admin::Admin), for whoever shows the [`Token`];
//! - within a process that has the stores open, if no server runs on them.
//!
//! [`Client`] is the other end of all three. A new kind of request gets a variant of [`Request`], an arm in
//! [`perform`], and a file of its own.

mod client;
mod fsck;
mod gc;
mod http;
mod keys;
mod line;
mod scrub;
mod snapshot;
mod socket;
mod token;
mod trash;
mod undo;
mod version;

use registry_auth::tokens::Rotation;
use registry_core::{Digest, Reference, RepositoryName, Tag, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use client::{Client, ClientError};
pub use fsck::{Found, Fsck};
pub use gc::Collect;
pub use http::Endpoint;
pub use line::{Line, Lines, answer};
pub use scrub::{Damaged, Scrubbing, Settings, Standing};
pub use snapshot::Held;
pub use socket::{SOCKET, Socket};
pub use token::{TOKEN, Token, TokenError};
pub use trash::InTrash;
pub use undo::{Listed, RolledBack};
pub use version::Version;

use crate::stores::Stores;

/// Longest request in bytes.
const REQUEST_MAX: usize = 64 << 10;
/// Longest that a client may take to send its request.
const REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// What an operator asks of a registry. As JSON an object with one key, such as `{"version":{}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Which berth this is; answered with a [`Version`].
    Version {},
    /// A run of the collector; answered with a [`Summary`](registry_gc::Summary).
    Gc(Collect),
    /// What such a run would do; answered with a [`Plan`](registry_gc::Plan), and, if each is asked for, a
    /// [`Planned`](registry_gc::Planned) for each as found.
    GcPlan(Collect),
    /// Why a blob is kept, or is not; answered with an [`Explanation`](registry_core::store::Explanation).
    GcExplain {
        /// The blob.
        digest: Digest,
    },
    /// What is recorded of the collector's runs; answered with a list of [`Run`](registry_core::store::Run)s.
    GcRuns {
        /// At most so many.
        limit: u32,
    },
    /// Bring back a manifest that was deleted, or a tag; answered with an
    /// [`Undeleted`](registry_core::store::Undeleted).
    Undelete {
        /// Where.
        repository: RepositoryName,
        /// A manifest with the tags it lost, by its digest; or one tag, with its manifest if need be.
        #[serde(with = "reference")]
        reference: Reference,
    },
    /// What can be brought back; an [`InTrash`] for each as found, and a [`Listed`].
    Trash {
        /// Of this repository.
        repository: RepositoryName,
    },
    /// Which repositories have anything in their trash; a name for each as found, and a [`Listed`].
    Trashes {},
    /// Take out of the trash for good what was deleted by then; an [`InTrash`] for each that went as found, and a
    /// [`Listed`].
    Purge {
        /// Of this repository.
        repository: RepositoryName,
        /// Only this manifest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
        /// What was deleted later stays: whoever asks has not seen it.
        until: Timestamp,
    },
    /// How far the scrub is; a [`Damaged`] for each of its findings as found, and a [`Scrubbing`].
    Scrub {},
    /// The moves of a tag, the last first; a [`TagChange`](registry_core::store::TagChange) for each as found, and a
    /// [`Listed`].
    History {
        /// Where.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// At most so many.
        limit: u32,
    },
    /// Point a tag where it pointed before; answered with a [`RolledBack`].
    RollBack {
        /// Where.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
        /// The manifest; without one, what it pointed at before its last move.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Digest>,
    },
    /// Another key for tokens; answered with a [`Rotated`](registry_auth::tokens::Rotated).
    RotateKeys {
        /// Whether tokens that were signed before go on.
        how: Rotation,
    },
    /// The records as they are at one moment, and nothing unlinked until the connection ends. Over the socket only,
    /// and answered with a dump instead of lines: see [`Held`].
    Snapshot {},
    /// Whether records and blobs agree; found are [`Found`]s, and the result is the check's
    /// [`Report`](registry_storage::records::check::Report).
    Fsck(Fsck),
}

/// Why a request has no result, for people.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Does what is asked, and makes the result of it. Each kind of request has a file of its own.
async fn perform(request: Request, stores: &Stores, lines: &Lines) -> Result<Value, Failure> {
    match request {
        Request::Version {} => line::result(version::version()),
        Request::Fsck(request) => line::result(fsck::fsck(request, stores, lines).await?),
        Request::Gc(asked) => gc::run(asked, stores, lines).await,
        Request::GcPlan(asked) => gc::plan(asked, stores, lines).await,
        Request::GcExplain { digest } => gc::explain(digest, stores).await,
        Request::GcRuns { limit } => gc::runs(limit, stores).await,
        Request::Undelete {
            repository,
            reference,
        } => undo::undelete(&repository, &reference, stores).await,
        Request::Trash { repository } => trash::trash(&repository, stores, lines).await,
        Request::Trashes {} => trash::trashes(stores, lines).await,
        Request::Purge {
            repository,
            digest,
            until,
        } => trash::purge(&repository, digest, until, stores, lines).await,
        Request::Scrub {} => scrub::scrub(stores, lines).await,
        Request::History {
            repository,
            tag,
            limit,
        } => undo::history(&repository, &tag, limit, stores, lines).await,
        Request::RollBack { repository, tag, to } => undo::roll_back(&repository, &tag, to, stores).await,
        Request::RotateKeys { how } => keys::rotate(how, stores).await,
        Request::Snapshot {} => Err("a backup is made over the socket in the data directory".into()),
    }
}

/// A tag or a digest, as one text: no tag has a colon, and every digest has one.
mod reference {
    use registry_core::Reference;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(reference: &Reference, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(reference)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Reference, D::Error> {
        let text = String::deserialize(from)?;
        match text.contains(':') {
            true => text.parse().map(Reference::Digest).map_err(D::Error::custom),
            false => text.parse().map(Reference::Tag).map_err(D::Error::custom),
        }
    }
}
