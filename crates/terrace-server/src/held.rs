//! Barriers: which connections wait for which sync of the log.
//!
//! At the end of a wake-up that wrote, a loop opens a barrier over the connections with new replies and asks
//! the store to say when its newest write is durable. Barriers are passed in the order they were opened, even
//! if the answers come otherwise.

use std::collections::VecDeque;

#[derive(Debug)]
struct Barrier {
    id: u64,
    slots: Vec<usize>,
    answer: Option<terrace::Result<()>>,
}

/// A barrier that has its answer.
#[derive(Debug)]
pub(crate) struct Passed {
    /// Its number.
    pub(crate) id: u64,
    /// The slots of the connections that waited for it (by now perhaps others').
    pub(crate) slots: Vec<usize>,
    /// Whether the writes are durable.
    pub(crate) answer: terrace::Result<()>,
}

/// The open barriers of one loop.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    last_id: u64,
    open: VecDeque<Barrier>,
}

impl Barriers {
    /// Opens a barrier over these connections; returns its number.
    pub(crate) fn open(&mut self, slots: Vec<usize>) -> u64 {
        self.last_id += 1;
        self.open.push_back(Barrier { id: self.last_id, slots, answer: None });
        self.last_id
    }

    /// Notes an answer.
    pub(crate) fn answer(&mut self, id: u64, answer: terrace::Result<()>) {
        if let Some(barrier) = self.open.iter_mut().find(|barrier| barrier.id == id) {
            barrier.answer = Some(answer);
        }
    }

    /// The next barrier in order, if it has its answer.
    pub(crate) fn next_passed(&mut self) -> Option<Passed> {
        let answer = self.open.front_mut()?.answer.take()?;
        let barrier = self.open.pop_front()?;
        Some(Passed { id: barrier.id, slots: barrier.slots, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barriers_pass_in_order() {
        let mut barriers = Barriers::default();
        let (first, second) = (barriers.open(vec![1]), barriers.open(vec![2]));
        barriers.answer(second, Ok(()));
        assert!(barriers.next_passed().is_none());
        barriers.answer(first, Err(terrace::Error::Closed));
        let passed = barriers.next_passed().unwrap();
        assert_eq!((passed.id, passed.slots.as_slice(), passed.answer.is_err()), (first, &[1][..], true));
        assert_eq!(barriers.next_passed().unwrap().id, second);
        assert!(barriers.next_passed().is_none());
    }
}
