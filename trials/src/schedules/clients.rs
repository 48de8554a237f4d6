//! What clients do.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use registry_core::store::{Undo, roll_back};
use registry_core::{
    ByteStream, Children, Context, Digest, ErrorKind, Expect, MountFrom, PutManifest, Registry,
    RepositoryName, Result, Tag, UploadId, once,
};
use registry_storage::testkit::disk::Dice;
use registry_storage::testkit::read_all;

use super::code::Code;
use super::library::Made;
use super::lock;
use super::scheduler::pause;

/// One thing that a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Push,
    PushInParts,
    LeaveUpload,
    Resume,
    Cancel,
    Head,
    Mount,
    Read,
    PutImage,
    PutDeferred,
    PutIndex,
    /// HEAD, push what is missing, put the manifest: as build tools do.
    PushImage,
    DeleteManifest,
    DeleteTag,
    DeleteBlob,
    DeleteRepository,
    Undelete,
    UndeleteTag,
    RollBack,
    Purge,
    /// Push, pull what was pushed, and give it up: as a probe does.
    TryOut,
}

impl Op {
    const ALL: [Op; 21] = [
        Op::Push,
        Op::PushInParts,
        Op::LeaveUpload,
        Op::Resume,
        Op::Cancel,
        Op::Head,
        Op::Mount,
        Op::Read,
        Op::PutImage,
        Op::PutDeferred,
        Op::PutIndex,
        Op::PushImage,
        Op::DeleteManifest,
        Op::DeleteTag,
        Op::DeleteBlob,
        Op::DeleteRepository,
        Op::Undelete,
        Op::UndeleteTag,
        Op::RollBack,
        Op::Purge,
        Op::TryOut,
    ];

    /// What is done in a world: some of all, since a world in which everything happens hides what takes a few things
    /// often.
    pub(super) fn menu(dice: &mut Dice) -> Vec<Op> {
        let share = 2 + dice.below(3);
        let mut menu: Vec<Op> = Op::ALL.into_iter().filter(|_| dice.once_in(share)).collect();
        // Something has to come in, and what is taken back must have gone.
        menu.push(*dice.pick(&[Op::Push, Op::PushImage, Op::PushInParts]));
        if menu.contains(&Op::Undelete) || menu.contains(&Op::Purge) {
            menu.extend([Op::PushImage, Op::DeleteManifest]);
        }
        menu
    }
}

/// An upload that whoever finds it may go on with.
pub(super) struct Left {
    repository: RepositoryName,
    id: UploadId,
    content: usize,
}

type Lefts = Arc<Mutex<Vec<Left>>>;

pub(super) struct Client {
    code: Code,
    left: Lefts,
    dice: Dice,
    ctx: Context,
}

impl Client {
    pub(super) fn new(code: &Code, left: &Lefts, dice: Dice) -> Client {
        Client {
            code: code.clone(),
            left: left.clone(),
            dice,
            ctx: Context::system(),
        }
    }

    /// Does what comes `first`, and then so many things of what is done in this world.
    pub(super) async fn live(mut self, first: &[Op], steps: usize) {
        for step in 0..first.len() + steps {
            pause().await;
            let op = match first.get(step) {
                Some(op) => *op,
                None => *self.dice.pick(&self.code.world.setting.menu),
            };
            self.code.world.begins(&format!("{op:?}"));
            if let Err(why) = self.act(op).await {
                self.code.world.refused(&format!("{op:?}"), &why);
            }
        }
    }

    fn name(&mut self) -> RepositoryName {
        // Mostly one, since what happens in one place meets.
        let other = self.dice.once_in(3) && self.code.world.setting.both_names;
        self.code.world.library.names[usize::from(other)].clone()
    }

    fn content(&mut self) -> usize {
        self.dice.below(self.code.world.library.contents.len())
    }

    fn bytes(&self, content: usize) -> Bytes {
        self.code.world.library.contents[content].clone()
    }

    fn digest(&self, content: usize) -> Digest {
        Digest::sha256(&self.code.world.library.contents[content])
    }

    async fn act(&mut self, op: Op) -> Result<()> {
        let (name, content) = (self.name(), self.content());
        match op {
            Op::Push => self.push(&name, content).await,
            Op::PushInParts => self.push_in_parts(&name, content).await,
            Op::LeaveUpload => self.leave(&name, content).await,
            Op::Resume => self.resume().await,
            Op::Cancel => self.cancel(&name).await,
            Op::Head => self.head(&name, content).await.map(drop),
            Op::Mount => self.mount(&name, content).await,
            Op::Read => self.read(&name, content).await,
            Op::PutImage => {
                let image = self.image();
                self.put(&name, &image, Children::Required).await
            }
            Op::PutDeferred => {
                let manifests = &self.code.world.library.manifests;
                let made = manifests[self.dice.below(manifests.len())].clone();
                self.put(&name, &made, Children::Deferred).await
            }
            Op::PutIndex => {
                let index = self.code.world.library.index().clone();
                self.put(&name, &index, Children::Required).await
            }
            Op::PushImage => self.push_image(&name).await,
            Op::Undelete => {
                let digest = self.manifest(&name, true);
                let back = self.code.records.undelete(&self.ctx, &name, &digest, None);
                back.await.map(drop)
            }
            Op::UndeleteTag => {
                let tag = self.tag();
                let back = self.code.records.undelete_tag(&self.ctx, &name, &tag).await;
                back.map(|_| self.code.world.cover("undelete_tag"))
            }
            Op::RollBack => {
                let in_trash = self.dice.once_in(2);
                let (tag, to) = (self.tag(), self.manifest(&name, in_trash));
                let Code {
                    registry, records, ..
                } = &self.code;
                roll_back(registry, records, &self.ctx, &name, &tag, &to, Expect::Any).await?;
                self.code.world.cover("roll_back");
                Ok(())
            }
            Op::Purge => {
                let digest = self.manifest(&name, true);
                self.code.records.purge(&self.ctx, &name, &digest).await
            }
            Op::DeleteManifest => {
                let digest = self.manifest(&name, false);
                self.code
                    .registry
                    .delete_manifest(&self.ctx, &name, &digest)
                    .await
            }
            Op::DeleteTag => {
                let tag = self.tag();
                self.code.registry.delete_tag(&self.ctx, &name, &tag).await
            }
            Op::DeleteBlob => {
                let digest = self.digest(content);
                self.code.registry.delete_blob(&self.ctx, &name, &digest).await
            }
            Op::TryOut => {
                self.push(&name, content).await?;
                self.code.world.begins("pulls what it pushed");
                self.read(&name, content).await?;
                self.code.world.begins("gives it up");
                let digest = self.digest(content);
                self.code.registry.delete_blob(&self.ctx, &name, &digest).await
            }
            Op::DeleteRepository => self.code.registry.delete_repository(&self.ctx, &name).await,
        }
    }

    fn tag(&mut self) -> Tag {
        ["a", "b"][self.dice.below(2)].parse().expect("a tag")
    }

    /// Mostly one that is there, or in the trash.
    fn manifest(&mut self, name: &RepositoryName, in_trash: bool) -> Digest {
        let there = self.code.world.manifests_of(name.as_str(), in_trash);
        if !there.is_empty() && !self.dice.once_in(4) {
            return *self.dice.pick(&there);
        }
        let manifests = &self.code.world.library.manifests;
        manifests[self.dice.below(manifests.len())].digest
    }

    fn image(&mut self) -> Made {
        let images = self.code.world.library.images();
        images[self.dice.below(images.len())].clone()
    }

    /// In pieces, with a pause before each.
    fn stream(&mut self, bytes: Bytes) -> ByteStream {
        let piece = (bytes.len() / (1 + self.dice.below(3))).max(1);
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|part| Ok(bytes.slice_ref(part)))
            .collect();
        let world = self.code.world.clone();
        Box::pin(stream::iter(pieces).then(move |piece| {
            let world = world.clone();
            async move {
                world.take_time(|faults| faults.slow).await;
                piece
            }
        }))
    }

    async fn begin(&mut self, name: &RepositoryName) -> Result<UploadId> {
        let begun = self.code.registry.begin_upload(&self.ctx, name, None).await?;
        Ok(begun.id)
    }

    async fn finish(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
        content: usize,
        at: usize,
    ) -> Result<()> {
        let digest = self.digest(content);
        let bytes = self.bytes(content);
        // Two writers at once, where nothing keeps them apart, may have sent more than there is.
        let rest = bytes.slice(at.min(bytes.len())..);
        let bytes = self.stream(rest);
        self.code
            .registry
            .finish_upload(&self.ctx, name, id, Some(at as u64), bytes, &digest)
            .await?;
        self.code.world.told(None, name.as_str(), &digest);
        Ok(())
    }

    async fn append(
        &mut self,
        name: &RepositoryName,
        id: &UploadId,
        content: usize,
        part: std::ops::Range<usize>,
    ) -> Result<usize> {
        let at = part.start as u64;
        let bytes = self.bytes(content).slice(part);
        let bytes = self.stream(bytes);
        let status = self
            .code
            .registry
            .append_upload(&self.ctx, name, id, Some(at), bytes)
            .await?;
        Ok(status.received as usize)
    }

    async fn push(&mut self, name: &RepositoryName, content: usize) -> Result<()> {
        let id = self.begin(name).await?;
        self.finish(name, &id, content, 0).await
    }

    async fn push_in_parts(&mut self, name: &RepositoryName, content: usize) -> Result<()> {
        let id = self.begin(name).await?;
        let half = self.bytes(content).len() / 2;
        let at = self.append(name, &id, content, 0..half).await?;
        self.finish(name, &id, content, at).await
    }

    async fn leave(&mut self, name: &RepositoryName, content: usize) -> Result<()> {
        let id = self.begin(name).await?;
        lock(&self.left).push(Left {
            repository: name.clone(),
            id: id.clone(),
            content,
        });
        let half = self.bytes(content).len() / 2;
        self.append(name, &id, content, 0..half).await.map(drop)
    }

    /// Goes on with an upload that somebody else may still be at.
    async fn resume(&mut self) -> Result<()> {
        let found = {
            let left = lock(&self.left);
            match left.is_empty() {
                true => None,
                false => {
                    let it = &left[self.dice.below(left.len())];
                    Some((it.repository.clone(), it.id.clone(), it.content))
                }
            }
        };
        let Some((name, id, content)) = found else {
            let (name, content) = (self.name(), self.content());
            return self.leave(&name, content).await;
        };
        let status = self.code.registry.upload_status(&self.ctx, &name, &id).await?;
        let (at, end) = (status.received as usize, self.bytes(content).len());
        self.code.world.cover("touch (resume)");
        if at < end && self.dice.once_in(2) {
            let part = at..at + (end - at).div_ceil(2);
            self.append(&name, &id, content, part).await?;
            return Ok(());
        }
        self.finish(&name, &id, content, at).await
    }

    async fn cancel(&mut self, name: &RepositoryName) -> Result<()> {
        let found = lock(&self.left).pop();
        match found {
            Some(left) => {
                let name = left.repository;
                self.code.registry.cancel_upload(&self.ctx, &name, &left.id).await
            }
            None => {
                let id = self.begin(name).await?;
                self.code.registry.cancel_upload(&self.ctx, name, &id).await
            }
        }
    }

    /// Whether the blob is there.
    async fn head(&mut self, name: &RepositoryName, content: usize) -> Result<bool> {
        let digest = self.digest(content);
        let before = self.code.world.id_of(name.as_str());
        match self.code.registry.stat_blob(&self.ctx, name, &digest).await {
            Ok(_) => {
                self.code.world.told(before.as_ref(), name.as_str(), &digest);
                self.code.world.opened(before.as_ref(), name.as_str(), &digest);
                Ok(true)
            }
            Err(why) if matches!(why.kind(), ErrorKind::BlobUnknown | ErrorKind::NameUnknown) => Ok(false),
            Err(why) => Err(why),
        }
    }

    async fn mount(&mut self, name: &RepositoryName, content: usize) -> Result<()> {
        let digest = self.digest(content);
        let [one, two] = &self.code.world.library.names;
        let from = match self.dice.below(3) {
            0 => MountFrom::Anywhere,
            _ => MountFrom::Repository(if name == one { two.clone() } else { one.clone() }),
        };
        let registry = &self.code.registry;
        if registry
            .mount_blob(&self.ctx, name, &digest, &from)
            .await?
            .is_some()
        {
            self.code.world.told(None, name.as_str(), &digest);
        }
        Ok(())
    }

    /// A pull, which may then go on for the longest read.
    async fn read(&mut self, name: &RepositoryName, content: usize) -> Result<()> {
        let world = self.code.world.clone();
        let digest = self.digest(content);
        let (begun, before) = (world.scheduler.clock.now(), world.id_of(name.as_str()));
        let ctx = Context {
            may_push: false,
            ..self.ctx.clone()
        };
        let blob = self.code.registry.read_blob(&ctx, name, &digest, None).await?;
        world.opened(before.as_ref(), name.as_str(), &digest);
        world.oracle().reads(
            world.scheduler.current(),
            begun,
            world.setting.lifetimes.longest_read,
        );
        let read = read_all(blob.read).await;
        world.read(&digest, &read);
        Ok(())
    }

    async fn put(&mut self, name: &RepositoryName, made: &Made, children: Children) -> Result<()> {
        let mut put = match self.dice.once_in(3) {
            true => PutManifest::untagged(made.media_type, made.bytes.clone()),
            false => PutManifest::tagged(self.tag(), made.media_type, made.bytes.clone()),
        };
        put.options.children = children;
        self.code
            .registry
            .put_manifest(&self.ctx, name, put)
            .await
            .map(drop)
    }

    async fn push_image(&mut self, name: &RepositoryName) -> Result<()> {
        let image = self.image();
        for content in image.contents.clone() {
            if !self.head(name, content).await? {
                self.code.world.begins("pushes what is missing");
                let id = self.begin(name).await?;
                let bytes = once(self.bytes(content));
                let digest = self.digest(content);
                let registry = &self.code.registry;
                registry
                    .finish_upload(&self.ctx, name, &id, Some(0), bytes, &digest)
                    .await?;
                self.code.world.told(None, name.as_str(), &digest);
            }
        }
        self.code.world.begins("puts the image");
        self.put(name, &image, Children::Required).await
    }
}
