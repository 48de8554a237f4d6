//! Backups of a registry that goes on being used, and registries made out of them.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use registry_core::auth::Identity;
use registry_core::manifest::{OCI_MANIFEST, ParsedManifest};
use registry_core::store::{Kv, Lifetimes, Reclaim};
use registry_core::{Context, Digest, PutManifest, Reference, Registry, RepositoryName, Timestamp, once};
use registry_gc::{RunOptions, Settings, Stop};
use registry_storage::backup::{self, Restoring, Source, Told};
use registry_storage::clock::ManualClock;
use registry_storage::kv;
use registry_storage::records::Records;
use registry_storage::records::check;
use registry_storage::testkit::read_all;
use server_hyper::control::{Held, SOCKET, Socket};
use server_hyper::{StoreOptions, Stores, TokioRuntime};

use support::image::{content, image};
use support::soon;

/// Lifetimes that are over soon, on a clock that runs fast.
const LIFETIMES: Lifetimes = Lifetimes {
    grace: Duration::from_secs(4 * 3600),
    bucket: Duration::from_secs(3600),
    second_delay: Duration::from_secs(600),
    upload_idle: Duration::from_secs(4 * 3600),
    longest_write: Duration::from_secs(600),
    longest_read: Duration::from_secs(600),
    undo: Duration::from_secs(600),
};

fn caller() -> Context {
    Context::request(Identity::Anonymous, "test")
}

/// Pushes an image. It may fail: on this clock a pusher may be too slow.
async fn push(
    registry: &dyn Registry,
    name: &RepositoryName,
    tag: &str,
    blobs: &[Vec<u8>],
) -> Option<Digest> {
    let ctx = caller();
    for blob in blobs {
        let upload = registry.begin_upload(&ctx, name, None).await.ok()?;
        let (bytes, digest) = (once(blob.clone()), Digest::sha256(blob));
        registry
            .finish_upload(&ctx, name, &upload.id, Some(0), bytes, &digest)
            .await
            .ok()?;
    }
    let put = PutManifest::tagged(tag.parse().unwrap(), OCI_MANIFEST, image(blobs));
    Some(registry.put_manifest(&ctx, name, put).await.ok()?.digest)
}

/// Pulls an image whole, and looks at every byte of it.
async fn pull(registry: &dyn Registry, name: &RepositoryName, tag: &str) -> Digest {
    let (ctx, reference) = (caller(), Reference::Tag(tag.parse().unwrap()));
    let manifest = registry.get_manifest(&ctx, name, &reference).await.unwrap();
    assert_eq!(Digest::sha256(&manifest.bytes), manifest.info.digest);
    let parsed = ParsedManifest::parse(Some(&manifest.info.media_type), &manifest.bytes).unwrap();
    for child in parsed.children {
        let blob = registry.read_blob(&ctx, name, &child.digest, None).await.unwrap();
        assert_eq!(
            Digest::sha256(&read_all(blob.read).await.unwrap()),
            child.digest,
            "{tag}"
        );
    }
    manifest.info.digest
}

/// A registry in use: pushers, deleters, a collector, and a clock that runs.
struct Busy {
    kv: Arc<kv::EmbeddedKv>,
    stores: Stores,
    records: Records,
    clock: ManualClock,
    stop: AtomicBool,
    /// Tags that were acknowledged, and are never touched again.
    kept: Mutex<BTreeMap<String, Digest>>,
    unlinked: AtomicUsize,
}

fn options() -> StoreOptions {
    StoreOptions {
        lifetimes: LIFETIMES,
        ..StoreOptions::default()
    }
}

fn busy_name() -> RepositoryName {
    "team/busy".parse().unwrap()
}

impl Busy {
    fn open(data: &Path) -> Arc<Self> {
        let clock = ManualClock::at(Timestamp::system());
        let options = kv::Options {
            clock: clock.clock(),
            ..kv::Options::default()
        };
        let embedded = registry_storage::open_with(data, TokioRuntime::shared(), options).unwrap();
        let kv = Arc::new(embedded.kv);
        Arc::new(Busy {
            stores: Stores::embedded(kv.clone(), Arc::new(embedded.bytes), self::options()),
            records: Records::new(kv.clone(), TokioRuntime::shared(), LIFETIMES),
            kv,
            clock,
            stop: AtomicBool::new(false),
            kept: Mutex::default(),
            unlinked: AtomicUsize::new(0),
        })
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    async fn push_and_delete(self: Arc<Self>, pusher: usize) {
        let (registry, name) = (Arc::clone(&self.stores.registry), busy_name());
        let mut n = pusher << 32;
        while self.goes_on() {
            n += 1;
            // Layers that come and go with their images, and one that many push at once.
            let blobs = [content(n), content(n | 1 << 60), content(n % 5)];
            let keeps = n.is_multiple_of(4);
            let tag = if keeps {
                format!("kept-{n}")
            } else {
                format!("gone-{n}")
            };
            let Some(digest) = push(&*registry, &name, &tag, &blobs).await else {
                continue;
            };
            if keeps {
                self.kept.lock().unwrap().insert(tag, digest);
            } else {
                registry.delete_manifest(&caller(), &name, &digest).await.unwrap();
            }
        }
    }

    async fn collect(self: Arc<Self>) {
        while self.goes_on() {
            self.clock.advance(Duration::from_secs(300));
            let collector = self.stores.collector.with(Settings {
                rate: None,
                ..Settings::default()
            });
            let (options, stop) = (RunOptions::default(), Stop::new());
            let summary = collector.run(&options, &stop, &mut |_| {}).await.unwrap();
            let counts = summary.counts;
            assert_eq!(counts.failures, 0);
            self.unlinked
                .fetch_add(counts.unlinked as usize, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Locations that would be unlinked, were they not held.
    async fn doomed(&self) -> usize {
        self.records.doomed(None, 10_000).await.unwrap().len()
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_of_a_registry_in_use_has_all_that_was_acknowledged_and_nothing_half() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let busy = Busy::open(&path("data"));
    let control = tokio::spawn(Socket::bind(&path("data")).unwrap().serve(busy.stores.clone()));
    let mut load = vec![tokio::spawn(busy.clone().collect())];
    load.extend((1..=3).map(|pusher| tokio::spawn(busy.clone().push_and_delete(pusher))));
    until("bytes are given back, and tags are kept", async || {
        busy.unlinked.load(Ordering::SeqCst) > 20 && busy.kept.lock().unwrap().len() > 20
    })
    .await;

    let kept = busy.kept.lock().unwrap().clone();
    let (data, to) = (path("data"), path("backup"));
    let (dumped, has_dumped) = tokio::sync::oneshot::channel();
    let (proceed, may_proceed) = std::sync::mpsc::channel::<()>();
    let backing_up = tokio::task::spawn_blocking(move || {
        let held = Held::begin(&data).unwrap().expect("a server");
        let mut dumped = Some(dumped);
        backup::write(
            &to,
            &held,
            Some(&data.join("blobs")),
            || held.release(),
            &mut |told| match told {
                Told::Records(_) => {
                    dumped.take().unwrap().send(()).unwrap();
                    may_proceed.recv().unwrap();
                }
                Told::Copying(_) => {}
                Told::Damaged(what) => panic!("{what}"),
            },
        )
    });
    soon(has_dumped).await.unwrap();
    // What the dump names goes on to be deleted, collected and doomed, before its bytes are copied.
    until("blobs of the dump are doomed", async || busy.doomed().await > 50).await;
    let before = busy.unlinked.load(Ordering::SeqCst);
    until("more are doomed", async || busy.doomed().await > 80).await;
    assert_eq!(
        busy.unlinked.load(Ordering::SeqCst),
        before,
        "nothing is unlinked meanwhile"
    );
    proceed.send(()).unwrap();
    let written = backing_up.await.unwrap().unwrap();
    assert_eq!(written.blobs.damaged, 0);
    until("they are given back afterwards", async || {
        busy.unlinked.load(Ordering::SeqCst) > before + 50
    })
    .await;
    busy.stop.store(true, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
    let (last, now) = (busy.kv.now().await.unwrap(), written.description.created);
    assert!(last > now, "the test's clock runs ahead");
    control.abort();

    let source = Source::open(&path("backup")).unwrap();
    let restoring = Restoring::begin(&path("back")).unwrap();
    let blobs = source.blobs().unwrap();
    let copied = restoring
        .fill(&source, &blobs, kv::Options::default(), &mut |_| {})
        .unwrap();
    assert_eq!((copied.damaged, copied.copied), (0, written.blobs.copied));
    restoring.finish().unwrap();
    let embedded = registry_storage::open(path("back"), TokioRuntime::shared()).unwrap();
    let records = Records::new(Arc::new(embedded.kv), TokioRuntime::shared(), LIFETIMES);
    let mut findings = Vec::new();
    records
        .check(
            &embedded.bytes,
            check::Options {
                deep: true,
                ..check::Options::default()
            },
            &mut |told| {
                if let check::Told::Found(finding) = told {
                    findings.push(finding.clone());
                }
            },
        )
        .await
        .unwrap();
    assert_eq!(findings, []);
    drop((records, embedded.bytes));

    let back = Stores::open(&path("back"), options()).unwrap().registry;
    for (tag, digest) in &kept {
        assert_eq!(pull(&*back, &busy_name(), tag).await, *digest, "{tag}");
    }
    let tags = back
        .list_tags(&caller(), &busy_name(), None, 100_000)
        .await
        .unwrap()
        .items;
    assert!(tags.len() >= kept.len());
    for tag in tags {
        pull(&*back, &busy_name(), tag.as_str()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_lets_go_of_what_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_owned();
    let busy = Busy::open(&data);
    let control = tokio::spawn(Socket::bind(&data).unwrap().serve(busy.stores.clone()));
    let held = tokio::task::spawn_blocking(move || Held::begin(&data).unwrap().unwrap())
        .await
        .unwrap();
    let load = [
        tokio::spawn(busy.clone().collect()),
        tokio::spawn(busy.clone().push_and_delete(1)),
    ];
    until("something is doomed", async || busy.doomed().await > 10).await;
    assert_eq!(busy.unlinked.load(Ordering::SeqCst), 0);
    drop(held);
    until("it is given back", async || {
        busy.unlinked.load(Ordering::SeqCst) > 10
    })
    .await;
    busy.stop.store(true, Ordering::SeqCst);
    for task in load {
        task.await.unwrap();
    }
    control.abort();
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_however_long_its_path_and_whatever_was_left_there() {
    let directory = tempfile::tempdir().unwrap();
    for data in [
        directory.path().join("short"),
        directory.path().join("long/".repeat(40)),
    ] {
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join(SOCKET), "left by a crash").unwrap();
        fs::create_dir(data.join("control.new")).unwrap();
        fs::write(data.join("control.new").join(SOCKET), "as was this").unwrap();
        let stores = Stores::open(&data, options()).unwrap();
        let serving = tokio::spawn(Socket::bind(&data).unwrap().serve(stores));
        let mode = fs::metadata(data.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!data.join("control.new").exists());
        let asked = data.clone();
        let held = tokio::task::spawn_blocking(move || {
            let held = Held::begin(&asked)?.expect("a server");
            let dumped = backup::DumpReader::begin(&held).unwrap().verify().unwrap();
            assert!(dumped.entries > 0);
            held.release()
        });
        soon(held).await.unwrap().unwrap();
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        assert!(!data.join(SOCKET).exists());
        assert!(Held::begin(&data).unwrap().is_none(), "no server");
    }
}

#[tokio::test]
async fn a_request_that_is_not_known_is_refused_in_words() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let directory = tempfile::tempdir().unwrap();
    let control = Socket::bind(directory.path()).unwrap();
    let serving = tokio::spawn(control.serve(Stores::memory(LIFETIMES)));
    for (request, answer) in [
        ("{\"format\":{}}\n", "none that this"),
        ("what\n", "none that"),
        ("{\"snapshot\":{}}\n", "memory"),
    ] {
        let mut stream = tokio::net::UnixStream::connect(directory.path().join(SOCKET))
            .await
            .unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        soon(stream.read_to_string(&mut said)).await.unwrap();
        assert!(said.contains("\"error\"") && said.contains(answer), "{said}");
    }
    serving.abort();
}
