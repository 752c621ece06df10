//! The slow log: the commands that took longest lately. Long requests are cut, so an entry is a few KiB at most.

use std::collections::VecDeque;

use parking_lot::Mutex;
use terrace_resp::Args;

use super::redact::{REDACTED, is_secret};

/// Arguments kept of a command.
const MAX_ARGS: usize = 32;
/// Bytes kept of an argument.
const MAX_ARG_BYTES: usize = 128;

/// A slow command.
#[derive(Clone, Debug)]
pub(crate) struct SlowEntry {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// When it had run, in seconds since the epoch.
    pub(crate) at_s: u64,
    /// How long it ran.
    pub(crate) us: u64,
    /// Its arguments, cut.
    pub(crate) args: Vec<Vec<u8>>,
    /// Where its client came from.
    pub(crate) peer: String,
    /// The client's name.
    pub(crate) name: String,
}

/// The arguments as the log keeps them.
pub(crate) fn cut(args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > MAX_ARGS { MAX_ARGS - 1 } else { args.len() };
    let one = |(at, arg): (usize, &[u8])| {
        if is_secret(args, at) {
            return REDACTED.to_vec();
        }
        if arg.len() <= MAX_ARG_BYTES {
            return arg.to_vec();
        }
        let more = format!("... ({} more bytes)", arg.len() - MAX_ARG_BYTES);
        [&arg[..MAX_ARG_BYTES], more.as_bytes()].concat()
    };
    let mut list: Vec<Vec<u8>> = args.iter().take(kept).enumerate().map(one).collect();
    if kept < args.len() {
        list.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    list
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// The newest first.
    entries: VecDeque<SlowEntry>,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct SlowLog(Mutex<State>);

impl SlowLog {
    /// Adds an entry and gives it its number; keeps the newest `max`.
    pub(crate) fn add(&self, mut entry: SlowEntry, max: usize) {
        let mut state = self.0.lock();
        entry.id = state.next_id;
        state.next_id += 1;
        state.entries.push_front(entry);
        state.entries.truncate(max);
    }

    /// The newest `count` entries.
    pub(crate) fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.0.lock().entries.iter().take(count).cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Forgets all; numbers go on.
    pub(crate) fn reset(&self) {
        self.0.lock().entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_numbers_go_on() {
        let log = SlowLog::default();
        let entry =
            |us| SlowEntry { id: 0, at_s: 0, us, args: vec![], peer: String::new(), name: String::new() };
        (0..5).for_each(|us| log.add(entry(us), 3));
        let shown: Vec<(u64, u64)> = log.newest(10).iter().map(|e| (e.id, e.us)).collect();
        assert_eq!(shown, [(4, 4), (3, 3), (2, 2)]);
        log.reset();
        log.add(entry(9), 3);
        assert_eq!((log.len(), log.newest(1)[0].id), (1, 5));
    }
}
