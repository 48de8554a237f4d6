//! Who goes on next: an executor of one thread that polls one task at a time, chosen by the seed.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Polling, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use registry_core::{Runtime, Timestamp};
use registry_storage::clock::ManualClock;
use registry_storage::testkit::disk::Dice;

use super::lock;

/// How the next task is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Another one, any, once in so many steps.
    Uniform {
        /// 1 chooses anew at every step.
        once_in: usize,
    },
    /// Always the one of the highest priority (PCT, by Burckhardt, Kothari, Musuvathi and Nagarakatte): priorities are
    /// random, and once in so many steps the one that runs falls behind all others. A bug that takes `d` orderings
    /// needs only `d - 1` such falls at the right places, whatever else goes on.
    Priorities {
        /// Mean number of steps between two falls.
        falls: usize,
    },
}

impl Strategy {
    pub(super) fn draw(dice: &mut Dice) -> Strategy {
        match dice.below(5) {
            0 => Strategy::Uniform { once_in: 1 },
            1 => Strategy::Uniform { once_in: 4 },
            2 => Strategy::Uniform { once_in: 12 },
            3 => Strategy::Priorities { falls: 25 },
            _ => Strategy::Priorities { falls: 80 },
        }
    }
}

/// What kind of task it is: whether it may crash, and whether others wait for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Client,
    Collector,
    /// The clock, and what breaks.
    World,
}

struct Task {
    name: String,
    kind: Kind,
    future: Option<BoxFuture<'static, ()>>,
    priority: u64,
    wait: Wait,
}

/// What a task that is not ready waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Nothing,
    /// The clock has moved since this tick.
    Tick(u64),
}

/// The executor, and the runtime of the code that runs on it. Nothing in it happens by itself.
pub(super) struct Scheduler {
    pub(super) clock: ManualClock,
    random: Mutex<Dice>,
    /// How often the clock was moved.
    ticks: AtomicU64,
    steps: AtomicU64,
    current: AtomicUsize,
    /// What the task that is being polled now says that it waits for.
    wait: Mutex<Wait>,
    spawned: Mutex<Vec<(String, Kind, BoxFuture<'static, ()>)>>,
    /// Asked for by a task: the next poll of a random client or collector is its last.
    crashes: AtomicUsize,
}

impl Scheduler {
    pub(super) fn new(clock: ManualClock, dice: Dice) -> Arc<Scheduler> {
        Arc::new(Scheduler {
            clock,
            random: Mutex::new(dice),
            ticks: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            current: AtomicUsize::new(usize::MAX),
            wait: Mutex::new(Wait::Nothing),
            spawned: Mutex::default(),
            crashes: AtomicUsize::new(0),
        })
    }

    /// Counts what anybody did. Every step is the work of one task between two of its pauses.
    pub(super) fn step(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// The task that runs.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Completes once the clock has moved since `tick`.
    pub(super) async fn moved_since(&self, tick: u64) {
        poll_fn(|_| match self.ticks() > tick {
            true => Poll::Ready(()),
            false => {
                *lock(&self.wait) = Wait::Tick(tick);
                Poll::Pending
            }
        })
        .await;
    }

    /// Adds a task.
    pub(super) fn add(&self, name: impl Into<String>, kind: Kind, task: BoxFuture<'static, ()>) {
        lock(&self.spawned).push((name.into(), kind, task));
    }

    /// Some client or collector is no more.
    pub(super) fn crash(&self) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs until every client has come to its end, all that is left waits, or `stop` says so. `crashed` is told who was
    /// dropped. Whatever has not come to its end is dropped then.
    pub(super) fn run(&self, strategy: Strategy, dice: &mut Dice, mut observe: impl FnMut(Seen<'_>) -> bool) {
        let mut tasks: Vec<Task> = Vec::new();
        let mut running = None;
        loop {
            for (name, kind, future) in std::mem::take(&mut *lock(&self.spawned)) {
                tasks.push(Task {
                    name,
                    kind,
                    future: Some(future),
                    priority: dice.roll() >> 8,
                    wait: Wait::Nothing,
                });
            }
            if self.crashes.swap(0, Ordering::Relaxed) > 0 {
                let may_crash = |task: &Task| task.future.is_some() && task.kind != Kind::World;
                let victims: Vec<usize> = (0..tasks.len()).filter(|at| may_crash(&tasks[*at])).collect();
                if !victims.is_empty() {
                    let victim = *dice.pick(&victims);
                    // What is dropped may do something as it goes; it is still this task that does.
                    self.current.store(victim, Ordering::Relaxed);
                    tasks[victim].future = None;
                    observe(Seen::Crash(&tasks[victim].name));
                }
            }
            let ready: Vec<usize> = (0..tasks.len()).filter(|at| self.is_ready(&tasks[*at])).collect();
            if ready.is_empty() {
                return;
            }
            let at = Self::choose(strategy, &mut tasks, &ready, running, dice);
            running = Some(at);
            self.current.store(at, Ordering::Relaxed);
            self.steps.fetch_add(1, Ordering::Relaxed);
            *lock(&self.wait) = Wait::Nothing;
            if !observe(Seen::Step) {
                return;
            }
            let task = &mut tasks[at];
            let mut polling = Polling::from_waker(Waker::noop());
            let done = match &mut task.future {
                Some(future) => future.as_mut().poll(&mut polling).is_ready(),
                None => true,
            };
            task.wait = *lock(&self.wait);
            if done {
                task.future = None;
            }
            if task.kind == Kind::World {
                // So that the clock is neither always first nor always last.
                task.priority = dice.roll() >> 8;
            }
        }
    }

    fn is_ready(&self, task: &Task) -> bool {
        task.future.is_some()
            && match task.wait {
                Wait::Nothing => true,
                Wait::Tick(tick) => self.ticks() > tick,
            }
    }

    fn choose(
        strategy: Strategy,
        tasks: &mut [Task],
        ready: &[usize],
        running: Option<usize>,
        dice: &mut Dice,
    ) -> usize {
        match strategy {
            Strategy::Uniform { once_in } => match running.filter(|at| ready.contains(at)) {
                Some(at) if !dice.once_in(once_in) => at,
                _ => *dice.pick(ready),
            },
            Strategy::Priorities { falls } => {
                if let Some(at) = running.filter(|_| dice.once_in(falls)) {
                    let lowest = tasks.iter().map(|task| task.priority).min().unwrap_or(1);
                    tasks[at].priority = lowest.saturating_sub(1);
                }
                *ready
                    .iter()
                    .max_by_key(|at| tasks[**at].priority)
                    .expect("some task is ready")
            }
        }
    }
}

/// What the scheduler tells of.
pub(super) enum Seen<'s> {
    Step,
    Crash(&'s str),
}

impl Runtime for Scheduler {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // Nothing of what is searched here sleeps; if it did, time would pass for it.
        self.advance(duration);
        Box::pin(pause())
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.add("spawned", Kind::Client, task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.add("blocking", Kind::Client, Box::pin(async move { work() }));
    }

    fn random(&self) -> u128 {
        let mut dice = lock(&self.random);
        u128::from(dice.roll()) << 64 | u128::from(dice.roll())
    }
}

/// Lets somebody else go on.
pub(super) async fn pause() {
    struct Once(bool);

    impl Future for Once {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, _: &mut Polling<'_>) -> Poll<()> {
            match std::mem::replace(&mut self.0, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }
    }

    Once(false).await;
}
