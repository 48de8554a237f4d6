//! Group commit: one thread owns the writing side, and puts all that waits into one engine transaction.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use super::{Engine, Record, Result};

/// How many waiting transactions go into one engine transaction at most.
const LARGEST_GROUP: usize = 256;

struct Waiting {
    records: Vec<Record>,
    done: mpsc::SyncSender<std::result::Result<(), String>>,
}

/// Hands transactions to the committing thread. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub(super) struct GroupCommit {
    queue: mpsc::Sender<Waiting>,
}

impl GroupCommit {
    pub(super) fn start(engine: Arc<dyn Engine>) -> Self {
        let (queue, waiting) = mpsc::channel::<Waiting>();
        thread::spawn(move || {
            while let Ok(first) = waiting.recv() {
                let mut group = vec![first];
                group.extend(waiting.try_iter().take(LARGEST_GROUP - 1));
                let records: Vec<Record> =
                    group.iter_mut().flat_map(|member| std::mem::take(&mut member.records)).collect();
                let outcome = engine.commit(&records).map_err(|error| error.to_string());
                for member in group {
                    // A writer that has gone away needs no answer.
                    let _ = member.done.send(outcome.clone());
                }
            }
        });
        GroupCommit { queue }
    }

    /// Returns when the records are durable, or with the error that its whole group met.
    pub(super) fn commit(&self, records: Vec<Record>) -> Result<()> {
        let (done, outcome) = mpsc::sync_channel(1);
        self.queue.send(Waiting { records, done }).map_err(|_| "the committing thread has ended")?;
        outcome.recv().map_err(|_| "the committing thread has ended")?.map_err(Into::into)
    }
}
