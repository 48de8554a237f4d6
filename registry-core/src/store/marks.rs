//! Whether records may have been written since they were read, told without reading them.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the writes of a record are counted, and how many there had been. See [`Kv::mark`](super::Kv::mark).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    counter: u32,
    count: u64,
}

/// Counters. Records share them, so that writing one may make it seem that another was written too: with so many, seldom.
const COUNTERS: usize = 4096;

/// A counter has the writes that are under way in its lower bits, and those that have ended in the upper ones.
const UNDER_WAY: u64 = (1 << ENDED_SHIFT) - 1;
const ENDED_SHIFT: u32 = 24;
const BEGUN: u64 = 1;
const ENDED: u64 = (1 << ENDED_SHIFT) - BEGUN;

/// Counts the writes of records, for a [`Kv`](super::Kv) that sees all of them.
///
/// Whoever writes says so *before* anybody can see what is written and until everybody does. A reader that finds
/// its mark current then knows that at this moment a read would find what it found, and no reader sees something older
/// after something newer.
///
/// ```
/// use registry_core::store::Marks;
/// let marks = Marks::new();
/// let mark = marks.of("tag/7/latest").unwrap();
/// assert!(marks.is_current(mark));
/// let writing = marks.write(["tag/7/latest"]);
/// assert!(!marks.is_current(mark) && marks.of("tag/7/latest").is_none());
/// drop(writing);
/// assert!(!marks.is_current(mark) && marks.of("tag/7/latest").is_some());
/// ```
pub struct Marks(Box<[AtomicU64]>);

/// Writes under way, until it is dropped.
#[must_use]
pub struct Writing<'m> {
    marks: &'m Marks,
    counters: Vec<u32>,
}

impl Marks {
    /// With nothing written so far.
    pub fn new() -> Self {
        Marks((0..COUNTERS).map(|_| AtomicU64::new(0)).collect())
    }

    fn counter(key: &str) -> u32 {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        (hasher.finish() % COUNTERS as u64) as u32
    }

    fn count(&self, counter: u32) -> u64 {
        self.0[counter as usize].load(Ordering::SeqCst)
    }

    /// The mark of a record that is about to be read; nothing while it may be written.
    pub fn of(&self, key: &str) -> Option<Mark> {
        let counter = Marks::counter(key);
        let count = self.count(counter);
        (count & UNDER_WAY == 0).then_some(Mark { counter, count })
    }

    /// Whether the record cannot have been written since, and is not being written.
    pub fn is_current(&self, mark: Mark) -> bool {
        self.count(mark.counter) == mark.count
    }

    /// These records are being written.
    pub fn write<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> Writing<'_> {
        self.begin(keys.into_iter().map(Marks::counter).collect())
    }

    /// Any record may be written.
    pub fn write_any(&self) -> Writing<'_> {
        self.begin((0..COUNTERS as u32).collect())
    }

    fn begin(&self, counters: Vec<u32>) -> Writing<'_> {
        for counter in &counters {
            self.0[*counter as usize].fetch_add(BEGUN, Ordering::SeqCst);
        }
        Writing {
            marks: self,
            counters,
        }
    }
}

impl Default for Marks {
    fn default() -> Self {
        Marks::new()
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks(..)")
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for counter in &self.counters {
            self.marks.0[*counter as usize].fetch_add(ENDED, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_holds_until_its_record_is_written() {
        let marks = Marks::new();
        let (mark, other) = (marks.of("a").unwrap(), marks.of("b").unwrap());
        drop(marks.write(["a"]));
        assert!(!marks.is_current(mark));
        assert!(marks.is_current(other));
        assert!(marks.is_current(marks.of("a").unwrap()));
    }

    #[test]
    fn while_several_write_one_record_it_has_no_mark() {
        let marks = Marks::new();
        let before = marks.of("a").unwrap();
        let first = marks.write(["a", "a"]);
        let second = marks.write(["a"]);
        drop(first);
        assert_eq!(marks.of("a"), None);
        drop(second);
        assert!(marks.of("a").is_some() && !marks.is_current(before));
    }

    #[test]
    fn when_any_may_be_written_none_is_current() {
        let marks = Marks::new();
        let mark = marks.of("a").unwrap();
        let writing = marks.write_any();
        assert!(!marks.is_current(mark) && marks.of("b").is_none());
        drop(writing);
        assert!(!marks.is_current(mark) && marks.of("b").is_some());
    }
}
