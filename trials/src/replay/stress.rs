//! A registry under everything at once: pushers that share blobs, mounters, deleters, two collectors, a clock that
//! hurries, processes that go away, bytes that vanish.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use registry_core::runtime::Threads;
use registry_core::store::{Kv, Lifetimes, ManifestStore, Reclaim, Undo};
use registry_core::{LocalRegistry, Options, Registry, Runtime, Timestamp};
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::ByteStore;

use super::clients::Client;
use super::collectors::collect;
use super::recorder::{Log, RecordedBytes, RecordedKv};
use super::trace::Trace;
use crate::crash::random::Random;

/// The length of a bucket: what the records add to every hold as well, so that all times are whole buckets.
const BUCKET: Duration = Duration::from_secs(60);

/// Ticks after the last client has left: more than anything lasts.
const ENDING: u64 = 30;

/// What keeps the records and the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// Memory, on one thread: a seed names one run.
    Memory,
    /// LMDB and files, on several threads.
    Lmdb,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Everything; what is deleted is gone.
    Everything,
    /// Everything, with a trash.
    Trash,
    /// Put and delete a manifest that names so much that its edges go in pieces.
    Pieces,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Stress {
    /// On what.
    pub engine: Engine,
    /// What they do.
    pub work: Work,
    /// Names its chances.
    pub seed: u64,
    /// How many clients there are at once.
    pub clients: u64,
    /// How many operations each does.
    pub operations: u64,
}

/// What clients and collectors share.
pub(super) struct Shared {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) manifests: Arc<dyn ManifestStore>,
    pub(super) reclaim: Arc<dyn Reclaim>,
    pub(super) undo: Arc<dyn Undo>,
    /// The recorded bytes.
    pub(super) bytes: Arc<RecordedBytes>,
    /// The same, behind the recorder's back.
    pub(super) disk: Arc<dyn ByteStore>,
    pub(super) log: Arc<Log>,
    /// Clients that are still at work.
    working: AtomicU64,
    /// Whether everything is over.
    over: AtomicU64,
}

impl Shared {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst) != 0
    }
}

/// The run's clock and chance, and no threads: a process waits only for another.
struct Seeded {
    clock: ManualClock,
    random: Mutex<Random>,
}

impl Runtime for Seeded {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn random(&self) -> u128 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        u128::from(random.number()) << 64 | u128::from(random.number())
    }
}

/// How long things last: so short that all of it happens often.
fn lifetimes(work: Work) -> Lifetimes {
    Lifetimes {
        undo: match work {
            Work::Trash => 2 * BUCKET,
            Work::Everything | Work::Pieces => Duration::ZERO,
        },
        bucket: BUCKET,
        grace: 2 * BUCKET,
        second_delay: 3 * BUCKET,
        upload_idle: 3 * BUCKET,
        longest_write: 3 * BUCKET,
        longest_read: 3 * BUCKET,
    }
}

/// Lets the stress happen, and gives what was recorded.
///
/// # Errors
/// If stores cannot be opened, or something answers that it is broken.
pub fn record(stress: Stress) -> io::Result<Trace> {
    let mut builder = match stress.engine {
        Engine::Memory => tokio::runtime::Builder::new_current_thread(),
        Engine::Lmdb => {
            let mut threads = tokio::runtime::Builder::new_multi_thread();
            threads.worker_threads(2);
            threads
        }
    };
    let directory = tempfile::tempdir()?;
    builder
        .enable_time()
        .build()?
        .block_on(run(stress, directory.path()))
}

async fn run(stress: Stress, directory: &Path) -> io::Result<Trace> {
    let clock = ManualClock::at(Timestamp(1_000_000 * BUCKET.as_millis() as u64));
    let log = Log::new(clock.clone(), Random::of(&[stress.seed, 1]), 4);
    let runtime: Arc<dyn Runtime> = Arc::new(Seeded {
        clock: clock.clone(),
        random: Mutex::new(Random::of(&[stress.seed, 2])),
    });
    let (kv, disk): (Arc<dyn Kv>, Arc<dyn ByteStore>) = match stress.engine {
        Engine::Memory => (
            Arc::new(MemoryKv::with_clock(clock.clock())),
            Arc::new(MemoryBytes::new()),
        ),
        Engine::Lmdb => {
            let options = registry_storage::kv::Options {
                clock: clock.clock(),
                durability: registry_storage::Durability::Relaxed,
                capacity: 1 << 30,
                ..Default::default()
            };
            let opened = registry_storage::open_with(directory, Threads::shared(), options);
            let stores = opened.map_err(io::Error::other)?;
            (Arc::new(stores.kv), Arc::new(stores.bytes))
        }
    };
    let kv = Arc::new(RecordedKv::new(kv, log.clone()));
    let bytes = Arc::new(RecordedBytes::new(disk.clone(), log.clone()));
    let lifetimes = lifetimes(stress.work);
    let records = Arc::new(Records::new(kv, runtime.clone(), lifetimes));
    let options = Options {
        inline_max: 0,
        ..Options::default()
    };
    let registry = LocalRegistry::new(records.clone(), bytes.clone(), bytes.clone(), runtime, options);
    let shared = Arc::new(Shared {
        registry: Arc::new(registry),
        manifests: records.clone(),
        reclaim: records.clone(),
        undo: records,
        bytes,
        disk,
        log: log.clone(),
        working: AtomicU64::new(stress.clients),
        over: AtomicU64::default(),
    });

    let mut tasks = Vec::new();
    for client in 0..stress.clients {
        let (shared, random) = (shared.clone(), Random::of(&[stress.seed, 3, client]));
        tasks.push(tokio::spawn(async move {
            let client = Client::new(shared.clone(), random);
            let done = match stress.work {
                Work::Pieces => client.put_and_delete_in_pieces(stress.operations).await,
                Work::Everything | Work::Trash => client.work(stress.operations).await,
            };
            shared.working.fetch_sub(1, Ordering::SeqCst);
            done
        }));
    }
    for collector in 0..2 {
        let (shared, random) = (shared.clone(), Random::of(&[stress.seed, 4, collector]));
        tasks.push(tokio::spawn(collect(shared, random)));
    }
    tick(&shared, stress).await;
    for task in tasks {
        task.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    Ok(log.trace(&lifetimes))
}

/// Moves the clock every few commits, or when nobody commits any more; and on after the last client has left.
async fn tick(shared: &Shared, stress: Stress) {
    let mut random = Random::of(&[stress.seed, 5]);
    let mut left = ENDING;
    while left > 0 {
        // What is taken in pieces is much at once, and has to be done within a bucket.
        let pace = if stress.work == Work::Pieces { 40 } else { 1 };
        let until = shared.log.commits() + pace * (10 + random.below(50));
        let patience = match stress.engine {
            Engine::Memory => 300,
            Engine::Lmdb => 60,
        };
        for _ in 0..pace * patience {
            if shared.log.commits() >= until {
                break;
            }
            match stress.engine {
                Engine::Memory => tokio::task::yield_now().await,
                Engine::Lmdb => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        shared.log.advance(BUCKET).await;
        if shared.working.load(Ordering::SeqCst) == 0 {
            left -= 1;
        }
    }
    shared.over.store(1, Ordering::SeqCst);
}
