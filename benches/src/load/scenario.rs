//! What can be asked of a server, by name.

use std::io;
use std::time::Duration;

use super::connection::Connection;
use super::drive::{Measured, Until, closed, open};
use super::fill::Shelf;
use super::pushes::{self, How};
use super::reads::{self, By};
use super::{Target, lists, mixed};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Whole blobs of this length.
    BlobGet(usize),
    /// So many bytes somewhere in a blob of this length.
    BlobRange(usize, usize),
    /// Whether a blob is there that is, or that is not.
    BlobHead(bool),
    /// Manifests.
    ManifestGet(By),
    /// Whether manifests are there.
    ManifestHead(By),
    /// A page of so many tags of a repository that has so many.
    TagsPage(usize, usize),
    /// A page of so many repositories.
    CatalogPage(usize),
    /// Blobs of this length that nobody has pushed.
    Push(usize, How),
    /// Whole images of four small layers and a config, as a client pushes them: HEAD, push, PUT.
    PushImages,
    /// A blob of another repository.
    Mount,
    /// A production mix: mostly reads, few of them large, most of them of little.
    Mixed,
}

/// One thing to measure.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// By which it is asked for.
    pub name: &'static str,
    /// What is asked for.
    pub kind: Kind,
    /// At once.
    pub connections: usize,
    /// For how long, unless told otherwise; or how often, for what takes long.
    pub until: Until,
    /// What it is, for people.
    pub about: &'static str,
    /// Whether over TLS.
    pub is_tls: bool,
}

const fn scenario(
    name: &'static str,
    kind: Kind,
    connections: usize,
    until: Until,
    about: &'static str,
) -> Scenario {
    Scenario {
        name,
        kind,
        connections,
        until,
        about,
        is_tls: false,
    }
}

const fn over_tls(scenario: Scenario) -> Scenario {
    Scenario {
        is_tls: true,
        ..scenario
    }
}

const SECONDS: Until = Until::Elapsed(Duration::from_secs(5));

/// All of them.
pub const SCENARIOS: [Scenario; 24] = [
    scenario(
        "blob-get-1g",
        Kind::BlobGet(1024 * MIB),
        1,
        Until::Turns(4),
        "1 GiB, one stream",
    ),
    scenario(
        "blob-get-1g-8",
        Kind::BlobGet(1024 * MIB),
        8,
        Until::Turns(16),
        "1 GiB, eight streams",
    ),
    over_tls(scenario(
        "blob-get-1g-tls",
        Kind::BlobGet(1024 * MIB),
        1,
        Until::Turns(4),
        "1 GiB over TLS 1.3, one stream",
    )),
    over_tls(scenario(
        "blob-get-1g-tls-8",
        Kind::BlobGet(1024 * MIB),
        8,
        Until::Turns(16),
        "1 GiB over TLS 1.3, eight streams",
    )),
    scenario("blob-get-1m", Kind::BlobGet(MIB), 16, SECONDS, "1 MiB"),
    scenario("blob-get-64k", Kind::BlobGet(64 * KIB), 64, SECONDS, "64 KiB"),
    scenario("blob-get-4k", Kind::BlobGet(4 * KIB), 64, SECONDS, "4 KiB"),
    scenario(
        "blob-range",
        Kind::BlobRange(64 * KIB, 256 * MIB),
        64,
        SECONDS,
        "64 KiB somewhere in 256 MiB",
    ),
    scenario(
        "pulls",
        Kind::BlobGet(256 * MIB),
        64,
        Until::Turns(64),
        "64 pulls of 256 MiB at once",
    ),
    scenario(
        "blob-head",
        Kind::BlobHead(true),
        64,
        SECONDS,
        "of a blob that is there",
    ),
    scenario(
        "blob-head-missing",
        Kind::BlobHead(false),
        64,
        SECONDS,
        "of one that is not",
    ),
    scenario(
        "manifest-get-tag",
        Kind::ManifestGet(By::Tag),
        64,
        SECONDS,
        "by tag",
    ),
    scenario(
        "manifest-get-digest",
        Kind::ManifestGet(By::Digest),
        64,
        SECONDS,
        "by digest",
    ),
    scenario(
        "manifest-head-tag",
        Kind::ManifestHead(By::Tag),
        64,
        SECONDS,
        "by tag",
    ),
    scenario(
        "manifest-head-digest",
        Kind::ManifestHead(By::Digest),
        64,
        SECONDS,
        "by digest",
    ),
    scenario(
        "tags-page",
        Kind::TagsPage(100, 1000),
        16,
        SECONDS,
        "100 tags of 1,000",
    ),
    scenario(
        "catalog-page",
        Kind::CatalogPage(100),
        16,
        SECONDS,
        "100 repositories",
    ),
    scenario(
        "push-256m",
        Kind::Push(256 * MIB, How::Monolithic),
        1,
        Until::Turns(6),
        "256 MiB, POST and PUT",
    ),
    scenario(
        "push-256m-streamed",
        Kind::Push(256 * MIB, How::Streamed),
        1,
        Until::Turns(6),
        "256 MiB, POST, one PATCH, PUT",
    ),
    scenario(
        "push-256m-chunked",
        Kind::Push(256 * MIB, How::Chunked(16 * MIB)),
        1,
        Until::Turns(6),
        "256 MiB in PATCHes of 16 MiB",
    ),
    scenario(
        "push-64k",
        Kind::Push(64 * KIB, How::Monolithic),
        32,
        SECONDS,
        "64 KiB",
    ),
    scenario(
        "push-images",
        Kind::PushImages,
        32,
        SECONDS,
        "images of four layers of 10 KiB",
    ),
    scenario("mount", Kind::Mount, 8, SECONDS, "blobs of another repository"),
    scenario("mixed", Kind::Mixed, 64, SECONDS, "a production mix"),
];

impl Scenario {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Scenario> {
        SCENARIOS.into_iter().find(|scenario| scenario.name == name)
    }

    /// Whether a server of files can do it too.
    pub fn is_of_files(&self) -> bool {
        matches!(
            self.kind,
            Kind::BlobGet(_) | Kind::BlobRange(..) | Kind::ManifestGet(_) | Kind::ManifestHead(_)
        )
    }

    /// A quarter of so many turns, but one for each connection.
    pub(super) fn fewer(&self, turns: u64) -> u64 {
        turns.div_ceil(4).max(self.connections as u64)
    }

    /// Adds what is needed to a server, once. `salt` makes what is pushed in a measurement different from what was pushed in
    /// another.
    ///
    /// # Errors
    /// If it cannot be added.
    pub async fn prepare(&self, shelf: &mut Shelf, salt: u64) -> io::Result<Prepared> {
        Ok(match self.kind {
            Kind::BlobGet(length) => Prepared::Reads(reads::blobs(shelf, length).await?),
            Kind::BlobRange(part, length) => Prepared::Reads(reads::ranges(shelf, part, length).await?),
            Kind::BlobHead(is_there) => Prepared::Reads(reads::blob_heads(shelf, is_there).await?),
            Kind::ManifestGet(by) => Prepared::Reads(reads::manifests(shelf, "GET", by).await?),
            Kind::ManifestHead(by) => Prepared::Reads(reads::manifests(shelf, "HEAD", by).await?),
            Kind::TagsPage(page, tags) => Prepared::Reads(lists::tags(shelf, page, tags).await?),
            Kind::CatalogPage(page) => Prepared::Reads(lists::catalog(shelf, page).await?),
            Kind::Push(length, how) => Prepared::Push(pushes::Push::new(length, how, self.until, salt)),
            Kind::PushImages => Prepared::Images(pushes::Images::new(salt)),
            Kind::Mount => Prepared::Mount(pushes::Mount::prepare(shelf, salt).await?),
            Kind::Mixed => Prepared::Mixed(Box::new(mixed::Trace::prepare(shelf, salt).await?)),
        })
    }
}

/// A scenario whose content is in place.
pub enum Prepared {
    /// Requests without bodies, in turn.
    Reads(reads::Reads),
    /// Blobs.
    Push(pushes::Push),
    /// Images.
    Images(pushes::Images),
    /// Mounts.
    Mount(pushes::Mount),
    /// A mix.
    Mixed(Box<mixed::Trace>),
}

impl Prepared {
    /// Makes what it will push other than what it has pushed.
    pub fn renew(&mut self, scenario: &Scenario, salt: u64) {
        match (self, scenario.kind) {
            (Prepared::Push(push), Kind::Push(length, how)) => {
                *push = pushes::Push::new(length, how, scenario.until, salt);
            }
            (Prepared::Images(images), _) => *images = pushes::Images::new(salt),
            (Prepared::Mount(mount), _) => mount.renew(salt),
            (Prepared::Mixed(trace), _) => trace.renew(salt),
            _ => {}
        }
    }

    async fn turn(&self, connection: &mut Connection, number: u64) -> io::Result<u64> {
        match self {
            Prepared::Reads(reads) => reads.turn(connection, number).await,
            Prepared::Push(push) => push.turn(connection, number).await,
            Prepared::Images(images) => images.turn(connection, number).await,
            Prepared::Mount(mount) => mount.turn(connection, number).await,
            Prepared::Mixed(trace) => trace.turn(connection, number).await,
        }
    }

    /// As many as the connections manage.
    ///
    /// # Errors
    /// If the server refuses anything, or a connection fails.
    pub async fn closed(&self, target: &Target, connections: usize, until: Until) -> io::Result<Measured> {
        closed(
            target,
            connections,
            until,
            async |connection: &mut Connection, number| self.turn(connection, number).await,
        )
        .await
    }

    /// So many in a second.
    ///
    /// # Errors
    /// As [`closed`](Prepared::closed).
    pub async fn open(
        &self,
        target: &Target,
        connections: usize,
        rate: f64,
        lasting: Duration,
    ) -> io::Result<Measured> {
        open(
            target,
            connections,
            rate,
            lasting,
            async |connection: &mut Connection, number| self.turn(connection, number).await,
        )
        .await
    }
}
