//! Group commit: one thread writes, and makes all transactions that wait durable in one step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use registry_core::Timestamp;
use registry_core::store::{KEY_MAX, KvError, Marks, Precondition, Stamp, Txn, Write};
use tokio::sync::{mpsc, oneshot};

use super::engine::{Engine, Fault, Group};
use super::layout;
use crate::clock::Clock;
use crate::limits;

/// Transactions that may wait; more callers wait to get into the queue.
const QUEUE: usize = 1024;

/// How many transactions, and bytes of values, go into one group; one that is larger goes alone.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 16 << 20;

/// A clock that never goes back.
pub(super) struct Time {
    clock: Clock,
    latest: AtomicU64,
}

impl Time {
    /// Goes on from `latest`.
    pub(super) fn new(clock: Clock, latest: Timestamp) -> Self {
        Time {
            clock,
            latest: AtomicU64::new(latest.0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        let told = (self.clock)().0;
        Timestamp(self.latest.fetch_max(told, Ordering::SeqCst).max(told))
    }
}

type Answer = Result<Stamp, KvError>;

struct Waiting {
    txn: Txn,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        let value = |write: &Write| match write {
            Write::Put(_, value) | Write::Append(_, value) => value.len(),
            Write::Delete(_) => 0,
        };
        self.txn.writes.iter().map(value).sum()
    }
}

/// Hands transactions to the committing thread, which ends with it.
pub(super) struct Committer {
    queue: Option<mpsc::Sender<Waiting>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread; `last` is the stamp of the last commit there was.
    pub(super) fn start(engine: Arc<dyn Engine>, time: Arc<Time>, marks: Arc<Marks>, last: Stamp) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let work = Work {
            engine,
            time,
            marks,
            last,
            broken: None,
        };
        let thread = std::thread::Builder::new()
            .name("kv-commit".into())
            .spawn(move || work.run(waiting))
            .expect("the system has room for one thread");
        Committer {
            queue: Some(queue),
            thread: Some(thread),
        }
    }

    /// Queues a transaction and waits for its outcome.
    pub(super) async fn commit(&self, txn: Txn) -> Answer {
        let (answer, outcome) = oneshot::channel();
        let queue = self
            .queue
            .as_ref()
            .expect("the queue is open until the committer is dropped");
        if queue.send(Waiting { txn, answer }).await.is_err() {
            return Err(KvError::Failed("the committing thread has ended".into()));
        }
        let unknown = |_| KvError::OutcomeUnknown("the committing thread has ended".into());
        outcome.await.map_err(unknown)?
    }
}

impl Drop for Committer {
    /// Lets the thread finish what was queued.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

struct Work {
    engine: Arc<dyn Engine>,
    time: Arc<Time>,
    marks: Arc<Marks>,
    last: Stamp,
    /// Why nothing is written: a commit whose outcome is unknown, after which the engine could not be opened again.
    broken: Option<String>,
}

impl Work {
    fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut bytes = first.bytes();
            let mut group = vec![first];
            while group.len() < GROUP && bytes < GROUP_BYTES {
                let Ok(next) = waiting.try_recv() else {
                    break;
                };
                bytes += next.bytes();
                group.push(next);
            }
            // A caller that has left before its turn has nobody who would learn of its commit.
            group.retain(|member| !member.answer.is_closed());
            if !group.is_empty() {
                self.settle(group);
            }
        }
    }

    /// Commits a group and answers its members.
    fn settle(&mut self, group: Vec<Waiting>) {
        let answers = match self.commit(&group) {
            Ok(answers) => answers,
            // Alone, some may find room.
            Err(Fault::Full(_)) if group.len() > 1 => {
                group.into_iter().for_each(|member| self.settle(vec![member]));
                return;
            }
            Err(fault) => {
                let shared = KvError::from(fault);
                group.iter().map(|_| Err(repeated(&shared))).collect()
            }
        };
        for (member, answer) in group.into_iter().zip(answers) {
            let _caller_has_left = member.answer.send(answer);
        }
    }

    fn commit(&mut self, group: &[Waiting]) -> Result<Vec<Answer>, Fault> {
        let marks = Arc::clone(&self.marks);
        let writes = group.iter().flat_map(|member| &member.txn.writes);
        let _writing = marks.write(writes.filter_map(Write::key));
        if let Some(why) = self.broken.take() {
            self.recover(why)?;
        }
        let mut answers = Vec::with_capacity(group.len());
        let mut last = self.last;
        let written = self.engine.write(&mut |state| {
            let mut latest = None;
            for member in group {
                let now = self.time.now();
                let stamp = Stamp(last.0 + 1);
                let answer = apply(state, &member.txn, stamp, now)?;
                if answer.is_ok() {
                    last = stamp;
                    latest = Some(now);
                }
                answers.push(answer);
            }
            match latest {
                Some(now) => state.put(layout::LAST_KEY, &layout::last(last, now)),
                None => Ok(()),
            }
        });
        match written {
            Ok(()) => {
                self.last = last;
                Ok(answers)
            }
            Err(fault) => {
                if let Fault::Unknown(cause) = &fault {
                    tracing::error!(%cause, "a commit's outcome is unknown; the records are opened again");
                    // Whether that works is for the next commit; this one's outcome is unknown either way.
                    let _still_broken = self.recover(cause.to_string());
                }
                Err(fault)
            }
        }
    }

    /// Opens the engine again, and goes on from what is there: the commit whose outcome was unknown, or the one before.
    fn recover(&mut self, why: String) -> Result<(), Fault> {
        // What is there then may have anything of the commit whose outcome was unknown.
        let marks = Arc::clone(&self.marks);
        let _writing = marks.write_any();
        match self.engine.reopen(self.last) {
            Ok(last) => {
                self.last = last;
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the records take no writes until they can be opened again");
                let refusal = format!("the records take no writes until they are opened again: {why}");
                self.broken = Some(why);
                Err(Fault::Failed(refusal.into()))
            }
        }
    }
}

/// The same error for another member of the group.
fn repeated(error: &KvError) -> KvError {
    match error {
        KvError::Full(cause) => KvError::Full(cause.to_string().into()),
        KvError::OutcomeUnknown(cause) => KvError::OutcomeUnknown(cause.to_string().into()),
        KvError::Failed(cause) => KvError::Failed(cause.to_string().into()),
        other => KvError::Failed(other.to_string().into()),
    }
}

/// Does what a transaction says if it may: the outer error ends the group, the inner one only this transaction.
fn apply(state: &mut dyn Group, txn: &Txn, stamp: Stamp, now: Timestamp) -> Result<Answer, Fault> {
    for precondition in &txn.preconditions {
        match holds(state, precondition, now) {
            Ok(true) => {}
            Ok(false) => return Ok(Err(KvError::Conflict(precondition.clone()))),
            Err(error) => return Ok(Err(error)),
        }
    }
    for (index, write) in txn.writes.iter().enumerate() {
        match write {
            Write::Put(key, value) => put(state, key, stamp, value)?,
            Write::Append(prefix, value) => {
                put(state, &limits::append_key(prefix, stamp, index), stamp, value)?;
            }
            Write::Delete(key) => state.delete(&layout::record_key(key))?,
        }
    }
    Ok(Ok(stamp))
}

fn put(state: &mut dyn Group, key: &str, stamp: Stamp, value: &[u8]) -> Result<(), Fault> {
    let key = layout::record_key(key);
    state.put(&key, &layout::stored(&key, stamp, value))
}

fn holds(state: &dyn Group, precondition: &Precondition, now: Timestamp) -> Result<bool, KvError> {
    Ok(match precondition {
        // No record has so long a key.
        Precondition::At(key, _) | Precondition::Damaged(key) if key.len() > KEY_MAX => false,
        Precondition::Absent(key) | Precondition::Empty(key) if key.len() > KEY_MAX => true,
        Precondition::At(key, stamp) => {
            let key = layout::record_key(key);
            match state.get(&key)? {
                Some(stored) => layout::split(&key, &stored)?.0 == *stamp,
                None => false,
            }
        }
        Precondition::Damaged(key) => {
            let key = layout::record_key(key);
            state
                .get(&key)?
                .is_some_and(|stored| layout::split(&key, &stored).is_err())
        }
        Precondition::Absent(key) => state.get(&layout::record_key(key))?.is_none(),
        Precondition::Empty(prefix) => !state.any(&layout::record_key(prefix))?,
        Precondition::Before(time) => now < *time,
        Precondition::NotBefore(time) => now >= *time,
    })
}
