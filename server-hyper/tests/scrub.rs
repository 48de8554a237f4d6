//! The scrub on a registry whose files, records and clock a test can change behind its back.

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
use futures_util::future::BoxFuture;
use registry_core::auth::Identity;
use registry_core::manifest::OCI_MANIFEST;
use registry_core::store::{
    BlobStore, Damage, Kv, Lifetimes, Location, ManifestStore, Reclaim, Scrub, ScrubFinding, ScrubPlace,
    StoreError, Txn,
};
use registry_core::{
    BlobRead, Context, Digest, ErrorKind, LocalRegistry, Options, PutManifest, Reference, Registry,
    RepositoryName, Runtime, Timestamp, once,
};
use registry_gc::{Collector, DOUBTS, RunOptions, ScrubOptions, ScrubStatus, Scrubber, Settings, Stop};
use registry_storage::clock::ManualClock;
use registry_storage::fs::FsBytes;
use registry_storage::memory::MemoryKv;
use registry_storage::records::Records;
use registry_storage::testkit::read_all;
use server_hyper::TokioRuntime;

const RATE: u64 = 1 << 20;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Tokio's, but for time: a sleep is over at once, and counted. It stops for good where it is told to, as a process
/// does that is killed there.
#[derive(Default)]
struct Paused {
    slept: Mutex<Duration>,
    stops_at: Mutex<Option<Duration>>,
}

impl Paused {
    fn slept(&self) -> Duration {
        *self.slept.lock().unwrap()
    }

    fn stop_at(&self, slept: Option<Duration>) {
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
struct Disk {
    files: Arc<FsBytes>,
    /// What cannot be read, and the number of the error that says so.
    bad: Mutex<HashSet<(Location, i32)>>,
    /// What is unlinked right before it is read.
    collected: Mutex<Option<BoxFuture<'static, ()>>>,
    reads: AtomicU64,
}

#[async_trait]
impl BlobStore for Disk {
    async fn read(&self, location: &Location, range: Range<u64>) -> Result<BlobRead, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
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
}

struct House {
    registry: LocalRegistry,
    records: Arc<Records>,
    kv: Arc<MemoryKv>,
    clock: ManualClock,
    disk: Arc<Disk>,
    time: Arc<Paused>,
    directory: tempfile::TempDir,
}

fn name() -> RepositoryName {
    "some/repository".parse().unwrap()
}

fn caller() -> Context {
    Context {
        may_push: true,
        ..Context::request(Identity::Anonymous, "test")
    }
}

/// Content that no other seed has, too large to go inside the records.
fn content(seed: u64) -> Vec<u8> {
    seed.to_le_bytes().iter().copied().cycle().take(50_000).collect()
}

impl House {
    fn new() -> House {
        let directory = tempfile::tempdir().unwrap();
        let runtime = TokioRuntime::shared();
        let clock = ManualClock::at(Timestamp(1_000_000_000_000));
        let kv = Arc::new(MemoryKv::with_clock(clock.clock()));
        let files = Arc::new(FsBytes::open(directory.path().join("blobs"), runtime.clone()).unwrap());
        let records = Arc::new(Records::new(kv.clone(), runtime.clone(), Lifetimes::default()));
        let disk = Arc::new(Disk {
            files: files.clone(),
            bad: Mutex::default(),
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

    fn scrubber(&self) -> Scrubber {
        self.scrubber_at(RATE)
    }

    fn scrubber_at(&self, rate: u64) -> Scrubber {
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
    async fn scrub(&self) -> ScrubStatus {
        self.clock.advance(WEEK);
        let scrubber = self.scrubber();
        scrubber.run_due().await.unwrap();
        scrubber.status()
    }

    async fn findings(&self) -> Vec<ScrubFinding> {
        self.records.findings().await.unwrap()
    }

    async fn has(&self, content: &[u8]) -> bool {
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
    async fn push(&self, content: &[u8]) -> bool {
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

    async fn push_image(&self, tag: &str, blob: &[u8]) -> Digest {
        self.push(blob).await;
        let (digest, size) = (Digest::sha256(blob), blob.len());
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/x","digest":"{digest}","size":{size}}},"layers":[]}}"#
        );
        let put = PutManifest::tagged(tag.parse().unwrap(), OCI_MANIFEST, manifest);
        let outcome = self.registry.put_manifest(&caller(), &name(), put).await.unwrap();
        outcome.digest
    }

    async fn pull(&self, content: &[u8]) -> Vec<u8> {
        let digest = Digest::sha256(content);
        let blob = self
            .registry
            .read_blob(&caller(), &name(), &digest, None)
            .await
            .unwrap();
        read_all(blob.read).await.unwrap().to_vec()
    }

    async fn location(&self, content: &[u8]) -> Location {
        let record = self.records.blob_record(&Digest::sha256(content)).await.unwrap();
        record.unwrap().location
    }

    async fn file(&self, content: &[u8]) -> PathBuf {
        match self.location(content).await {
            Location::File(name) => self.directory.path().join("blobs").join(name),
            other => panic!("{other} is no file"),
        }
    }

    async fn is_bad(&self, content: &[u8], errno: i32) {
        let location = self.location(content).await;
        self.disk.bad.lock().unwrap().insert((location, errno));
    }
}

fn writable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn flip(path: &Path) {
    writable(path);
    let mut bytes = fs::read(path).unwrap();
    bytes[25_000] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path) {
    writable(path);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(49_999)
        .unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn damage_is_found_and_named_and_a_push_repairs_it() {
    for (damage, seen) in [
        (flip as fn(&Path), Damage::Wrong),
        (truncate, Damage::Missing),
        (remove, Damage::Missing),
    ] {
        let house = House::new();
        let (hurt, healthy) = (content(1), content(2));
        let manifest = house.push_image("hurt", &hurt).await;
        house.push_image("healthy", &healthy).await;
        damage(&house.file(&hurt).await);

        let status = house.scrub().await;
        assert_eq!(
            (status.count.blobs, status.count.manifests, status.count.damaged),
            (2, 2, 1)
        );
        let findings = house.findings().await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        let found = &findings[0];
        assert_eq!(
            (found.digest, &found.damage, found.suspect),
            (Digest::sha256(&hurt), &seen, true)
        );
        assert_eq!(found.location, Some(house.location(&hurt).await));
        assert_eq!(found.needed_by.len(), 1);
        assert_eq!(
            (&found.needed_by[0].repository, found.needed_by[0].manifest),
            (&name(), manifest)
        );

        assert!(!house.has(&hurt).await, "told of a blob that is damaged");
        assert!(house.has(&healthy).await);
        assert!(house.push(&hurt).await);
        assert_eq!(house.pull(&hurt).await, hurt);
        assert_eq!(house.scrub().await.count.damaged, 0, "repaired, and found again");
    }
}

#[tokio::test]
async fn inline_blobs_and_manifests_are_read_again_too() {
    let house = House::new();
    let small = b"few bytes".to_vec();
    let manifest = house.push_image("small", &small).await;
    assert_eq!(house.location(&small).await, Location::Inline);
    assert_eq!(house.scrub().await.count.damaged, 0);

    let page = house.records.manifests(None, 10).await.unwrap();
    let content = format!("content/{}", page.items[0].position);
    let inline = format!("inline/{}", Digest::sha256(&small));
    for key in [&content, &inline] {
        house
            .kv
            .commit(Txn::new().put(key.as_str(), &b"few bytez"[..]))
            .await
            .unwrap();
    }
    assert_eq!(house.scrub().await.count.damaged, 2);
    let findings = house.findings().await;
    assert_eq!(
        (findings[0].digest, findings[0].suspect),
        (Digest::sha256(&small), true)
    );
    assert_eq!((findings[1].digest, &findings[1].location), (manifest, &None));

    // The push mends both.
    assert!(house.push(&small).await);
    house.push_image("small", &small).await;
    let tag = Reference::Tag("small".parse().unwrap());
    house
        .registry
        .get_manifest(&caller(), &name(), &tag)
        .await
        .unwrap();
    assert_eq!(house.scrub().await.count.damaged, 0);
}

#[tokio::test]
async fn a_bad_sector_that_persists_makes_the_blob_suspect_and_a_push_repairs_it() {
    let house = House::new();
    for seed in 0..5 {
        house.push_image(&format!("tag{seed}"), &content(seed)).await;
    }
    house.is_bad(&content(3), 5).await; // EIO
    assert!(
        house.has(&content(3)).await,
        "a look at the length does not see it"
    );
    assert_eq!(house.scrub().await.count.damaged, 1);
    let found = house.findings().await.remove(0);
    assert!(
        matches!(found.damage, Damage::Unreadable(_)) && found.suspect,
        "{found:?}"
    );
    assert!(house.push(&content(3)).await);
    assert_eq!(house.pull(&content(3)).await, content(3));
}

#[tokio::test]
async fn what_need_not_be_the_blobs_fault_is_told_and_not_marked() {
    let house = House::new();
    for seed in 0..5 {
        house.push_image(&format!("tag{seed}"), &content(seed)).await;
    }
    house.is_bad(&content(3), 24).await; // EMFILE
    assert_eq!(house.scrub().await.count.damaged, 1);
    assert!(!house.findings().await[0].suspect);
    house.disk.bad.lock().unwrap().clear();
    assert_eq!(house.pull(&content(3)).await, content(3));
}

#[tokio::test]
async fn a_volume_that_is_gone_makes_nothing_suspect() {
    let house = House::new();
    let count = DOUBTS as u64 + 4;
    for seed in 0..count {
        house.push_image(&format!("tag{seed}"), &content(seed)).await;
    }
    let (root, aside) = (
        house.directory.path().join("blobs"),
        house.directory.path().join("aside"),
    );
    // Once it is not there, once an empty one is in its place, once it is the same and empty, as after a restart.
    for same in [None, Some(false), Some(true)] {
        match same {
            None => fs::rename(&root, &aside).unwrap(),
            Some(false) => {
                fs::rename(&root, &aside).unwrap();
                fs::create_dir(&root).unwrap();
            }
            Some(true) => {
                fs::create_dir(&aside).unwrap();
                move_all(&root, &aside);
            }
        }
        house.clock.advance(WEEK);
        let scrubber = house.scrubber();
        let error = scrubber.run_due().await.expect_err("nothing can be read");
        assert!(error.to_string().contains("is their volume mounted?"), "{error}");
        match same {
            None => fs::rename(&aside, &root).unwrap(),
            Some(false) => {
                fs::remove_dir(&root).unwrap();
                fs::rename(&aside, &root).unwrap();
            }
            Some(true) => {
                move_all(&aside, &root);
                fs::remove_dir(&aside).unwrap();
            }
        }
        // It goes on from before what it could not read.
        scrubber.run_due().await.unwrap();
        assert_eq!(scrubber.status().position, 1.0);
        assert_eq!(house.findings().await, []);
        for seed in 0..count {
            assert!(house.has(&content(seed)).await);
        }
    }
}

fn move_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            fs::rename(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_missing_in_an_empty_volume_is_told_and_not_marked() {
    let house = House::new();
    house.push_image("only", &content(1)).await;
    let (file, aside) = (
        house.file(&content(1)).await,
        house.directory.path().join("aside"),
    );
    fs::rename(&file, &aside).unwrap();
    assert_eq!(house.scrub().await.count.damaged, 1);
    assert!(!house.findings().await[0].suspect);
    fs::rename(&aside, &file).unwrap();
    assert_eq!(house.pull(&content(1)).await, content(1));
}

#[tokio::test]
async fn a_blob_that_is_collected_meanwhile_is_no_finding() {
    let house = House::new();
    let (goes, stays) = (content(1), content(2));
    house.push(&goes).await;
    house.push_image("stays", &stays).await;
    let (records, clock, blobs) = (
        house.records.clone(),
        house.clock.clone(),
        house.disk.files.clone(),
    );
    // After the scrub has read the record and before it looks for the bytes.
    let collect = async move {
        for _ in 0..4 {
            clock.advance(WEEK);
            for entry in records.due(None, 100).await.unwrap() {
                records.collect(&entry).await.unwrap();
            }
        }
        let collector = Collector::new(records, blobs, TokioRuntime::shared(), Settings::default());
        let (options, stop) = (RunOptions::default(), Stop::new());
        let summary = collector.run(&options, &stop, &mut |_| {}).await.unwrap();
        assert_eq!(summary.counts.unlinked, 1);
    };
    *house.disk.collected.lock().unwrap() = Some(Box::pin(collect));
    house.clock.advance(WEEK);
    house.scrubber().run_due().await.unwrap();
    assert!(house.disk.collected.lock().unwrap().is_none());
    assert!(!house.has(&goes).await);
    assert_eq!(house.findings().await, []);
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was_and_one_node_is_at_it_at_a_time() {
    let house = House::new();
    let blobs = 100;
    for seed in 0..blobs {
        house.push(&content(seed)).await;
    }
    house.clock.advance(WEEK);
    // Stops like a process that is killed, after 45 of about 100 seconds.
    let (rate, killed_at) = (64 << 10, Duration::from_secs(45));
    let scrubber = house.scrubber_at(rate);
    house.time.stop_at(Some(killed_at));
    let killed = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            _ = scrubber.run_due() => panic!("it was to stop"),
            () = async { while house.time.slept() < killed_at { tokio::task::yield_now().await } } => {}
        }
    });
    killed.await.unwrap();
    house.time.stop_at(None);
    let first = scrubber.status().count.blobs;
    let (cursor, _) = house.records.cursor().await.unwrap().unwrap();
    assert!(matches!(cursor.place, ScrubPlace::Blobs(Some(_))), "{cursor:?}");
    assert!(cursor.done.blobs > 0 && cursor.done.blobs <= first);

    // Another node waits until the first must be dead, and reads only the rest.
    let other = house.scrubber_at(rate);
    let wait = other.run_due().await.unwrap();
    assert_eq!(other.status().count.blobs, 0, "two nodes are at it");
    assert!(wait > Duration::ZERO && wait < WEEK);
    house.clock.advance(wait);
    house.disk.reads.store(0, Ordering::SeqCst);
    let wait = other.run_due().await.unwrap();
    assert_eq!(other.status().count.blobs, blobs - cursor.done.blobs);
    assert_eq!(house.disk.reads.load(Ordering::SeqCst), blobs - cursor.done.blobs);
    assert!(
        wait > Duration::ZERO && wait < WEEK,
        "the next pass is due a week after this one began"
    );
    let (cursor, _) = house.records.cursor().await.unwrap().unwrap();
    assert_eq!((cursor.place, cursor.done.blobs), (ScrubPlace::End, blobs));
    assert!(cursor.finished.is_some());

    // The node that stood still sees that it is not its turn any more.
    assert!(scrubber.run_due().await.unwrap() > Duration::ZERO);
    assert_eq!(scrubber.status().count.blobs, first);
}

#[tokio::test]
async fn the_rate_is_kept() {
    let house = House::new();
    let bytes: u64 = 100 * 50_000;
    for seed in 0..100 {
        house.push(&content(seed)).await;
    }
    let status = house.scrub().await;
    assert_eq!((status.count.blobs, status.count.bytes), (100, bytes));
    let slept = house.time.slept().as_secs_f64();
    let counted = (bytes + 100 * (16 << 10)) as f64;
    let (least, most) = (bytes as f64 / RATE as f64, counted / RATE as f64);
    assert!(
        (least - 0.5..=most + 0.01).contains(&slept),
        "{bytes} bytes in {slept} s at {RATE} bytes per second"
    );
}
