//! One schedule: who is in its world, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use registry_core::Timestamp;
use registry_core::store::{BlobStore, Location};
use registry_storage::clock::ManualClock;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::testkit::disk::Dice;

use super::clients::Client;
use super::code::Code;
use super::ending::ending;
use super::library::Library;
use super::lock;
use super::oracle::{Broken, Verdict};
use super::scheduler::{Kind, Scheduler, Seen, Strategy, pause};
use super::setting::{Faults, Setting};
use super::stores::at_once;
use super::world::{BEGIN, World};

/// A hundred times what the longest schedules take.
const MOST_STEPS: u64 = 200_000;

/// What became of one schedule.
pub(super) struct Outcome {
    pub(super) broken: Option<Broken>,
    pub(super) covered: BTreeSet<&'static str>,
    pub(super) steps: u64,
    pub(super) trace: Vec<String>,
}

/// The clock: moves a few times, often to just where something becomes due.
async fn clock(world: Arc<World>, mut dice: Dice, ticks: usize) {
    for _ in 0..ticks {
        for _ in 0..dice.below(40) {
            pause().await;
        }
        let now = world.scheduler.clock.now();
        let mut times: Vec<Timestamp> = world.oracle().view.times().collect();
        if let Some(kept) = world.setting.untagged {
            times.extend(
                world
                    .oracle()
                    .view
                    .loosened
                    .iter()
                    .map(|(since, _)| *since + kept),
            );
        }
        times.retain(|time| *time > now);
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
    let setting = Setting::draw(&mut dice);
    let strategy = Strategy::draw(&mut dice);
    let world = Arc::new(World {
        scheduler: Scheduler::new(ManualClock::at(BEGIN), dice.fork()),
        kv: MemoryKv::new(),
        bytes: MemoryBytes::new(),
        library: Library::of(setting.lengths),
        oracle: Mutex::default(),
        broken: Mutex::default(),
        covered: Mutex::default(),
        faults: Mutex::new((setting.faults, dice.fork())),
        setting,
        hit: Mutex::default(),
        trace: traced.then(Mutex::default),
    });
    // The records' clock is the scheduler's.
    let world = Arc::new(World {
        kv: MemoryKv::with_clock(world.scheduler.clock.clock()),
        ..Arc::into_inner(world).expect("nobody else has it yet")
    });
    world.trace(|| format!("seed {seed}: {strategy:?}, {:?}", world.setting));
    world.oracle().keeps_untagged(world.setting.untagged);
    let code = Code::on(&world);
    people(&code, &mut dice);
    world.scheduler.run(strategy, &mut dice, |seen| {
        if let Seen::Crash(name) = seen {
            world.trace(|| format!("{name} is no more"));
            world.cover("crash");
        }
        let goes_on = world.scheduler.step() < MOST_STEPS;
        if !goes_on {
            world.judge(without_end());
        }
        goes_on && !world.is_broken()
    });
    if !world.is_broken() && !drive(ending(&code, &mut dice)) {
        world.judge(without_end());
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
fn people(code: &Code, dice: &mut Dice) {
    let world = &code.world;
    let faults = world.setting.faults;
    let left = Arc::default();
    for number in 0..=1 + dice.below(3) {
        let client = Client::new(code, &left, dice.fork());
        let steps = 2 + dice.below(6);
        let first = if number == 0 { world.setting.first } else { &[] };
        world.scheduler.add(
            format!("client {number}"),
            Kind::Client,
            client.live(first, steps).boxed(),
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
    if world.setting.checks {
        let later = dice.below(300);
        world
            .scheduler
            .add("checker", Kind::Collector, code.clone().checker(later).boxed());
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
            misfortune(world.clone(), dice.fork(), faults).boxed(),
        );
    }
}

/// Runs something alone. Whether it came to its end.
fn drive(future: impl Future<Output = ()>) -> bool {
    let mut future = std::pin::pin!(future);
    let mut polling = std::task::Context::from_waker(std::task::Waker::noop());
    (0..MOST_STEPS).any(|_| future.as_mut().poll(&mut polling).is_ready())
}

fn without_end() -> Verdict {
    Err(Broken {
        promise: "everything comes to an end",
        found: format!("somebody still goes on after {MOST_STEPS} steps"),
    })
}
