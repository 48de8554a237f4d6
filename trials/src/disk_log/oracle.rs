//! What was promised, and whether it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use registry_core::store::{BlobStore, Kv, Location};
use registry_core::{
    Digest, Error, ErrorKind, Reference, Registry, RepositoryName, Tag, Timestamp, UploadId,
};
use registry_storage::testkit::disk::Dice;
use registry_storage::testkit::read_all;

use super::Entry;
use super::library::Library;
use super::stage::World;
use super::workload::whole;

/// How long a client relies on what it was told of a blob, and on an upload: a little less than the lifetimes say.
const RELIED_ON: Duration = Duration::from_secs(23 * 3600);

/// Something that a client did or was told.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// An upload was begun.
    Began {
        id: UploadId,
        repository: RepositoryName,
        content: usize,
    },
    /// So many bytes of it were received.
    Received { id: UploadId, received: u64 },
    /// It is about to be finished or cancelled.
    Ending(UploadId),
    /// A blob was pushed.
    Blob {
        repository: RepositoryName,
        content: usize,
    },
    /// A tag is about to point there, or nowhere.
    TagTried {
        repository: RepositoryName,
        tag: Tag,
        to: Option<Digest>,
    },
    /// It does.
    TagIs {
        repository: RepositoryName,
        tag: Tag,
        at: Option<Digest>,
    },
    /// The process was killed; the machine runs on.
    Killed,
    /// Something was refused.
    Refused(#[allow(dead_code, reason = "shown with the log")] String),
}

impl Note {
    /// Whether this is an answer that must be kept.
    pub(super) fn promises(&self) -> bool {
        !matches!(
            self,
            Note::Ending(_) | Note::TagTried { .. } | Note::Killed | Note::Refused(_)
        )
    }
}

/// What is expected after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Everything that was acknowledged.
    Everything,
    /// All records. Bytes may be missing, and a push brings them back; none may be wrong.
    Records,
}

/// A promise that was broken.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) promise: &'static str,
    pub(super) found: String,
}

type Kept<T = ()> = Result<T, Broken>;

fn broken<T>(promise: &'static str, found: impl Into<String>) -> Kept<T> {
    Err(Broken {
        promise,
        found: found.into(),
    })
}

const CLOSURE: &str = "I1 closure";
const UPLOADS: &str = "acknowledged upload bytes";
const ACKNOWLEDGED: &str = "I3 nothing acknowledged is lost";
const WHOLE: &str = "I3 what is visible is whole";
const NAMED: &str = "I3 residue is bounded";
const WORKS: &str = "I3 the registry goes on";

struct Upload {
    repository: RepositoryName,
    content: usize,
    received: u64,
    ending: bool,
    until: Timestamp,
}

/// All that clients may rely on.
pub(super) struct Promises {
    now: Timestamp,
    uploads: BTreeMap<UploadId, Upload>,
    blobs: BTreeMap<(RepositoryName, usize), Timestamp>,
    /// Where a tag may point: in one place, unless something is being done to it.
    tags: BTreeMap<(RepositoryName, Tag), Vec<Option<Digest>>>,
}

impl Promises {
    pub(super) fn at(now: Timestamp) -> Promises {
        Promises {
            now,
            uploads: BTreeMap::new(),
            blobs: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    pub(super) fn apply(&mut self, entry: &Entry) {
        let until = self.now + RELIED_ON;
        match entry {
            Entry::Clock(now) => self.now = *now,
            Entry::Disk(_) | Entry::Commit(_) => {}
            Entry::Note(note) => match note.clone() {
                Note::Began {
                    id,
                    repository,
                    content,
                } => {
                    let upload = Upload {
                        repository,
                        content,
                        received: 0,
                        ending: false,
                        until,
                    };
                    self.uploads.insert(id, upload);
                }
                Note::Received { id, received } => {
                    if let Some(upload) = self.uploads.get_mut(&id) {
                        upload.received = received;
                    }
                }
                Note::Ending(id) => {
                    if let Some(upload) = self.uploads.get_mut(&id) {
                        upload.ending = true;
                    }
                }
                Note::Blob { repository, content } => {
                    self.blobs.insert((repository, content), until);
                }
                Note::TagTried { repository, tag, to } => self.tag(repository, tag).push(to),
                Note::TagIs { repository, tag, at } => *self.tag(repository, tag) = vec![at],
                Note::Killed | Note::Refused(_) => {}
            },
        }
    }

    fn tag(&mut self, repository: RepositoryName, tag: Tag) -> &mut Vec<Option<Digest>> {
        self.tags.entry((repository, tag)).or_insert_with(|| vec![None])
    }

    /// Looks at everything.
    pub(super) async fn check(
        &self,
        world: &World,
        library: &Library,
        strictness: Strictness,
        dice: &mut Dice,
    ) -> Kept {
        let look = Look {
            world,
            library,
            strictness,
        };
        look.records_name_whole_bytes().await?;
        self.tags_are_where_they_should_be(&look).await?;
        look.tags_resolve().await?;
        for ((repository, content), until) in &self.blobs {
            if self.now < *until {
                look.blob(ACKNOWLEDGED, repository, *content).await?;
            }
        }
        if strictness == Strictness::Everything {
            look.every_file_is_named().await?;
        }
        for (id, upload) in &self.uploads {
            if self.now < upload.until {
                look.upload(id, upload).await?;
            }
        }
        look.pushes_work(dice).await?;
        if strictness == Strictness::Records {
            for ((repository, content), until) in &self.blobs {
                if self.now < *until {
                    look.push(repository, *content).await?;
                }
            }
        }
        if strictness == Strictness::Everything && dice.once_in(16) {
            look.residue_goes().await?;
        }
        Ok(())
    }

    async fn tags_are_where_they_should_be(&self, look: &Look<'_>) -> Kept {
        for ((repository, tag), allowed) in &self.tags {
            let reference = Reference::Tag(tag.clone());
            let (registry, ctx) = (&look.world.registry, &look.world.ctx);
            let at = match registry.stat_manifest(ctx, repository, &reference).await {
                Ok(info) => Some(info.digest),
                Err(why) if is_unknown(&why) => None,
                Err(why) => return broken(WORKS, format!("{repository}:{tag}: {why:?}")),
            };
            if !allowed.contains(&at) {
                return broken(
                    ACKNOWLEDGED,
                    format!("{repository}:{tag} is at {at:?}, not at one of {allowed:?}"),
                );
            }
        }
        Ok(())
    }
}

fn is_unknown(why: &Error) -> bool {
    matches!(
        why.kind(),
        ErrorKind::ManifestUnknown
            | ErrorKind::NameUnknown
            | ErrorKind::BlobUnknown
            | ErrorKind::UploadUnknown
    )
}

/// One look at what a cut has left.
struct Look<'w> {
    world: &'w World,
    library: &'w Library,
    strictness: Strictness,
}

impl Look<'_> {
    /// A blob is readable and right; or, if bytes may be missing, unknown.
    async fn blob(&self, promise: &'static str, repository: &RepositoryName, content: usize) -> Kept {
        let bytes = &self.library.contents[content];
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let digest = Digest::sha256(bytes);
        let found = match registry.read_blob(ctx, repository, &digest, None).await {
            Ok(blob) => read_all(blob.read).await,
            Err(why) if self.strictness == Strictness::Records && is_unknown(&why) => return Ok(()),
            Err(why) => return broken(promise, format!("content {content} in {repository}: {why:?}")),
        };
        match found {
            Ok(found) if found == bytes => Ok(()),
            found => {
                let length = found.map(|found| found.len());
                broken(
                    WHOLE,
                    format!("content {content} in {repository} reads as other bytes, {length:?}"),
                )
            }
        }
    }

    async fn manifest(&self, repository: &RepositoryName, digest: &Digest) -> Kept {
        let mut wanted = vec![*digest];
        while let Some(digest) = wanted.pop() {
            let (registry, ctx) = (&self.world.registry, &self.world.ctx);
            let found = registry
                .get_manifest(ctx, repository, &Reference::Digest(digest))
                .await;
            let Some(made) = self.library.manifests.get(&digest) else {
                return broken(WHOLE, format!("nobody pushed manifest {digest}"));
            };
            match found {
                Ok(found) if found.bytes == made.bytes => {}
                other => return broken(CLOSURE, format!("manifest {digest} in {repository}: {other:?}")),
            }
            for content in &made.contents {
                self.blob(CLOSURE, repository, *content).await?;
            }
            wanted.extend(&made.manifests);
        }
        Ok(())
    }

    /// Every tag that there is.
    async fn tags_resolve(&self) -> Kept {
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let failed = |why: Error| Broken {
            promise: WORKS,
            found: format!("lists: {why:?}"),
        };
        let repositories = registry.list_repositories(ctx, None, 100).await.map_err(failed)?;
        for repository in &repositories.items {
            let tags = registry
                .list_tags(ctx, repository, None, 100)
                .await
                .map_err(failed)?;
            for tag in tags.items {
                let info = registry
                    .stat_manifest(ctx, repository, &Reference::Tag(tag.clone()))
                    .await;
                let info = info.map_err(|why| Broken {
                    promise: CLOSURE,
                    found: format!("{repository}:{tag} leads nowhere: {why:?}"),
                })?;
                self.manifest(repository, &info.digest).await?;
            }
        }
        Ok(())
    }

    /// The records under a prefix, and the location that each names.
    async fn locations(&self, table: &str) -> Kept<Vec<(String, Location, Option<u64>)>> {
        let page = self.world.kv.scan(table, None, 10_000).await;
        let page = page.map_err(|why| Broken {
            promise: WORKS,
            found: why.to_string(),
        })?;
        let parsed = page.into_iter().map(|(key, entry)| {
            let value: serde_json::Value = serde_json::from_slice(&entry.value).unwrap_or_default();
            let suspect = value["suspect"].as_bool().unwrap_or_default();
            match serde_json::from_value(value["location"].clone()) {
                Ok(location) => Ok((key, location, value["size"].as_u64().filter(|_| !suspect))),
                Err(why) => broken(WORKS, format!("record {key}: {why}")),
            }
        });
        parsed.collect()
    }

    /// What a blob's record names is what its digest says, whoever may read it.
    async fn records_name_whole_bytes(&self) -> Kept {
        for (key, location, size) in self.locations("blob/").await? {
            let (Some(size), true) = (size, location != Location::Inline) else {
                continue;
            };
            let digest = key.trim_start_matches("blob/");
            match self.world.bytes.read(&location, 0..size).await {
                Ok(read) => {
                    let bytes = read_all(read).await.unwrap_or_default();
                    if Digest::sha256(&bytes).to_string() != digest {
                        return broken(
                            WHOLE,
                            format!("{location} has {} other bytes than {digest}", bytes.len()),
                        );
                    }
                }
                Err(_) if self.strictness == Strictness::Records => {}
                Err(why) => return broken(WHOLE, format!("{digest} at {location}: {why:?}")),
            }
        }
        Ok(())
    }

    async fn files(&self) -> Kept<Vec<Location>> {
        let files = self.world.bytes.list(None, 10_000).await;
        files.map_err(|why| Broken {
            promise: WORKS,
            found: why.to_string(),
        })
    }

    /// No file lies there that nobody will ever unlink.
    async fn every_file_is_named(&self) -> Kept {
        let mut named = BTreeSet::new();
        for table in ["blob/", "upload/", "doomed/"] {
            let locations = self.locations(table).await?;
            named.extend(locations.into_iter().map(|(_, location, _)| location));
        }
        match self.files().await?.into_iter().find(|file| !named.contains(file)) {
            None => Ok(()),
            Some(file) => broken(NAMED, format!("{file} is named by no record")),
        }
    }

    /// What was received of an upload is there, is what was sent, and is enough to go on from.
    async fn upload(&self, id: &UploadId, upload: &Upload) -> Kept {
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let repository = &upload.repository;
        let sent = &self.library.contents[upload.content];
        let received = match registry.upload_status(ctx, repository, id).await {
            Ok(status) => status.received,
            Err(why) if upload.ending && is_unknown(&why) => return Ok(()),
            Err(why) => return broken(UPLOADS, format!("upload {id}: {why:?}")),
        };
        if received < upload.received && self.strictness == Strictness::Everything {
            return broken(
                UPLOADS,
                format!("upload {id} has {received} of {} bytes", upload.received),
            );
        }
        let location = registry_core::store::UploadStore::location(&*self.world.bytes, id);
        let found = match received {
            0 => Bytes::new(),
            _ => match self.world.bytes.read(&location, 0..received).await {
                Ok(read) => read_all(read).await.unwrap_or_default(),
                Err(why) => return broken(UPLOADS, format!("upload {id}: {why:?}")),
            },
        };
        if !sent.starts_with(&found) || found.len() as u64 != received {
            return broken(
                UPLOADS,
                format!("the {received} bytes of upload {id} are not what was sent"),
            );
        }
        if upload.ending && received == 0 {
            // It may have been about to end without its content.
            return Ok(());
        }
        let rest = whole(sent.slice(received as usize..));
        let digest = Digest::sha256(sent);
        let finished = registry
            .finish_upload(ctx, repository, id, Some(received), rest, &digest)
            .await;
        match finished {
            Ok(_) => self.blob(UPLOADS, repository, upload.content).await,
            Err(why) => broken(
                UPLOADS,
                format!("upload {id} cannot be resumed at {received}: {why:?}"),
            ),
        }
    }

    async fn push(&self, repository: &RepositoryName, content: usize) -> Kept {
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let bytes = &self.library.contents[content];
        let digest = Digest::sha256(bytes);
        let pushed = async {
            let upload = registry.begin_upload(ctx, repository, None).await?;
            registry
                .finish_upload(ctx, repository, &upload.id, None, whole(bytes.clone()), &digest)
                .await?;
            let blob = registry.read_blob(ctx, repository, &digest, None).await?;
            read_all(blob.read).await.map_err(Error::internal)
        };
        match pushed.await {
            Ok(found) if found == bytes => Ok(()),
            other => broken(
                WORKS,
                format!("content {content} pushed again to {repository}: {other:?}"),
            ),
        }
    }

    /// One of the contents can be pushed again, whatever became of it.
    async fn pushes_work(&self, dice: &mut Dice) -> Kept {
        let repository: RepositoryName = "client/0".parse().expect("a name");
        self.push(&repository, dice.below(Library::CONTENTS)).await
    }

    /// What nothing names is given back in time, and nothing else.
    async fn residue_goes(&self) -> Kept {
        for _ in 0..12 {
            self.world.clock.advance(Duration::from_secs(12 * 3600));
            self.world.tidy().await.map_err(|why| Broken {
                promise: WORKS,
                found: format!("{why:?}"),
            })?;
        }
        let blobs = self.locations("blob/").await?;
        let kept: BTreeSet<_> = blobs.into_iter().map(|(_, location, _)| location).collect();
        if let Some(file) = self.files().await?.iter().find(|file| !kept.contains(file)) {
            return broken(NAMED, format!("{file} is never given back"));
        }
        self.tags_resolve().await
    }
}
