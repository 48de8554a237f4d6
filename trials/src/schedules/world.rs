//! One schedule: a small world, who is in it, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use registry_core::store::{BlobStore, Kv, Lifetimes, Location, Reclaim, Txn, Write};
use registry_core::{
    Digest, Error, ErrorKind, LocalRegistry, Options, Reference, Registry, Result, Timestamp, Verify, once,
};
use registry_gc::model::Promise;
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::records::Records;
use registry_storage::testkit::disk::Dice;

use super::clients::{Client, Op};
use super::library::Library;
use super::lock;
use super::oracle::{At, Broken, Oracle, Verdict};
use super::scheduler::{Kind, Scheduler, Seen, Strategy, pause};
use super::stores::{Fate, PausingBytes, PausingKv, at_once};
use super::view::View;

/// When every schedule begins.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// Bytes of a blob that is kept in the records, at most.
const INLINE: usize = 16;

/// Short ones, so that a few moves of the clock reach the end of everything. The records add up to a minute to a hold, so
/// what must be told apart differs by more than that.
const LIFETIMES: Lifetimes = Lifetimes {
    grace: Duration::from_secs(60),
    bucket: Duration::from_secs(60),
    second_delay: Duration::from_secs(420),
    upload_idle: Duration::from_secs(240),
    longest_write: Duration::from_secs(240),
    longest_read: Duration::from_secs(420),
    undo: Duration::from_secs(180),
};

/// So that an image of two blobs is deleted in pieces.
const EDGES_AT_ONCE: usize = 1;

/// Rounds of the clock and a lone collector after which nothing may be left.
const ROUNDS: usize = 40;

/// What goes wrong in a world, each once in so many times; never if 0.
#[derive(Clone, Copy, Debug)]
struct Faults {
    unknown: usize,
    failed: usize,
    alarms: usize,
    losses: usize,
    crashes: usize,
}

/// What all tasks of a schedule share.
pub(super) struct World {
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) kv: MemoryKv,
    pub(super) bytes: MemoryBytes,
    pub(super) lifetimes: Lifetimes,
    pub(super) library: Library,
    /// Whether each piece of an append is a request of its own.
    pub(super) by_requests: bool,
    oracle: Mutex<Oracle>,
    broken: Mutex<Option<Broken>>,
    covered: Mutex<BTreeSet<&'static str>>,
    faults: Mutex<(Faults, Dice)>,
    /// Tasks that a fault has hit: they may see errors.
    hit: Mutex<BTreeSet<usize>>,
    trace: Option<Mutex<Vec<String>>>,
}

impl World {
    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        lock(&self.oracle)
    }

    /// Who does something now.
    pub(super) fn at(&self) -> At {
        At {
            task: self.scheduler.current(),
            step: self.scheduler.step(),
            now: self.scheduler.clock.now(),
        }
    }

    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let at = self.at();
            let line = format!(
                "{:>5} {:>4} s  task {}: {}",
                at.step,
                at.now.since(BEGIN).as_secs(),
                at.task,
                what()
            );
            lock(trace).push(line);
        }
    }

    pub(super) fn cover(&self, what: &'static str) {
        lock(&self.covered).insert(what);
    }

    fn judge(&self, verdict: Verdict) {
        if let Err(broken) = verdict {
            self.trace(|| format!("BROKEN {}: {}", broken.promise, broken.found));
            lock(&self.broken).get_or_insert(broken);
        }
    }

    fn look(&self) -> View {
        let entries = at_once(self.kv.scan("", None, usize::MAX)).unwrap_or_default();
        View::of(&entries).unwrap_or_else(|why| {
            self.judge(Err(Broken {
                promise: "records are as they are described",
                found: why,
            }));
            View::default()
        })
    }

    pub(super) fn committed(&self, txn: &Txn, unknown: bool) {
        let after = self.look();
        let mut oracle = self.oracle();
        self.cover_commit(txn, &oracle.view, unknown);
        let verdict = oracle.committed(txn, self.at(), after, &self.bytes);
        drop(oracle);
        self.judge(verdict);
    }

    fn cover_commit(&self, txn: &Txn, before: &View, unknown: bool) {
        let puts = |table: &str| {
            txn.writes
                .iter()
                .any(|write| matches!(write, Write::Put(key, _) if key.starts_with(table)))
        };
        if puts("repository/") {
            self.cover("create_repository");
        }
        match txn.name {
            "publish" => {
                let digest = txn.writes.iter().find_map(|write| match write {
                    Write::Put(key, _) => key
                        .strip_prefix("lease/")
                        .and_then(|rest| rest.split('/').next()?.parse::<Digest>().ok()),
                    _ => None,
                });
                self.cover(match digest.and_then(|digest| before.blobs.get(&digest)) {
                    None => "publish (fresh)",
                    Some(blob) if blob.suspect => "publish (swap)",
                    Some(blob) if blob.is_condemned() => "publish (revive)",
                    Some(_) => "publish (keep)",
                });
                if unknown {
                    self.cover("publish (outcome unknown)");
                }
            }
            "put_manifest" if puts("deferred/") => self.cover("put_manifest (deferred)"),
            "sweep_manifest" => self.cover("delete_manifest (in pieces)"),
            "" => {}
            name => self.cover(name),
        }
    }

    /// Looks at everything, since something happened that was no commit.
    fn look_around(&self) {
        let verdict = self.oracle().state(self.at(), &self.bytes);
        self.judge(verdict);
    }

    /// Somebody wrote bytes.
    pub(super) fn wrote(&self) {
        self.look_around();
    }

    pub(super) fn unlinked(&self, location: &Location) {
        self.oracle().unlinks(location);
        self.look_around();
    }

    /// What is to become of a commit.
    pub(super) fn fate(&self) -> Fate {
        let (faults, dice) = &mut *lock(&self.faults);
        let mut strikes = |once_in: usize| once_in > 0 && dice.once_in(once_in);
        let fate = match (strikes(faults.unknown), strikes(faults.failed)) {
            (true, _) => Fate::Unknown,
            (_, true) => Fate::Failed,
            _ => return Fate::Told,
        };
        lock(&self.hit).insert(self.scheduler.current());
        fate
    }

    /// Whether bytes that are there are to be missed.
    pub(super) fn false_alarm(&self) -> bool {
        let (faults, dice) = &mut *lock(&self.faults);
        faults.alarms > 0 && dice.once_in(faults.alarms)
    }

    /// A client begins something new.
    pub(super) fn begins(&self, what: &str) {
        self.trace(|| format!("-- {what}"));
        self.oracle().begins(self.at());
    }

    /// A client was told that the blob exists.
    pub(super) fn told(&self, before: Option<&String>, name: &str, digest: &Digest) {
        let mut oracle = self.oracle();
        let after = oracle.view.names.get(name).cloned();
        let same = after.filter(|id| before == Some(id));
        oracle.told(
            self.scheduler.current(),
            same.as_deref(),
            digest,
            self.lifetimes.grace,
        );
        drop(oracle);
        self.trace(|| format!("is told that {digest} exists"));
    }

    /// A client has opened the blob's bytes, or not.
    pub(super) fn opened(&self, before: Option<&String>, name: &str, digest: &Digest) {
        let oracle = self.oracle();
        let after = oracle.view.names.get(name);
        let verdict = oracle.opened_to(self.scheduler.current(), [before, after], digest);
        drop(oracle);
        self.judge(verdict);
    }

    /// What a pull has read.
    pub(super) fn read(&self, digest: &Digest, read: &std::io::Result<bytes::Bytes>) {
        if read.as_ref().is_ok_and(|bytes| Digest::sha256(bytes) == *digest) {
            return;
        }
        let found = format!("a pull of {digest} has read something else");
        self.judge(Err(Broken::of(Promise::Durability, found)));
    }

    /// What the name means now.
    pub(super) fn id_of(&self, name: &str) -> Option<String> {
        self.oracle().view.names.get(name).cloned()
    }

    /// The manifests under the name, or those in its trash.
    pub(super) fn manifests_of(&self, name: &str, in_trash: bool) -> Vec<Digest> {
        let view = &self.oracle().view;
        let Some(id) = view.names.get(name) else {
            return Vec::new();
        };
        let here = |(place, digest): &(String, Digest)| (place == id).then_some(*digest);
        match in_trash {
            true => view.trash.keys().filter_map(here).collect(),
            false => view.manifests.keys().filter_map(here).collect(),
        }
    }

    /// An operation did not do what was asked for. It may have its reasons, but it may not fail by itself.
    pub(super) fn refused(&self, what: &str, why: &Error) {
        self.trace(|| format!("{what}: {why}"));
        let hit = lock(&self.hit).remove(&self.scheduler.current());
        let by_itself = matches!(why.kind(), ErrorKind::Internal | ErrorKind::Unavailable);
        if by_itself && !hit {
            self.judge(Err(Broken {
                promise: "nothing fails by itself",
                found: format!("{what}: {why:?}"),
            }));
        }
    }

    fn is_broken(&self) -> bool {
        lock(&self.broken).is_some()
    }
}

/// What became of one schedule.
pub(super) struct Outcome {
    pub(super) broken: Option<Broken>,
    pub(super) covered: BTreeSet<&'static str>,
    pub(super) steps: u64,
    pub(super) trace: Vec<String>,
}

/// The code on trial, on a world's stores.
#[derive(Clone)]
pub(super) struct Code {
    pub(super) world: Arc<World>,
    pub(super) registry: LocalRegistry,
    pub(super) records: Records,
    bytes: Arc<dyn BlobStore>,
}

impl Code {
    fn on(world: &Arc<World>) -> Code {
        let kv = Arc::new(PausingKv(world.clone()));
        let records = Records::new(kv, world.scheduler.clone(), world.lifetimes).in_pieces_of(EDGES_AT_ONCE);
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
                },
            ),
            bytes,
            records,
        }
    }

    /// Takes the steps that are due. Whether there were any.
    async fn collect(&self) -> Result<bool> {
        let due = self.records.due(None, 3).await?;
        for entry in &due {
            self.records.collect(entry).await?;
        }
        let pieces = self.records.sweep_manifests(1).await?;
        let trash = self.records.purge_trash(1).await?;
        Ok(!due.is_empty() || pieces || trash)
    }

    /// Takes the steps beside the queue, one after the other. Not by the collector itself: that would have one of several work at a
    /// time, and here they are to meet.
    async fn tidy(&self) -> Result<()> {
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
    async fn collector(self, rounds: usize, tidies: bool) {
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
}

/// The clock: moves a few times, often to just where something becomes due.
async fn clock(world: Arc<World>, mut dice: Dice, ticks: usize) {
    for _ in 0..ticks {
        for _ in 0..dice.below(40) {
            pause().await;
        }
        let now = world.scheduler.clock.now();
        let times: Vec<Timestamp> = world.oracle().view.times().filter(|time| *time > now).collect();
        let by = match times.is_empty() || dice.once_in(3) {
            true => Duration::from_secs(*dice.pick(&[1, 15, 35, 59, 61, 130, 310])),
            false => dice
                .pick(&times)
                .since(now)
                .saturating_sub(Duration::from_millis(dice.below(2) as u64)),
        };
        world.scheduler.advance(by);
        world.trace(|| format!("the clock moves by {} ms", by.as_millis()));
        world.look_around();
    }
}

/// What breaks by itself.
async fn misfortune(world: Arc<World>, mut dice: Dice, faults: Faults) {
    for _ in 0..faults.losses + faults.crashes {
        for _ in 0..dice.below(120) {
            pause().await;
        }
        if dice.below(faults.losses + faults.crashes) < faults.crashes {
            world.scheduler.crash();
            continue;
        }
        let named: Vec<Location> = world
            .oracle()
            .view
            .blobs
            .values()
            .map(|blob| blob.location.clone())
            .filter(|location| *location != Location::Inline)
            .collect();
        if named.is_empty() {
            continue;
        }
        let location = dice.pick(&named).clone();
        if at_once(world.bytes.size(&location)).is_ok_and(|size| size.is_some()) {
            at_once(world.bytes.unlink(&location)).expect("memory does not fail");
            world.trace(|| format!("the bytes at {location} are LOST"));
            world.oracle().loses(&location, world.at());
            world.cover("lose bytes");
        }
    }
}

/// Runs the schedule of this seed.
pub(super) fn play(seed: u64, traced: bool) -> Outcome {
    let mut dice = Dice::new(seed ^ 0x5eed_0f5c_4ed0_1e55);
    let mut faults = Faults {
        unknown: 0,
        failed: 0,
        alarms: 0,
        losses: 0,
        crashes: 0,
    };
    for fault in [
        (&mut faults.unknown, 25),
        (&mut faults.failed, 40),
        (&mut faults.alarms, 10),
        (&mut faults.losses, 3),
        (&mut faults.crashes, 3),
    ] {
        if dice.once_in(3) {
            *fault.0 = fault.1;
        }
    }
    let strategy = Strategy::draw(&mut dice);
    let world = Arc::new(World {
        scheduler: Scheduler::new(ManualClock::at(BEGIN), dice.fork()),
        kv: MemoryKv::new(),
        bytes: MemoryBytes::new(),
        lifetimes: Lifetimes {
            // Without a trash, what is deleted leaves a grace and nothing else.
            undo: LIFETIMES.undo * u32::from(dice.once_in(2)),
            // Short, so that a write may land when its claim is over; long, so that uploads come to their end.
            upload_idle: LIFETIMES.upload_idle / [1, 3][usize::from(dice.once_in(4))],
            ..LIFETIMES
        },
        library: Library::draw(&mut dice),
        by_requests: dice.once_in(2),
        oracle: Mutex::default(),
        broken: Mutex::default(),
        covered: Mutex::default(),
        faults: Mutex::new((faults, dice.fork())),
        hit: Mutex::default(),
        trace: traced.then(Mutex::default),
    });
    // The records' clock is the scheduler's.
    let world = Arc::new(World {
        kv: MemoryKv::with_clock(world.scheduler.clock.clock()),
        ..Arc::into_inner(world).expect("nobody else has it yet")
    });
    world.trace(|| {
        format!(
            "seed {seed}: {strategy:?}, {faults:?}, {:?}",
            world.library.lengths()
        )
    });
    let code = Code::on(&world);
    people(&code, &faults, &mut dice);
    world.scheduler.run(strategy, &mut dice, |seen| {
        if let Seen::Crash(name) = seen {
            world.trace(|| format!("{name} is no more"));
            world.cover("crash");
        }
        !world.is_broken()
    });
    if !world.is_broken() {
        let ending = ending(&code, &mut dice);
        drive(ending);
    }
    Outcome {
        broken: lock(&world.broken).take(),
        covered: std::mem::take(&mut *lock(&world.covered)),
        steps: world.scheduler.step(),
        trace: world
            .trace
            .as_ref()
            .map(|trace| std::mem::take(&mut *lock(trace)))
            .unwrap_or_default(),
    }
}

/// Who is in this world: a few clients, each of whom does a few of the things that can be done here.
fn people(code: &Code, faults: &Faults, dice: &mut Dice) {
    let world = &code.world;
    let menu = Op::menu(dice);
    let left = Arc::default();
    for number in 0..=1 + dice.below(3) {
        let client = Client::new(code, &menu, &left, dice.fork());
        let steps = 2 + dice.below(6);
        world.scheduler.add(
            format!("client {number}"),
            Kind::Client,
            client.live(steps).boxed(),
        );
    }
    for number in 0..=dice.below(2) {
        let (rounds, tidies) = (2 + dice.below(10), !dice.once_in(4));
        world.scheduler.add(
            format!("collector {number}"),
            Kind::Collector,
            code.clone().collector(rounds, tidies).boxed(),
        );
    }
    let ticks = dice.below(16);
    world.scheduler.add(
        "clock",
        Kind::World,
        clock(world.clone(), dice.fork(), ticks).boxed(),
    );
    if faults.losses + faults.crashes > 0 {
        world.scheduler.add(
            "misfortune",
            Kind::World,
            misfortune(world.clone(), dice.fork(), *faults).boxed(),
        );
    }
}

/// Runs something alone.
fn drive(future: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    let mut polling = std::task::Context::from_waker(std::task::Waker::noop());
    while future.as_mut().poll(&mut polling).is_pending() {}
}

/// Everybody has stopped: what was promised still is there, a push works at whatever stage things are, and a collector
/// that is left alone leaves nothing behind.
async fn ending(code: &Code, dice: &mut Dice) {
    let world = &code.world;
    lock(&world.faults).0 = Faults {
        unknown: 0,
        failed: 0,
        alarms: 0,
        losses: 0,
        crashes: 0,
    };
    lock(&world.hit).clear();
    world.trace(|| "everybody has stopped".into());
    if dice.once_in(2) {
        push_again(code).await;
    }
    let mut idle = 0;
    for _ in 0..ROUNDS {
        if world.is_broken() {
            return;
        }
        world.scheduler.advance(Duration::from_secs(61));
        let swept = async {
            while code.collect().await? {}
            code.tidy().await
        };
        if let Err(why) = swept.await {
            world.refused("the last collector", &why);
        }
        let idles = {
            let view = &world.oracle().view;
            view.due().next().is_none() && view.dropped.is_empty()
        };
        idle = match idles {
            true => idle + 1,
            false => 0,
        };
        if idle > 1 {
            break;
        }
    }
    let verdict = world.oracle().residue(&world.bytes);
    world.judge(verdict);
    pull_everything(code).await;
}

/// Pushes every blob to one of the names: whatever has become of it, it must be there afterwards.
async fn push_again(code: &Code) {
    let world = &code.world;
    for name in &world.library.names {
        for content in &world.library.contents {
            world.begins("pushes again");
            let digest = Digest::sha256(content);
            let ctx = registry_core::Context::system();
            let pushed = async {
                let begun = code.registry.begin_upload(&ctx, name, None).await?;
                let bytes = once(content.clone());
                code.registry
                    .finish_upload(&ctx, name, &begun.id, Some(0), bytes, &digest)
                    .await?;
                code.registry.read_blob(&ctx, name, &digest, None).await
            };
            if let Err(why) = pushed.await {
                world.judge(Err(Broken::of(
                    Promise::RePush,
                    format!("{digest} was pushed again: {why}"),
                )));
                return;
            }
        }
    }
}

/// Whatever tag there is leads to a manifest all of which is there.
async fn pull_everything(code: &Code) {
    let world = &code.world;
    let view = world.oracle().view.clone();
    let ctx = registry_core::Context {
        may_push: false,
        ..registry_core::Context::system()
    };
    for (name, id) in &view.names {
        for place in view.manifests.keys().filter(|(there, _)| there == id) {
            let name = name.parse().expect("a name");
            world.begins("pulls at the end");
            let got = code
                .registry
                .get_manifest(&ctx, &name, &Reference::Digest(place.1))
                .await;
            if let Err(why) = got {
                world.judge(Err(Broken::of(
                    Promise::Closure,
                    format!("manifest {}: {why}", place.1),
                )));
            }
            let blobs = view.children.get(place).map(|children| children.blobs.clone());
            for digest in blobs.unwrap_or_default() {
                let intact = view.blobs.get(&digest).is_some_and(|blob| {
                    !blob.suspect
                        && world.oracle().bytes_of(&digest, blob, &world.bytes) == super::oracle::Bytes::Good
                });
                if intact
                    && view.has_edge(id, &digest)
                    && let Err(why) = code.registry.read_blob(&ctx, &name, &digest, None).await
                {
                    world.judge(Err(Broken::of(Promise::Closure, format!("{digest}: {why}"))));
                }
            }
        }
    }
}
