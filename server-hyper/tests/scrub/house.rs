//! A registry whose files, records and clock a test can change behind its back.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use registry_core::auth::Identity;
use registry_core::manifest::OCI_MANIFEST;
use registry_core::store::{
    BlobStore, Entry, Kv, KvError, Lifetimes, Location, ManifestStore, Scrub, ScrubFinding, Stamp,
    StoreError, Txn, Volume,
};
use registry_core::{
    BlobRead, Context, Digest, ErrorKind, LocalRegistry, Options, PutManifest, Registry, RepositoryName,
    Runtime, Timestamp, once,
};
use registry_gc::{ScrubOptions, ScrubStatus, Scrubber};
use registry_storage::clock::ManualClock;
use registry_storage::fs::FsBytes;
use registry_storage::memory::MemoryKv;
use registry_storage::records::Records;
use registry_storage::testkit::read_all;
use server_hyper::TokioRuntime;

pub(crate) const RATE: u64 = 1 << 20;
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Tokio's, but for time: a sleep is over at once, and counted. It stops for good where it is told to, as a process
/// does that is killed there.
#[derive(Default)]
pub(crate) struct Paused {
    slept: Mutex<Duration>,
    stops_at: Mutex<Option<Duration>>,
}

impl Paused {
    pub(crate) fn slept(&self) -> Duration {
        *self.slept.lock().unwrap()
    }

    pub(crate) fn stop_at(&self, slept: Option<Duration>) {
        *self.stops_at.lock().unwrap() = slept;
    }
}

impl Runtime for Paused {
    fn now(&self) -> Timestamp {
        TokioRuntime.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        *self.slept.lock().unwrap() += duration;
        match *self.stops_at.lock().unwrap() {
            Some(stop) if self.slept() >= stop => Box::pin(std::future::pending()),
            _ => Box::pin(std::future::ready(())),
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        TokioRuntime.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        TokioRuntime.spawn_blocking(work);
    }
}

/// Files on a disk with bad sectors, that counts what is read.
pub(crate) struct Disk {
    pub(crate) files: Arc<FsBytes>,
    /// What cannot be read, and the number of the error that says so.
    pub(crate) bad: Mutex<HashSet<(Location, i32)>>,
    /// What is read wrong or not at all, once.
    pub(crate) once: Mutex<Option<(Location, Once)>>,
    /// What is unlinked right before it is read.
    pub(crate) collected: Mutex<Option<BoxFuture<'static, ()>>>,
    pub(crate) reads: AtomicU64,
}

#[async_trait]
impl BlobStore for Disk {
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let once = self.once.lock().unwrap().take_if(|(odd, _)| odd == location);
        match once {
            None => {}
            Some((_, Once::Error(errno))) => {
                return Err(StoreError::Failed(io::Error::from_raw_os_error(errno)));
            }
            Some((_, Once::Bytes)) => return Ok(BlobRead::Bytes(vec![0; 50_000].into())),
        }
        let bad = self
            .bad
            .lock()
            .unwrap()
            .iter()
            .find(|(bad, _)| bad == location)
            .cloned();
        if let Some((_, errno)) = bad {
            return Err(StoreError::Failed(io::Error::from_raw_os_error(errno)));
        }
        self.files.read(location, range).await
    }

    async fn size(&self, location: &Location) -> Result<Option<u64>, StoreError> {
        let collect = self.collected.lock().unwrap().take();
        if let Some(collect) = collect {
            collect.await;
        }
        self.files.size(location).await
    }

    async fn unlink(&self, location: &Location) -> Result<(), StoreError> {
        self.files.unlink(location).await
    }

    async fn list(&self, after: Option<&Location>, limit: usize) -> Result<Vec<Location>, StoreError> {
        self.files.list(after, limit).await
    }

    async fn volume(&self) -> Volume {
        self.files.volume().await
    }
}

/// What a single reading gives instead of what is there.
pub(crate) enum Once {
    /// The error of this number.
    Error(i32),
    /// Other bytes.
    Bytes,
}

/// Records that are read oddly where a test says so.
#[derive(Default)]
pub(crate) struct OddKv {
    pub(crate) memory: MemoryKv,
    /// What begins like this cannot be listed.
    pub(crate) unlisted: Mutex<Option<&'static str>>,
    /// What begins like this comes in pages of so many at most.
    pub(crate) short: Mutex<Option<(&'static str, usize)>>,
    /// What is under this key is read wrong, once.
    pub(crate) wrong_once: Mutex<Option<String>>,
}

#[async_trait]
impl Kv for OddKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let entry = self.memory.get(key).await?;
        let wrong = self.wrong_once.lock().unwrap().take_if(|wrong| wrong == key);
        Ok(match (entry, wrong) {
            (Some(entry), Some(_)) => Some(Entry {
                value: Bytes::from(vec![0; entry.value.len()]),
                ..entry
            }),
            (entry, _) => entry,
        })
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        if self
            .unlisted
            .lock()
            .unwrap()
            .is_some_and(|odd| prefix.starts_with(odd))
        {
            return Err(KvError::Failed("the engine cannot read this page".into()));
        }
        let short = self
            .short
            .lock()
            .unwrap()
            .filter(|(odd, _)| prefix.starts_with(odd));
        let limit = short.map_or(limit, |(_, most)| limit.min(most));
        self.memory.scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.memory.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        self.memory.commit(txn).await
    }
}

pub(crate) struct House {
    pub(crate) registry: LocalRegistry,
    pub(crate) records: Arc<Records>,
    pub(crate) kv: Arc<OddKv>,
    pub(crate) clock: ManualClock,
    pub(crate) disk: Arc<Disk>,
    pub(crate) time: Arc<Paused>,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) fn name() -> RepositoryName {
    "some/repository".parse().unwrap()
}

pub(crate) fn caller() -> Context {
    Context {
        may_push: true,
        ..Context::request(Identity::Anonymous, "test")
    }
}

/// Content that no other seed has, too large to go inside the records.
pub(crate) fn content(seed: u64) -> Vec<u8> {
    seed.to_le_bytes().iter().copied().cycle().take(50_000).collect()
}

impl House {
    /// On a volume that is known by the identity in it.
    pub(crate) fn new() -> House {
        Self::on(|directory| {
            let opened = registry_storage::open(directory, TokioRuntime::shared()).unwrap();
            opened.bytes
        })
    }

    /// On a volume in which nothing tells that it is the right one.
    pub(crate) fn unnamed() -> House {
        Self::on(|directory| FsBytes::open(directory.join("blobs"), TokioRuntime::shared()).unwrap())
    }

    fn on(open: impl FnOnce(&Path) -> FsBytes) -> House {
        let directory = tempfile::tempdir().unwrap();
        let runtime = TokioRuntime::shared();
        let clock = ManualClock::at(Timestamp(1_000_000_000_000));
        let kv = Arc::new(OddKv {
            memory: MemoryKv::with_clock(clock.clock()),
            ..OddKv::default()
        });
        let files = Arc::new(open(directory.path()));
        let records = Arc::new(Records::new(kv.clone(), runtime.clone(), Lifetimes::default()));
        let disk = Arc::new(Disk {
            files: files.clone(),
            bad: Mutex::default(),
            once: Mutex::default(),
            collected: Mutex::default(),
            reads: AtomicU64::new(0),
        });
        let registry = LocalRegistry::new(records.clone(), disk.clone(), files, runtime, Options::default());
        House {
            registry,
            records,
            kv,
            clock,
            disk,
            time: Arc::default(),
            directory,
        }
    }

    pub(crate) fn scrubber(&self) -> Scrubber {
        self.scrubber_at(RATE)
    }

    pub(crate) fn scrubber_at(&self, rate: u64) -> Scrubber {
        let options = ScrubOptions {
            rate: NonZeroU64::new(rate).unwrap(),
            interval: WEEK,
        };
        Scrubber::new(
            self.records.clone(),
            self.disk.clone(),
            self.time.clone(),
            options,
        )
    }

    /// Scrubs everything, once.
    pub(crate) async fn scrub(&self) -> ScrubStatus {
        self.clock.advance(WEEK);
        let scrubber = self.scrubber();
        scrubber.run_due().await.unwrap();
        scrubber.status()
    }

    pub(crate) async fn findings(&self) -> Vec<ScrubFinding> {
        self.records.findings().await.unwrap()
    }

    pub(crate) async fn has(&self, content: &[u8]) -> bool {
        let digest = Digest::sha256(content);
        match self.registry.stat_blob(&caller(), &name(), &digest).await {
            Ok(_) => true,
            Err(why) => {
                assert!(
                    matches!(why.kind(), ErrorKind::BlobUnknown | ErrorKind::NameUnknown),
                    "{why:?}"
                );
                false
            }
        }
    }

    /// Pushes as clients do: not what the registry says that it has. Whether bytes were sent.
    pub(crate) async fn push(&self, content: &[u8]) -> bool {
        if self.has(content).await {
            return false;
        }
        let (ctx, name, digest) = (caller(), name(), Digest::sha256(content));
        let upload = self.registry.begin_upload(&ctx, &name, None).await.unwrap();
        self.registry
            .finish_upload(&ctx, &name, &upload.id, None, once(content.to_vec()), &digest)
            .await
            .unwrap();
        true
    }

    pub(crate) async fn push_image(&self, tag: &str, blob: &[u8]) -> Digest {
        self.push(blob).await;
        let (digest, size) = (Digest::sha256(blob), blob.len());
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{digest}","size":{size}}},"layers":[]}}"#
        );
        let put = PutManifest::tagged(tag.parse().unwrap(), OCI_MANIFEST, manifest);
        let outcome = self.registry.put_manifest(&caller(), &name(), put).await.unwrap();
        outcome.digest
    }

    pub(crate) async fn pull(&self, content: &[u8]) -> Vec<u8> {
        let digest = Digest::sha256(content);
        let blob = self
            .registry
            .read_blob(&caller(), &name(), &digest, None)
            .await
            .unwrap();
        read_all(blob.read).await.unwrap().to_vec()
    }

    pub(crate) async fn location(&self, content: &[u8]) -> Location {
        let record = self.records.blob_record(&Digest::sha256(content)).await.unwrap();
        record.unwrap().location
    }

    pub(crate) async fn file(&self, content: &[u8]) -> PathBuf {
        match self.location(content).await {
            Location::File(name) => self.directory.path().join("blobs").join(name),
            other => panic!("{other} is no file"),
        }
    }

    pub(crate) async fn is_bad(&self, content: &[u8], errno: i32) {
        let location = self.location(content).await;
        self.disk.bad.lock().unwrap().insert((location, errno));
    }
}

pub(crate) fn writable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn flip(path: &Path) {
    writable(path);
    let mut bytes = fs::read(path).unwrap();
    bytes[25_000] ^= 1;
    fs::write(path, bytes).unwrap();
}

pub(crate) fn truncate(path: &Path) {
    writable(path);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(49_999)
        .unwrap();
}

pub(crate) fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}
