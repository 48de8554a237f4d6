//! A client of the stress: it pushes as docker, jib and a proxy do, pulls, deletes, and goes away at any moment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use registry_core::{
    Children, Context, Digest, Error, ErrorKind, MountFrom, PutManifest, Reference, Registry, RepositoryName,
    Result, Tag, once,
};
use registry_storage::testkit::content;
use serde_json::json;

use super::collectors::yields;
use super::stress::Shared;
use super::trace::Happened;
use crate::crash::random::Random;

const IMAGE_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// How many images there are; every repository may hold each of them, and so they share their blobs.
const IMAGES: u64 = 4;

/// Operations of one kind in a row, more or less.
const WAVE: u64 = 12;

/// How long a sender stalls: until just after its claim has expired.
const STALLED: Duration = Duration::from_secs(4 * 60);

/// How many names there are.
const NAMES: u64 = 3;

/// An image, and the index that lists it.
struct Image {
    blobs: [Bytes; 2],
    manifest: Bytes,
    index: Bytes,
    tag: Tag,
}

impl Image {
    fn new(number: u64) -> Image {
        let blobs = [content(2 * number + 1, 200), content(2 * number + 2, 300)];
        let descriptor = |bytes: &Bytes| {
            json!({
                "mediaType": "application/octet-stream", "digest": Digest::sha256(bytes), "size": bytes.len(),
            })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE_TYPE,
            "config": descriptor(&blobs[0]), "layers": [descriptor(&blobs[1])],
        });
        let manifest = Bytes::from(manifest.to_string());
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX_TYPE,
            "manifests": [{ "mediaType": IMAGE_TYPE, "digest": Digest::sha256(&manifest), "size": manifest.len() }],
        });
        Image {
            blobs,
            manifest,
            index: index.to_string().into(),
            tag: format!("image-{number}").parse().expect("a tag"),
        }
    }
}

/// One client.
pub(super) struct Client {
    shared: Arc<Shared>,
    random: Random,
    context: Context,
    /// Operations so far.
    done: u64,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, random: Random) -> Client {
        Client {
            shared,
            random,
            context: Context::system(),
            done: 0,
        }
    }

    /// Does so many operations, some of which it leaves in the middle.
    pub(super) async fn work(mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            let log = self.shared.log.clone();
            let done = if self.random.chance(8) {
                let polls = self.random.below(80);
                tokio::select! {
                    biased;
                    () = yields(polls) => {
                        log.tell(Happened::Crashed);
                        Ok(())
                    }
                    done = self.operation() => done,
                }
            } else {
                self.operation().await
            };
            match done {
                // Refusals are part of life; only what is broken is not.
                Err(why) if why.kind() == ErrorKind::Internal => return Err(why),
                _ => {}
            }
        }
        self.clear().await
    }

    /// Everything is deleted, so that nothing holds what is left.
    async fn clear(&mut self) -> Result<()> {
        for number in 0..NAMES {
            let name: RepositoryName = format!("stress/{number}").parse().expect("a name");
            for image in 0..IMAGES {
                match self.delete(&name, &Image::new(image)).await {
                    Err(why) if why.kind() == ErrorKind::Internal => return Err(why),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn registry(&self) -> Arc<dyn Registry> {
        self.shared.registry.clone()
    }

    fn name(&mut self) -> RepositoryName {
        let name = format!("stress/{}", self.random.below(NAMES));
        name.parse().expect("a name")
    }

    async fn operation(&mut self) -> Result<()> {
        let image = Image::new(self.random.below(IMAGES));
        let name = self.name();
        let registry = self.registry();
        let context = self.context.clone();
        let blob = Digest::sha256(&image.blobs[self.random.below(2) as usize]);
        // Waves: what was pushed in one is deleted in the next, so that blobs lose their last edge.
        let pushing = (self.done / WAVE).is_multiple_of(2);
        self.done += 1;
        match self.random.below(100) {
            0..35 if pushing => self.push(&name, &image).await,
            0..35 => self.delete(&name, &image).await,
            35..47 => self.push(&name, &image).await,
            47..56 => self.pull(&name, &image).await,
            56..64 => self.delete(&name, &image).await,
            64..66 => registry.delete_repository(&context, &name).await,
            66..72 => registry.delete_blob(&context, &name, &blob).await,
            72..76 => self.give_up(&name).await,
            76..79 => self.leave_an_upload(&name).await,
            79..81 => self.stall(&name, &image).await,
            81..85 => self.defer(&name, &image).await,
            85..88 => self.wrong_bytes(&name, &image).await,
            88..91 => self.lose(&blob).await,
            91..96 => self.undo(&name, &image).await,
            _ => {
                registry.stat_blob(&context, &name, &blob).await?;
                Ok(())
            }
        }
    }

    /// Brings what is not there, in one of the ways that clients have, and then the manifest.
    async fn push(&mut self, name: &RepositoryName, image: &Image) -> Result<()> {
        for blob in &image.blobs {
            self.bring(name, blob).await?;
        }
        self.put(name, image, Children::Required).await?;
        if self.random.chance(40) {
            let index = PutManifest::untagged(INDEX_TYPE, image.index.clone());
            self.registry().put_manifest(&self.context, name, index).await?;
        }
        Ok(())
    }

    async fn put(&mut self, name: &RepositoryName, image: &Image, children: Children) -> Result<()> {
        let mut put = PutManifest::tagged(image.tag.clone(), IMAGE_TYPE, image.manifest.clone());
        put.options.children = children;
        self.registry().put_manifest(&self.context, name, put).await?;
        Ok(())
    }

    async fn bring(&mut self, name: &RepositoryName, blob: &Bytes) -> Result<()> {
        let (registry, digest) = (self.registry(), Digest::sha256(blob));
        // HEAD, then skip.
        if self.random.chance(70) && registry.stat_blob(&self.context, name, &digest).await.is_ok() {
            return Ok(());
        }
        if self.random.chance(40) {
            let from = match self.random.chance(70) {
                true => MountFrom::Repository(self.name()),
                false => MountFrom::Anywhere,
            };
            let mounted = registry.mount_blob(&self.context, name, &digest, &from).await?;
            if mounted.is_some() {
                return Ok(());
            }
        }
        self.upload(name, blob, &digest).await
    }

    async fn upload(&mut self, name: &RepositoryName, blob: &Bytes, digest: &Digest) -> Result<()> {
        let registry = self.registry();
        let begun = registry.begin_upload(&self.context, name, None).await?;
        let half = self.random.below(blob.len() as u64) as usize;
        if half > 0 && self.random.chance(50) {
            let part = once(blob.slice(..half));
            registry
                .append_upload(&self.context, name, &begun.id, Some(0), part)
                .await?;
            yields(self.random.below(60)).await;
        }
        let received = registry
            .upload_status(&self.context, name, &begun.id)
            .await?
            .received;
        let rest = once(blob.slice(received as usize..));
        registry
            .finish_upload(&self.context, name, &begun.id, Some(received), rest, digest)
            .await?;
        Ok(())
    }

    async fn pull(&mut self, name: &RepositoryName, image: &Image) -> Result<()> {
        let registry = self.registry();
        let tag = Reference::Tag(image.tag.clone());
        registry.get_manifest(&self.context, name, &tag).await?;
        for blob in &image.blobs {
            let digest = Digest::sha256(blob);
            registry.read_blob(&self.context, name, &digest, None).await?;
        }
        Ok(())
    }

    async fn delete(&mut self, name: &RepositoryName, image: &Image) -> Result<()> {
        let registry = self.registry();
        if self.random.chance(70) {
            let index = Digest::sha256(&image.index);
            match registry.delete_manifest(&self.context, name, &index).await {
                Err(why) if why.kind() == ErrorKind::Internal => return Err(why),
                _ => {}
            }
        }
        let digest = Digest::sha256(&image.manifest);
        registry.delete_manifest(&self.context, name, &digest).await
    }

    /// What was deleted comes back, or goes for good.
    async fn undo(&mut self, name: &RepositoryName, image: &Image) -> Result<()> {
        let manifest = match self.random.chance(30) {
            true => Digest::sha256(&image.index),
            false => Digest::sha256(&image.manifest),
        };
        let undo = self.shared.undo.clone();
        if self.random.chance(15) {
            return undo.purge(&self.context, name, &manifest).await;
        }
        undo.undelete(&self.context, name, &manifest, None).await?;
        Ok(())
    }

    /// A manifest with more children than one transaction takes is put before they are there, deleted, and put again
    /// while its edges are still being taken.
    pub(super) async fn put_and_delete_in_pieces(mut self, times: u64) -> Result<()> {
        let (name, real) = (self.name(), content(77, 100));
        let layers = (0..1001_u64).map(|number| {
            let digest = match number {
                0 => Digest::sha256(&real),
                _ => Digest::sha256(&number.to_le_bytes()),
            };
            json!({ "mediaType": "application/octet-stream", "digest": digest, "size": 100 })
        });
        let config = json!({
            "mediaType": "application/octet-stream", "digest": Digest::sha256(b"config"), "size": 6,
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE_TYPE, "config": config, "layers": layers.collect::<Vec<_>>(),
        });
        let manifest = Bytes::from(manifest.to_string());
        let (registry, digest) = (self.registry(), Digest::sha256(&manifest));
        for _ in 0..times.min(2) {
            let done = async {
                self.upload(&name, &real, &Digest::sha256(&real)).await?;
                let mut put = PutManifest::untagged(IMAGE_TYPE, manifest.clone());
                put.options.children = Children::Deferred;
                registry.put_manifest(&self.context, &name, put).await?;
                registry.delete_manifest(&self.context, &name, &digest).await
            };
            match done.await {
                Err(why) if why.kind() == ErrorKind::Internal => return Err(why),
                _ => {}
            }
            yields(self.random.below(4000)).await;
        }
        Ok(())
    }

    async fn give_up(&mut self, name: &RepositoryName) -> Result<()> {
        let registry = self.registry();
        let begun = registry.begin_upload(&self.context, name, None).await?;
        yields(self.random.below(200)).await;
        registry.cancel_upload(&self.context, name, &begun.id).await
    }

    async fn leave_an_upload(&mut self, name: &RepositoryName) -> Result<()> {
        let registry = self.registry();
        let begun = registry.begin_upload(&self.context, name, None).await?;
        let part = once(content(99, 50));
        registry
            .append_upload(&self.context, name, &begun.id, None, part)
            .await?;
        Ok(())
    }

    /// An upload whose sender stalls after its last byte, until its claim has long expired: the write lands late.
    async fn stall(&mut self, name: &RepositoryName, image: &Image) -> Result<()> {
        let registry = self.registry();
        let begun = registry.begin_upload(&self.context, name, None).await?;
        let (shared, blob) = (self.shared.clone(), image.blobs[0].clone());
        let digest = Digest::sha256(&blob);
        let end = stream::once(async move {
            let until = shared.log.now() + STALLED;
            while shared.log.now() < until && !shared.is_over() {
                tokio::task::yield_now().await;
            }
        });
        let bytes = Box::pin(once(blob).chain(end.filter_map(|()| ready(None))));
        registry
            .finish_upload(&self.context, name, &begun.id, Some(0), bytes, &digest)
            .await?;
        Ok(())
    }

    /// A proxy puts a manifest before its children, and brings one of those perhaps.
    async fn defer(&mut self, name: &RepositoryName, image: &Image) -> Result<()> {
        self.put(name, image, Children::Deferred).await?;
        if self.random.chance(50) {
            self.bring(name, &image.blobs[0]).await?;
        }
        Ok(())
    }

    async fn wrong_bytes(&mut self, name: &RepositoryName, image: &Image) -> Result<()> {
        let claimed = Digest::sha256(&image.blobs[0]);
        self.upload(name, &image.blobs[1], &claimed).await
    }

    /// The fault action: the bytes of a blob vanish.
    async fn lose(&mut self, blob: &Digest) -> Result<()> {
        if let Some(record) = self.shared.manifests.blob_record(blob).await? {
            let lost = self.shared.log.lose(&*self.shared.disk, &record.location).await;
            lost.map_err(Error::internal)?;
        }
        Ok(())
    }
}
