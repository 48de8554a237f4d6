//! The operations of the protocol: the rows of the matrix.

use super::super::harbor::Right;
use super::super::who::{SHARED, THEIRS};

pub(super) const PULL: Right = ("repository", "pull");
pub(super) const PUSH: Right = ("repository", "push");
pub(super) const DELETE: Right = ("repository", "delete");

/// What an operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// To have said who asks, or to bear a token.
    Known,
    /// To have said who asks.
    Account,
    /// A right in the repository's project.
    Right(Right),
}

use Needs::{Account, Known, Right as In};

/// What must be there beforehand, and what is held to be there afterwards as far as the operation was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing changes.
    None,
    /// A new blob, manifest or tag is gone afterwards.
    BlobGoes,
    ManifestGoes,
    TagGoes,
    /// A new blob or manifest is there afterwards.
    BlobComes,
    ManifestComes,
    /// A new tag is.
    TagComes,
    /// A new blob of this project's repository `base` is there afterwards, if the source may be read.
    Mounts(Option<&'static str>),
}

/// A project that there is not, to mount from.
pub(super) const NOWHERE: &str = "nowher";

/// An operation: its name here, how the registry calls it, method, path, what it needs, what it is answered with if it may be
/// done, and what it changes. In the path, `{name}` is the repository, `{blob}` and `{manifest}` are the digests of what is new,
/// `{known}` that of what has always been there, `{upload}` is an upload and `{n}` a number.
pub(super) type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Needs,
    u16,
    Change,
);

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    ("ping", "ping", "GET", "/v2/", Known, 200, Change::None),
    ("ping, head", "ping", "HEAD", "/v2/", Known, 200, Change::None),
    ("catalog", "list_repositories", "GET", "/v2/_catalog", Account, 200, Change::None),
    ("catalog, head", "list_repositories", "HEAD", "/v2/_catalog", Account, 200, Change::None),
    ("tags", "list_tags", "GET", "/v2/{name}/tags/list", In(PULL), 200, Change::None),
    ("tags, head", "list_tags", "HEAD", "/v2/{name}/tags/list", In(PULL), 200, Change::None),
    ("referrers", "list_referrers", "GET", "/v2/{name}/referrers/{known}", In(PULL), 200, Change::None),
    ("referrers, head", "list_referrers", "HEAD", "/v2/{name}/referrers/{known}", In(PULL), 200, Change::None),
    ("blob", "read_blob", "GET", "/v2/{name}/blobs/{config}", In(PULL), 200, Change::None),
    ("blob, head", "stat_blob", "HEAD", "/v2/{name}/blobs/{config}", In(PULL), 200, Change::None),
    ("blob, delete", "delete_blob", "DELETE", "/v2/{name}/blobs/{blob}", In(DELETE), 202, Change::BlobGoes),
    ("manifest by tag", "get_manifest", "GET", "/v2/{name}/manifests/latest", In(PULL), 200, Change::None),
    ("manifest by tag, head", "stat_manifest", "HEAD", "/v2/{name}/manifests/latest", In(PULL), 200, Change::None),
    ("manifest by digest", "get_manifest", "GET", "/v2/{name}/manifests/{known}", In(PULL), 200, Change::None),
    ("manifest by digest, head", "stat_manifest", "HEAD", "/v2/{name}/manifests/{known}", In(PULL), 200, Change::None),
    ("manifest by tag, put", "put_manifest", "PUT", "/v2/{name}/manifests/t{n}", In(PUSH), 201, Change::TagComes),
    ("manifest by digest, put", "put_manifest", "PUT", "/v2/{name}/manifests/{manifest}", In(PUSH), 201, Change::ManifestComes),
    ("manifest and tags, put", "put_manifest", "PUT", "/v2/{name}/manifests/{manifest}?tag=t{n}", In(PUSH), 201, Change::TagComes),
    ("manifest by digest, delete", "delete_manifest", "DELETE", "/v2/{name}/manifests/{manifest}", In(DELETE), 202, Change::ManifestGoes),
    ("tag, delete", "delete_manifest", "DELETE", "/v2/{name}/manifests/t{n}", In(DELETE), 202, Change::TagGoes),
    ("upload", "begin_upload", "POST", "/v2/{name}/blobs/uploads/", In(PUSH), 202, Change::None),
    ("upload at once", "push_blob", "POST", "/v2/{name}/blobs/uploads/?digest={blob}", In(PUSH), 201, Change::BlobComes),
    ("upload's status", "upload_status", "GET", "/v2/{name}/blobs/uploads/{upload}", In(PUSH), 204, Change::None),
    ("upload's status, head", "upload_status", "HEAD", "/v2/{name}/blobs/uploads/{upload}", In(PUSH), 204, Change::None),
    ("upload's next part", "append_upload", "PATCH", "/v2/{name}/blobs/uploads/{upload}", In(PUSH), 202, Change::None),
    ("upload's end", "finish_upload", "PUT", "/v2/{name}/blobs/uploads/{upload}?digest={blob}", In(PUSH), 201, Change::BlobComes),
    ("upload given up", "cancel_upload", "DELETE", "/v2/{name}/blobs/uploads/{upload}", In(PUSH), 204, Change::None),
    ("mount from what anybody may read", "mount_blob", "POST", "/v2/{name}/blobs/uploads/?mount={blob}&from=shared/base", In(PUSH), 201, Change::Mounts(Some(SHARED))),
    ("mount from another tenant's", "mount_blob", "POST", "/v2/{name}/blobs/uploads/?mount={blob}&from=theirs/base", In(PUSH), 201, Change::Mounts(Some(THEIRS))),
    ("mount from nowhere", "mount_blob", "POST", "/v2/{name}/blobs/uploads/?mount={blob}&from=nowher/base", In(PUSH), 202, Change::Mounts(Some(NOWHERE))),
    ("mount of what anybody may read", "mount_blob", "POST", "/v2/{name}/blobs/uploads/?mount={blob}", In(PUSH), 201, Change::Mounts(Some(SHARED))),
    ("mount of another tenant's", "mount_blob", "POST", "/v2/{name}/blobs/uploads/?mount={blob}", In(PUSH), 201, Change::Mounts(Some(THEIRS))),
    ("mount of nothing", "mount_blob", "POST", "/v2/{name}/blobs/uploads/?mount={blob}", In(PUSH), 202, Change::Mounts(None)),
];
