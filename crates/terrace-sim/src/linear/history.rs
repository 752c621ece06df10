//! The check itself: is there an order of these calls, true to their times, that a plain map could have answered?
//!
//! The search is Wing and Gong's, with Lowe's memory of the places where it has been: a set of calls already put
//! in order, and the state that they lead to.

use std::collections::HashSet;

/// Keys of a history.
pub(super) const KEYS: usize = 3;
/// Calls of a history at most: they are kept as bits.
const CALLS_MAX: usize = 128;

/// For each key nothing, or what was read or written there.
pub(super) type Cells = [Option<Option<u64>>; KEYS];

/// What a call did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Found these values.
    Read(Cells),
    /// Wrote these values.
    Write(Cells),
    /// Wrote these values, on the condition that others were as expected.
    Commit {
        /// What must be there.
        expected: Cells,
        /// What is there afterwards.
        written: Cells,
    },
    /// A conditional commit that was refused. It is allowed to be.
    Refused,
}

/// A call, and the times before and after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// A time before it.
    pub begin: u64,
    /// A time after it.
    pub end: u64,
    /// What it did.
    pub action: Action,
}

type State = [Option<u64>; KEYS];

/// Whether the calls could have happened one after the other, each at a moment between its begin and its end, on
/// a map that was empty.
///
/// # Panics
///
/// With more than 128 calls.
pub fn is_linearizable(calls: &[Call]) -> bool {
    assert!(calls.len() <= CALLS_MAX, "{} calls", calls.len());
    let all = if calls.len() == CALLS_MAX { u128::MAX } else { (1 << calls.len()) - 1 };
    let mut seen: HashSet<(u128, State)> = HashSet::new();
    let mut stack = vec![(0, State::default())];
    while let Some((done, state)) = stack.pop() {
        if done == all {
            return true;
        }
        if !seen.insert((done, state)) {
            continue;
        }
        let is_left = |at: &usize| done >> at & 1 == 0;
        let left = || (0..calls.len()).filter(is_left);
        // Whoever begins after the end of another comes after it.
        let first_end = left().map(|at| calls[at].end).min().unwrap_or(u64::MAX);
        for at in left().filter(|at| calls[*at].begin <= first_end) {
            if let Some(next) = step(state, &calls[at].action) {
                stack.push((done | 1 << at, next));
            }
        }
    }
    false
}

/// The state after a call, if it could have given its answer in this one.
fn step(mut state: State, action: &Action) -> Option<State> {
    let fits = |cells: &Cells, state: &State| {
        cells.iter().zip(state).all(|(cell, value)| cell.is_none_or(|cell| cell == *value))
    };
    let (expected, written) = match action {
        Action::Read(found) => (*found, Cells::default()),
        Action::Write(written) => (Cells::default(), *written),
        Action::Commit { expected, written } => (*expected, *written),
        Action::Refused => return Some(state),
    };
    if !fits(&expected, &state) {
        return None;
    }
    for (value, cell) in state.iter_mut().zip(written) {
        *value = cell.unwrap_or(*value);
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[(usize, Option<u64>)]) -> Cells {
        let mut cells = Cells::default();
        for (at, value) in values {
            cells[*at] = Some(*value);
        }
        cells
    }

    fn call(begin: u64, end: u64, action: Action) -> Call {
        Call { begin, end, action }
    }

    #[test]
    fn a_stale_read_has_no_order_and_an_overlapping_one_has() {
        let write = |begin, end, value| call(begin, end, Action::Write(cells(&[(0, Some(value))])));
        let read = |begin, end, value| call(begin, end, Action::Read(cells(&[(0, value)])));
        let done = [write(0, 1, 7), write(2, 3, 8)];
        assert!(is_linearizable(&[done[0], done[1], read(4, 5, Some(8))]));
        assert!(!is_linearizable(&[done[0], done[1], read(4, 5, Some(7))]));
        assert!(!is_linearizable(&[done[0], done[1], read(4, 5, None)]));
        let slow = [write(0, 9, 7), read(1, 2, Some(7))];
        assert!(is_linearizable(&slow));
        assert!(is_linearizable(&[slow[0], read(1, 2, None), read(3, 4, Some(7))]));
        assert!(!is_linearizable(&[slow[0], read(1, 2, Some(7)), read(3, 4, None)]));
    }

    #[test]
    fn a_torn_batch_and_a_lost_update_have_no_order() {
        let batch = call(0, 9, Action::Write(cells(&[(0, Some(1)), (1, Some(2))])));
        let seen = |a, b| call(2, 3, Action::Read(cells(&[(0, a), (1, b)])));
        assert!(is_linearizable(&[batch, seen(Some(1), Some(2))]));
        assert!(is_linearizable(&[batch, seen(None, None)]));
        assert!(!is_linearizable(&[batch, seen(Some(1), None)]));
        let commit = |begin, end, from: Option<u64>, to: u64| {
            let (expected, written) = (cells(&[(2, from)]), cells(&[(2, Some(to))]));
            call(begin, end, Action::Commit { expected, written })
        };
        assert!(is_linearizable(&[commit(0, 5, None, 1), commit(0, 5, Some(1), 2)]));
        assert!(!is_linearizable(&[commit(0, 5, None, 1), commit(0, 5, None, 2)]));
        assert!(is_linearizable(&[commit(0, 5, None, 1), call(0, 5, Action::Refused)]));
    }
}
