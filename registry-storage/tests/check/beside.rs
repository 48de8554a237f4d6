//! The check runs beside those who push, delete and collect, and takes nothing that they do for wrong: nothing is found,
//! and there is nothing to repair.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use registry_core::auth::Identity;
use registry_core::runtime::Threads;
use registry_core::store::{BlobStore, Kv, Lifetimes, Reclaim, Undo, UploadStore};
use registry_core::{
    Context, Digest, LocalRegistry, MountFrom, Options, PutManifest, Reference, Registry, RepositoryName,
    Timestamp, once,
};
use registry_storage::clock::ManualClock;
use registry_storage::fs::FsBytes;
use registry_storage::kv::{self, EmbeddedKv};
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::records::check::{self, Told};
use registry_storage::testkit::{Interleaved, block_on};

use super::house::{INDEX, OCI, name};

/// How long others are at work, in all.
const TIME: Duration = Duration::from_secs(8);

/// A registry that others use.
#[derive(Clone)]
struct Town {
    records: Records,
    registry: Arc<LocalRegistry>,
    blobs: Arc<dyn BlobStore>,
    clock: ManualClock,
    ended: Arc<AtomicBool>,
    /// What came to its end: pushed, deleted, condemned and removed, unlinked.
    done: Arc<[AtomicU64; 4]>,
}

const LIFETIMES: Lifetimes = Lifetimes {
    grace: Duration::from_secs(600),
    bucket: Duration::from_secs(300),
    second_delay: Duration::from_secs(300),
    upload_idle: Duration::from_secs(7200),
    longest_write: Duration::from_secs(600),
    longest_read: Duration::from_secs(600),
    undo: Duration::from_secs(900),
};

impl Town {
    fn on<B: BlobStore + UploadStore>(kv: impl Kv, bytes: B, clock: ManualClock) -> Self {
        let (kv, bytes) = (Arc::new(Interleaved::new(kv)), Arc::new(bytes));
        let records = Records::new(kv, Threads::shared(), LIFETIMES);
        let registry = LocalRegistry::new(
            Arc::new(records.clone()),
            bytes.clone(),
            bytes.clone(),
            Threads::shared(),
            Options::default(),
        );
        Town {
            records,
            registry: Arc::new(registry),
            blobs: bytes,
            clock,
            ended: Arc::default(),
            done: Arc::default(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    fn did(&self, what: usize) {
        self.done[what].fetch_add(1, Ordering::Relaxed);
    }

    /// Pushes images that share layers, indexes and what refers to them. That others delete what it needs is part of the
    /// game.
    async fn pusher(self, seed: u64) {
        let ctx = Context::request(Identity::Anonymous, "pusher");
        let mut round = seed;
        while self.goes_on() {
            round += 1;
            let repository = name(&format!("town/{}", round % 3));
            // Some in files and some inside the records; each comes again and again.
            let layers = [vec![(round % 5) as u8; 17_000], vec![(round % 7) as u8; 90]];
            let mut named = Vec::new();
            for layer in &layers {
                if let Some(pushed) = self.push(&ctx, &repository, layer).await {
                    named.push(pushed);
                }
            }
            let [layer, config] = &named[..] else { continue };
            let other = name(&format!("town/{}", (round + 1) % 3));
            let digest = Digest::sha256(&layers[0]);
            let _may_be_gone = self
                .registry
                .mount_blob(&ctx, &other, &digest, &MountFrom::Repository(repository.clone()))
                .await;
            let image =
                format!(r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{config},"layers":[{layer}]}}"#);
            let it = descriptor(OCI, image.as_bytes());
            let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{it}]}}"#);
            let referrer = format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{config},"layers":[],"subject":{it}}}"#
            );
            for (media_type, manifest) in [(OCI, image), (INDEX, index), (OCI, referrer)] {
                let tag = format!("t{}", round % 4).parse().unwrap();
                let put = PutManifest::tagged(tag, media_type, manifest);
                if self.registry.put_manifest(&ctx, &repository, put).await.is_ok() {
                    self.did(0);
                }
            }
        }
    }

    async fn push(&self, ctx: &Context, repository: &RepositoryName, content: &[u8]) -> Option<String> {
        let digest = Digest::sha256(content);
        let upload = self.registry.begin_upload(ctx, repository, None).await.ok()?;
        let (registry, id) = (&self.registry, &upload.id);
        let half = content.len() / 2;
        registry
            .append_upload(ctx, repository, id, Some(0), once(content[..half].to_vec()))
            .await
            .ok()?;
        if half.is_multiple_of(11) {
            registry.cancel_upload(ctx, repository, id).await.ok()?;
            return None;
        }
        registry
            .finish_upload(ctx, repository, id, None, once(content[half..].to_vec()), &digest)
            .await
            .ok()?;
        Some(descriptor("application/x", content))
    }

    /// Deletes tags, manifests, blobs and now and then a whole repository.
    async fn deleter(self) {
        let ctx = Context::request(Identity::Anonymous, "deleter");
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
            let repository = name(&format!("town/{}", round % 3));
            let tag = format!("t{}", round % 4);
            let found = self
                .registry
                .stat_manifest(&ctx, &repository, &Reference::Tag(tag.parse().unwrap()))
                .await;
            let deleted = match (found, round % 5) {
                (Ok(_), 0) => {
                    self.registry
                        .delete_tag(&ctx, &repository, &tag.parse().unwrap())
                        .await
                }
                (Ok(found), _) => {
                    self.registry
                        .delete_manifest(&ctx, &repository, &found.digest)
                        .await
                }
                (Err(error), _) => Err(error),
            };
            if deleted.is_ok() {
                self.did(1);
            }
            if round % 3 == 0
                && let Ok(trash) = self.records.list_trash(&repository, None, 1).await
                && let Some(trashed) = trash.items.first()
            {
                let digest = &trashed.digest;
                let _purged_meanwhile = self.records.undelete(&ctx, &repository, digest, None).await;
            }
            let blob = Digest::sha256(&[(round % 5) as u8; 17_000]);
            let _needed_or_gone = self.registry.delete_blob(&ctx, &repository, &blob).await;
            if round % 41 == 0 {
                let _gone = self.registry.delete_repository(&ctx, &repository).await;
            }
        }
    }

    /// Moves the clock on and does all that becomes due.
    async fn collector(self) {
        while self.goes_on() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.clock.advance(Duration::from_secs(30));
            let records = &self.records;
            for entry in records.due(None, 100).await.unwrap() {
                records.collect(&entry).await.unwrap();
                self.did(2);
            }
            for expired in records.expired_uploads(None, 100).await.unwrap() {
                records.abandon(&expired.id).await.unwrap();
            }
            for doomed in records.doomed(None, 100).await.unwrap() {
                self.blobs.unlink(&doomed.location).await.unwrap();
                records.clear_doomed(&doomed).await.unwrap();
                self.did(3);
            }
            records.sweep_repositories(10).await.unwrap();
            records.sweep_manifests(10).await.unwrap();
            records.purge_trash(10).await.unwrap();
        }
    }

    /// Checks again and again. How often.
    async fn checker(&self) -> u64 {
        let (began, mut checks) = (Instant::now(), 0);
        while began.elapsed() < TIME || checks < 4 {
            let options = check::Options {
                deep: checks % 2 == 1,
                repair: checks % 4 > 1,
                overdue: Some(Duration::from_secs(10 * 24 * 3600)),
                ..check::Options::default()
            };
            let mut findings = Vec::new();
            let report = self
                .records
                .check(&*self.blobs, options, &mut |told| {
                    if let Told::Found(finding) = told {
                        findings.push(finding.to_string());
                    }
                })
                .await
                .unwrap();
            assert_eq!(findings, Vec::<String>::new(), "check {checks}, {options:?}");
            assert_eq!(report.unsettled, 0);
            checks += 1;
        }
        checks
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> String {
    let (digest, size) = (Digest::sha256(content), content.len());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn nothing_is_found_in(town: impl FnOnce(ManualClock) -> Town) {
    block_on(async {
        let town = town(ManualClock::at(Timestamp(1_000_000_000)));
        let mut others = vec![
            tokio::spawn(town.clone().deleter()),
            tokio::spawn(town.clone().collector()),
            tokio::spawn(town.clone().collector()),
        ];
        others.extend((0..3).map(|n| tokio::spawn(town.clone().pusher(n * 1000))));
        let checks = town.checker().await;
        town.ended.store(true, Ordering::Relaxed);
        for other in others {
            other.await.unwrap();
        }
        let done: Vec<u64> = town.done.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        println!("{checks} checks beside puts, deletes, steps of the collector, files unlinked: {done:?}");
        assert!(
            done.iter().all(|done| *done > 10),
            "others were at work: {done:?}"
        );
        // And what is left is whole.
        town.checker_once().await;
    });
}

impl Town {
    async fn checker_once(&self) {
        let options = check::Options {
            deep: true,
            ..check::Options::default()
        };
        let report = self
            .records
            .check(&*self.blobs, options, &mut |_| {})
            .await
            .unwrap();
        assert_eq!(report.findings, 0, "{report:?}");
    }
}

#[test]
fn beside_others_in_memory_nothing_is_found() {
    nothing_is_found_in(|clock| Town::on(MemoryKv::with_clock(clock.clock()), MemoryBytes::new(), clock));
}

#[test]
fn beside_others_on_the_embedded_store_nothing_is_found() {
    let directory = tempfile::tempdir().unwrap();
    nothing_is_found_in(|clock| {
        let options = kv::Options {
            clock: clock.clock(),
            ..kv::Options::default()
        };
        let kv = EmbeddedKv::open(directory.path().join("records"), options).unwrap();
        let bytes = FsBytes::open(directory.path().join("blobs"), Threads::shared()).unwrap();
        Town::on(kv, bytes, clock)
    });
}
