//! Records in a map behind one lock.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use registry_core::Timestamp;
use registry_core::store::{Entry, Kv, KvError, Mark, Marks, Precondition, Stamp, Txn, Write};
use registry_core::weakening::{Weakening, keep};

use crate::clock::{self, Clock};
use crate::limits;

/// Records in memory.
pub struct MemoryKv {
    clock: Clock,
    state: Mutex<State>,
    marks: Marks,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<String, Entry>,
    /// The stamp of the last commit.
    last: u64,
    /// The latest time that was ever told.
    now: Timestamp,
}

impl MemoryKv {
    /// An empty map on the system's clock.
    pub fn new() -> Self {
        Self::with_clock(clock::system())
    }

    /// An empty map on another clock.
    pub fn with_clock(clock: Clock) -> Self {
        MemoryKv {
            clock,
            state: Mutex::default(),
            marks: Marks::new(),
        }
    }

    /// A map of its own, on another clock, with what is in this one.
    #[cfg(feature = "testkit")]
    pub fn fork(&self, clock: Clock) -> MemoryKv {
        let state = self.state();
        MemoryKv {
            clock,
            state: Mutex::new(State {
                entries: state.entries.clone(),
                ..*state
            }),
            marks: Marks::new(),
        }
    }

    /// The state with its clock brought up to date. Nothing panics while it is locked, and if something did, each
    /// field would still be whole.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = state.now.max((self.clock)());
        state
    }
}

impl Default for MemoryKv {
    fn default() -> Self {
        MemoryKv::new()
    }
}

impl fmt::Debug for MemoryKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryKv({} entries)", self.state().entries.len())
    }
}

impl State {
    fn under(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = (&String, &Entry)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.entries
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    fn holds(&self, precondition: &Precondition) -> bool {
        match precondition {
            Precondition::At(key, stamp) => self.entries.get(key).is_some_and(|entry| entry.stamp == *stamp),
            Precondition::Absent(key) => !self.entries.contains_key(key),
            // Memory keeps what it is given.
            Precondition::Damaged(_) => false,
            Precondition::Empty(prefix) => self.under(prefix, None).next().is_none(),
            Precondition::Before(time) => self.now < *time,
            Precondition::NotBefore(time) => self.now >= *time,
        }
    }
}

#[async_trait]
impl Kv for MemoryKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        Ok(self.state().entries.get(key).cloned())
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, KvError> {
        let state = self.state();
        let page = state.under(prefix, after).take(limit);
        Ok(page.map(|(key, entry)| (key.clone(), entry.clone())).collect())
    }

    async fn now(&self) -> Result<Timestamp, KvError> {
        Ok(self.state().now)
    }

    async fn commit(&self, txn: Txn) -> Result<Stamp, KvError> {
        limits::check(&txn)?;
        let mut state = self.state();
        if let Some(broken) = txn.preconditions.into_iter().find(|it| !state.holds(it)) {
            return Err(KvError::Conflict(broken));
        }
        // Until the state can be read again.
        let _writing = self.marks.write(txn.writes.iter().filter_map(Write::key));
        state.last += 1;
        let position = Stamp(state.last);
        let stamp = match keep(Weakening::StampsRepeat) {
            true => position,
            false => Stamp(1),
        };
        for (index, write) in txn.writes.into_iter().enumerate() {
            let (key, value) = match write {
                Write::Put(key, value) => (key, value),
                Write::Append(prefix, value) => (limits::append_key(&prefix, position, index), value),
                Write::Delete(key) => {
                    state.entries.remove(&key);
                    continue;
                }
            };
            state.entries.insert(key, Entry { value, stamp });
        }
        Ok(stamp)
    }

    fn mark(&self, key: &str) -> Option<Mark> {
        self.marks.of(key)
    }

    fn is_current(&self, mark: Mark) -> bool {
        self.marks.is_current(mark)
    }
}
