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
mod http;
mod line;
mod snapshot;
mod socket;
mod token;
mod version;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use client::{Client, ClientError};
pub use fsck::{Found, Fsck};
pub use http::Endpoint;
pub use line::{Line, Lines, answer};
pub use snapshot::Held;
pub use socket::{SOCKET, Socket};
pub use token::{TOKEN, Token, TokenError};
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
        Request::Snapshot {} => Err("a backup is made over the socket in the data directory".into()),
    }
}
