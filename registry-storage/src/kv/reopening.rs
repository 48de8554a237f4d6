//! An engine that is opened anew when it cannot go on.
//!
//! LMDB gives up after the write failed that makes a commit visible: from then on it neither reads nor writes, until it
//! is closed and opened. One such failure must not take the whole registry away, so it is done here, under the readers.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use registry_core::Timestamp;
use registry_core::store::{KvError, Stamp};

use super::engine::{Cause, Engine, Fault, Group, Visit};
use super::lmdb::Lmdb;
use super::{OpenError, Options, create_and_lock, layout};
use crate::fs::DirectoryLock;

/// LMDB in a directory; none while it could not be opened again.
pub(super) struct Reopening {
    directory: PathBuf,
    options: Options,
    current: RwLock<Option<Lmdb>>,
}

impl Reopening {
    /// As [`Lmdb::open`].
    pub(super) fn open(directory: &Path, lock: DirectoryLock, options: &Options) -> Result<Self, OpenError> {
        Ok(Reopening {
            directory: directory.to_owned(),
            options: options.clone(),
            current: RwLock::new(Some(Lmdb::open(directory, lock, options)?)),
        })
    }

    /// What is open, for as long as the guard lives.
    fn current(&self) -> RwLockReadGuard<'_, Option<Lmdb>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opened(current: &Option<Lmdb>) -> Result<&Lmdb, Fault> {
    current
        .as_ref()
        .ok_or_else(|| Fault::Failed("the records could not be opened again after a failure".into()))
}

impl Engine for Reopening {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        opened(&self.current())?.get(key)
    }

    fn scan(&self, from: Bound<&[u8]>, prefix: &[u8], limit: usize, visit: Visit<'_>) -> Result<(), KvError> {
        opened(&self.current())?.scan(from, prefix, limit, visit)
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Group) -> Result<(), Fault>) -> Result<(), Fault> {
        opened(&self.current())?.write(work)
    }

    fn reopen(&self, known: Stamp) -> Result<Stamp, Cause> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: a directory is open once at a time.
        *current = None;
        let lock = create_and_lock(&self.directory)?;
        let lmdb = Lmdb::open(&self.directory, lock, &self.options)?;
        let last = lmdb.get(layout::LAST_KEY).map_err(KvError::from)?;
        let (last, now) = match last {
            Some(stored) => layout::read_last(&stored)?,
            None => (Stamp(0), Timestamp(0)),
        };
        // The page whose write failed may be in the system's memory all the same, be taken for the latest state, and
        // never get to the disk: a failed write is told once. Then what is there is committed once more, by another
        // page, before anybody sees it.
        if last != known {
            let again = layout::last(last, now);
            lmdb.write(&mut |group| group.put(layout::LAST_KEY, &again))
                .map_err(KvError::from)?;
        }
        *current = Some(lmdb);
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use registry_core::store::{Kv, Txn};

    use super::*;
    use crate::clock;
    use crate::kv::{EmbeddedKv, format};
    use crate::testkit::block_on;

    const WORKS: u8 = 0;
    const UNKNOWN_AND_DONE: u8 = 1;
    const UNKNOWN_AND_NOT_DONE: u8 = 2;
    const STAYS_CLOSED: u8 = 3;

    /// An engine that does not know what became of a write.
    struct Unsure {
        inner: Reopening,
        next: AtomicU8,
    }

    impl Engine for Unsure {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
            self.inner.get(key)
        }

        fn scan(
            &self,
            from: Bound<&[u8]>,
            prefix: &[u8],
            limit: usize,
            visit: Visit<'_>,
        ) -> Result<(), KvError> {
            self.inner.scan(from, prefix, limit, visit)
        }

        fn write(&self, work: &mut dyn FnMut(&mut dyn Group) -> Result<(), Fault>) -> Result<(), Fault> {
            match self.next.load(Ordering::SeqCst) {
                WORKS => self.inner.write(work),
                UNKNOWN_AND_DONE => {
                    self.inner.write(work)?;
                    Err(Fault::Unknown("the last write failed".into()))
                }
                _ => self.inner.write(&mut |group| {
                    work(group)?;
                    Err(Fault::Unknown("the last write failed".into()))
                }),
            }
        }

        fn reopen(&self, known: Stamp) -> Result<Stamp, Cause> {
            match self.next.load(Ordering::SeqCst) {
                STAYS_CLOSED => Err("the disk is gone".into()),
                _ => {
                    self.next.store(WORKS, Ordering::SeqCst);
                    self.inner.reopen(known)
                }
            }
        }
    }

    fn start(directory: &Path) -> (Arc<Unsure>, EmbeddedKv) {
        let lock = create_and_lock(directory).unwrap();
        let inner = Reopening::open(directory, lock, &Options::default()).unwrap();
        let (last, now) = format::begin(&inner, directory, layout::FORMAT, None).unwrap();
        let engine = Arc::new(Unsure {
            inner,
            next: AtomicU8::new(WORKS),
        });
        let kv = EmbeddedKv::start(engine.clone(), directory.to_owned(), clock::system(), last, now);
        (engine, kv)
    }

    #[test]
    fn after_a_commit_whose_outcome_is_unknown_the_store_is_opened_again_and_goes_on() {
        for next in [UNKNOWN_AND_DONE, UNKNOWN_AND_NOT_DONE] {
            let directory = tempfile::tempdir().unwrap();
            let (engine, kv) = start(directory.path());
            block_on(async {
                let first = kv.commit(Txn::new().put("k", "1")).await.unwrap();
                engine.next.store(next, Ordering::SeqCst);
                let outcome = kv.commit(Txn::new().put("k", "2").put("new", "2")).await;
                assert!(matches!(outcome, Err(KvError::OutcomeUnknown(_))), "{outcome:?}");

                // It is known now.
                let found = kv.get("k").await.unwrap().unwrap();
                let (value, count) = match next {
                    UNKNOWN_AND_DONE => ("2", 2),
                    _ => ("1", 1),
                };
                assert_eq!(found.value, value);
                assert_eq!(kv.scan("", None, 10).await.unwrap().len(), count);
                // Stamps go on from what is there, whether that was answered or not.
                let then = kv
                    .commit(Txn::new().at("k", found.stamp).put("k", "3"))
                    .await
                    .unwrap();
                assert!(then > found.stamp && then > first);
            });
        }
    }

    #[test]
    fn a_store_that_cannot_be_opened_again_is_tried_at_each_commit() {
        let directory = tempfile::tempdir().unwrap();
        let (engine, kv) = start(directory.path());
        block_on(async {
            kv.commit(Txn::new().put("k", "1")).await.unwrap();
            engine.next.store(STAYS_CLOSED, Ordering::SeqCst);
            for _ in 0..2 {
                kv.commit(Txn::new().put("k", "2")).await.unwrap_err();
            }
            engine.next.store(UNKNOWN_AND_NOT_DONE, Ordering::SeqCst);
            kv.commit(Txn::new().put("k", "3")).await.unwrap();
            assert_eq!(kv.get("k").await.unwrap().unwrap().value, "3");
        });
    }

    #[test]
    fn readers_do_not_notice_that_the_store_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let (engine, kv) = start(directory.path());
        let known = block_on(kv.commit(Txn::new().put("k", "1"))).unwrap();
        let done = AtomicU8::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while done.load(Ordering::SeqCst) == 0 {
                        assert_eq!(block_on(kv.get("k")).unwrap().unwrap().value, "1");
                    }
                });
            }
            for unsure in [false, true].repeat(10) {
                let known = if unsure { Stamp(known.0 - 1) } else { known };
                engine.inner.reopen(known).unwrap();
            }
            done.store(1, Ordering::SeqCst);
        });
    }
}
