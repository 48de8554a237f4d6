//! Where a log is made: one thread, on which a seed decides who goes on next.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Polling, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use registry_core::store::{Entry as Record, Kv, KvError, Lifetimes, Stamp, Txn};
use registry_core::{Context, LocalRegistry, Options, Result, Runtime, Timestamp};
use registry_gc::{Collector, RunOptions, Settings, Stop};
use registry_storage::clock::ManualClock;
use registry_storage::fs::FsBytes;
use registry_storage::fs::disk::Disk;
use registry_storage::memory::MemoryKv;
use registry_storage::records::Records;
use registry_storage::testkit::disk::{Dice, SimulatedDisk, files_on};

use super::{Entry, Trial};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The log while it is written.
#[derive(Clone, Default)]
pub(super) struct Entries(Arc<Mutex<Vec<Entry>>>);

impl Entries {
    pub(super) fn push(&self, entry: Entry) {
        lock(&self.0).push(entry);
    }

    pub(super) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut lock(&self.0))
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A runtime in which nothing happens by itself.
pub(super) struct Stage {
    clock: ManualClock,
    /// Blocking work that has not begun; `None` if it is done at once.
    jobs: Option<Mutex<Vec<Job>>>,
    dice: Mutex<Dice>,
}

impl Stage {
    pub(super) fn new(clock: ManualClock, dice: Dice) -> Arc<Stage> {
        Arc::new(Stage {
            clock,
            jobs: Some(Mutex::default()),
            dice: Mutex::new(dice),
        })
    }

    fn alone(clock: ManualClock) -> Arc<Stage> {
        Arc::new(Stage {
            jobs: None,
            dice: Mutex::new(Dice::new(0x5eed)),
            clock,
        })
    }

    fn take_job(&self, index: usize) -> Option<Job> {
        let mut jobs = lock(self.jobs.as_ref()?);
        (index < jobs.len()).then(|| jobs.swap_remove(index))
    }

    fn jobs(&self) -> usize {
        self.jobs.as_ref().map_or(0, |jobs| lock(jobs).len())
    }

    /// Runs all of `actors` to their ends, one step of one of them at a time; or, as when a process is killed, for a
    /// number of steps, after which they and their blocking work are no more.
    pub(super) fn together(&self, mut actors: Vec<BoxFuture<'_, ()>>, steps: Option<usize>, dice: &mut Dice) {
        let mut step = 0;
        while !actors.is_empty() && steps.is_none_or(|steps| step < steps) {
            step += 1;
            let jobs = self.jobs();
            match dice.below(actors.len() + jobs).checked_sub(actors.len()) {
                Some(job) => {
                    if let Some(job) = self.take_job(job) {
                        job();
                    }
                }
                None => {
                    let index = dice.below(actors.len());
                    let mut polling = Polling::from_waker(Waker::noop());
                    if actors[index].as_mut().poll(&mut polling).is_ready() {
                        drop(actors.swap_remove(index));
                    }
                }
            }
        }
        let killed = !actors.is_empty();
        drop(actors);
        while let Some(job) = self.take_job(0) {
            if !killed {
                job();
            }
        }
    }
}

impl Runtime for Stage {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.advance(duration);
        Box::pin(std::future::ready(()))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        futures_executor::block_on(task);
    }

    fn spawn_blocking(&self, work: Job) {
        match &self.jobs {
            Some(jobs) => lock(jobs).push(work),
            None => work(),
        }
    }

    fn random(&self) -> u128 {
        let mut dice = lock(&self.dice);
        let (high, low) = (dice.roll(), dice.roll());
        // Ids that begin alike, so that files share directories.
        let first = 0x10 + (high >> 56) % 4;
        (u128::from((high << 8 >> 8) | first << 56) << 64) | u128::from(low)
    }
}

/// Lets somebody else go on.
pub(super) async fn pause() {
    struct Once(bool);

    impl Future for Once {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, polling: &mut Polling<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            polling.waker().wake_by_ref();
            Poll::Pending
        }
    }

    Once(false).await;
}

/// Records whose commits are written down, and around each of which others go on.
pub(super) struct LoggedKv {
    inner: MemoryKv,
    log: Entries,
}

impl LoggedKv {
    pub(super) fn new(clock: &ManualClock, log: &Entries) -> Arc<LoggedKv> {
        Arc::new(LoggedKv {
            inner: MemoryKv::with_clock(clock.clock()),
            log: log.clone(),
        })
    }
}

#[async_trait]
impl Kv for LoggedKv {
    async fn get(&self, key: &str) -> Result<Option<Record>, KvError> {
        self.inner.get(key).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Record)>, KvError> {
        self.inner.scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        self.inner.now().await
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        pause().await;
        let stamp = self.inner.commit(txn.clone()).await?;
        self.log.push(Entry::Commit(txn));
        pause().await;
        Ok(stamp)
    }
}

/// A registry and what keeps its stores in order.
pub(super) struct World {
    pub(super) registry: LocalRegistry,
    pub(super) bytes: Arc<FsBytes>,
    pub(super) kv: Arc<dyn Kv>,
    pub(super) clock: ManualClock,
    pub(super) ctx: Context,
    collector: Collector,
}

impl World {
    /// One whose log is written, on what an earlier one may have left.
    pub(super) fn logged(
        stage: &Arc<Stage>,
        kv: &Arc<LoggedKv>,
        disk: &SimulatedDisk,
        trial: Trial,
    ) -> Arc<World> {
        let (kv, disk, clock) = (kv.clone(), Arc::new(disk.clone()), stage.clock.clone());
        Arc::new(Self::of(kv, disk, stage.clone(), clock, trial))
    }

    /// One that finds what a power cut left.
    pub(super) fn after_a_cut(
        kv: Arc<MemoryKv>,
        disk: SimulatedDisk,
        clock: ManualClock,
        trial: Trial,
    ) -> World {
        Self::of(kv, Arc::new(disk), Stage::alone(clock.clone()), clock, trial)
    }

    fn of(
        kv: Arc<dyn Kv>,
        disk: Arc<dyn Disk>,
        runtime: Arc<dyn Runtime>,
        clock: ManualClock,
        trial: Trial,
    ) -> World {
        let records = Records::new(kv.clone(), runtime.clone(), Lifetimes::default());
        let bytes = Arc::new(files_on(disk, runtime.clone(), trial.durability, trial.omit));
        let registry = LocalRegistry::new(
            Arc::new(records.clone()),
            bytes.clone(),
            bytes.clone(),
            runtime.clone(),
            Options {
                inline_max: 16,
                ..Options::default()
            },
        );
        let settings = Settings {
            rate: None,
            ..Settings::default()
        };
        World {
            registry,
            collector: Collector::new(Arc::new(records), bytes.clone(), runtime, settings),
            bytes,
            kv,
            clock,
            ctx: Context::system(),
        }
    }

    /// Takes every step of collecting that is due, and gives back what may be given back.
    pub(super) async fn tidy(&self) -> Result<()> {
        let options = RunOptions::default();
        while self.collector.backlog().await?.any() {
            self.collector.run(&options, &Stop::new(), &mut |_| {}).await?;
        }
        Ok(())
    }
}
