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
                let records: Vec<Record> = group
                    .iter_mut()
                    .flat_map(|member| std::mem::take(&mut member.records))
                    .collect();
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
        self.queue
            .send(Waiting { records, done })
            .map_err(|_| "the committing thread has ended")?;
        outcome
            .recv()
            .map_err(|_| "the committing thread has ended")?
            .map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use super::*;

    /// Remembers each commit; refuses those that hold the key `bad`.
    #[derive(Default)]
    struct Remembering(Mutex<Vec<usize>>);

    impl Engine for Remembering {
        fn commit(&self, records: &[Record]) -> Result<()> {
            if records.iter().any(|record| record.key == b"bad") {
                return Err("refused".into());
            }
            self.0.lock().map_err(|_| "poisoned")?.push(records.len());
            Ok(())
        }

        fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>> {
            Ok(None)
        }

        fn scan(&self, _: &[u8], _: usize) -> Result<Vec<Record>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn every_transaction_is_answered_with_what_became_of_its_group() {
        let engine = Arc::new(Remembering::default());
        let group = GroupCommit::start(engine.clone());
        let record = |key: &str| Record {
            key: key.into(),
            value: Vec::new(),
        };
        thread::scope(|scope| {
            for n in 0..16 {
                let group = group.clone();
                scope.spawn(move || group.commit(vec![record(&n.to_string())]).unwrap());
            }
        });
        assert_eq!(engine.0.lock().unwrap().iter().sum::<usize>(), 16);
        assert_eq!(
            group.commit(vec![record("bad")]).unwrap_err().to_string(),
            "refused"
        );
        group.commit(vec![record("good")]).unwrap();
    }
}
