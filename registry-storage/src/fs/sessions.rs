//! The uploads that somebody works on, or did a short while ago.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use registry_core::store::StoreError;
use registry_core::{Algorithm, Digest};

use super::DirectoryLock;
use super::name::{FileName, Tree};
use super::session::Session;

/// Idle sessions kept for their hash state and open file. Beyond that an upload that goes on is hashed again at its
/// end: 10,000 idle uploads must cost neither as many open files nor their memory.
const IDLE_MAX: usize = 256;

/// How many idle sessions are left when there were too many.
const IDLE_LEFT: usize = 192;

/// The sessions of a tree, by file.
pub(super) struct Sessions {
    tree: Tree,
    map: Mutex<Map>,
    /// Kept until the last writer has ended, who keeps this.
    _lock: Option<DirectoryLock>,
}

#[derive(Default)]
struct Map {
    sessions: HashMap<FileName, Used>,
    /// Counts uses, so that the longest unused can be told.
    uses: u64,
}

struct Used {
    session: Arc<Mutex<Session>>,
    last: u64,
}

/// The right to write, until somebody takes it over.
pub(super) struct Writer {
    sessions: Arc<Sessions>,
    session: Arc<Mutex<Session>>,
    epoch: u64,
    left: AtomicBool,
}

impl Writer {
    /// Adds bytes at the end, unless the caller has [left](Writer::leave).
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut session = lock(&self.session);
        if self.left.load(Ordering::SeqCst) {
            return Err(StoreError::Superseded);
        }
        session.write(&self.sessions.tree, self.epoch, bytes)
    }

    /// Writes nothing that has not been begun: nobody waits for it any more, and whoever asks next how long the
    /// upload is can rely on the answer.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::SeqCst);
    }

    /// Marks what was written, for whoever goes on after this process has ended.
    pub(super) fn keep(&self) -> Result<(), StoreError> {
        lock(&self.session).keep(self.epoch)
    }

    /// Makes what was written durable. Gives the length.
    pub(super) fn finish(&self) -> Result<u64, StoreError> {
        lock(&self.session).finish(&self.sessions.tree, self.epoch)
    }

    /// Seals what was written. Gives the length.
    pub(super) fn seal(&self, digest: &Digest) -> Result<u64, StoreError> {
        let mut session = lock(&self.session);
        let sealed = session.finish_sealed(&self.sessions.tree, self.epoch, digest);
        if session.ended() {
            self.sessions.forget(session.name(), &self.session);
        }
        sealed
    }
}

/// Every change of a session leaves it whole, also if the code around it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    pub(super) fn new(tree: Tree, lock: Option<DirectoryLock>) -> Self {
        Sessions {
            tree,
            map: Mutex::default(),
            _lock: lock,
        }
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    fn get(&self, name: &FileName) -> Arc<Mutex<Session>> {
        let mut map = lock(&self.map);
        map.uses += 1;
        let uses = map.uses;
        let used = map.sessions.entry(name.clone()).or_insert_with(|| Used {
            session: Arc::new(Mutex::new(Session::new(name.clone()))),
            last: uses,
        });
        used.last = uses;
        used.session.clone()
    }

    /// The session of a file, locked for `work`: one that has not ended. If `work` ends it, it is forgotten; whoever
    /// comes for the file meanwhile waits for the lock, so that a file never has two sessions.
    fn locked<T>(&self, name: &FileName, work: impl FnOnce(&Arc<Mutex<Session>>, &mut Session) -> T) -> T {
        loop {
            let session = self.get(name);
            let mut locked = lock(&session);
            if locked.ended() {
                self.forget(name, &session);
                continue;
            }
            let done = work(&session, &mut locked);
            if locked.ended() {
                self.forget(name, &session);
            }
            return done;
        }
    }

    fn forget(&self, name: &FileName, session: &Arc<Mutex<Session>>) {
        let mut map = lock(&self.map);
        if map
            .sessions
            .get(name)
            .is_some_and(|used| Arc::ptr_eq(&used.session, session))
        {
            map.sessions.remove(name);
        }
    }

    /// Does `work` on the session of a file.
    pub(super) fn with<T>(&self, name: &FileName, work: impl FnOnce(&mut Session, &Tree) -> T) -> T {
        let done = self.locked(name, |_, session| work(session, &self.tree));
        self.forget_the_longest_idle();
        done
    }

    /// Takes an upload over from any other writer.
    pub(super) fn begin(
        self: &Arc<Self>,
        name: &FileName,
        algorithm: Algorithm,
        at: Option<u64>,
    ) -> Result<Writer, StoreError> {
        let begun = self.locked(name, |shared, session| {
            let epoch = session.begin(&self.tree, algorithm, at)?;
            Ok(Writer {
                sessions: self.clone(),
                session: shared.clone(),
                epoch,
                left: AtomicBool::new(false),
            })
        });
        self.forget_the_longest_idle();
        begun
    }

    fn forget_the_longest_idle(&self) {
        let mut idle: Vec<(u64, FileName, Arc<Mutex<Session>>)> = {
            let map = lock(&self.map);
            if map.sessions.len() <= IDLE_MAX {
                return;
            }
            let idle = map
                .sessions
                .iter()
                .filter(|(_, used)| Arc::strong_count(&used.session) == 1);
            idle.map(|(name, used)| (used.last, name.clone(), used.session.clone()))
                .collect()
        };
        idle.sort_by_key(|(last, ..)| *last);
        let surplus = idle.len().saturating_sub(IDLE_LEFT);
        for (_, name, session) in idle.drain(..surplus) {
            // While the session can still be found: a sync that fails must be remembered.
            let mut locked = lock(&session);
            let _remembered = locked.sync(&self.tree);
            let mut map = lock(&self.map);
            let unused = Arc::strong_count(&session) == 2
                && map
                    .sessions
                    .get(&name)
                    .is_some_and(|used| Arc::ptr_eq(&used.session, &session));
            if unused && locked.forgettable() {
                map.sessions.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::FileSystem;
    use super::*;
    use crate::durability::Syncs;
    use registry_core::UploadId;
    use std::path::Path;

    fn tree(root: &Path) -> Tree {
        Tree::new(Arc::new(FileSystem), root.to_owned(), Syncs::ALL)
    }

    #[test]
    fn ten_thousand_idle_uploads_keep_few_sessions_and_none_of_their_bytes_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = Arc::new(Sessions::new(tree(directory.path()), None));
        let names: Vec<_> = (0..10_000)
            .map(|i| FileName::of(&UploadId::new(i << 64 | i << 120)))
            .collect();
        for (i, name) in names.iter().enumerate() {
            if i % 20 == 0 {
                let writer = sessions.begin(name, Algorithm::Sha256, Some(0)).unwrap();
                writer.write(name.to_string().as_bytes()).unwrap();
            } else {
                assert_eq!(
                    sessions
                        .with(name, |session, tree| session.received(tree))
                        .unwrap(),
                    0
                );
            }
        }
        assert!(lock(&sessions.map).sessions.len() <= IDLE_MAX + 1);
        for name in names.iter().step_by(20) {
            let digest = Digest::sha256(name.to_string().as_bytes());
            sessions
                .with(name, |session, tree| session.seal(tree, &digest))
                .unwrap();
        }
    }

    #[test]
    fn a_session_in_use_is_not_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = Arc::new(Sessions::new(tree(directory.path()), None));
        let first = FileName::of(&UploadId::new(0));
        let writer = sessions.begin(&first, Algorithm::Sha256, None).unwrap();
        for i in 1..2 * IDLE_MAX {
            sessions
                .with(&FileName::of(&UploadId::new(i as u128)), |session, tree| {
                    session.received(tree)
                })
                .unwrap();
        }
        let second = sessions.begin(&first, Algorithm::Sha256, Some(0)).unwrap();
        assert!(matches!(writer.write(b"late"), Err(StoreError::Superseded)));
        second.write(b"bytes").unwrap();
        assert_eq!(second.finish().unwrap(), 5);
    }
}
