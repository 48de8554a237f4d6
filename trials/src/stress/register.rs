//! What one thing may be, as far as its writers were answered.

/// A write of a register: what it was to become, when it was asked for, and when that was answered.
#[derive(Clone, Debug)]
struct Write<V> {
    id: u64,
    value: V,
    invoked: u64,
    /// `u64::MAX` while no answer has come.
    ended: u64,
    /// It took effect somewhere between; else it may have.
    certain: bool,
}

/// A thing that several clients write and read at once. Of a read it knows which values are no lie: that of any write
/// that may not have been over, and that of any that is not known to be overwritten.
#[derive(Clone, Debug)]
pub struct Register<V> {
    writes: Vec<Write<V>>,
    next: u64,
}

/// Names a write of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteId(u64);

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was acknowledged.
    Done,
    /// It was refused, and changed nothing.
    Refused,
    /// It may have taken effect before this, or never.
    Unknown,
}

/// Writes from which on those that are certainly overwritten are forgotten.
const KEPT: usize = 64;

impl<V: Clone + PartialEq> Register<V> {
    /// One that is `value` from the beginning of time.
    pub fn new(value: V) -> Self {
        let first = Write {
            id: 0,
            value,
            invoked: 0,
            ended: 0,
            certain: true,
        };
        Register {
            writes: vec![first],
            next: 1,
        }
    }

    /// A write is about to be sent.
    pub fn begin(&mut self, value: V, now: u64) -> WriteId {
        let id = self.next;
        self.next += 1;
        self.writes.push(Write {
            id,
            value,
            invoked: now,
            ended: u64::MAX,
            certain: false,
        });
        WriteId(id)
    }

    /// A write was answered, or can take effect no more. What was certainly overwritten before `horizon` is forgotten:
    /// nobody may ask about a time before that again.
    pub fn end(&mut self, id: WriteId, now: u64, end: End, horizon: u64) {
        match end {
            End::Refused => self.writes.retain(|write| write.id != id.0),
            End::Done | End::Unknown => {
                if let Some(write) = self.writes.iter_mut().find(|write| write.id == id.0) {
                    write.ended = now;
                    write.certain = end == End::Done;
                }
            }
        }
        if self.writes.len() > KEPT {
            let overwriting = self.overwriting(horizon);
            self.writes.retain(|write| write.ended >= overwriting);
        }
    }

    /// When the last write that was certainly over at `time` was begun: whatever had ended before that is overwritten.
    fn overwriting(&self, time: u64) -> u64 {
        let over = self
            .writes
            .iter()
            .filter(|write| write.certain && write.ended <= time);
        over.map(|write| write.invoked).max().unwrap_or(0)
    }

    /// The values that a read between these times may have seen.
    pub fn allowed(&self, from: u64, until: u64) -> impl Iterator<Item = &V> {
        let overwriting = self.overwriting(from);
        self.writes
            .iter()
            .filter(move |write| write.invoked <= until && write.ended >= overwriting)
            .map(|write| &write.value)
    }

    /// Whether a read between these times may have seen this.
    pub fn may_be(&self, value: &V, from: u64, until: u64) -> bool {
        self.allowed(from, until).any(|allowed| allowed == value)
    }

    /// Whether it is this all of the time from `from` until `until`.
    pub fn must_be(&self, value: &V, from: u64, until: u64) -> bool {
        self.allowed(from, until).all(|allowed| allowed == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(register: &mut Register<u8>, value: u8, invoked: u64, ended: u64, end: End) {
        let id = register.begin(value, invoked);
        register.end(id, ended, end, 0);
    }

    fn allowed(register: &Register<u8>, from: u64, until: u64) -> Vec<u8> {
        register.allowed(from, until).copied().collect()
    }

    #[test]
    fn an_acknowledged_write_is_seen_by_whoever_asks_afterwards() {
        let mut register = Register::new(0);
        written(&mut register, 1, 10, 20, End::Done);
        assert_eq!(allowed(&register, 5, 6), [0]);
        assert_eq!(allowed(&register, 15, 16), [0, 1], "it may be there already");
        assert_eq!(allowed(&register, 21, 22), [1]);
        assert!(register.must_be(&1, 20, 90) && !register.must_be(&1, 19, 90));
    }

    #[test]
    fn a_write_that_is_under_way_or_unknown_may_be_seen_until_it_is_overwritten() {
        let mut register = Register::new(0);
        let slow = register.begin(1, 10);
        assert_eq!(allowed(&register, 50, 60), [0, 1]);
        register.end(slow, 70, End::Unknown, 0);
        assert_eq!(allowed(&register, 100, 110), [0, 1], "nobody knows");
        written(&mut register, 2, 120, 130, End::Done);
        assert_eq!(allowed(&register, 140, 150), [2]);
    }

    #[test]
    fn a_refused_write_was_never_there() {
        let mut register = Register::new(0);
        written(&mut register, 1, 10, 20, End::Refused);
        assert_eq!(allowed(&register, 30, 40), [0]);
    }

    #[test]
    fn of_two_writes_at_once_either_may_be_the_last() {
        let mut register = Register::new(0);
        let (one, other) = (register.begin(1, 10), register.begin(2, 12));
        register.end(one, 20, End::Done, 0);
        register.end(other, 22, End::Done, 0);
        assert_eq!(allowed(&register, 30, 40), [1, 2]);
    }

    #[test]
    fn forgetting_changes_nothing_after_the_horizon() {
        let mut register = Register::new(0);
        for at in 1..200 {
            let id = register.begin(at as u8, at * 10);
            register.end(id, at * 10 + 5, End::Done, at * 10);
        }
        assert!(register.writes.len() <= KEPT + 1);
        assert_eq!(allowed(&register, 1996, 1997), [199]);
        assert_eq!(allowed(&register, 1991, 1992), [198, 199]);
    }
}
