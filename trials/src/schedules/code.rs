//! The code on trial, on a world's stores, and the collectors that call it.

use std::sync::Arc;

use registry_core::store::{BlobStore, Reclaim};
use registry_core::{Error, LocalRegistry, Options, Result, Verify};
use registry_storage::records::Records;
use registry_storage::records::check::{self, FindingKind};

use super::oracle::Broken;
use super::scheduler::pause;
use super::stores::{PausingBytes, PausingKv};
use super::world::World;

/// Bytes of a blob that is kept in the records, at most.
const INLINE: usize = 16;

/// So that an image of two blobs is deleted in pieces.
const EDGES_AT_ONCE: usize = 1;

/// Events that the policy follows at once.
const EVENTS: usize = 3;

/// The code on trial, on a world's stores.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) world: Arc<World>,
    pub(super) registry: LocalRegistry,
    pub(super) records: Records,
    bytes: Arc<dyn BlobStore>,
}

impl Code {
    pub(super) fn on(world: &Arc<World>) -> Code {
        let kv = Arc::new(PausingKv(world.clone()));
        let records =
            Records::new(kv, world.scheduler.clone(), world.setting.lifetimes).in_pieces_of(EDGES_AT_ONCE);
        let bytes = Arc::new(PausingBytes(world.clone()));
        Code {
            world: world.clone(),
            registry: LocalRegistry::new(
                Arc::new(records.clone()),
                bytes.clone(),
                bytes.clone(),
                world.scheduler.clone(),
                Options {
                    inline_max: INLINE,
                    verify: Verify::Off,
                    // What was read once must be read again, for the search to see that it is there.
                    cache: 0,
                },
            ),
            bytes,
            records,
        }
    }

    /// Takes the steps that are due. Whether there were any.
    pub(super) async fn collect(&self) -> Result<bool> {
        let untagged = self.delete_untagged().await?;
        let due = self.records.due(None, 3).await?;
        for entry in &due {
            self.records.collect(entry).await?;
        }
        let pieces = self.records.sweep_manifests(1).await?;
        let trash = self.records.purge_trash(1).await?;
        Ok(!due.is_empty() || pieces || trash || untagged)
    }

    /// Does what the policy says, if there is one. Whether anything went.
    async fn delete_untagged(&self) -> Result<bool> {
        let Some(kept) = self.world.setting.untagged else {
            return Ok(false);
        };
        let until = self.records.time().await? - kept;
        while self.records.follow(EVENTS).await? {}
        let mut any = false;
        for untagged in self.records.untagged(until, None, 3).await? {
            any |= self.records.delete_untagged(&untagged).await?;
        }
        if any {
            self.world.cover("untagged");
        }
        Ok(any)
    }

    /// Takes the steps beside the queue, one after the other. Not by the collector itself: that would have one of several work at a
    /// time, and here they are to meet.
    pub(super) async fn tidy(&self) -> Result<()> {
        for expired in self.records.expired_uploads(None, 1000).await? {
            self.records.abandon(&expired.id).await?;
        }
        while self.records.sweep_repositories(1000).await? {}
        for doomed in self.records.doomed(None, 1000).await? {
            self.bytes
                .unlink(&doomed.location)
                .await
                .map_err(Error::internal)?;
            self.records.clear_doomed(&doomed).await?;
        }
        Ok(())
    }

    /// A collector that works whenever something may have become due.
    pub(super) async fn collector(self, rounds: usize, tidies: bool) {
        self.world.oracle().collects(self.world.scheduler.current());
        for _ in 0..rounds {
            let tick = self.world.scheduler.ticks();
            self.world.begins("collects");
            let collected = self.collect().await;
            if let Err(why) = &collected {
                self.world.refused("collecting", why);
            }
            if tidies && let Err(why) = self.tidy().await {
                self.world.refused("tidying", &why);
            }
            if !collected.unwrap_or(true) {
                self.world.scheduler.moved_since(tick).await;
            }
        }
    }

    /// Somebody who checks the records while others write them, and repairs what he finds. Where nothing but the bytes
    /// of blobs may be lost he may find nothing else.
    pub(super) async fn checker(self, later: usize) {
        for _ in 0..later {
            pause().await;
        }
        self.world.begins("checks");
        let options = check::Options {
            repair: true,
            ..check::Options::default()
        };
        let mut wrong = Vec::new();
        let mut tell = |told: check::Told<'_>| {
            if let check::Told::Found(finding) = told {
                match finding.kind {
                    FindingKind::BytesMissing | FindingKind::Suspect => {}
                    _ => wrong.push(finding.to_string()),
                }
            }
        };
        let checked = self.records.check(self.bytes.as_ref(), options, &mut tell).await;
        match checked {
            Ok(_) => self.world.cover("check"),
            Err(why) => self.world.refused("checking", &why),
        }
        if !wrong.is_empty() {
            self.world.judge(Err(Broken {
                promise: "a check finds nothing where nothing is wrong",
                found: wrong.join("; "),
            }));
        }
    }
}
