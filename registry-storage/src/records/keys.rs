//! The layout of the records: which table holds what, under which key.
//!
//! Keys are readable, ordered, and at most 302 bytes long: names of repositories (at most 255 bytes) and everything
//! below a repository (its 32-digit id) stay well under the limit that every engine takes. Times are 16 digits of
//! milliseconds, so that they sort.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `repository` | name | id |
//! | `named` | repository id | name |
//! | `dropped` | repository id | name it had; still to be cleaned up |
//! | `blob` | digest | size, location, state |
//! | `inline` | digest | bytes of a small blob |
//! | `edge` | digest, repository id, put id | which manifest there names the blob |
//! | `deferred` | digest, repository id, put id | the same, for a blob that was not there when the manifest was put |
//! | `trashed` | digest, repository id, put id | an edge of a manifest in the trash: holds the blob, opens nothing; since format 4 |
//! | `lease` | digest, end, repository id | nothing more |
//! | `pending` | due, digest | nothing more: the collector's queue |
//! | `upload` | upload id | claim |
//! | `expiry` | when, upload id | nothing more: claims in the order in which they expire |
//! | `doomed` | location | from when on it may be unlinked |
//! | `unlink` | when, location | nothing more: the doomed in the order in which they may be unlinked |
//! | `manifest` | repository id, digest | media type, size, put id, subject |
//! | `content` | repository id, digest | the manifest's bytes |
//! | `children` | repository id, digest | what the manifest's put named |
//! | `parent` | repository id, child digest, put id | which index lists the child |
//! | `tag` | repository id, tag | digest |
//! | `tagged` | repository id, digest, tag | nothing more |
//! | `referrer` | repository id, subject, digest | descriptor |
//! | `piece` | repository id, put id, number | edges of a deleted manifest that are still to be taken; since format 4 |
//! | `trash` | repository id, digest | a deleted manifest that may come back; its `content` and `children` stay; since format 4 |
//! | `untagged` | repository id, tag | a tag that was deleted on its own; since format 4 |
//! | `purge` | when, repository id, digest or tag | nothing more: the trash in the order in which it goes; since format 4 |
//! | `history` | repository id, tag, position | a move of the tag; since format 4 |
//! | `trim` | repository id, tag | nothing more: its history may have grown too long; since format 4 |
//! | `counter` | name, shard | amount |
//! | `event` | position | what happened |
//! | `scrub` | `cursor` | how far the scrub is |
//! | `scrub` | `found`, position | what it found |
//! | `loose` | repository id, digest | since when no tag points at the manifest, as far as is known |
//! | `loosened` | since when, repository id, digest | nothing more: the same in the order in which they go |
//! | `cursor` | `loose` | how far the feed was followed for that |
//! | `lead` | `collector` | which node collects, and until when |
//! | `run` | when it began, random | a run of the collector |
//!
//! What is not content lies beside these in typed collections: [`collection::keys`](registry_core::store::collection::keys).

use registry_core::store::Location;
use registry_core::{Digest, Tag, Timestamp, UploadId};

pub(super) const REPOSITORY: &str = "repository/";
pub(super) const BLOB: &str = "blob/";
pub(super) const UPLOAD: &str = "upload/";
pub(super) const DROPPED: &str = "dropped/";
pub(super) const PENDING: &str = "pending/";
pub(super) const EXPIRY: &str = "expiry/";
pub(super) const DOOMED: &str = "doomed/";
pub(super) const UNLINK: &str = "unlink/";
pub(super) const EVENT: &str = "event/";
pub(super) const SCRUB_CURSOR: &str = "scrub/cursor";
pub(super) const SCRUB_FOUND: &str = "scrub/found/";
pub(super) const MANIFEST: &str = "manifest/";
pub(super) const LEAD: &str = "lead/collector";
pub(super) const LOOSENED: &str = "loosened/";
pub(super) const FOLLOWED: &str = "cursor/loose";
pub(super) const RUN: &str = "run/";
pub(super) const TRASH: &str = "trash/";
pub(super) const PIECE: &str = "piece/";
pub(super) const PURGE: &str = "purge/";
pub(super) const TRIM: &str = "trim/";

pub(super) fn time(time: Timestamp) -> String {
    format!("{:016}", time.0)
}

pub(super) fn repository(name: &str) -> String {
    format!("{REPOSITORY}{name}")
}

pub(super) fn named(id: &str) -> String {
    format!("named/{id}")
}

pub(super) fn dropped(id: &str) -> String {
    format!("{DROPPED}{id}")
}

pub(super) fn blob(digest: &Digest) -> String {
    format!("{BLOB}{digest}")
}

pub(super) fn inline(digest: &Digest) -> String {
    format!("inline/{digest}")
}

/// Every edge to a blob.
pub(super) fn edges(digest: &Digest) -> String {
    format!("edge/{digest}/")
}

/// The edges of one repository to a blob.
pub(super) fn edges_of(digest: &Digest, repository: &str) -> String {
    format!("edge/{digest}/{repository}/")
}

/// Whether a record is an edge.
pub(super) fn is_edge(key: &str) -> bool {
    key.starts_with("edge/")
}

pub(super) fn edge(digest: &Digest, repository: &str, put: &str) -> String {
    format!("edge/{digest}/{repository}/{put}")
}

/// Every deferred edge to a blob.
pub(super) fn deferrals(digest: &Digest) -> String {
    format!("deferred/{digest}/")
}

/// The deferred edges of one repository to a blob.
pub(super) fn deferrals_of(digest: &Digest, repository: &str) -> String {
    format!("deferred/{digest}/{repository}/")
}

pub(super) fn deferred(digest: &Digest, repository: &str, put: &str) -> String {
    format!("deferred/{digest}/{repository}/{put}")
}

/// Every edge to a blob from the trash.
pub(super) fn trashed_edges(digest: &Digest) -> String {
    format!("trashed/{digest}/")
}

/// The edges of one repository to a blob from the trash.
pub(super) fn trashed_of(digest: &Digest, repository: &str) -> String {
    format!("trashed/{digest}/{repository}/")
}

pub(super) fn trashed(digest: &Digest, repository: &str, put: &str) -> String {
    format!("trashed/{digest}/{repository}/{put}")
}

/// Every lease on a blob.
pub(super) fn leases(digest: &Digest) -> String {
    format!("lease/{digest}/")
}

/// A key before every lease that ends after `end`, and not before any other.
pub(super) fn leases_ending(digest: &Digest, end: Timestamp) -> String {
    // '~' sorts after every digit and letter of a repository id.
    format!("lease/{digest}/{}/~", time(end))
}

pub(super) fn lease(digest: &Digest, end: Timestamp, repository: &str) -> String {
    format!("lease/{digest}/{}/{repository}", time(end))
}

/// The end and the repository of a lease, from its key.
pub(super) fn parse_lease<'k>(digest: &Digest, key: &'k str) -> Option<(Timestamp, &'k str)> {
    let (end, repository) = key.strip_prefix(&leases(digest))?.split_once('/')?;
    Some((Timestamp(end.parse().ok()?), repository))
}

pub(super) fn pending(due: Timestamp, digest: &Digest) -> String {
    format!("{PENDING}{}/{digest}", time(due))
}

/// The time and the rest of a key of a table of times.
pub(super) fn parse_timed<'k>(table: &str, key: &'k str) -> Option<(Timestamp, &'k str)> {
    let (due, rest) = key.strip_prefix(table)?.split_once('/')?;
    Some((Timestamp(due.parse().ok()?), rest))
}

pub(super) fn upload(id: &UploadId) -> String {
    format!("{UPLOAD}{id}")
}

pub(super) fn expiry(expires: Timestamp, id: &UploadId) -> String {
    format!("{EXPIRY}{}/{id}", time(expires))
}

pub(super) fn doomed(location: &Location) -> String {
    format!("{DOOMED}{location}")
}

pub(super) fn unlink(not_before: Timestamp, location: &Location) -> String {
    format!("{UNLINK}{}/{location}", time(not_before))
}

/// Every manifest of a repository.
pub(super) fn manifests(repository: &str) -> String {
    format!("manifest/{repository}/")
}

pub(super) fn manifest(repository: &str, digest: &Digest) -> String {
    format!("manifest/{repository}/{digest}")
}

pub(super) fn content(repository: &str, digest: &Digest) -> String {
    format!("content/{repository}/{digest}")
}

pub(super) fn children(repository: &str, digest: &Digest) -> String {
    format!("children/{repository}/{digest}")
}

/// Every child of every index of a repository.
pub(super) fn parents_in(repository: &str) -> String {
    format!("parent/{repository}/")
}

/// Every index that lists a child.
pub(super) fn parents(repository: &str, child: &Digest) -> String {
    format!("parent/{repository}/{child}/")
}

pub(super) fn parent(repository: &str, child: &Digest, put: &str) -> String {
    format!("parent/{repository}/{child}/{put}")
}

/// Every tag of a repository.
pub(super) fn tags(repository: &str) -> String {
    format!("tag/{repository}/")
}

pub(super) fn tag(repository: &str, tag: &Tag) -> String {
    format!("tag/{repository}/{tag}")
}

/// Every tag that points at a manifest.
pub(super) fn tags_at(repository: &str, digest: &Digest) -> String {
    format!("tagged/{repository}/{digest}/")
}

pub(super) fn tagged(repository: &str, digest: &Digest, tag: &Tag) -> String {
    format!("tagged/{repository}/{digest}/{tag}")
}

/// Every referrer of a subject.
pub(super) fn referrers(repository: &str, subject: &Digest) -> String {
    format!("referrer/{repository}/{subject}/")
}

pub(super) fn referrer(repository: &str, subject: &Digest, digest: &Digest) -> String {
    format!("referrer/{repository}/{subject}/{digest}")
}

/// Every piece of the edges of a put.
pub(super) fn pieces_of(repository: &str, put: &str) -> String {
    format!("{PIECE}{repository}/{put}/")
}

pub(super) fn piece(repository: &str, put: &str, number: usize) -> String {
    format!("{PIECE}{repository}/{put}/{number:06}")
}

/// Every manifest in the trash of a repository.
pub(super) fn trash_of(repository: &str) -> String {
    format!("trash/{repository}/")
}

pub(super) fn trash(repository: &str, digest: &Digest) -> String {
    format!("trash/{repository}/{digest}")
}

/// Every tag of a repository that was deleted on its own.
pub(super) fn untagged_of(repository: &str) -> String {
    format!("untagged/{repository}/")
}

pub(super) fn untagged(repository: &str, tag: &Tag) -> String {
    format!("untagged/{repository}/{tag}")
}

/// `what` is a digest or a tag, which has no colon.
pub(super) fn purge(when: Timestamp, repository: &str, what: impl std::fmt::Display) -> String {
    format!("{PURGE}{}/{repository}/{what}", time(when))
}

/// Every move of a tag.
pub(super) fn history(repository: &str, tag: &Tag) -> String {
    format!("history/{repository}/{tag}/")
}

pub(super) fn trim(repository: &str, tag: &Tag) -> String {
    format!("{TRIM}{repository}/{tag}")
}

/// Every shard of a counter.
pub(super) fn shards(counter: &str) -> String {
    format!("counter/{counter}/")
}

pub(super) fn shard(counter: &str, shard: u8) -> String {
    format!("counter/{counter}/{shard:02}")
}

pub(super) fn run(id: &str) -> String {
    format!("{RUN}{id}")
}

/// Every note of a repository of manifests to which no tag points.
pub(super) fn loose_of(repository: &str) -> String {
    format!("loose/{repository}/")
}

pub(super) fn loose(repository: &str, digest: &Digest) -> String {
    format!("loose/{repository}/{digest}")
}

pub(super) fn loosened(since: Timestamp, repository: &str, digest: &Digest) -> String {
    format!("{LOOSENED}{}/{repository}/{digest}", time(since))
}
