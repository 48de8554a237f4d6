//! What is done to the registry while its log is written.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use registry_core::{
    ByteStream, Digest, PutManifest, Registry, RepositoryName, Result, Tag, UploadId, empty, once,
};
use registry_storage::clock::ManualClock;
use registry_storage::testkit::disk::Dice;

use super::library::{INDEX, Library, Made, OCI};
use super::oracle::Note;
use super::stage::{Entries, LoggedKv, Stage, World, pause};
use super::{BEGIN, Entry, Trial, recorded};

/// Clients at once.
const CLIENTS: usize = 3;

/// How often time passes.
const PHASES: usize = 4;

/// What a client does in a phase.
const STEPS: usize = 4;

/// Steps of anybody within which a process is killed that is.
const KILLED_WITHIN: usize = 600;

/// Plays one run. Gives what happened, and what was pushed.
pub(super) fn play(trial: Trial, seed: u64) -> (Vec<Entry>, Library) {
    let mut dice = Dice::new(seed);
    let clock = ManualClock::at(BEGIN);
    let stage = Stage::new(clock.clone(), dice.fork());
    let log = Entries::default();
    let kv = LoggedKv::new(&clock, &log);
    let disk = trial.marked(recorded(&log));
    let mut world = World::logged(&stage, &kv, &disk, trial);
    let library = Mutex::new(Library::new(seed));
    let mut clients: Vec<Client<'_>> = (0..CLIENTS)
        .map(|number| Client {
            world: world.clone(),
            log: &log,
            library: &library,
            repository: format!("client/{number}").parse().expect("a name"),
            dice: dice.fork(),
            left: Vec::new(),
            known: Vec::new(),
            tags: Vec::new(),
        })
        .collect();
    for phase in 0..PHASES {
        if phase > 0 {
            let hours = *dice.pick(&[0, 1, 25, 30]);
            clock.advance(Duration::from_secs(hours * 3600));
            log.push(Entry::Clock(clock.now()));
        }
        let mut actors: Vec<BoxFuture<'_, ()>> = Vec::new();
        for client in &mut clients {
            client.world = world.clone();
            actors.push(Box::pin(client.phase()));
        }
        let tidied = world.clone();
        actors.push(Box::pin(async move {
            for _ in 0..2 {
                pause().await;
                tidied
                    .tidy()
                    .await
                    .expect("the collector's steps never fail here");
            }
        }));
        // Often the process is killed on the way, and another goes on with what the system still has.
        let steps = dice.once_in(2).then(|| dice.below(KILLED_WITHIN));
        stage.together(actors, steps, &mut dice);
        if steps.is_some() {
            log.push(Entry::Note(Note::Killed));
            world = World::logged(&stage, &kv, &disk, trial);
        }
    }
    drop(clients);
    let library = library.into_inner().unwrap_or_else(PoisonError::into_inner);
    (log.take(), library)
}

/// An upload that its client has left for later.
struct Left {
    id: UploadId,
    content: usize,
}

/// Works in a repository of its own, on contents that all share.
struct Client<'w> {
    world: Arc<World>,
    log: &'w Entries,
    library: &'w Mutex<Library>,
    repository: RepositoryName,
    dice: Dice,
    left: Vec<Left>,
    /// Contents that it was told are here.
    known: Vec<usize>,
    tags: Vec<(Tag, Digest)>,
}

/// A stream in pieces, perhaps broken off.
fn sent(bytes: Bytes, piece: usize, broken: bool) -> ByteStream {
    let pieces: Vec<_> = bytes
        .chunks(piece)
        .map(|part| Ok(bytes.slice_ref(part)))
        .collect();
    let end = broken.then(|| Err(io::ErrorKind::ConnectionReset.into()));
    Box::pin(stream::iter(pieces.into_iter().chain(end)).then(async |piece| {
        pause().await;
        piece
    }))
}

impl Client<'_> {
    fn note(&self, note: Note) {
        self.log.push(Entry::Note(note));
    }

    fn bytes(&self, content: usize) -> Bytes {
        self.library
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contents[content]
            .clone()
    }

    async fn phase(&mut self) {
        // What was known may have been collected since.
        self.known.clear();
        for _ in 0..STEPS {
            let step = self.step().await;
            if let Err(error) = step {
                self.note(Note::Refused(error.to_string()));
            }
            pause().await;
        }
    }

    async fn step(&mut self) -> Result<()> {
        let content = self.dice.below(Library::CONTENTS);
        match self.dice.below(12) {
            0..=2 => self.push_whole(content).await,
            3..=5 => self.push_in_parts(content).await,
            6 => self.cancel(content).await,
            7 => self.push_under_a_wrong_digest(content).await,
            8 => self.resume_left().await,
            9 => self.delete().await,
            _ => {
                self.push_whole(content).await?;
                self.put_image().await
            }
        }
    }

    async fn begin(&self, content: usize) -> Result<UploadId> {
        let begun = self
            .world
            .registry
            .begin_upload(&self.world.ctx, &self.repository, None)
            .await?;
        self.note(Note::Began {
            id: begun.id.clone(),
            repository: self.repository.clone(),
            content,
        });
        Ok(begun.id)
    }

    async fn append(&mut self, id: &UploadId, at: u64, bytes: ByteStream) -> Result<u64> {
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let status = registry
            .append_upload(ctx, &self.repository, id, Some(at), bytes)
            .await?;
        self.note(Note::Received {
            id: id.clone(),
            received: status.received,
        });
        Ok(status.received)
    }

    async fn status(&mut self, id: &UploadId) -> Result<u64> {
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let status = registry.upload_status(ctx, &self.repository, id).await?;
        self.note(Note::Received {
            id: id.clone(),
            received: status.received,
        });
        Ok(status.received)
    }

    async fn finish(&mut self, id: &UploadId, content: usize, at: u64, bytes: ByteStream) -> Result<()> {
        self.note(Note::Ending(id.clone()));
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let digest = Digest::sha256(&self.bytes(content));
        registry
            .finish_upload(ctx, &self.repository, id, Some(at), bytes, &digest)
            .await?;
        self.note(Note::Blob {
            repository: self.repository.clone(),
            content,
        });
        self.known.push(content);
        Ok(())
    }

    async fn push_whole(&mut self, content: usize) -> Result<()> {
        let id = self.begin(content).await?;
        let bytes = self.bytes(content);
        self.finish(&id, content, 0, sent(bytes, 1000, false)).await
    }

    /// In one to three appends, some of them broken off and resumed, and finished with a rest or without, or later.
    async fn push_in_parts(&mut self, content: usize) -> Result<()> {
        let id = self.begin(content).await?;
        let bytes = self.bytes(content);
        let mut at = 0;
        // Found again by a client whose server was killed meanwhile.
        self.left.push(Left {
            id: id.clone(),
            content,
        });
        for _ in 0..=self.dice.below(3) {
            let rest = bytes.len() - at as usize;
            let end = at as usize + self.dice.below(rest + 1);
            let part = bytes.slice(at as usize..end);
            if self.dice.once_in(4) {
                let broken = self.append(&id, at, sent(part, 300, true)).await;
                if broken.is_ok() {
                    self.note(Note::Refused("a broken stream was taken for a whole one".into()));
                }
                at = self.status(&id).await?;
            } else {
                at = self.append(&id, at, sent(part, 300, false)).await?;
            }
        }
        if self.dice.once_in(3) {
            return Ok(());
        }
        self.left.pop();
        if self.dice.once_in(2) {
            at = self
                .append(&id, at, sent(bytes.slice(at as usize..), 1000, false))
                .await?;
        }
        self.finish(&id, content, at, sent(bytes.slice(at as usize..), 1000, false))
            .await
    }

    async fn resume_left(&mut self) -> Result<()> {
        let Some(Left { id, content }) = self.left.pop() else {
            return self
                .push_in_parts(self.dice.clone().below(Library::CONTENTS))
                .await;
        };
        let at = self.status(&id).await?;
        let rest = self.bytes(content).slice(at as usize..);
        self.finish(&id, content, at, sent(rest, 1000, false)).await
    }

    async fn cancel(&mut self, content: usize) -> Result<()> {
        let id = self.begin(content).await?;
        let bytes = self.bytes(content);
        self.append(&id, 0, sent(bytes.slice(..bytes.len() / 2), 1000, false))
            .await?;
        self.note(Note::Ending(id.clone()));
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        registry.cancel_upload(ctx, &self.repository, &id).await
    }

    async fn push_under_a_wrong_digest(&mut self, content: usize) -> Result<()> {
        let id = self.begin(content).await?;
        self.note(Note::Ending(id.clone()));
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let wrong = Digest::sha256(b"something else");
        let bytes = sent(self.bytes(content), 1000, false);
        registry
            .finish_upload(ctx, &self.repository, &id, Some(0), bytes, &wrong)
            .await
            .map(drop)
    }

    /// An image of what is known here under one of a few tags, or an index of one that is tagged.
    async fn put_image(&mut self) -> Result<()> {
        let tag: Tag = format!("t{}", self.dice.below(3)).parse().expect("a tag");
        let (media_type, made) = {
            let library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
            match self.tags.first() {
                Some((_, image)) if self.dice.once_in(4) => (INDEX, library.index(image)),
                _ => (OCI, library.image(&self.known)),
            }
        };
        let Made { bytes, .. } = &made;
        let (digest, put) = (
            Digest::sha256(bytes),
            PutManifest::tagged(tag.clone(), media_type, bytes.clone()),
        );
        self.library
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .manifests
            .insert(digest, made);
        self.tried(&tag, Some(digest));
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        registry.put_manifest(ctx, &self.repository, put).await?;
        self.is(&tag, Some(digest));
        self.tags.retain(|(other, _)| *other != tag);
        self.tags.push((tag, digest));
        Ok(())
    }

    fn tried(&self, tag: &Tag, to: Option<Digest>) {
        self.note(Note::TagTried {
            repository: self.repository.clone(),
            tag: tag.clone(),
            to,
        });
    }

    fn is(&self, tag: &Tag, at: Option<Digest>) {
        self.note(Note::TagIs {
            repository: self.repository.clone(),
            tag: tag.clone(),
            at,
        });
    }

    /// A tag, or a manifest with all its tags.
    async fn delete(&mut self) -> Result<()> {
        let Some((tag, digest)) = self.tags.first().cloned() else {
            return self.put_image().await;
        };
        let (registry, ctx) = (&self.world.registry, &self.world.ctx);
        let mut gone = vec![tag.clone()];
        if self.dice.once_in(2) {
            let same = self.tags.iter().filter(|(_, at)| *at == digest);
            gone = same.map(|(tag, _)| tag.clone()).collect();
            gone.iter().for_each(|tag| self.tried(tag, None));
            registry.delete_manifest(ctx, &self.repository, &digest).await?;
        } else {
            self.tried(&tag, None);
            registry.delete_tag(ctx, &self.repository, &tag).await?;
        }
        gone.iter().for_each(|tag| self.is(tag, None));
        self.tags.retain(|(tag, _)| !gone.contains(tag));
        Ok(())
    }
}

/// A whole content in one piece, or nothing.
pub(super) fn whole(bytes: Bytes) -> ByteStream {
    match bytes.is_empty() {
        true => empty(),
        false => once(bytes),
    }
}
